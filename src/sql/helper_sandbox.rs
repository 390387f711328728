//! The files that a Kerberos helper can open. It runs as the user of the operator, and a library in it reads what a KDC sends.

use std::io;

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// Name resolution, and the plug-ins of the libraries. The service account token of a Pod is below /var or /run. Keytab and
/// configuration are files in memory, which Landlock never restricts.
const READABLE: [&str; 4] = ["/etc", "/lib", "/lib64", "/usr"];
/// The newest version of Landlock that this list is for. An older kernel applies what it knows.
const VERSION: ABI = ABI::V6;

/// How far the kernel restricts a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Restriction {
    Enforced,
    /// The kernel knows an older version of Landlock, e.g. one that does not restrict signals.
    Partial,
    /// The kernel has no Landlock, or refuses the restriction.
    None,
}

/// Restricts the thread that calls it, and the processes that it starts, to read `READABLE` and to write no file. It can send
/// no signal to the operator.
pub fn restrict() -> Restriction {
    match ruleset() {
        Ok(RulesetStatus::FullyEnforced) => Restriction::Enforced,
        Ok(RulesetStatus::PartiallyEnforced) => Restriction::Partial,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Restriction::None,
    }
}

/// What the kernel does for a helper, tried in a thread of its own, because a restriction cannot be lifted.
pub fn probe() -> Restriction {
    std::thread::spawn(restrict).join().unwrap_or(Restriction::None)
}

/// The last restriction that was logged.
static LOGGED: Mutex<Option<Restriction>> = Mutex::new(None);

/// Logs a restriction, unless the last helper had the same.
pub fn report(landlock: Restriction) {
    if LOGGED.lock().replace(landlock) == Some(landlock) {
        return;
    }
    match landlock {
        Restriction::Enforced => info!(%landlock, "Kerberos helpers read no service account token"),
        Restriction::Partial => {
            info!(%landlock, "Kerberos helpers read no service account token, and an older kernel permits them signals");
        }
        Restriction::None => warn!(
            %landlock,
            "Kerberos helpers can read the service account token, because the kernel of the node does not enforce Landlock"
        ),
    }
}

fn ruleset() -> io::Result<RulesetStatus> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|rules| rules.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(READABLE, AccessFs::from_read(VERSION))))
        .and_then(|rules| rules.restrict_self())
        .map(|status| status.ruleset)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    #[test]
    fn restricted_thread_reads_the_configuration_of_the_system_and_no_token() {
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "token").unwrap();
        let path = token.path().to_owned();
        let mut keytab = File::from(memfd_create("test", MemfdFlags::empty()).unwrap());
        keytab.write_all(b"keytab").unwrap();
        let in_memory = format!("/proc/self/fd/{}", keytab.as_raw_fd());
        // A thread of its own, because a restriction cannot be lifted.
        let restricted = std::thread::spawn(move || {
            if restrict() == Restriction::None {
                return None;
            }
            let mut read = String::new();
            File::open(in_memory).unwrap().read_to_string(&mut read).unwrap();
            File::open("/etc/passwd").unwrap();
            Some((read, File::open(&path).map_err(|e| e.kind()).err(), File::create(&path).map_err(|e| e.kind()).err()))
        });
        let denied = Some(io::ErrorKind::PermissionDenied);
        match restricted.join().unwrap() {
            Some((read, opened, created)) => assert_eq!((read.as_str(), opened, created), ("keytab", denied, denied)),
            None => assert!(std::env::var_os("CI").is_none(), "this kernel has no Landlock"),
        }
    }

    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn report_logs_each_change_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for restriction in [Restriction::Enforced, Restriction::Enforced, Restriction::None, Restriction::Partial] {
                report(restriction);
            }
        });
        let log = String::from_utf8(log.0.lock().clone()).unwrap();
        let found: Vec<(&str, &str)> = log
            .lines()
            .map(|line| (if line.contains(" WARN ") { "WARN" } else { "INFO" }, line.rsplit(' ').next().unwrap()))
            .collect();
        assert_eq!(
            found,
            [("INFO", "landlock=enforced"), ("WARN", "landlock=none"), ("INFO", "landlock=partial")],
            "{log}"
        );
    }

    /// The token of the service account, and the key of the metrics.
    #[test]
    fn mounted_secret_of_the_chart_is_out_of_reach() {
        let chart = include_str!("../../charts/lync-mirror/templates/deployment.yaml");
        let mounted: Vec<&str> = chart.lines().filter_map(|line| line.trim().strip_prefix("mountPath: ")).collect();
        assert_eq!(mounted.len(), 1, "this test reads the paths: {mounted:?}");
        for path in mounted.into_iter().chain(["/var/run/secrets/kubernetes.io/serviceaccount"]) {
            let readable = READABLE.iter().find(|readable| std::path::Path::new(path).starts_with(readable));
            assert_eq!(readable, None, "{path}");
        }
    }

    #[test]
    fn probe_leaves_the_process_unrestricted() {
        let token = tempfile::NamedTempFile::new().unwrap();
        let restriction = probe();
        assert!(restriction != Restriction::None || std::env::var_os("CI").is_none(), "this kernel has no Landlock");
        File::open(token.path()).unwrap();
    }
}
