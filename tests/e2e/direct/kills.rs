//! The verb killed at each write of the journal and at each statement. The next command ends like an undisturbed one, with
//! exactly one failover of each database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use mirror_sim::probe::{Moment, Probe, Request, Then};
use rustix::process::{Pid, Signal, kill_process};

use super::site::Site;
use crate::cli::Ran;
use crate::support::{root, run};

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

/// The calls of one write: the content is synchronized, renamed, and the folder is synchronized.
const CALLS: usize = 3;
/// The journal is written at least before the edit of the spec, at the begin and at the end of the move. The spec is written
/// once.
const FEWEST: usize = 4 * CALLS;

/// The library that kills its process before a write, or fails the writes of a status.
pub fn library(folder: &Path) -> PathBuf {
    let (source, library) = (root().join("tests/e2e/direct/kill_at_write.c"), folder.join("kill_at_write.so"));
    run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]));
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_killed_at_each_write_moves_each_database_once() {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let mut number = 1;
    loop {
        let site = Site::start().await;
        let mut command = site.command("failover", &arguments());
        command.env("LD_PRELOAD", &library).env("KILL_AT_WRITE", number.to_string());
        let ran = Ran::from(command.output().unwrap());
        goes_on(&site, &format!("write {number}"));
        if ran.code == Some(0) {
            // There is no call of this number.
            break;
        }
        assert_eq!(ran.code, None, "write {number}: {ran:?}");
        number += 1;
    }
    assert!(number > FEWEST, "only {} calls", number - 1);
}
