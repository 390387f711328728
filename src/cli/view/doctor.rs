//! The checks of `doctor`: everything that the fresh poll found, in the words of the operator. Pure.

use serde::Serialize;

use crate::api::{DatabaseTypeStatus, LyncPoolMirrorStatus, ServerStatus};
use crate::cli::exit::Exit;
use crate::cli::view::text;
use crate::controller::StoreCredentials;
use crate::model::{Effect, Reason, Unavailable};

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Result {
    Ok,
    /// The operator continues without an administrator.
    Waits,
    Fail,
    /// It could not be checked, because something else failed or the caller may not.
    NotKnown,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub area: String,
    pub result: Result,
    pub text: String,
    #[serde(skip)]
    pub exit: Exit,
}

impl Check {
    pub fn new(area: impl Into<String>, result: Result, text: impl Into<String>) -> Check {
        let exit = match result {
            Result::Ok => Exit::AsWanted,
            Result::Waits => Exit::OnItsWay,
            Result::Fail => Exit::ActionNeeded,
            Result::NotKnown => Exit::NotKnown,
        };
        Check { area: area.into(), result, text: text.into(), exit }
    }
}

/// The login and the CA bundle of each store.
pub fn credentials(all: &[StoreCredentials]) -> Vec<Check> {
    let area = |name: &str, label: &str| if label.is_empty() { name.to_owned() } else { format!("{label} {name}") };
    let check = |area: String, read: &std::result::Result<(), Unavailable>| match read {
        Ok(()) => Check::new(area, Result::Ok, "can be read"),
        Err(unavailable) => Check::new(area, Result::Fail, unavailable.detail.clone()),
    };
    let of = |store: &StoreCredentials| {
        [check(area("login", &store.label), &store.login), check(area("tls", &store.label), &store.tls)]
    };
    all.iter().flat_map(of).collect()
}

/// What the status of a fresh poll shows.
pub fn status(status: &LyncPoolMirrorStatus, credentials: &[StoreCredentials]) -> Vec<Check> {
    let mut checks: Vec<Check> =
        status.spec_problems.iter().map(|problem| Check::new("spec", Result::Fail, problem.clone())).collect();
    if checks.is_empty() {
        checks.push(Check::new("spec", Result::Ok, "no problem"));
    }
    checks.extend(self::credentials(credentials));
    let unread = credentials.iter().any(|store| store.login.is_err() || store.tls.is_err());
    checks.extend(status.servers.iter().map(|server| of_server(server, unread)));
    checks.extend(status.database_types.iter().map(|of| of_type(of, unread)));
    for kind in ["QuorumAtRisk", "WeakEncryption", "CredentialsStale"] {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True");
        checks.extend(found.map(|found| Check::new(kind, Result::Fail, found.message.clone())));
    }
    checks
}

fn of_type(of: &DatabaseTypeStatus, unread: bool) -> Check {
    let reason = of.reason.parse::<Reason>();
    let exit = reason.map_or(Exit::NotKnown, |reason| Exit::of(of.service, reason));
    let result = match exit {
        Exit::AsWanted => Result::Ok,
        Exit::OnItsWay => Result::Waits,
        // The credentials are the fault, and the databases were not read.
        _ if unread => Result::NotKnown,
        Exit::NotKnown if reason.map(Reason::effect) != Ok(Effect::Stalled) => Result::NotKnown,
        Exit::ActionNeeded | Exit::NotKnown | Exit::NotServed => Result::Fail,
    };
    Check { exit, ..Check::new(of.type_.to_string(), result, of.message.clone()) }
}

/// `unread`: without its login or its TLS policy, no connection was made.
fn of_server(server: &ServerStatus, unread: bool) -> Check {
    let name = server.name.as_deref().unwrap_or(&server.address);
    match (&server.message, server.reachable) {
        (None, true) => {
            let version = server.version.as_deref().unwrap_or_default();
            Check::new(server.seat.clone(), Result::Ok, format!("{name} ({}) {version}", server.address))
        }
        (message, _) => {
            let result = if unread { Result::NotKnown } else { Result::Fail };
            Check::new(server.seat.clone(), result, message.clone().unwrap_or_else(|| name.to_owned()))
        }
    }
}

pub fn exit(checks: &[Check]) -> Exit {
    checks.iter().map(|check| check.exit).max().unwrap_or(Exit::NotKnown)
}

