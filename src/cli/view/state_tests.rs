//! `state` of each scenario, at 80 and at 200 columns, as tables and as rows.

use expect_test::{ExpectFile, expect, expect_file};

use super::*;
use crate::cli::fixtures::Passes;
use crate::cli::output;
use crate::cli::view::{overview, rows};

fn style(width: Option<usize>, now: Timestamp) -> Style<'static> {
    Style { wide: false, width, program: "kubectl lyncmirror", now }
}

/// Without colours, as in a pipe.
fn plain(passes: &Passes, operator: Option<&Operator>, style: Style) -> String {
    anstream::adapter::strip_str(&render(&passes.pool(), operator, style)).to_string()
}

fn check(passes: &Passes, expected: &ExpectFile) {
    let both =
        [80, 200].map(|width| format!("== {width} columns\n{}", plain(passes, None, style(Some(width), passes.now))));
    expected.assert_eq(&both.join("\n"));
}

fn healthy() -> Passes {
    Passes::new().pass("P/4/C", "M/4/C")
}

#[test]
fn state_of_an_aligned_pool() {
    check(&healthy(), &expect_file!["golden/aligned.txt"]);
}

#[test]
fn state_after_an_automatic_failover() {
    check(&healthy().pass("away", "P/1/C"), &expect_file!["golden/mirror-is-principal.txt"]);
    check(&healthy().pass("away", "P/1/C").pass("M/4/C/8", "P/4/C/8"), &expect_file!["golden/held.txt"]);
}

#[test]
fn state_during_a_move() {
    check(&healthy().want("Mirror").pass("P/4/C", "M/4/C"), &expect_file!["golden/moving.txt"]);
}

#[test]
fn state_of_split_roles() {
    let split = healthy().pass_with([["P/4/C", "M/4/C"], ["P/4/C", "M/4/C"], ["M/4/C/8", "P/4/C/8"]]);
    check(
        &split.after(600).pass_with([["P/4/C", "M/4/C"], ["P/4/C", "M/4/C"], ["M/4/C/8", "P/4/C/8"]]),
        &expect_file!["golden/split.txt"],
    );
}

#[test]
fn state_of_a_suspended_pool_and_of_a_problem_in_the_spec() {
    let suspended = healthy().edit(|spec| spec["suspend"] = serde_json::json!({"reason": "SQL patching"}));
    check(&suspended.pass("P/4/C", "M/4/C"), &expect_file!["golden/suspended.txt"]);
    let invalid = healthy().edit(|spec| spec["policy"]["cooldown"] = serde_json::json!("721h"));
    check(&invalid.pass("P/4/C", "M/4/C"), &expect_file!["golden/invalid-spec.txt"]);
}

