//! A computer without a cluster: a folder with the files of one pool, beside a simulated pair.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use mirror_sim::sim::Sim;
use serde_json::json;

use crate::cli::{PROGRAM, Ran};
use crate::support::{DATABASES, TestPool, until};

pub struct Site {
    pub sim: Sim,
    folder: tempfile::TempDir,
}

impl Site {
    /// A pool with the types User and CentralMgmt on the primary, and a witness.
    pub async fn start() -> Site {
        Site::with(true, |file| file).await
    }

    /// As [`Site::start`], with or without the witness, and with another text of the spec file.
    pub async fn with(witness: bool, edit: impl Fn(String) -> String) -> Site {
        let site = Site { sim: TestPool::simulate(witness, &DATABASES).await, folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("other")).unwrap();
        let mut file = edit(site.file("pool01.contoso.com"));
        if !witness {
            file = file.lines().filter(|line| !line.contains("witness: ")).map(|line| format!("{line}\n")).collect();
        }
        std::fs::write(site.path("pool01.yaml"), file).unwrap();
        std::fs::write(site.path("other/login.yaml"), "username: lync-mirror\npassword: Passw0rd\n").unwrap();
        std::fs::write(site.path("other/ca.pem"), site.sim.ca_pem()).unwrap();
        site
    }

    /// A spec file as an administrator writes it, with comments.
    pub fn file(&self, fqdn: &str) -> String {
        let server = |id: &str| {
            let address = self.sim.address(id);
            format!("{{host: {}, port: {}}}", address.ip(), address.port())
        };
        format!(
            "# The pool of the head office.\napiVersion: lyncmirror.io/v1alpha1\nkind: LyncPoolMirror\nspec:\n  poolFqdn: {fqdn}\n  sql:\n    primary: {}\n    mirror: {}\n    witness: {}\n    auth: {{method: SqlLogin, secretRef: {{name: sql}}}}\n    tls: {{mode: Verify, caBundle: {{configMapRef: {{name: sql-ca}}}}}}\n  databaseTypes:\n  - type: User\n    principal: Primary  # the seat of the users\n  - {{type: CentralMgmt, principal: Primary}}\n  policy:\n    cooldown: 0s\n    settleAfter: 0s\n    switchDeadline: 1m\n",
            server("a"),
            server("b"),
            server("w")
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn spec(&self) -> String {
        std::fs::read_to_string(self.path("pool01.yaml")).unwrap()
    }

    /// A verb about the pool, without a cluster in reach.
    pub fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg(verb).args(arguments);
        self.equip(&mut command, "pool01.yaml");
        command
    }

    /// Adds the options of --direct about this file or folder.
    pub fn equip(&self, command: &mut Command, source: &str) {
        command.args(["--direct", "-f"]).arg(self.path(source));
        command.env("LYNC_MIRROR_CREDENTIALS", self.path("other/login.yaml"));
        command.env("LYNC_MIRROR_CA_BUNDLE", self.path("other/ca.pem"));
        command.env("HOME", self.folder.path()).env("KUBECONFIG", self.path("absent"));
        command.env_remove("COLUMNS").env_remove("KUBERNETES_SERVICE_HOST");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Stores the state of a pool that was never seen before: what changes later is a change.
    pub fn first_sight(&self) {
        self.verb("suspend", &["--reason", "first sight"]).expect(0);
        self.verb("resume", &[]).expect(0);
    }

    pub fn verb(&self, verb: &str, arguments: &[&str]) -> Ran {
        self.command(verb, arguments).output().unwrap().into()
    }

    /// The failovers that the servers did, as `database>server`, sorted.
    pub fn failovers(&self) -> Vec<String> {
        let all = self.sim.failovers();
        let mut all: Vec<String> =
            all.iter().map(|failover| format!("{}>{}", failover.database, failover.to)).collect();
        all.sort();
        all
    }

    /// Another administrator fails these databases over, and they are synchronized again.
    pub async fn switch(&self, databases: &[&str]) {
        let before = self.sim.failovers().len();
        for database in databases {
            self.sim.do_json(json!({"do": "failover", "pair": "pool01", "database": database})).unwrap();
        }
        until("the databases have switched", || match self.sim.failovers().len() - before {
            count if count == databases.len() => Ok(()),
            count => Err(format!("{count} failovers")),
        });
        self.sim.settled().await;
        until("the databases are synchronized", || {
            let state = self.verb("state", &["-o", "csv"]).out;
            let synchronized = state.matches("Synchronized").count() >= 2 * DATABASES.len();
            if synchronized { Ok(()) } else { Err(state) }
        });
    }
}
