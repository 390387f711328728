//! `history` at 80 and at 200 columns, and one move.

use expect_test::expect;

use super::*;
use crate::cli::fixtures::Passes;
use crate::cli::output;

fn moved() -> Pool {
    let moving = Passes::new().pass("P/4/C", "M/4/C").want("Mirror").pass("P/4/C", "M/4/C");
    moving.after(1).pass("M/4/C/8", "P/4/C/8").pool()
}

#[test]
fn history_of_a_move() {
    let pool = moved();
    expect![[r#"
        pool01.contoso.com (lync/pool01)
        MOVE    : 1
        ENDED   : 1970-01-01T00:00:01Z
        TYPE    : User
        FROM    : SQL-PRIMARY\RTC
        TO      : SQL-MIRROR\RTC
        CAUSE   : Intent
        OUTCOME : Succeeded
        TOOK    : 0.8 s
        VIA     :
        SPEC    : generation 2

        pool01.contoso.com (lync/pool01)
        MOVE  ENDED                 TYPE  FROM             TO              CAUSE   OUTCOME    TOOK   VIA  SPEC
        1     1970-01-01T00:00:01Z  User  SQL-PRIMARY\RTC  SQL-MIRROR\RTC  Intent  Succeeded  0.8 s       generation 2
    "#]]
    .assert_eq(&[80, 200].map(|width| render(&pool, Some(width))).join("\n"));
    expect![[r#"
        User from SQL-PRIMARY\RTC to SQL-MIRROR\RTC: Succeeded
        Started 1970-01-01T00:00:00Z, ended 1970-01-01T00:00:01Z, attempts: 1, 0.8 s.
        Generation 2 of the spec wants the principal of User on the mirror.

        rtcxds
          before: primary Principal Synchronized #7, mirror Mirror Synchronized #7
          sent: ALTER DATABASE [rtcxds] SET PARTNER FAILOVER
          after: primary Mirror Synchronized #8, mirror Principal Synchronized #8

        rtcshared
          before: primary Principal Synchronized #7, mirror Mirror Synchronized #7
          sent: ALTER DATABASE [rtcshared] SET PARTNER FAILOVER
          after: primary Mirror Synchronized #8, mirror Principal Synchronized #8

        rtcab
          before: primary Principal Synchronized #7, mirror Mirror Synchronized #7
          sent: ALTER DATABASE [rtcab] SET PARTNER FAILOVER
          after: primary Mirror Synchronized #8, mirror Principal Synchronized #8
    "#]]
    .assert_eq(&one(&pool.status.history[0], None));
    expect![[r#"
        PoolFqdn,Namespace,Name,Number,DatabaseType,From,To,Cause,Outcome,StartedAt,EndedAt,StatementMillis,Attempts,Generation,RequestedVia,Why,Detail
        pool01.contoso.com,lync,pool01,1,User,SQL-PRIMARY\RTC,SQL-MIRROR\RTC,Intent,Succeeded,1970-01-01T00:00:00Z,1970-01-01T00:00:01Z,812,1,2,,Generation 2 of the spec wants the principal of User on the mirror.,
    "#]].assert_eq(&output::csv(&rows(&pool)).unwrap());
}

#[test]
fn history_without_a_move() {
    assert_eq!(
        render(&Passes::new().pass("P/4/C", "M/4/C").pool(), None),
        "pool01.contoso.com (lync/pool01): the operator has made no move.\n"
    );
}
