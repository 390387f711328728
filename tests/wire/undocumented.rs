//! The operator on servers that do what the documentation does not exclude: each setting of the simulated pair, with the
//! reason, the service, the message and the statements that follow.

use std::time::Duration;

use futures::future::join_all;
use lync_mirror::model::{Answer, ForceService, Outcome, Reason, Seat, Service, UnrequestedSwitch, later};
use lync_mirror::plan::TypePlan;
use mirror_sim::world::World;
use serde_json::{Value, json};

use crate::reconciler::{Reconciler, config, send};

const DATABASES: [&str; 3] = ["rtcab", "rtcshared", "rtcxds"];
const HOUR: Duration = Duration::from_secs(3600);
/// The longest pause between two attempts of a move.
const PAUSE: Duration = Duration::from_secs(15);

/// `sys.database_mirroring.mirroring_state`.
const PENDING_FAILOVER: u8 = 3;
const SYNCHRONIZED: u8 = 4;

async fn aligned(witness: bool) -> Reconciler {
    let mut config = config();
    config.pairs[0].witness = config.pairs[0].witness.take().filter(|_| witness);
    Reconciler::aligned(config).await
}

fn set_pair(settings: Value) -> Value {
    json!({"do": "setPairSettings", "pair": "user", "settings": settings})
}

fn set_server(server: &str, settings: Value) -> Value {
    json!({"do": "setServerSettings", "server": server, "settings": settings})
}

/// Asserts that this many failovers of every database arrived at server `a`, and no other statement at any server.
#[track_caller]
fn assert_failovers(reconciler: &Reconciler, attempts: usize, what: &str) {
    let mut sent = reconciler.sent();
    sent.chunks_mut(DATABASES.len()).for_each(<[String]>::sort);
    let attempt = DATABASES.map(|database| format!("a ALTER DATABASE [{database}] SET PARTNER FAILOVER"));
    assert_eq!(sent, vec![attempt; attempts].concat(), "{what}");
    assert_eq!(reconciler.sim.failures(), Vec::<String>::new(), "{what}");
}

#[track_caller]
fn assert_plan(plan: &TypePlan, (reason, service): (Reason, Service), texts: &[&str], what: &str) {
    let message = &plan.verdict.message;
    assert_eq!((plan.verdict.reason, plan.service), (reason, service), "{what}: {message}");
    for text in texts {
        assert!(message.contains(text), "{what}: {message}");
    }
}

/// The spec wants the mirror, and consents to forced service in the present state.
fn want_mirror_with_consent(reconciler: &mut Reconciler, plan: &TypePlan) {
    reconciler.want(Seat::Mirror);
    let consent =
        plan.epoch.clone().map(|epoch| ForceService { epoch, until: later(reconciler.now(), HOUR), fenced: true });
    reconciler.desired.types[0].force = consent;
}

struct Stopped {
    what: &'static str,
    witness: bool,
    begin: Vec<Value>,
    end: Vec<Value>,
    seen: (Reason, Service),
    texts: &'static [&'static str],
}

const APART: &[&str] = &[
    "rtcab, rtcshared, rtcxds: the partners are both alive and do not reach each other",
    "To fix: repair the network between the mirroring endpoints, or the endpoints, and force nothing.",
];

const DAMAGED: &[&str] = &[
    r"rtcxds: the copy on the mirror SQL-B\RTC is SUSPECT.",
    "To fix: do not fail over, and follow docs/reasons/DatabaseNotOnline.md before any repair.",
];

