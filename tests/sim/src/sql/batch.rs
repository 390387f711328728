//! A running batch: executes statements in order, with waits between them.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use super::engine::{AlterOutcome, Engine, Table};
use super::evaluate::{Scope, error, evaluate, evaluate_condition, text};
use super::parse::parse;
use super::query;
use super::session_statement::{change_options, in_transaction};
use super::syntax::{Expr, Item, Select, Statement};
use super::types;
use super::values::{as_text, cast};
use crate::value::{Event, Message, Parameter, SqlType, Step, Value};

/// A batch of one session. The caller calls `step` until the batch has ended.
#[derive(Debug)]
pub struct Batch {
    text: String,
    unparsed: bool,
    queue: VecDeque<Statement>,
    variables: BTreeMap<String, (SqlType, Value)>,
    globals: BTreeMap<&'static str, i64>,
    /// The line of the running statement.
    line: u32,
    comparisons: Cell<u64>,
    waiting: Option<Waiting>,
}

/// What the batch waits for.
#[derive(Debug)]
enum Waiting {
    /// The failover with this id ends.
    Failover(u64),
    /// The clock reaches this time, in milliseconds.
    Until(i64),
    /// The lock of another session on the catalog ends. `deadline` follows from LOCK_TIMEOUT.
    Lock { select: Box<Select>, deadline: Option<i64> },
}

/// The result of one statement.
enum StatementResult {
    Events(Vec<Event>),
    Wait(Waiting),
    /// RETURN: the batch ends here.
    Return,
}

impl Batch {
    /// `parameters` are those of `sp_executesql`, with or without `@`. The first step reports a syntax error.
    pub fn new(text: &str, parameters: Vec<Parameter>) -> Batch {
        let variable = |parameter: Parameter| {
            let ty = types::of_parameter(&parameter);
            (parameter.name.trim_start_matches('@').to_owned(), (ty, parameter.value))
        };
        let variables = parameters.into_iter().map(variable).collect();
        Batch {
            text: text.to_owned(),
            unparsed: true,
            queue: VecDeque::new(),
            variables,
            globals: BTreeMap::from([("rowcount", 0), ("error", 0)]),
            line: 1,
            comparisons: Cell::new(0),
            waiting: None,
        }
    }

    /// Executes statements until a statement waits, or to the end of the batch.
    pub fn step(&mut self, engine: &mut impl Engine, session: u64) -> Step {
        if std::mem::take(&mut self.unparsed)
            && let Err(message) = self.parse(engine, session)
        {
            return Step::Finished(vec![Event::Message(message)]);
        }
        let mut events = Vec::new();
        if let Some(waiting) = self.waiting.take() {
            let result = match &waiting {
                Waiting::Lock { select, deadline } => match self.wait_for_lock(engine, session, select, *deadline) {
                    None => None,
                    Some(Ok(())) => {
                        self.queue.push_front(Statement::Select((**select).clone()));
                        return Step::Emit(events);
                    }
                    Some(Err(message)) => Some(Err(vec![message])),
                },
                Waiting::Until(at) if engine.now_millis() >= *at => Some(Ok(())),
                Waiting::Until(at) => {
                    engine.set_timer_millis(*at);
                    None
                }
                Waiting::Failover(id) => engine.alter_outcome(*id),
            };
            match result {
                None => {
                    self.waiting = Some(waiting);
                    return Step::Wait;
                }
                Some(Ok(())) => events.push(Event::Done { rows: None }),
                Some(Err(messages)) => self.push_errors(&mut events, messages),
            }
        }
        self.run(engine, session, events)
    }

    /// Parses the text of the batch.
    fn parse(&mut self, engine: &mut impl Engine, session: u64) -> Result<(), Message> {
        let collation = engine.collation(session);
        let parameters = std::mem::take(&mut self.variables);
        self.variables = parameters.into_iter().map(|(name, value)| (collation.name(&name), value)).collect();
        let (near, line) = match parse(&self.text, collation) {
            Ok(statements) => {
                self.queue.extend(statements);
                return Ok(());
            }
            Err(failed) => failed,
        };
        engine.record_failure(format!("near {near:?} in {:?}", self.text));
        let message = match near.strip_prefix("procedure ") {
            Some(name) => error(2812, 16, format!("Could not find stored procedure '{name}'.")),
            None => error(102, 15, format!("Incorrect syntax near '{near}'.")),
        };
        Err(Message { line, ..message })
    }

    /// The number of rows that joins have compared.
    pub fn comparisons(&self) -> u64 {
        self.comparisons.get()
    }

