//! Statements that change the session: SET options, USE, transactions; and statements that only the engine executes.

use super::batch::{Batch, single, table_events};
use super::engine::{Engine, SessionOptions};
use super::evaluate::error;
use super::syntax::{Expr, SessionStatement};
use super::values::{as_integer, cast};
use crate::value::{Event, Message, SqlType};

impl Batch {
    pub(super) fn execute_in_session<E: Engine>(
        &mut self,
        engine: &mut E,
        session: u64,
        statement: SessionStatement,
    ) -> Result<Vec<Event>, Vec<Message>> {
        match statement {
            SessionStatement::NoCount(on) => change_options(engine, session, |options| options.no_count = on),
            SessionStatement::ImplicitTransactions(on) => {
                change_options(engine, session, |options| options.implicit_transactions = on);
            }
            SessionStatement::LockTimeout(period) => self.lock_timeout(engine, session, &period).map_err(single)?,
            SessionStatement::Use(name) => return use_database(engine, session, &name).map_err(single),
            SessionStatement::Transaction(change) => {
                change_transactions(engine, session, change).map_err(single)?;
                return Ok(vec![Event::Done { rows: None }]);
            }
            SessionStatement::Administer(statement) => {
                engine.administer(session, &statement)?;
                return Ok(vec![Event::Done { rows: None }]);
            }
            SessionStatement::Report(report) => {
                return Ok(table_events(engine.report(session, &report).map_err(single)?));
            }
            SessionStatement::Checkpoint => {
                engine.checkpoint(session).map_err(single)?;
                return Ok(vec![Event::Done { rows: None }]);
            }
        }
        Ok(Vec::new())
    }

    fn lock_timeout<E: Engine>(&self, engine: &mut E, session: u64, period: &Expr) -> Result<(), Message> {
        let value = cast(self.evaluate(engine, session, period)?, SqlType::Int)?;
        // SQL Server treats every negative period as -1.
        let lock_timeout = as_integer(&value).unwrap_or(-1).max(-1);
        change_options(engine, session, |options| options.lock_timeout = lock_timeout);
        Ok(())
    }
}

pub(super) fn change_options<E: Engine>(engine: &mut E, session: u64, change: impl FnOnce(&mut SessionOptions)) {
    let mut options = engine.options(session);
    change(&mut options);
    engine.set_options(session, options);
}

/// Whether ALTER DATABASE would run inside a transaction.
pub(super) fn in_transaction<E: Engine>(engine: &E, session: u64) -> bool {
    let options = engine.options(session);
    options.transactions > 0 || options.implicit_transactions
}

/// +1 begins, -1 commits, 0 rolls back.
fn change_transactions<E: Engine>(engine: &mut E, session: u64, change: i32) -> Result<(), Message> {
    let open = engine.options(session).transactions;
    match change {
        -1 if open == 0 => {
            return Err(error(3902, 16, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."));
        }
        0 if open == 0 => {
            return Err(error(3903, 16, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."));
        }
        _ => {}
    }
    let transactions = if change == 0 { 0 } else { open + i64::from(change) };
    change_options(engine, session, |options| options.transactions = transactions);
    Ok(())
}

fn use_database<E: Engine>(engine: &mut E, session: u64, name: &str) -> Result<Vec<Event>, Message> {
    let old = engine.database(session);
    engine.use_database(session, name)?;
    let new = engine.database(session);
    let text = format!("Changed database context to '{new}'.");
    let info = Message { number: 5701, state: 2, class: 0, text, line: 1 };
    Ok(vec![Event::Database { old, new }, Event::Message(info), Event::Done { rows: None }])
}
