//! The guarded failover of one database: the batch and the meaning of the response. The planner decides whether to
//! send it.

use std::time::Duration;

use tiberius::error::Error;
use tokio::time::{Instant, timeout};

use crate::model::{Act, Answer, DatabaseName, Failover, Unavailable};
use crate::sql::cleaned::{cleaned, cleaned_to};
use crate::sql::connector::Connector;
use crate::sql::error::{FATAL, numbered, unreadable};
use crate::sql::limits::Limits;
use crate::sql::session::Failure;
use crate::sql::{Deadlines, Session, Target, Unquotable, quote};

/// The error number of every `RAISERROR` with a text ("RAISERROR").
const RAISED: u32 = 50_000;
/// The error state that marks the error of the operator's own guard.
const GUARD: u8 = 77;
const GUARD_PREFIX: &str = "lync-mirror guard:";
/// The longest text of the guard, in characters: it contains names of the server.
const LONGEST_REFUSAL: usize = 1024;
/// "The remote server did not respond within the timeout": the statement may or may not have completed.
const NO_ANSWER_FROM_PARTNER: u32 = 1421;

/// The bare statement, for the status and the events ("ALTER DATABASE Database Mirroring").
pub fn statement(act: Act, database: &DatabaseName) -> String {
    render(act, database).unwrap_or_else(|e| format!("-- no statement for {:?}: {e}", database.as_str()))
}

fn render(act: Act, database: &DatabaseName) -> Result<String, Unquotable> {
    let option = match act {
        Act::Failover => "FAILOVER",
        Act::ForceService => "FORCE_SERVICE_ALLOW_DATA_LOSS",
    };
    Ok(format!("ALTER DATABASE {} SET PARTNER {option}", quote::identifier(database.as_str())?))
}

/// The batch that is sent: the statement behind a guard, which the server evaluates (docs/design/rules.md, rule 4). The
/// server runs the statement only if the database is still in the state of the plan.
///
/// # Errors
/// A name that no SQL Server can have.
pub fn batch(step: &Failover) -> Result<String, Unquotable> {
    let Failover { act, database, on: _, server, partner, guid, role_sequence } = step;
    let statement = render(*act, database)?;
    let database = quote::literal(database.as_str())?;
    let server = quote::literal(server)?;
    let partner = quote::literal(partner)?;
    // A failover needs a synchronized principal. A forced service needs a mirror without principal and without witness: a
    // session that was SUSPENDED may keep this state when the principal is lost ("Database Mirroring Operating Modes",
    // factors that affect the behavior on loss of the principal).
    let (condition, reported) = match act {
        Act::Failover => (
            "@role = 1 AND @state = 4 AND @safety = 2 AND @online = 0",
            "role %d (1), state %d (4), safety %d (2), database state %d (0), witness %s",
        ),
        Act::ForceService => (
            "@role = 2 AND (@state = 0 OR @state = 1) AND (@witness IS NULL OR @witness = N'')",
            "role %d (2), state %d (0 or 1), safety %d, database state %d, witness %s (none)",
        ),
    };
    Ok(format!(
        "SET NOCOUNT ON;
DECLARE @server nvarchar(128), @role int, @state int, @safety int, @sequence int, @online int, @witness nvarchar(128), @guid nvarchar(36), @partner nvarchar(128);
SET @server = CAST(SERVERPROPERTY('ServerName') AS nvarchar(128));
SELECT @role = m.mirroring_role, @state = m.mirroring_state, @safety = m.mirroring_safety_level, @sequence = m.mirroring_role_sequence, @online = d.state, @witness = m.mirroring_witness_name, @guid = CAST(m.mirroring_guid AS nvarchar(36)), @partner = m.mirroring_partner_instance
 FROM sys.databases AS d JOIN sys.database_mirroring AS m ON m.database_id = d.database_id
 WHERE d.name = {database};
IF DB_NAME() = N'master' AND @server = {server} AND {condition} AND @sequence = {role_sequence} AND @guid = N'{guid}' AND @partner = {partner}
 {statement}
ELSE
 RAISERROR (N'{GUARD_PREFIX} nothing was done; {reported}, role sequence %d (%d), server %s, partner %s, guid %s', 16, {GUARD}, @role, @state, @safety, @online, @witness, @sequence, {role_sequence}, @server, @partner, @guid);"
    ))
}

/// Opens `count` sessions of an instance without a monitor. `InstanceMonitors::connect_for_moves` is for the operator.
///
/// # Errors
/// The first connection that fails; the other sessions are closed.
pub async fn connect_for_moves(
    target: &Target,
    count: usize,
    deadlines: &Deadlines,
) -> Result<Vec<Session>, Unavailable> {
    Connector::new(target.clone(), *deadlines, Limits::default(), Duration::ZERO).open_all(count).await
}

/// The longest time for which the connection of a statement stays open without an answer.
const KEEP_OPEN: Duration = Duration::from_secs(24 * 3600);