fn stopped() -> Vec<Stopped> {
    let suspect = |state: Value| json!({"do": "setDatabaseState", "server": "b", "database": "rtcxds", "state": state});
    let suspends = || set_pair(json!({"suspectMirrorSuspends": true}));
    let resume = || json!({"do": "resume", "pair": "user", "database": "rtcxds"});
    let empty = |is: bool| set_pair(json!({"emptyPartnerInstance": is}));
    let refuses = |server: &str, is: bool| set_server(server, json!({"refusesHandshake": is}));
    let apart = (Reason::PartnersDisconnected, Service::Exposed);
    let damaged = (Reason::DatabaseNotOnline, Service::Exposed);
    let row = |what, witness, begin, end, seen, texts| Stopped { what, witness, begin, end, seen, texts };
    vec![
        row(
            "partner without a name",
            true,
            vec![empty(true)],
            vec![empty(false)],
            (Reason::PartnerMismatch, Service::Protected),
            &[
                r"the primary SQL-A\RTC names no server as its partner, and the other server is SQL-B\RTC.",
                "To fix: remove no session, and compare mirroring_guid and mirroring_partner_instance of both servers",
            ],
        ),
        row("handshake refused, witness", true, vec![refuses("b", true)], vec![refuses("b", false)], apart, APART),
        row("handshake refused", false, vec![refuses("b", true)], vec![refuses("b", false)], apart, APART),
        row("by the principal", false, vec![refuses("a", true)], vec![refuses("a", false)], apart, APART),
        row(
            "suspect mirror",
            true,
            vec![suspends(), suspect(json!(4))],
            vec![suspect(Value::Null), resume()],
            damaged,
            DAMAGED,
        ),
        row(
            "suspect mirror with columns",
            true,
            vec![set_server("b", json!({"nullColumns": "never"})), suspends(), suspect(json!(4))],
            vec![suspect(Value::Null), resume()],
            damaged,
            DAMAGED,
        ),
        row(
            "suspect mirror that was repaired",
            false,
            vec![suspends(), suspect(json!(4)), suspect(Value::Null)],
            vec![resume()],
            (Reason::MirroringSuspended, Service::Exposed),
            &[
                "rtcxds: mirroring is SUSPENDED, e.g. by an administrator",
                "before you have read docs/reasons/MirroringSuspended.md",
                "RESUME after a forced service destroys",
            ],
        ),
    ]
}

#[tokio::test]
async fn setting_that_stops_a_move_has_its_reason_and_no_statement() {
    for Stopped { what, witness, begin, end, seen, texts } in stopped() {
        let mut reconciler = aligned(witness).await;
        begin.into_iter().for_each(|command| reconciler.command(command));
        let plan = reconciler.until(seen.0).await;
        assert_plan(&plan, seen, texts, what);
        want_mirror_with_consent(&mut reconciler, &plan);
        for wait in [Duration::ZERO, HOUR / 2] {
            reconciler.advance(wait);
            let plan = reconciler.pass().await;
            assert_plan(&plan, seen, texts, what);
        }
        assert_failovers(&reconciler, 0, what);
        end.into_iter().for_each(|command| reconciler.command(command));
        let plan = reconciler.until(Reason::Aligned).await;
        assert_eq!(plan.observed, Seat::Mirror.into(), "{what}");
        assert_failovers(&reconciler, 1, what);
    }
}

/// The witness fails over to the mirror, and the old principal sees neither of them.
#[tokio::test]
async fn principal_that_refuses_handshakes_beside_a_witness_is_isolated() {
    let mut reconciler = aligned(true).await;
    reconciler.command(set_server("a", json!({"refusesHandshake": true})));
    let is_held =
        |plan: &TypePlan| plan.verdict.reason == Reason::UnexpectedPrincipal && plan.service == Service::Exposed;
    let plan = reconciler.until_plan("the failover of the witness", is_held).await;
    let isolated = r"the primary SQL-A\RTC still has the principal role without quorum and serves no client, and the mirror SQL-B\RTC has taken over.";
    assert_plan(
        &plan,
        (Reason::UnexpectedPrincipal, Service::Exposed),
        &["A move is not possible now.", isolated],
        "held",
    );
    want_mirror_with_consent(&mut reconciler, &plan);
    let plan = reconciler.pass().await;
    assert_plan(&plan, (Reason::IsolatedPrincipal, Service::Exposed), &[isolated], "wanted");
    reconciler.command(set_server("a", json!({"refusesHandshake": false})));
    let is_back = |plan: &TypePlan| plan.verdict.reason == Reason::Aligned && plan.service == Service::Protected;
    let plan = reconciler.until_plan("the old principal", is_back).await;
    assert_eq!(plan.observed, Seat::Mirror.into());
    assert_failovers(&reconciler, 0, "back");
}

