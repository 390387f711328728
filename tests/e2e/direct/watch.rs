//! `state --watch` without a cluster: servers that are silent, and a running service.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::site::Site;
use crate::cli::prompt::Terminal;

fn watch(site: &Site) -> Terminal {
    Terminal::of(site.command("state", &["--watch"]), |command, open| command.stdout(open()))
}

fn interrupt(terminal: Terminal) -> Option<i32> {
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    terminal.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_watch_of_a_silent_server_shows_that_it_waits_and_then_why() {
    let site = Site::start().await;
    let mut terminal = watch(&site);
    terminal.until("PROTECTED, as the spec wants it");
    site.sim.do_json(json!({"do": "pause", "server": "b"})).unwrap();
    terminal.until("The next read has had no answer for ");
    terminal.until("EXPOSED, ");
    assert_eq!(interrupt(terminal), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_watch_that_begins_with_a_silent_server_shows_that_it_waits() {
    let site = Site::start().await;
    site.sim.do_json(json!({"do": "pause", "server": "b"})).unwrap();
    let mut terminal = watch(&site);
    terminal.until("The next read has had no answer for ");
    interrupt(terminal);
}
