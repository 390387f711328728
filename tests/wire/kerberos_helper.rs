//! The Kerberos helper process of the binary, where the system refuses what it needs.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Runs the helper with a limit of open files. Standard input and output take three of them.
fn helper(files: u32) -> Output {
    let mut helper = Command::new("sh")
        .args(["-c", &format!("ulimit -n {files} && exec \"$@\"",), "sh"])
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

#[test]
fn helper_without_descriptors_responds_with_the_number_of_the_system() {
    let output = helper(4);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let response: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(response, json!({"OperatorLimited": rustix::io::Errno::MFILE.raw_os_error()}));
}

/// `sql::kerberos` reads this exit code as a limit of the operator.
#[test]
fn helper_that_cannot_open_its_libraries_ends_with_the_code_of_the_loader() {
    let output = helper(3);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
}

#[test]
fn helper_with_descriptors_answers_about_the_keytab() {
    let output = helper(64);
    let response: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(response["GssError"]["code"].is_i64(), "{output:?}");
}