/// The name of the partner is missing when the principal is lost: the statement of a forced service has to contain it.
#[tokio::test]
async fn forced_service_without_the_name_of_the_partner_is_refused() {
    let mut reconciler = aligned(false).await;
    reconciler.command(json!({"do": "kill", "server": "a"}));
    reconciler.sim.settled().await;
    reconciler.command(set_pair(json!({"emptyPartnerInstance": true})));
    let plan = reconciler.until(Reason::PrincipalLost).await;
    want_mirror_with_consent(&mut reconciler, &plan);
    let plan = reconciler.pass().await;
    let refused = "Forced service is refused: rtcab names no server as its partner";
    assert_plan(&plan, (Reason::PrincipalLost, Service::Unknown), &[refused], "no name");
    assert!(reconciler.sent().is_empty(), "{:?}", reconciler.sent());
    // With the name, the same consent forces service.
    reconciler.command(set_pair(json!({"emptyPartnerInstance": false})));
    reconciler.until_plan("forced service", |plan| plan.forced_on == Some(Seat::Mirror)).await;
    assert_eq!(reconciler.sent().len(), DATABASES.len());
}

#[tokio::test]
async fn principal_of_a_newer_build_suspends_its_session_and_stays() {
    for (suspends, seen, texts) in [
        (false, (Reason::Aligned, Service::Protected), &[][..]),
        (
            true,
            (Reason::VersionMismatch, Service::Exposed),
            &[
                r"SUSPENDED, and the principal SQL-B\RTC is newer (11.0.7507.2) than SQL-A\RTC (11.0.7001.0)",
                r"upgrade the primary SQL-A\RTC first",
            ],
        ),
    ] {
        let mut reconciler = aligned(true).await;
        reconciler.command(json!({"do": "setVersion", "server": "b", "version": "11.0.7507.2"}));
        reconciler.command(set_pair(json!({"suspendOnAnyNewer": suspends})));
        reconciler.want(Seat::Mirror);
        let plan = reconciler.until(seen.0).await;
        assert_plan(&plan, seen, texts, "moved");
        assert_eq!((reconciler.last(), plan.observed), ((Outcome::Succeeded, ""), Seat::Mirror.into()));
        assert_failovers(&reconciler, 1, "moved");
        if !suspends {
            continue;
        }
        // The way back is closed too: the session is resumed by an administrator alone.
        reconciler.desired.policy.unrequested_switch = UnrequestedSwitch::FailBack;
        reconciler.want(Seat::Primary);
        reconciler.advance(HOUR);
        let plan = reconciler.pass().await;
        assert_plan(&plan, seen, texts, "back");
        assert_failovers(&reconciler, 1, "back");
        reconciler.want(Seat::Mirror);
        reconciler.command(json!({"do": "setVersion", "server": "a", "version": "11.0.7507.2"}));
        reconciler.command(json!({"do": "resume", "pair": "user"}));
        let plan = reconciler.until(Reason::Aligned).await;
        assert_plan(&plan, (Reason::Aligned, Service::Protected), &[], "upgraded");
        assert_failovers(&reconciler, 1, "upgraded");
    }
}

/// Success was the answer, and the failover ends later without a change of the roles.
#[tokio::test]
async fn failover_that_fails_after_its_answer_is_retried_and_given_up() {
    let ended = "rtcab, rtcshared, rtcxds not moved after 4 attempts: the servers show that nothing happened";
    for (failing, attempts, seen, last) in [
        (1, 2, (Reason::Aligned, Service::Protected), (Outcome::Succeeded, "")),
        (4, 4, (Reason::MoveFailed, Service::Protected), (Outcome::Failed, ended)),
    ] {
        let mut reconciler = aligned(true).await;
        reconciler.command(set_pair(json!({"failoverAnswer": "failsLater"})));
        reconciler.want(Seat::Mirror);
        for attempt in 1..=failing {
            reconciler.until(Reason::Moving).await;
            assert_failovers(&reconciler, attempt, "sent");
            let plan = reconciler.pass().await;
            let text = r"Failing over User to the mirror SQL-B\RTC.";
            assert!(attempt == attempts || plan.verdict.message.contains(text), "{}", plan.verdict.message);
            if attempt < attempts {
                // Longer than each pause: only what the servers show delays the next attempt.
                reconciler.advance(PAUSE);
            }
        }
        reconciler.command(set_pair(json!({"failoverAnswer": "after"})));
        let plan = reconciler.until_plan("the end", |plan| plan.verdict.reason == seen.0).await;
        assert_plan(&plan, seen, &[last.1], "ended");
        assert_eq!(reconciler.last(), last);
        assert_failovers(&reconciler, attempts, "ended");
        // The guard refuses a statement that arrives while another one is at work.
        assert!(reconciler.outcomes().iter().all(|outcome| outcome == "done"), "{:?}", reconciler.outcomes());
    }
}

