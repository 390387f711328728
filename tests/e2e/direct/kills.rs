//! A process killed at each write of the journal and at each statement: there and back, of both kinds of types, by a fail-back
//! and by a forced service. The next command ends like an undisturbed one, with exactly one failover of each database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use mirror_sim::probe::{Moment, Probe, Request, Then};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::service::{Service, principals};
use super::site::Site;
use crate::cli::Ran;
use crate::support::{root, run, until};

const MOMENTS: [Moment; 3] = [Moment::Received, Moment::Executed, Moment::Answered];

/// What the killed verb does.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// To the mirror.
    There(&'static str),
    /// To the primary, after the way to the mirror.
    Back(&'static str),
    /// On the mirror of a pair without a witness, after the loss of the principal.
    Force,
}

impl Act {
    fn databases(self) -> &'static [&'static str] {
        match self {
            Act::There("CentralMgmt") | Act::Back("CentralMgmt") => &["lis", "xds"],
            Act::There(_) | Act::Back(_) | Act::Force => &["rtcab", "rtcshared", "rtcxds"],
        }
    }

    async fn site(self) -> Site {
        match self {
            Act::There(_) => Site::start().await,
            Act::Back(ty) => {
                let site = Site::start().await;
                let there = Act::There(ty).command(&site, &[]).output().unwrap();
                Ran::from(there).expect(0);
                site
            }
            Act::Force => {
                let site = Site::with(false, |file| file).await;
                site.first_sight();
                site.sim.do_json(json!({"do": "kill", "server": "a"})).unwrap();
                until("service can be forced", || {
                    let offered = Ran::from(self.command(&site, &["--what-if"]).output().unwrap());
                    if offered.code == Some(0) { Ok(()) } else { Err(format!("{offered:?}")) }
                });
                site
            }
        }
    }

    /// It must not outlast a hanging test.
    fn command(self, site: &Site, more: &[&str]) -> Command {
        let (verb, own) = match self {
            Act::There(ty) => ("failover", vec!["-t", ty, "--to", "mirror", "--confirm=false"]),
            Act::Back(ty) => ("failover", vec!["-t", ty, "--to", "primary", "--confirm=false"]),
            Act::Force => {
                let consent = ["--accept-data-loss", "pool01.contoso.com", "--fenced", r"SQL-A\RTC"];
                ("force-service", [&["-t", "User"][..], &consent].concat())
            }
        };
        site.command(verb, &[&own[..], &["--timeout", "2m"], more].concat())
    }

    /// All failovers of the servers, at the end.
    fn expected(self) -> Vec<String> {
        let to = |server| self.databases().iter().map(move |name| format!("{name}>{server}"));
        let mut all: Vec<String> = match self {
            Act::There(_) | Act::Force => to("b").collect(),
            Act::Back(_) => to("b").chain(to("a")).collect(),
        };
        all.sort();
        all
    }

    /// The next command completes the move, or finds it complete.
    fn goes_on(self, site: &Site, what: &str) {
        let again = Ran::from(self.command(site, &[]).output().unwrap());
        let state = site.verb("state", &[]);
        assert_eq!(site.failovers(), self.expected(), "{what}: {again:?} {state:?}");
        match self {
            Act::There(_) | Act::Back(_) => {
                assert_eq!((again.code, state.code), (Some(0), Some(0)), "{what}: {again:?} {state:?}");
            }
            // The servers need an administrator.
            Act::Force => assert!(state.out.contains("ServiceForced"), "{what}: {again:?} {state:?}"),
        }
        assert_eq!(site.sim.failures(), [""; 0], "{what}");
    }
}

/// Kills a process at a moment of a statement that moves.
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

impl Killer {
    /// Starts this process and kills it there. The process must be known before its first statement.
    fn kill<T>(site: &Site, number: usize, moment: Moment, start: impl FnOnce() -> (u32, T)) -> (Arc<Killer>, T) {
        let killer = Arc::new(Killer { number, moment, inner: Mutex::default() });
        site.sim.probe(killer.clone());
        let mut inner = killer.inner.lock().unwrap();
        let (process, started) = start();
        inner.process = Pid::from_raw(process.try_into().unwrap());
        drop(inner);
        (killer, started)
    }

    fn has_fired(&self) -> bool {
        self.inner.lock().unwrap().fired
    }
}

