//! `state --watch`: a state after each change, and its exit code at Ctrl-C.

use std::io::{BufRead, BufReader};

use super::{aligned, command};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_each_change_until_it_is_interrupted() {
    let (fixture, _operator) = aligned("cli-watch").await;
    let mut child = command(fixture.cluster, &["state", "pool01", "-n", "cli-watch", "--watch"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |words: &str| assert!(lines.any(|line| line.contains(words)), "the output ended before {words:?}");
    until("(cli-watch/pool01): PROTECTED, as the spec wants it");
    fixture.patch("pool01", &json!({"spec": {"suspend": {"reason": "SQL patching"}}}));
    until("Suspended: No move starts");
    fixture.command(json!({"do": "kill", "server": "b"}));
    until("(cli-watch/pool01): EXPOSED, an administrator has to act");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
