//! The verbs and the service without a cluster: spec files, a simulated pair, and no API server at all.

mod cluster;
mod first_minutes;
mod kills;
mod service;
mod site;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use mirror_sim::probe::{Moment, Probe, Request, Then};
use site::Site;

/// There and back with the verbs alone.
#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_there_and_back_moves_each_database_once() {
    let site = Site::start().await;
    let state = site.verb("state", &[]).expect(0);
    assert!(state.out.contains("pool01.contoso.com (direct/pool01): PROTECTED, as the spec wants it"), "{state:?}");
    assert!(state.out.contains("No process acts on this pool."), "{state:?}");
    assert!(!site.path("pool01.status.json").exists(), "a verb that reads writes nothing");

    let there = ["--database-type", "User,CentralMgmt", "--new-principal", "mirror"];
    let refused = site.verb("failover", &there).expect(2);
    assert!(refused.err.contains("To fix: set --confirm=false"), "{refused:?}");
    let split = site.verb("failover", &[&there[..], &["--exclude-database", "rtcab"]].concat()).expect(2);
    assert!(split.err.contains("rtcab is one of them: left behind, it would split the type"), "{split:?}");
    let what_if = site.verb("failover", &[&there[..], &["--what-if"]].concat()).expect(0);
    assert!(what_if.out.contains("User: would MOVE now."), "{what_if:?}");
    assert!(site.failovers().is_empty() && site.spec().contains("principal: Primary  # the seat of the users"));

    let moved = site.verb("failover", &[&there[..], &["--confirm=false", "--wait", "--verbose"]].concat()).expect(0);
    for words in [
        "User: the principal is on SQL-B\\RTC, moved in ",
        "CentralMgmt: the principal is on SQL-B\\RTC, moved in ",
        "sent: ALTER DATABASE [rtcxds] SET PARTNER FAILOVER",
    ] {
        assert!(moved.out.contains(words), "{words:?}: {moved:?}");
    }
    assert!(moved.err.contains("The way back: lync-mirror failover --direct -f "), "{moved:?}");
    assert_eq!(site.failovers(), ["lis>b", "rtcab>b", "rtcshared>b", "rtcxds>b", "xds>b"]);
    assert!(site.spec().contains("principal: Mirror  # the seat of the users"), "{}", site.spec());

    let again = site.verb("failover", &[&there[..], &["--confirm=false"]].concat()).expect(0);
    assert!(again.out.contains("User: the principal is on SQL-B\\RTC (mirror) already."), "{again:?}");
    let back = ["--database-type", "User,CentralMgmt", "--new-principal", "primary", "--confirm=false"];
    site.verb("failover", &back).expect(0);
    assert_eq!(site.failovers().len(), 10, "{:?}", site.failovers());
    site.verb("state", &[]).expect(0);

    let history = site.verb("history", &["-o", "csv"]).expect(0);
    assert_eq!(history.out.lines().count(), 5, "four moves: {history:?}");
    let doctor = site.verb("doctor", &[]).expect(0);
    assert!(doctor.out.contains("0 to fix"), "{doctor:?}");
    let plan = site.verb("plan", &[]).expect(0);
    assert!(plan.out.contains("No statement comes next."), "{plan:?}");
    let report = site.verb("report", &["--file", site.path("report.html").to_str().unwrap()]).expect(0);
    assert!(report.err.contains("Report of 1 pools"), "{report:?}");
    assert_eq!(site.sim.failures(), [""; 0]);
}