#[test]
fn state_that_can_be_old_shows_why() {
    let passes = healthy().want("Mirror");
    let operator = Operator {
        holder: Some("lync-mirror-7da98056".to_owned()),
        renewed: passes.now,
        expires: crate::plan::tests::after(15),
    };
    let fresh = plain(&passes, Some(&operator), style(None, crate::plan::tests::after(3)));
    let silent = plain(&passes, Some(&operator), style(None, crate::plan::tests::after(16)));
    let stopped = Operator { holder: None, ..operator.clone() };
    let stopped = plain(&passes, Some(&stopped), style(None, crate::plan::tests::after(3)));
    let old = plain(&passes, None, style(None, crate::plan::tests::after(721)));
    assert!(!passes.pool().is_old(crate::plan::tests::after(720)));
    let empty = plain(&Passes::new(), None, style(None, passes.now));
    let first = |text: &str| text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
    expect![[r#"
        pool01.contoso.com (lync/pool01): PROTECTED, on its way
          The operator has not processed generation 2 of the spec yet: this is the state for generation 1.
          Operator lync-mirror-7da98056 renewed its lease 3s ago.

        pool01.contoso.com (lync/pool01): PROTECTED, on its way
          The operator has not processed generation 2 of the spec yet: this is the state for generation 1.
          The operator lync-mirror-7da98056 has not renewed its lease since 1970-01-01T00:00:00Z: the state can be older than it seems. To fix: check the Pods of the operator.

        pool01.contoso.com (lync/pool01): PROTECTED, on its way
          The operator has not processed generation 2 of the spec yet: this is the state for generation 1.
          No operator has held the lease since 1970-01-01T00:00:00Z: the state can be older than it seems. To fix: check the Pods of the operator.

        pool01.contoso.com (lync/pool01): PROTECTED, the state is not known
          The operator has not processed generation 2 of the spec yet: this is the state for generation 1.
          The operator last confirmed this state at 1970-01-01T00:00:00Z: it shows the past. To fix: check that the operator runs and reaches the API server.

        pool01.contoso.com (lync/pool01): UNKNOWN, the state is not known
          No operator has published a status yet. To fix: check that the operator runs and watches this namespace.
    "#]].assert_eq(&[fresh, silent, stopped, old, empty].map(|text| first(&text)).join("\n"));
}

/// The state, the reason and the exit code of each row of the truth table.
#[test]
fn state_and_exit_code_of_each_scenario() {
    #[rustfmt::skip]
    let table = [
        ("S1 healthy", "P/4/C", "M/4/C"), ("S2 without a witness", "P/4/-", "M/4/-"), ("S3 catching up", "P/2/C", "M/2/C"),
        ("S4 failover running", "P/3/C", "M/4/C"), ("S5 just after", "M/2/C/8", "P/2/C/8"), ("S6 mirror lost", "P/1/C", "away"),
        ("S8 no quorum", "P/1/D/r", "away"), ("S9 automatic failover", "away", "P/1/C/8"),
        ("S10 old principal back", "M/4/C/8", "P/4/C/8"), ("S11 principal lost", "away", "M/1/-"),
        ("S12 principal and witness lost", "away", "M/1/D"), ("S14 forced service", "away", "P/0/-/8"),
        ("S15 back after forced service", "M/0/-/8", "P/0/-/8"), ("S17 paused", "P/0/C", "M/0/C"),
        ("S19 witness lost", "P/4/D", "M/4/D"), ("S20 link cut", "P/1/C", "M/1/C"), ("S22 split brain", "P/1/-", "P/1/-/8"),
        ("S24 both lost", "away", "away"), ("S25 not mirrored", "NULL", "NULL"),
    ];
    let lines = table.map(|(scenario, a, b)| {
        let passes = Passes::new().pass("P/4/C", "M/4/C").pass(a, b);
        let number = scenario.split(' ').next().unwrap_or_default();
        check(&passes, &expect_file![format!("golden/{number}.txt")]);
        let pool = passes.pool();
        let of = &pool.status.database_types[0];
        format!("{}  {scenario}: {}, {}\n", pool.exit(passes.now).code(), of.service, of.reason)
    });
    expect![[r#"
        0  S1 healthy: Protected, Aligned
        0  S2 without a witness: Protected, Aligned
        1  S3 catching up: Exposed, Synchronizing
        1  S4 failover running: Unknown, FailoverInProgress
        2  S5 just after: Exposed, UnexpectedPrincipal
        2  S6 mirror lost: Exposed, ConnectionRefused
        4  S8 no quorum: Unknown, NoQuorum
        2  S9 automatic failover: Exposed, UnexpectedPrincipal
        2  S10 old principal back: Protected, UnexpectedPrincipal
        4  S11 principal lost: Unknown, PrincipalLost
        4  S12 principal and witness lost: Unknown, NoQuorum
        2  S14 forced service: Exposed, UnexpectedPrincipal
        2  S15 back after forced service: Exposed, UnexpectedPrincipal
        2  S17 paused: Exposed, MirroringSuspended
        2  S19 witness lost: Exposed, Aligned
        2  S20 link cut: Exposed, PartnersDisconnected
        2  S22 split brain: Exposed, TwoPrincipals
        4  S24 both lost: Unknown, ConnectionRefused
        2  S25 not mirrored: Exposed, NotMirrored
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn rows_for_scripts_have_the_columns_of_the_cmdlet_first() {
    let pool = healthy().pass("away", "P/1/C").pool();
    expect![[r#"
        PoolFqdn,DatabaseType,DatabaseName,StateOnPrimary,StateOnMirror,MirroringStatusOnPrimary,MirroringStatusOnMirror,Namespace,Name,Wanted,WantedServer,Principal,PrincipalServer,Service,Reason,Safety,Witness,RedoQueue,DatabaseReason,Epoch
        pool01.contoso.com,User,rtcxds,DatabaseInaccessibleOrMirroringNotEnabled,Principal,,Disconnected,lync,pool01,Primary,SQL-PRIMARY\RTC,Mirror,SQL-MIRROR\RTC,Exposed,UnexpectedPrincipal,Full,Connected,,ConnectionRefused,21-1c1e
        pool01.contoso.com,User,rtcshared,DatabaseInaccessibleOrMirroringNotEnabled,Principal,,Disconnected,lync,pool01,Primary,SQL-PRIMARY\RTC,Mirror,SQL-MIRROR\RTC,Exposed,UnexpectedPrincipal,Full,Connected,,ConnectionRefused,21-1c1e
        pool01.contoso.com,User,rtcab,DatabaseInaccessibleOrMirroringNotEnabled,Principal,,Disconnected,lync,pool01,Primary,SQL-PRIMARY\RTC,Mirror,SQL-MIRROR\RTC,Exposed,UnexpectedPrincipal,Full,Connected,,ConnectionRefused,21-1c1e
    "#]].assert_eq(&output::csv(&rows::rows(&pool)).unwrap());
    let json = serde_json::to_value(rows::document(&pool, crate::plan::tests::NOW)).unwrap();
    assert_eq!(
        (&json["exitCode"], &json["state"], &json["name"]),
        (&2.into(), &"ActionNeeded".into(), &"pool01".into())
    );
    assert_eq!(json["status"]["principals"], "User=Mirror!");
    assert!(output::yaml(&[rows::document(&pool, crate::plan::tests::NOW)]).unwrap().contains("exitCode: 2\n"));
}

#[test]
fn overview_of_several_pools_has_a_line_each() {
    let pools = [healthy().pool(), healthy().pass("away", "P/1/C").pool()];
    expect![[r#"
        NAMESPACE  NAME    POOL                SERVICE    PRINCIPALS    REASON               STATE
        lync       pool01  pool01.contoso.com  Protected  User=Primary  Aligned              as the spec wants it
        lync       pool01  pool01.contoso.com  Exposed    User=Mirror!  UnexpectedPrincipal  an administrator has to act
    "#]]
    .assert_eq(&overview::render(&pools, false, Some(200), crate::plan::tests::NOW));
    expect![[r#"
        NAMESPACE  NAME    POOL                SERVICE    PRINCIPALS    REASON               STATE                        MESSAGE
        lync       pool01  pool01.contoso.com  Protected  User=Primary  Aligned              as the spec wants it         Protected. Every principal is where the spec wants it, synchronized.
        lync       pool01  pool01.contoso.com  Exposed    User=Mirror!  UnexpectedPrincipal  an administrator has to act  Exposed. User: SQL-MIRROR\RTC is principal, and sql-primary\RTC refuses connections. To fix: bring sql-primary\RTC back, then set principal: Mirror to keep it.
    "#]].assert_eq(&overview::render(&pools, true, None, crate::plan::tests::NOW));
}
