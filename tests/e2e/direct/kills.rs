//! The verb killed at each write of the journal and at each statement. The next command ends like an undisturbed one, with
//! exactly one failover of each database.

use std::process::Command;
use std::sync::{Arc, Mutex};

use mirror_sim::probe::{Moment, Probe, Request, Then};
use rustix::process::{Pid, Signal, kill_process};

use super::site::Site;
use crate::cli::Ran;
use crate::support::skip;

const MOVE: [&str; 6] = ["-t", "User", "--to", "mirror", "--confirm=false", "--timeout"];

/// The arguments of the verb, which must not outlast a hanging test.
fn arguments() -> Vec<&'static str> {
    MOVE.into_iter().chain(["2m"]).collect()
}

/// The next command completes the move, or finds it complete.
fn goes_on(site: &Site, what: &str) {
    let again = site.verb("failover", &arguments());
    assert_eq!(again.code, Some(0), "{what}: {again:?}");
    assert_eq!(site.failovers(), ["rtcab>b", "rtcshared>b", "rtcxds>b"], "{what}: {again:?}");
    let state = site.verb("state", &[]);
    assert_eq!(state.code, Some(0), "{what}: {state:?}");
    assert_eq!(site.sim.failures(), [""; 0], "{what}");
}

/// Kills a process at a moment of a failover statement.
struct Killer {
    number: usize,
    moment: Moment,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    process: Option<Pid>,
    met: usize,
    fired: bool,
}

impl Probe for Killer {
    fn at(&self, _server: &str, _number: u64, request: Request, moment: Moment) -> Then {
        let is_failover = matches!(request, Request::Statement(text) if text.contains("SET PARTNER FAILOVER"));
        let mut inner = self.inner.lock().unwrap();
        if !is_failover || moment != self.moment || inner.fired {
            return Then::Go;
        }
        inner.met += 1;
        let Some(process) = inner.process.filter(|_| inner.met == self.number) else { return Then::Go };
        inner.fired = true;
        kill_process(process, Signal::KILL).unwrap();
        if moment == Moment::Answered { Then::Go } else { Then::Stay }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_killed_at_each_statement_moves_each_database_once() {
    for moment in [Moment::Received, Moment::Executed, Moment::Answered] {
        for number in 1..=3 {
            let site = Site::start().await;
            let killer = Arc::new(Killer { number, moment, inner: Mutex::default() });
            site.sim.probe(killer.clone());
            // The process must be known before its first statement.
            let mut inner = killer.inner.lock().unwrap();
            let process = site.command("failover", &arguments()).spawn().unwrap();
            inner.process = Pid::from_raw(process.id().try_into().unwrap());
            drop(inner);
            let killed = Ran::from(process.wait_with_output().unwrap());
            let what = format!("statement {number}, {moment:?}");
            assert!(killer.inner.lock().unwrap().fired, "{what} did not occur: {killed:?}");
            assert_eq!(killed.code, None, "{what}: {killed:?}");
            goes_on(&site, &what);
        }
    }
}

/// The system calls of a write, in their order: the content, the rename, the folder.
const CALLS: [&str; 2] = ["fsync", "rename"];

/// The verb under strace, which kills it at the entry of the call with this number. None: it only counts.
fn traced(site: &Site, call: &str, number: usize) -> Command {
    let verb = site.command("failover", &arguments());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-e"]).arg(format!("trace={call}"));
    strace.arg("-e").arg(format!("inject={call}:signal=SIGKILL:when={number}")).args(["-o", "/dev/null"]);
    strace.arg(verb.get_program()).args(verb.get_args());
    for (name, value) in verb.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stdin(std::process::Stdio::null());
    strace
}

/// The journal is written at least: before the edit of the spec, with the begin and with the end of the move. The spec is
/// written once.
const FEWEST: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_killed_at_each_write_moves_each_database_once() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("direct", "strace is missing");
    }
    for call in CALLS {
        let mut number = 1;
        loop {
            let site = Site::start().await;
            let ran = Ran::from(traced(&site, call, number).output().unwrap());
            let what = format!("{call} {number}");
            goes_on(&site, &what);
            if ran.code == Some(0) {
                // There is no call of this number.
                break;
            }
            number += 1;
        }
        assert!(number > FEWEST, "only {} calls of {call}", number - 1);
    }
}