/// Whether server `a` shows this state for every database.
fn all_on_a(world: &World, state: u8) -> bool {
    DATABASES.iter().all(|name| world.row("a", name).is_some_and(|row| row.state == state))
}

/// How the operator stops waiting for the answer to a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gone {
    /// The process ends, and with it the connection.
    Process,
    /// The deadline of the statement passes. The connection stays open.
    Deadline,
}

/// Sends the statements of the move, and stops waiting for the answers while the servers are at work.
async fn leave_a_move(reconciler: &mut Reconciler, gone: Gone) {
    let steps = reconciler.plan().await.steps;
    assert_eq!(steps.len(), DATABASES.len());
    let target = reconciler.target_of(&steps);
    match gone {
        Gone::Deadline => {
            let answers = send(&target, &steps, Duration::ZERO).await;
            assert!(answers.iter().all(|answer| matches!(answer, Answer::Lost { .. })), "{answers:?}");
            reconciler.record(&steps, answers);
            reconciler.sim.until(|world| all_on_a(world, PENDING_FAILOVER)).await;
        }
        Gone::Process => {
            let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            process.spawn(async move { send(&target, &steps, HOUR).await });
            reconciler.sim.until(|world| all_on_a(world, PENDING_FAILOVER)).await;
            process.shutdown_background();
            reconciler.restart();
        }
    }
}

/// The move is left for four seconds of it. `attempts`: how often each statement is sent.
async fn end_a_move_that_was_left(setting: &str, gone: Gone, attempts: usize) {
    let what = format!("{setting} {gone:?}");
    let switch = |millis: u64| json!({"do": "setSwitchMillis", "pair": "user", "millis": millis});
    let mut reconciler = aligned(true).await;
    reconciler.command(set_pair(json!({"droppedClient": setting})));
    reconciler.command(switch(4_000));
    reconciler.want(Seat::Mirror);
    leave_a_move(&mut reconciler, gone).await;
    reconciler.command(switch(50));
    if attempts == 1 {
        let plan = reconciler.pass().await;
        assert_plan(&plan, (Reason::Verifying, Service::Unknown), &["Not settled yet: rtcab"], &what);
    } else {
        reconciler.sim.until(|world| all_on_a(world, SYNCHRONIZED)).await;
        let plan = reconciler.pass().await;
        let text = "Attempt 1 did not move rtcab, rtcshared, rtcxds and is retried.";
        assert_plan(&plan, (Reason::Verifying, Service::Protected), &[text], &what);
    }
    reconciler.advance(PAUSE);
    let plan = reconciler.until(Reason::Aligned).await;
    assert_eq!((reconciler.last().0, plan.observed), (Outcome::Succeeded, Seat::Mirror.into()), "{what}");
    assert_failovers(&reconciler, attempts, &what);
    assert_eq!(reconciler.sim.failovers().len(), DATABASES.len(), "{what}");
}

#[tokio::test]
async fn move_whose_client_is_gone_ends_with_each_database_moved_once() {
    let rows = [
        ("goesOn", Gone::Process, 1),
        ("cancels", Gone::Process, 2),
        ("goesOn", Gone::Deadline, 1),
        // The operator keeps the connection open, so that SQL Server has nothing to cancel.
        ("cancels", Gone::Deadline, 1),
    ];
    // On the heap: together they are larger than the stack of a test.
    join_all(rows.map(|(setting, gone, attempts)| Box::pin(end_a_move_that_was_left(setting, gone, attempts)))).await;
}
