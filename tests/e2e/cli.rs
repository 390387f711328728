//! The verbs of the command line as a process, against the API server, the operator and the simulated pair.

mod doctor;
mod edits;
mod held;
mod owned;
mod planned;
pub mod prompt;
mod read;
mod wait;
mod watch;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{Cluster, Operator, TestPool, types};
use serde_json::{Value, json};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lync-mirror");

/// What a verb printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// Fails the test unless the verb ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

pub fn kubeconfig(cluster: &Cluster) -> PathBuf {
    cluster.dir.join("kubeconfig")
}

/// A verb as an administrator runs it, without a terminal.
pub fn command(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env("KUBECONFIG", kubeconfig(cluster)).env_remove("COLUMNS");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(cluster: &Cluster, arguments: &[&str]) -> Ran {
    command(cluster, arguments).output().unwrap().into()
}

/// A verb in the namespace of the fixture.
pub fn verb(fixture: &TestPool, arguments: &[&str]) -> Ran {
    run(fixture.cluster, &[arguments, &["-n", &fixture.namespace]].concat())
}

/// An aligned pool with its operator.
pub async fn aligned(namespace: &str) -> (TestPool, Operator) {
    let fixture = TestPool::start(namespace, true).await;
    let operator = Operator::start(fixture.cluster, namespace, "1s");
    let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
    // Of this test alone: the verbs find a pool by its FQDN in all namespaces.
    pool["spec"]["poolFqdn"] = json!(format!("{namespace}.contoso.com"));
    fixture.cluster.apply(&pool);
    fixture.until_ready("pool01", "True", "Aligned");
    (fixture, operator)
}

pub fn object(fixture: &TestPool) -> Value {
    fixture.cluster.get_json(&["lpm", "pool01", "-n", &fixture.namespace, "--show-managed-fields"]).unwrap()
}

pub fn generation(fixture: &TestPool) -> i64 {
    object(fixture)["metadata"]["generation"].as_i64().unwrap()
}

/// The rows of a CSV text by their columns, as Import-Csv reads them.
pub fn rows(text: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    // No value of these tests has a comma.
    lines
        .map(|line| {
            header.iter().zip(line.split(',')).map(|(name, value)| (name.to_string(), value.to_owned())).collect()
        })
        .collect()
}

/// There and back with the verbs alone, and what a script sees.
#[tokio::test(flavor = "multi_thread")]
async fn failover_there_and_back_with_the_verbs_alone() {
    let (fixture, _operator) = aligned("cli-failover").await;
    let before = generation(&fixture);

    let refused =
        verb(&fixture, &["failover", "pool01", "--database-type", "User", "--new-principal", "mirror"]).expect(2);
    assert!(refused.err.contains("To fix: set --confirm=false"), "{refused:?}");
    let what_if = ["failover", "pool01", "--database-type", "user", "--new-principal", "mirror", "--what-if"];
    let what_if = verb(&fixture, &what_if).expect(0);
    assert!(what_if.out.contains("User: would MOVE now."), "{what_if:?}");
    assert!(what_if.out.contains("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER"), "{what_if:?}");
    assert_eq!((generation(&fixture), fixture.failovers().len()), (before, 0), "nothing was changed");

    let there = [
        "failover",
        "cli-failover.contoso.com",
        "-t",
        "User,CentralMgmt",
        "--to",
        "mirror",
        "--confirm=false",
        "--wait",
        "--verbose",
    ];
    let moved = verb(&fixture, &there).expect(0);
    for words in [
        "User: the principal is on SQL-B\\RTC, moved in ",
        "CentralMgmt: the principal is on SQL-B\\RTC, moved in ",
        "User: rtcxds is on SQL-B\\RTC",
        "sent: ALTER DATABASE [rtcxds] SET PARTNER FAILOVER",
        "after: primary Mirror",
    ] {
        assert!(moved.out.contains(words), "{words:?}: {moved:?}");
    }
    assert!(moved.err.contains("was set by kubectl apply"), "{moved:?}");
    assert!(moved.err.contains("--database-type User,CentralMgmt --new-principal primary"), "{moved:?}");
    assert_eq!(fixture.failovers().len(), 5, "{:?}", fixture.failovers());
    assert_eq!(fixture.status("pool01").unwrap()["principals"], "User=Mirror CentralMgmt=Mirror");
    let object = object(&fixture);
    assert_eq!(object["metadata"]["annotations"]["lyncmirror.io/requested-by"], "admin", "{object}");

    let again = verb(&fixture, &["failover", "pool01", "-t", "User", "--to", "mirror", "--confirm=false"]).expect(0);
    assert!(again.out.contains("User: the principal is on SQL-B\\RTC (mirror) already."), "{again:?}");
    for ty in ["User", "CentralMgmt"] {
        verb(&fixture, &["failover", "pool01", "-t", ty, "--to", "primary", "--confirm=false", "--wait"]).expect(0);
    }
    assert_eq!(fixture.failovers().len(), 10, "{:?}", fixture.failovers());
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());

    let history = verb(&fixture, &["history", "pool01", "-o", "csv"]).expect(0);
    let history = rows(&history.out);
    assert_eq!(history.len(), 4, "{history:?}");
    assert_eq!((history[0]["DatabaseType"].as_str(), history[0]["To"].as_str()), ("CentralMgmt", "SQL-A\\RTC"));
    assert!(history.iter().all(|row| row["RequestedVia"] == "kubectl-lyncmirror" && row["Outcome"] == "Succeeded"));
    let table = verb(&fixture, &["history", "pool01"]).expect(0);
    assert!(table.out.contains("kubectl-lyncmirror  generation"), "{table:?}");
    let one = verb(&fixture, &["history", "pool01", "--move", "4"]).expect(0);
    assert!(one.out.starts_with("User from SQL-A\\RTC to SQL-B\\RTC: Succeeded"), "{one:?}");
    let missing = verb(&fixture, &["history", "pool01", "--move", "5"]).expect(2);
    assert!(missing.err.contains("has 4 moves in its history, and no move 5"), "{missing:?}");
}
