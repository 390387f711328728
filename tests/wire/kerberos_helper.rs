//! The Kerberos helper process of the binary, where the system refuses what it needs.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Runs the helper with a limit of open files. Standard input and output take three of them, and the files that this process
/// inherited some more.
fn helper(files: u32) -> Output {
    let mut helper = Command::new("sh")
        .args(["-c", &format!("ulimit -n {files} && exec \"$@\""), "sh"])
        .args([env!("CARGO_BIN_EXE_lync-mirror"), "ticket"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request =
        json!({"keytab": [1], "config": "", "principal": "svc@CONTOSO.COM", "spn": "MSSQLSvc/a:1@CONTOSO.COM"});
    // A helper that was not loaded reads nothing.
    let _ = writeln!(helper.stdin.take().unwrap(), "{request}");
    helper.wait_with_output().unwrap()
}

/// The exit code, and the response if there is one.
fn outcome(files: u32) -> (Option<i32>, Option<Value>) {
    let output = helper(files);
    (output.status.code(), serde_json::from_slice(&output.stdout).ok())
}

/// `sql::kerberos` reads the code of the loader and the response as limits of the operator.
#[test]
fn helper_without_descriptors_ends_with_the_code_of_the_loader_or_names_what_it_lacks() {
    let outcomes: Vec<_> = (3..=16).map(outcome).collect();
    let (not_loaded, loaded): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(code, _)| *code == Some(127));
    assert!(!not_loaded.is_empty() && not_loaded.iter().all(|(_, response)| response.is_none()), "{not_loaded:?}");
    let limited = json!({"OperatorLimited": rustix::io::Errno::MFILE.raw_os_error()});
    assert_eq!(loaded[0], (Some(0), Some(limited)), "{loaded:?}");
    let (code, response) = loaded.last().unwrap();
    assert_eq!(*code, Some(0));
    assert!(response.as_ref().unwrap()["GssError"]["code"].is_i64(), "with enough of them, the keytab is the cause");
}
