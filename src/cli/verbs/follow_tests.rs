//! The progress of a request, status after status.

use expect_test::expect;

use super::*;
use crate::cli::fixtures::Passes;

const TO_MIRROR: [(DatabaseType, Seat); 1] = [(DatabaseType::User, Seat::Mirror)];

/// The lines and the stand after each pass.
fn followed(start: Passes, passes: &[[[&str; 2]; 3]]) -> String {
    let mut follow = Follow::new(&start.pool(), &TO_MIRROR);
    let mut text = String::new();
    let mut at = start;
    for rows in passes {
        at = at.after(1).pass_with(*rows);
        text.push_str(&follow.observe(&at.pool()).iter().map(|line| format!("{line}\n")).collect::<String>());
        text.push_str(&format!("-> {:?}\n", follow.stand()));
    }
    text
}

fn healthy() -> Passes {
    Passes::new().pass("P/4/C", "M/4/C")
}

#[test]
fn follow_a_move_prints_each_database_and_the_end() {
    let (there, here) = (["M/4/C/8", "P/4/C/8"], ["P/4/C", "M/4/C"]);
    let passes = [[here; 3], [here, here, there], [there, here, there], [there; 3]];
    expect![[r#"
        User: Moving. Protected. Failing over User to the mirror SQL-MIRROR\RTC: rtcxds, rtcshared, rtcab.
        -> Open
        User: rtcab is on SQL-MIRROR\RTC
        User: Moving. Protected. Failing over User to the mirror SQL-MIRROR\RTC. Attempt 2 for rtcxds, rtcshared. Cause: the servers show that nothing happened.
        -> Open
        User: rtcxds is on SQL-MIRROR\RTC
        User: Verifying. Protected. Failing over User to the mirror SQL-MIRROR\RTC. Attempt 2 did not move rtcshared and is retried. Cause: the servers show that nothing happened.
        -> Open
        User: rtcshared is on SQL-MIRROR\RTC
        User: the principal is on SQL-MIRROR\RTC, moved in 0.8 s. Protected. The principal of User is on the mirror SQL-MIRROR\RTC.
        -> Ended(AsWanted)
    "#]].assert_eq(&followed(healthy().want("Mirror"), &passes));
}

#[test]
fn follow_a_move_that_an_obstacle_holds_is_stalled_until_it_is_gone() {
    let passes = [[["P/0/C", "M/0/C"]; 3], [["P/2/C", "M/2/C"]; 3]];
    expect![[r#"
        User: MirroringSuspended. Exposed. User will fail over to the mirror SQL-MIRROR\RTC once the obstacle is gone. rtcxds, rtcshared, rtcab: mirroring is SUSPENDED, e.g. by an administrator, by an error or after a forced service. To fix: find the cause in the error logs of both servers, and run nothing before you have read docs/reasons/MirroringSuspended.md, as RESUME after a forced service destroys what the old principal had not sent. The operator first read this state at 1970-01-01T00:00:01Z. While this lasts, the log of the principal cannot be truncated.
        -> Stalled(ActionNeeded)
        User: Synchronizing. Exposed. User will fail over to the mirror SQL-MIRROR\RTC once the obstacle is gone. rtcxds, rtcshared, rtcab: SYNCHRONIZING, the mirror is catching up.
        -> Open
    "#]].assert_eq(&followed(healthy().want("Mirror"), &passes));
}

/// The principal is there, and a further loss would stop it.
#[test]
fn follow_of_an_exposed_end_is_not_as_wanted() {
    let passes = [[["P/4/C", "M/4/C"]; 3], [["M/4/D/8", "P/4/D/8"]; 3], [["M/4/C/8", "P/4/C/8"]; 3]];
    let text = followed(healthy().want("Mirror"), &passes);
    let stands: Vec<&str> = text.lines().filter(|line| line.starts_with("-> ")).collect();
    assert_eq!(stands, ["-> Open", "-> Stalled(ActionNeeded)", "-> Ended(AsWanted)"], "{text}");
}

#[test]
fn follow_ignores_the_status_of_the_former_generation() {
    let before = healthy();
    let written = healthy().want("Mirror");
    let mut follow = Follow::new(&written.pool(), &TO_MIRROR);
    assert_eq!(follow.observe(&before.pool()), [""; 0]);
    assert_eq!(follow.stand(), Stand::Open);
}

#[test]
fn follow_ends_if_another_change_replaces_the_request() {
    let replaced = healthy().want("Mirror");
    let mut follow = Follow::new(&replaced.pool(), &TO_MIRROR);
    follow.observe(&replaced.want("Primary").pass("P/4/C", "M/4/C").pool());
    assert_eq!(follow.stand(), Stand::Ended(Exit::ActionNeeded));
}
