//! The files that a Kerberos helper can open. It runs as the user of the operator, and a library in it reads what a KDC sends.

use std::io;

use landlock::{
    ABI, Access, AccessFs, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope, path_beneath_rules,
};

/// Name resolution, and the plug-ins of the libraries. The service account token of a Pod is below /var or /run. Keytab and
/// configuration are files in memory, which Landlock never restricts.
const READABLE: [&str; 4] = ["/etc", "/lib", "/lib64", "/usr"];
/// The newest version of Landlock that this list is for. An older kernel applies what it knows.
const VERSION: ABI = ABI::V6;

/// Restricts the thread that calls it, and the processes that it starts, to read `READABLE` and to write no file. It can send
/// no signal to the operator. A kernel without Landlock restricts nothing, and the status shows it.
///
/// # Errors
/// The kernel has Landlock and refuses the restriction.
pub fn restrict() -> io::Result<RestrictionStatus> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|rules| rules.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(READABLE, AccessFs::from_read(VERSION))))
        .and_then(|rules| rules.restrict_self())
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use landlock::RulesetStatus;
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
            if restrict().unwrap().ruleset == RulesetStatus::NotEnforced {
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
}