    fn run(&mut self, engine: &mut impl Engine, session: u64, mut events: Vec<Event>) -> Step {
        while let Some(statement) = self.queue.pop_front() {
            match self.execute(engine, session, statement) {
                Ok(StatementResult::Events(more)) => events.extend(more),
                Ok(StatementResult::Return) => self.queue.clear(),
                Ok(StatementResult::Wait(waiting)) => {
                    self.waiting = Some(waiting);
                    return Step::Emit(events);
                }
                Err(messages) => {
                    if messages.iter().any(|message| message.class >= 20) {
                        events.extend(messages.into_iter().map(Event::Message));
                        return Step::Disconnect(events);
                    }
                    if messages.iter().any(|message| matches!(message.number, 102 | 137 | 195 | 207 | 208 | 4145)) {
                        engine.record_failure(format!("{} in {:?}", messages[0].text, self.text));
                        self.queue.clear();
                    }
                    self.push_errors(&mut events, messages);
                }
            }
        }
        Step::Finished(events)
    }

    fn push_errors(&mut self, events: &mut Vec<Event>, messages: Vec<Message>) {
        if let Some(last) = messages.last() {
            self.globals.insert("error", i64::from(last.number));
        }
        let line = self.line;
        events.extend(messages.into_iter().map(|message| Event::Message(Message { line, ..message })));
        events.push(Event::Done { rows: None });
    }

    fn scope<'a, E>(&'a self, engine: &'a E, session: u64) -> Scope<'a, E> {
        Scope {
            engine,
            session,
            variables: &self.variables,
            globals: &self.globals,
            row: &[],
            outer: &[],
            comparisons: &self.comparisons,
        }
    }

    pub(super) fn evaluate<E: Engine>(&self, engine: &E, session: u64, expr: &Expr) -> Result<Value, Message> {
        evaluate(&self.scope(engine, session), expr)
    }

    /// The value of an expression as text; NULL is an empty text.
    pub(super) fn evaluate_text<E: Engine>(&self, engine: &E, session: u64, expr: &Expr) -> Result<String, Message> {
        Ok(text(&self.evaluate(engine, session, expr)?)?.unwrap_or_default())
    }

    fn execute<E: Engine>(
        &mut self,
        engine: &mut E,
        session: u64,
        statement: Statement,
    ) -> Result<StatementResult, Vec<Message>> {
        let mut events = Vec::new();
        match statement {
            Statement::At(line, statement) => {
                self.line = line;
                return self.execute(engine, session, *statement);
            }
            Statement::Option => {}
            Statement::Session(statement) => events = self.execute_in_session(engine, session, statement)?,
            Statement::Declare(variables) => self.declare(engine, session, variables).map_err(single)?,
            Statement::Assign(name, expr) => {
                let value = self.evaluate(engine, session, &expr).map_err(single)?;
                self.assign(&name, value).map_err(single)?;
            }
            Statement::Select(select) if select.views().iter().any(|view| engine.is_locked(session, view)) => {
                let timeout = engine.options(session).lock_timeout;
                let deadline = (timeout >= 0).then(|| engine.now_millis().saturating_add(timeout));
                return Ok(StatementResult::Wait(Waiting::Lock { select: Box::new(select), deadline }));
            }
            Statement::Select(select) => {
                let options = engine.options(session);
                if options.implicit_transactions && options.transactions == 0 && select.from.is_some() {
                    change_options(engine, session, |options| options.transactions = 1);
                }
                events = self.select(engine, session, &select).map_err(single)?;
            }
            Statement::If(condition, then, otherwise) => {
                let condition = evaluate_condition(&self.scope(engine, session), &condition).map_err(single)?;
                let branch = if condition == Some(true) { Some(then) } else { otherwise };
                self.push_front(branch.map(|statement| *statement));
            }
            Statement::Block(statements) => self.push_front(statements),
            Statement::Print(expr) => {
                let text = self.evaluate_text(engine, session, &expr).map_err(single)?;
                let info = Message { number: 0, state: 1, class: 0, text, line: 1 };
                events = vec![Event::Message(info), Event::Done { rows: None }];
            }
            Statement::Raise { text, severity, state, arguments } => {
                return Err(self.raise(engine, session, [&text, &severity, &state], &arguments));
            }
            Statement::Return => return Ok(StatementResult::Return),
            Statement::Delay(expr) => return self.delay(engine, session, &expr).map_err(single),
            Statement::Execute(expr) => {
                let text = self.evaluate_text(engine, session, &expr).map_err(single)?;
                let statements = parse(&text, engine.collation(session))
                    .map_err(|(near, _)| single(error(102, 15, format!("Incorrect syntax near '{near}'."))))?;
                self.push_front(statements);
            }
            Statement::Alter { .. } if in_transaction(engine, session) => {
                return Err(single(error(
                    226,
                    16,
                    "ALTER DATABASE statement not allowed within multi-statement transaction.",
                )));
            }
            Statement::Alter { database, action } => match engine.alter_partner(session, &database, action)? {
                AlterOutcome::Done => events.push(Event::Done { rows: None }),
                AlterOutcome::Pending(id) => return Ok(StatementResult::Wait(Waiting::Failover(id))),
            },
        }
        Ok(StatementResult::Events(events))
    }