/// Sends the guarded batch and waits for the response; consumes the session. After `Accepted` and after `Lost`, only a
/// poll shows the outcome: the statement may succeed and fail afterwards ("ALTER DATABASE Database Mirroring").
///
/// The deadline only ends the wait. The connection stays open until an answer or its own end, because no documentation
/// describes what SQL Server does with a running statement whose client disconnects.
pub async fn fail_over(session: Session, step: &Failover, deadline: Duration) -> Answer {
    let batch = match batch(step) {
        Ok(batch) => batch,
        Err(e) => {
            let detail = format!("Nothing was sent for {}: {e}.", step.database);
            return Answer::NotSent { detail, limited: false };
        }
    };
    let database = step.database.clone();
    let statement = tokio::spawn(async move {
        let started = Instant::now();
        let answer = match session.query(&batch, KEEP_OPEN).await {
            Ok(_) => Answer::Accepted,
            Err(failure) => interpret(&failure, KEEP_OPEN),
        };
        if started.elapsed() > deadline {
            tracing::info!(%database, ?answer, "statement answered after its deadline");
        }
        answer
    });
    match timeout(deadline, statement).await {
        Err(_) => interpret(&Failure::TimedOut, deadline),
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Answer::Lost { detail: "The operator ended before the server answered.".into() },
    }
}

fn interpret(failure: &Failure, deadline: Duration) -> Answer {
    match failure {
        Failure::TimedOut => Answer::Lost { detail: format!("The server did not answer within {deadline:?}.") },
        Failure::Tds(Error::Server(token)) => {
            let (number, text) = (token.code(), cleaned(token.message()));
            if number == RAISED && token.state() == GUARD && text.starts_with(GUARD_PREFIX) {
                Answer::GuardRefused { detail: cleaned_to(token.message(), LONGEST_REFUSAL) }
            } else if token.class() >= FATAL || number == NO_ANSWER_FROM_PARTNER {
                Answer::Lost { detail: format!("The server answered with {}.", numbered(number, &text)) }
            } else {
                Answer::Refused { number, detail: text }
            }
        }
        Failure::Unanswered | Failure::Tds(Error::Io { .. }) => {
            Answer::Lost { detail: "The connection broke before the server answered.".into() }
        }
        Failure::Invalid(what) => Answer::Lost { detail: format!("The answer could not be read: {what}.") },
        Failure::Tds(other) => Answer::Lost { detail: format!("The answer could not be read: {}.", unreadable(other)) },
        Failure::NoMemory { .. } => {
            Answer::Lost { detail: "The answer could not be read: the operator had no memory for it.".to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use tiberius::error::IoErrorKind;

    use super::*;
    use crate::model::{Guid, Seat};

    fn step(database: &str) -> Failover {
        Failover {
            act: Act::Failover,
            database: DatabaseName::new(database),
            on: Seat::Primary,
            server: "SQL-A\\RTC".into(),
            partner: "SQL-B\\RTC".into(),
            guid: Guid::from_bytes([0xab; 16]),
            role_sequence: 7,
        }
    }

    #[test]
    fn statement_renders_the_bare_text() {
        let rendered = |act| statement(act, &DatabaseName::new("rtcxds"));
        assert_eq!(rendered(Act::Failover), "ALTER DATABASE [rtcxds] SET PARTNER FAILOVER");
        assert_eq!(rendered(Act::ForceService), "ALTER DATABASE [rtcxds] SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS");
    }

    #[test]
    fn batch_with_hostile_names_keeps_the_delimiters() {
        let text = batch(&step("a]; DROP DATABASE [x]--'é𝕏")).unwrap();
        assert!(text.contains("ALTER DATABASE [a]]; DROP DATABASE [x]]--'é𝕏] SET PARTNER FAILOVER\n"), "{text}");
        assert!(text.contains("WHERE d.name = N'a]; DROP DATABASE [x]--''é𝕏';"), "{text}");
        let hostile = Failover { server: "x' OR 1=1 --".into(), partner: "y''z".into(), ..step("rtcxds") };
        let text = batch(&hostile).unwrap();
        assert!(text.contains("@server = N'x'' OR 1=1 --' AND"), "{text}");
        assert!(text.contains("@partner = N'y''''z'\n"), "{text}");
        assert!(batch(&step(&"]".repeat(128))).is_ok());
    }

    #[test]
    fn batch_with_an_invalid_name_is_rejected() {
        assert_eq!(batch(&step("a\0b")), Err(Unquotable::Nul));
        assert_eq!(batch(&step(&"x".repeat(129))), Err(Unquotable::TooLong));
        assert_eq!(batch(&Failover { partner: String::new(), ..step("rtcxds") }), Err(Unquotable::Empty));
        assert!(statement(Act::Failover, &DatabaseName::new("x".repeat(129))).starts_with("-- no statement"));
        assert!(!statement(Act::Failover, &DatabaseName::new("a\0b")).contains('\0'));
    }

    #[test]
    fn interpret_without_a_known_outcome_is_lost() {
        let deadline = Duration::from_secs(300);
        let lost = |failure| matches!(interpret(&failure, deadline), Answer::Lost { .. });
        assert!(lost(Failure::TimedOut));
        assert!(lost(Failure::Tds(Error::Io { kind: IoErrorKind::UnexpectedEof, message: "eof".into() })));
        assert!(lost(Failure::Tds(Error::Protocol("nonsense".into()))));
        assert!(lost(Failure::Tds(Error::Utf16)));
    }
}