pub fn render(checks: &[Check], width: Option<usize>) -> String {
    let longest = checks.iter().map(|check| check.area.chars().count()).max().unwrap_or_default();
    let line = |check: &Check| {
        let result = match check.result {
            Result::Ok => "ok  ",
            Result::Waits => "wait",
            Result::Fail => "FAIL",
            Result::NotKnown => "?   ",
        };
        let head = format!("{:longest$}  {result}  ", check.area);
        let indent = head.chars().count();
        let body = text::paragraph(&check.text, indent, width);
        format!("{head}{}", body.get(indent..).unwrap_or_default())
    };
    let count = |result| checks.iter().filter(|check| check.result == result).count();
    let [ok, waiting, failed, unknown] = [Result::Ok, Result::Waits, Result::Fail, Result::NotKnown].map(count);
    let waiting = if waiting == 0 { String::new() } else { format!("{waiting} waiting, ") };
    let lines: String = checks.iter().map(line).collect();
    format!("{lines}{ok} ok, {waiting}{failed} to fix, {unknown} not known.\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::cli::fixtures::Passes;
    use crate::model::UnavailableCause;

    fn store(login: std::result::Result<(), Unavailable>) -> Vec<StoreCredentials> {
        vec![StoreCredentials { label: String::new(), login, tls: Ok(()) }]
    }

    #[test]
    fn doctor_ends_as_the_worst_check() {
        let of = |passes: &Passes| status(&passes.pool().status, &store(Ok(())));
        let waits = Passes::new().pass("P/4/C", "M/4/C").want("Mirror").pass("P/2/C", "M/2/C");
        let checks = of(&waits);
        assert_eq!(exit(&checks), Exit::OnItsWay);
        assert!(render(&checks, None).contains("User     wait  "), "{}", render(&checks, None));
        assert!(render(&checks, None).ends_with("1 waiting, 0 to fix, 0 not known.\n"));
        let mut lost = Passes::new().pass("P/4/-", "M/4/-").pass("away", "M/1/-").pool();
        lost.status.database_types[0].service = crate::model::Service::NotServed;
        assert_eq!(exit(&status(&lost.status, &store(Ok(())))), Exit::NotServed);
        let away = Passes::new().pass("P/4/C", "M/4/C").pass("away", "away");
        assert_eq!(exit(&of(&away)), Exit::NotKnown);
    }

    #[test]
    fn doctor_of_each_part_of_a_status() {
        let away = Passes::new().pass("P/4/C", "M/4/C").pass("P/1/C", "away").pool();
        let checks = status(&away.status, &store(Ok(())));
        assert_eq!(exit(&checks), Exit::ActionNeeded);
        expect![[r#"
            spec          ok    no problem
            login         ok    can be read
            tls           ok    can be read
            Primary       ok    SQL-PRIMARY\RTC (sql-primary\RTC) 11.0.7001.0
            Mirror        FAIL  sql-mirror refuses connections.
            User          FAIL  Exposed. rtcxds, rtcshared, rtcab: the operator does not see the mirror
                                sql-mirror\RTC, and the primary SQL-PRIMARY\RTC is principal, DISCONNECTED
                                with mirror SQL-MIRROR\RTC. sql-mirror refuses connections. To fix: check SQL
                                Server there, or correct the port. While this lasts, the log of the principal
                                cannot be truncated. Polls of the mirror sql-mirror\RTC have failed since
                                1970-01-01T00:00:00Z.
            QuorumAtRisk  FAIL  rtcab, rtcshared, rtcxds: the principal runs without its partner. If the
                                witness is lost too, the database stops.
            4 ok, 3 to fix, 0 not known.
        "#]]
        .assert_eq(&render(&checks, Some(100)));
        let healthy = Passes::new().pass("P/4/C", "M/4/C").pool();
        assert_eq!(exit(&status(&healthy.status, &store(Ok(())))), Exit::AsWanted);
        let unavailable = Unavailable {
            cause: UnavailableCause::SecretNotFound,
            detail: "Secret lync/sql does not exist. To fix: create it.".to_owned(),
        };
        let unread = Passes::new().pass("away", "away").pool();
        expect![[r#"
            spec     ok    no problem
            login    FAIL  Secret lync/sql does not exist. To fix: create it.
            tls      ok    can be read
            Primary  ?     sql-primary refuses connections.
            Mirror   ?     sql-mirror refuses connections.
            User     ?     Unknown. rtcxds, rtcshared, rtcab: the operator does not see the primary sql-primary\RTC. sql-primary refuses connections. It does not see the mirror sql-mirror\RTC either. sql-mirror refuses connections. To fix: if a Front End reaches neither, users have no service: start both. Polls of the primary sql-primary\RTC have failed since 1970-01-01T00:00:00Z. Polls of the mirror sql-mirror\RTC have failed since 1970-01-01T00:00:00Z.
            2 ok, 1 to fix, 3 not known.
        "#]].assert_eq(&render(&status(&unread.status, &store(Err(unavailable))), None));
    }
}