/// A principal that moved without a request, both answers to it, and a suspension.
#[tokio::test(flavor = "multi_thread")]
async fn direct_switch_without_a_request_is_kept_or_approved() {
    let site = Site::start().await;
    site.first_sight();
    site.switch(&["rtcxds", "rtcshared", "rtcab"]).await;
    let held = site.verb("state", &[]).expect(2);
    assert!(held.out.contains("UnexpectedPrincipal"), "{held:?}");
    assert!(held.out.contains("lync-mirror keep --direct -f "), "{held:?}");

    let approved = site.verb("approve", &["--database-type", "User", "--confirm=false"]).expect(0);
    assert!(approved.out.contains("User: the principal is on SQL-A\\RTC"), "{approved:?}");
    assert!(site.spec().contains("    approve:\n      epoch: "), "{}", site.spec());
    site.switch(&["rtcxds", "rtcshared", "rtcab"]).await;
    let before = site.failovers().len();
    let kept = site.verb("keep", &[]).expect(1);
    assert!(kept.out.contains("User: SQL-B\\RTC (mirror) becomes the wanted principal."), "{kept:?}");
    assert!(site.spec().contains("principal: Mirror  # the seat of the users") && !site.spec().contains("approve"));
    site.verb("state", &[]).expect(0);
    assert_eq!(site.failovers().len(), before, "keep moves nothing");

    site.verb("suspend", &["--reason", "patches"]).expect(0);
    assert!(site.spec().contains("  suspend:\n    reason: patches\n"), "{}", site.spec());
    let suspended = site.verb("state", &[]);
    assert!(suspended.out.contains("lync-mirror resume --direct -f "), "{suspended:?}");
    let held = ["-t", "User", "--to", "primary", "--confirm=false", "--timeout", "3s", "--settle", "1s"];
    assert_ne!(site.verb("failover", &held).code, Some(0));
    assert_eq!(site.failovers().len(), before, "a suspended pool moves nothing");
    site.verb("resume", &[]).expect(0);
    assert!(!site.spec().contains("suspend"), "{}", site.spec());
}

/// A status that is torn, of another pool, or locked moves nothing, and the message names the file.
#[tokio::test(flavor = "multi_thread")]
async fn direct_state_that_cannot_be_used_moves_nothing() {
    let site = Site::start().await;
    site.first_sight();
    let path = site.path("pool01.status.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    let move_it = ["-t", "User", "--to", "mirror", "--confirm=false"];
    for torn in ["", &whole[..whole.len() / 2]] {
        std::fs::write(&path, torn).unwrap();
        let refused = site.verb("failover", &move_it).expect(4);
        assert!(refused.err.contains("pool01.status.json cannot be read: "), "{refused:?}");
        assert!(refused.err.contains("To fix: restore it from a backup"), "{refused:?}");
    }
    std::fs::write(&path, whole.replace("pool01.contoso.com", "pool02.contoso.com")).unwrap();
    let refused = site.verb("failover", &move_it).expect(4);
    assert!(refused.err.contains("is the state of pool02.contoso.com"), "{refused:?}");
    std::fs::write(&path, &whole).unwrap();
    assert!(site.failovers().is_empty() && site.spec().contains("principal: Primary  #"), "{}", site.spec());
    site.verb("failover", &move_it).expect(0);
    assert_eq!(site.failovers().len(), 3);
}

/// The journal cannot be written during the move: the administrator reads it at once, and nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_whose_journal_cannot_be_written_sends_nothing_and_prints_why() {
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut failover = site.command("failover", &["-t", "User", "--to", "mirror", "--confirm=false", "--settle", "1s"]);
    // The first write is before the edit of the spec, the second one has the journal.
    failover.env("LD_PRELOAD", kills::library(folder.path())).env("FAIL_FROM_STATUS", "2");
    let ran = crate::cli::Ran::from(failover.output().unwrap()).expect(2);
    assert!(ran.err.contains("pool01.status.json cannot be written: No space left on device"), "{ran:?}");
    assert!(ran.err.contains("No statement is sent before this is written"), "{ran:?}");
    assert!(site.failovers().is_empty(), "{:?}", site.failovers());
}

/// Removes the lock while the process connects for its statements: their journal is written then.
struct LockThief {
    journal: PathBuf,
    lock: PathBuf,
}

impl Probe for LockThief {
    fn at(&self, _server: &str, _number: u64, request: Request, _moment: Moment) -> Then {
        let has_operation = || std::fs::read_to_string(&self.journal).is_ok_and(|text| text.contains("\"operation\""));
        if matches!(request, Request::Login) && has_operation() {
            let _ = std::fs::remove_file(&self.lock);
        }
        Then::Go
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_that_loses_its_lock_during_the_connect_sends_nothing() {
    let site = Site::start().await;
    let thief = LockThief { journal: site.path("pool01.status.json"), lock: site.path("pool01.lock") };
    site.sim.probe(Arc::new(thief));
    let ran = site.verb("failover", &["-t", "User", "--to", "mirror", "--confirm=false"]).expect(2);
    assert!(ran.err.contains("pool01.lock is no longer that of this process"), "{ran:?}");
    assert!(site.failovers().is_empty(), "{:?}", site.failovers());
}