    /// Queues statements so that they run next, in their order.
    fn push_front(&mut self, statements: impl IntoIterator<Item = Statement>) {
        let statements: Vec<Statement> = statements.into_iter().collect();
        statements.into_iter().rev().for_each(|statement| self.queue.push_front(statement));
    }

    fn declare<E: Engine>(
        &mut self,
        engine: &E,
        session: u64,
        variables: Vec<(String, SqlType, Option<Expr>)>,
    ) -> Result<(), Message> {
        for (name, ty, initial) in variables {
            let value = match initial {
                Some(expr) => self.evaluate(engine, session, &expr)?,
                None => Value::Null,
            };
            self.variables.insert(name, (ty, cast(value, ty)?));
        }
        Ok(())
    }

    /// Whether the locks are gone, or the error of LOCK_TIMEOUT; `None` while the SELECT has to wait.
    fn wait_for_lock<E: Engine>(
        &self,
        engine: &mut E,
        session: u64,
        select: &Select,
        deadline: Option<i64>,
    ) -> Option<Result<(), Message>> {
        if !select.views().iter().any(|view| engine.is_locked(session, view)) {
            return Some(Ok(()));
        }
        let at = deadline?;
        if engine.now_millis() >= at {
            return Some(Err(error(1222, 16, "Lock request time out period exceeded.")));
        }
        engine.set_timer_millis(at);
        None
    }

    fn delay<E: Engine>(&self, engine: &mut E, session: u64, expr: &Expr) -> Result<StatementResult, Message> {
        let delay = as_text(&self.evaluate(engine, session, expr)?).and_then(|text| parse_millis(&text));
        let delay = delay.ok_or_else(|| error(148, 15, "Incorrect time syntax in time string used with WAITFOR."))?;
        let at = engine.now_millis().saturating_add(delay);
        engine.set_timer_millis(at);
        Ok(StatementResult::Wait(Waiting::Until(at)))
    }

    fn select<E: Engine>(&mut self, engine: &E, session: u64, select: &Select) -> Result<Vec<Event>, Message> {
        let table = query::execute(&self.scope(engine, session), select)?;
        let count = u64::try_from(table.rows.len()).unwrap_or(u64::MAX);
        self.globals.insert("rowcount", i64::try_from(table.rows.len()).unwrap_or(i64::MAX));
        self.globals.insert("error", 0);
        if select.items.iter().any(|item| matches!(item, Item::Assign(..))) {
            // The last row decides. Without a row the variables keep their values.
            if let Some(row) = table.rows.into_iter().next_back() {
                for (item, value) in select.items.iter().zip(row) {
                    if let Item::Assign(name, _) = item {
                        self.assign(name, value)?;
                    }
                }
            }
            return Ok(Vec::new());
        }
        let mut events = table_events(table);
        events.pop();
        events.push(Event::Done { rows: (!engine.options(session).no_count).then_some(count) });
        Ok(events)
    }

    fn assign(&mut self, name: &str, value: Value) -> Result<(), Message> {
        let Some((ty, slot)) = self.variables.get_mut(name) else {
            return Err(error(137, 15, format!("Must declare the scalar variable \"@{name}\".")));
        };
        *slot = cast(value, *ty)?;
        Ok(())
    }
}

/// A result set.
pub(super) fn table_events(table: Table) -> Vec<Event> {
    let mut events = vec![Event::Columns(table.columns)];
    events.extend(table.rows.into_iter().map(Event::Row));
    events.push(Event::Done { rows: None });
    events
}

pub(super) fn single(message: Message) -> Vec<Message> {
    vec![message]
}

/// The milliseconds of `hh:mm[:ss[.mmm]]`, a time of less than 24 hours.
fn parse_millis(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes): (u8, u8) = (parts.next()?.trim().parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next().unwrap_or("0").trim().parse().ok()?;
    let valid = hours < 24 && minutes < 60 && (0.0..60.0).contains(&seconds) && parts.next().is_none();
    valid.then_some((i64::from(hours) * 60 + i64::from(minutes)) * 60_000 + (seconds * 1000.0) as i64)
}
