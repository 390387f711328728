//! Reading: formats, names, namespaces, the name of the plugin, and errors with the next command.

use std::process::{Command, Stdio};

use super::{PROGRAM, aligned, kubeconfig, rows, run, verb};
use crate::support::Cluster;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn state_in_each_format_and_by_each_name() {
    let (fixture, operator) = aligned("cli-state").await;
    let cluster = fixture.cluster;
    let lease = ["--operator-namespace", "cli-state", "--lease-name", "lync-mirror-cli-state"];
    let state = verb(&fixture, &[&["state", "pool01"][..], &lease].concat()).expect(0);
    assert!(
        state.out.starts_with("cli-state.contoso.com (cli-state/pool01): PROTECTED, as the spec wants it\n"),
        "{state:?}"
    );
    assert!(state.out.contains("Operator cli-state-") && state.out.contains(" renewed its lease "), "{state:?}");
    assert!(!state.out.contains('\u{1b}'), "a pipe gets no colours: {state:?}");
    let csv = rows(&verb(&fixture, &["state", "-o", "csv"]).expect(0).out);
    let names: Vec<&str> = csv.iter().map(|row| row["DatabaseName"].as_str()).collect();
    assert_eq!(names, ["rtcxds", "rtcshared", "rtcab", "xds", "lis"]);
    assert_eq!((csv[0]["StateOnPrimary"].as_str(), csv[0]["WantedServer"].as_str()), ("Principal", "SQL-A\\RTC"));
    let document: Value = serde_json::from_str(&verb(&fixture, &["state", "-o", "json"]).expect(0).out).unwrap();
    assert_eq!((&document[0]["state"], &document[0]["exitCode"]), (&json!("AsWanted"), &json!(0)));
    assert!(
        verb(&fixture, &["state", "-o", "yaml"]).expect(0).out.contains("principals: User=Primary CentralMgmt=Primary")
    );
    assert!(verb(&fixture, &["state", "-o", "wide"]).expect(0).out.contains("Witness"));

    // Without -n an FQDN leads to its namespace; a namespace that was chosen is not left.
    let found = run(cluster, &["state", "cli-state.contoso.com"]).expect(0);
    assert!(found.out.contains("cli-state/pool01"), "{found:?}");
    let chosen = run(cluster, &["state", "cli-state.contoso.com", "-n", "default"]).expect(4);
    assert!(chosen.err.contains("No pool \"cli-state.contoso.com\" in namespace default."), "{chosen:?}");
    assert!(run(cluster, &["state", "-A"]).out.contains("cli-state"));

    let narrow =
        super::command(cluster, &["state", "pool01", "-n", "cli-state"]).env("COLUMNS", "80").output().unwrap();
    let narrow = String::from_utf8(narrow.stdout).unwrap();
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");

    // The lease shows that the operator is gone. Without the lease, nothing is claimed about the operator.
    assert_eq!(operator.stop(), Some(0));
    let gone = verb(&fixture, &[&["state", "pool01"][..], &lease].concat()).expect(4);
    assert!(gone.out.contains("No operator has held the lease since "), "{gone:?}");
    let unseen = verb(&fixture, &["state", "pool01"]).expect(0);
    assert!(!unseen.out.contains("lease"), "{unseen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_of_kubectl_names_itself_as_it_was_called() {
    let (fixture, _operator) = aligned("cli-plugin").await;
    let cluster = fixture.cluster;
    let folder = cluster.dir.join("plugin");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(PROGRAM, folder.join("kubectl-lyncmirror")).unwrap();
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(cluster.bin().join("kubectl"));
        command.args(arguments).env("KUBECONFIG", kubeconfig(cluster)).env("PATH", &folder).stdin(Stdio::null());
        super::Ran::from(command.output().unwrap())
    };
    let listed = kubectl(&["plugin", "list"]);
    assert!(listed.out.contains("kubectl-lyncmirror"), "{listed:?}");
    let state = kubectl(&["lyncmirror", "state", "pool01", "-n", "cli-plugin"]).expect(0);
    assert!(state.out.contains("cli-plugin/pool01"), "{state:?}");
    let failover =
        ["lyncmirror", "failover", "pool01", "-n", "cli-plugin", "-t", "User", "--to", "mirror", "--confirm=false"];
    let failover = kubectl(&failover).expect(1);
    assert!(failover.err.contains("To follow it: kubectl lyncmirror state pool01 -n cli-plugin"), "{failover:?}");
    fixture.until_ready("pool01", "True", "Aligned");
    assert!(kubectl(&["lyncmirror", "--help"]).expect(0).out.contains("Usage: kubectl lyncmirror"));
}

/// Needs no cluster: the kubeconfig does not exist.
#[test]
fn verbs_without_a_cluster_and_errors_with_the_next_command() {
    let without = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("KUBECONFIG", "/nonexistent/kubeconfig").stdin(Stdio::null());
        super::Ran::from(command.output().unwrap())
    };
    let page = without(&["explain", "UnexpectedPrincipal"]).expect(0);
    assert!(page.out.starts_with("# UnexpectedPrincipal\n"), "{page:?}");
    assert!(without(&["explain"]).expect(0).out.lines().any(|line| line == "PrincipalLost"));
    assert!(without(&["completion", "bash"]).expect(0).out.contains("failover"));
    let unknown = without(&["explain", "Fine"]).expect(2);
    assert!(unknown.err.contains("there is no such reason"), "{unknown:?}");
    let wrong = without(&["failover", "pool01", "-t", "Users", "--to", "mirror"]).expect(2);
    assert!(wrong.err.contains("the types are User, Application"), "{wrong:?}");
    for arguments in [&["state"][..], &["state", "--kubeconfig", "/nonexistent/other"], &["state", "--context", "none"]]
    {
        let failed = without(arguments).expect(4);
        assert!(failed.err.starts_with("Error: ") && failed.err.contains("To fix: "), "{failed:?}");
    }
}

#[test]
fn caller_without_rights_is_shown_the_missing_verb() {
    let cluster = Cluster::get();
    cluster.install("cli-rights");
    let identity = cluster.identity("cli-rights");
    let mut command = Command::new(PROGRAM);
    command.args(["state", "-n", "default"]).env("KUBECONFIG", identity).stdin(Stdio::null());
    let refused = super::Ran::from(command.output().unwrap()).expect(4);
    assert!(refused.err.contains("You may not list lyncpoolmirrors.lyncmirror.io."), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn report_is_one_file_with_the_state_and_the_moves() {
    let (fixture, _operator) = aligned("cli-report").await;
    verb(&fixture, &["failover", "pool01", "-t", "User", "--to", "mirror", "--confirm=false", "--wait"]).expect(0);
    let file = fixture.cluster.dir.join("report.html");
    let written = verb(&fixture, &["report", "pool01", "--file", file.to_str().unwrap()]).expect(0);
    assert!(written.err.contains("Report of 1 pools in "), "{written:?}");
    let page = std::fs::read_to_string(&file).unwrap();
    for words in
        ["cli-report.contoso.com", "Protected, as the spec wants it", "SQL-B\\RTC", "rtcxds", "Moves", "Succeeded"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("http"), "{page}");
    let json: Value = serde_json::from_str(&verb(&fixture, &["report", "-o", "json"]).expect(0).out).unwrap();
    assert_eq!(json[0]["status"]["history"][0]["outcome"], "Succeeded");
}