impl Probe for Killer {
    fn at(&self, _server: &str, _number: u64, request: Request, moment: Moment) -> Then {
        let moves = ["SET PARTNER FAILOVER", "SET PARTNER FORCE_SERVICE"];
        let is_move = matches!(request, Request::Statement(text) if moves.iter().any(|part| text.contains(part)));
        let mut inner = self.inner.lock().unwrap();
        if !is_move || moment != self.moment || inner.fired {
            return Then::Go;
        }
        inner.met += 1;
        let Some(process) = inner.process.filter(|_| inner.met == self.number) else { return Then::Go };
        inner.fired = true;
        kill_process(process, Signal::KILL).unwrap();
        if moment == Moment::Answered { Then::Go } else { Then::Stay }
    }
}

async fn killed_at_each_statement(act: Act) {
    for moment in MOMENTS {
        for number in 1..=act.databases().len() {
            let site = act.site().await;
            let start = || {
                let process = act.command(&site, &[]).spawn().unwrap();
                (process.id(), process)
            };
            let (killer, process) = Killer::kill(&site, number, moment, start);
            let killed = Ran::from(process.wait_with_output().unwrap());
            let what = format!("{act:?}, statement {number}, {moment:?}");
            assert!(killer.has_fired(), "{what} did not occur: {killed:?}");
            assert_eq!(killed.code, None, "{what}: {killed:?}");
            act.goes_on(&site, &what);
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

async fn killed_at_each_write(act: Act) {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let mut number = 1;
    loop {
        let site = act.site().await;
        let mut command = act.command(&site, &[]);
        command.env("LD_PRELOAD", &library).env("KILL_AT_WRITE", number.to_string());
        let ran = Ran::from(command.output().unwrap());
        let what = format!("{act:?}, write {number}");
        act.goes_on(&site, &what);
        if ran.code.is_some() {
            // There is no call of this number.
            break;
        }
        number += 1;
    }
    assert!(number > FEWEST, "only {} calls", number - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_killed_at_each_statement_moves_each_database_once() {
    killed_at_each_statement(Act::There("User")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_killed_at_each_write_moves_each_database_once() {
    killed_at_each_write(Act::There("User")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_of_central_mgmt_killed_at_each_statement_moves_each_database_once() {
    killed_at_each_statement(Act::There("CentralMgmt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_of_central_mgmt_killed_at_each_write_moves_each_database_once() {
    killed_at_each_write(Act::There("CentralMgmt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_way_back_killed_at_each_statement_moves_each_database_once() {
    killed_at_each_statement(Act::Back("User")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_way_back_of_central_mgmt_killed_at_each_write_moves_each_database_once() {
    killed_at_each_write(Act::Back("CentralMgmt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_forced_service_killed_at_each_statement_forces_each_database_once() {
    killed_at_each_statement(Act::Force).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_forced_service_killed_at_each_write_forces_each_database_once() {
    killed_at_each_write(Act::Force).await;
}

/// The policy FailBack acts in a service only.
#[tokio::test(flavor = "multi_thread")]
async fn direct_fail_back_of_a_service_killed_at_each_statement_moves_each_database_once() {
    let users = Act::Back("User").databases();
    for moment in MOMENTS {
        for number in 1..=users.len() {
            let policy = "  policy:\n    unrequestedSwitch: FailBack\n    failBackAfter: 1s\n";
            let site = Site::with(true, |file| file.replace("  policy:\n", policy)).await;
            site.first_sight();
            site.switch(users).await;
            let start = || {
                let service = Service::start(&site);
                (service.process.id(), service)
            };
            let (killer, mut service) = Killer::kill(&site, number, moment, start);
            let killed = service.process.wait().unwrap();
            let what = format!("fail-back, statement {number}, {moment:?}");
            assert!(killer.has_fired() && killed.code().is_none(), "{what}: {killed:?}");
            let again = Service::start(&site);
            until("the principals are back", || {
                let state = site.verb("state", &[]);
                let is_back = state.code == Some(0) && principals(&site) == "User=Primary CentralMgmt=Primary";
                if is_back { Ok(()) } else { Err(format!("{what}: {state:?}")) }
            });
            assert_eq!(again.stop(), Some(0), "{what}");
            assert_eq!(site.failovers(), Act::Back("User").expected(), "{what}");
            assert_eq!(site.sim.failures(), [""; 0], "{what}");
        }
    }
}
