//! A batch under way: one statement after the other, and the waits between.

use std::collections::{BTreeMap, VecDeque};

use super::engine::{Altered, Engine};
use super::eval::{Scope, error, truth, value};
use super::parse::parse;
use super::query;
use super::syntax::{Item, Select, Statement};
use super::values::{cast, number, text};
use crate::value::{Event, Message, SqlType, Step, Value};

#[derive(Debug)]
pub struct Batch {
    text: String,
    unparsed: bool,
    queue: VecDeque<Statement>,
    variables: BTreeMap<String, (SqlType, Value)>,
    globals: BTreeMap<&'static str, i64>,
    no_count: bool,
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Copy)]
enum Waiting {
    Move(u64),
    Until(i64),
}

/// How a statement went.
enum Went {
    On(Vec<Event>),
    Waits(Waiting),
    Returned,
}

impl Batch {
    /// `parameters` of sp_executesql, with their `@`. A mistake in the text comes out at the first step.
    pub fn new(text: &str, parameters: Vec<(String, Value)>) -> Batch {
        let variables = parameters
            .into_iter()
            .map(|(name, value)| (name.trim_start_matches('@').to_lowercase(), (SqlType::Variant, value)))
            .collect();
        Batch {
            text: text.to_owned(),
            unparsed: true,
            queue: VecDeque::new(),
            variables,
            globals: BTreeMap::from([("rowcount", 0), ("trancount", 0), ("error", 0)]),
            no_count: false,
            waiting: None,
        }
    }

    pub fn step(&mut self, engine: &mut impl Engine, session: u64) -> Step {
        if std::mem::take(&mut self.unparsed) {
            match parse(&self.text) {
                Ok(statements) => self.queue.extend(statements),
                Err(near) => {
                    engine.record_failure(format!("near {near:?} in {:?}", self.text));
                    let message = match near.strip_prefix("procedure ") {
                        Some(name) => error(2812, 16, format!("Could not find stored procedure '{name}'.")),
                        None => error(102, 15, format!("Incorrect syntax near '{near}'.")),
                    };
                    return Step::Finished(vec![Event::Message(message)]);
                }
            }
        }
        let mut events = Vec::new();
        if let Some(waiting) = self.waiting.take() {
            let over = match waiting {
                Waiting::Until(at) if engine.now_millis() >= at => Some(Ok(())),
                Waiting::Until(at) => {
                    engine.set_timer_millis(at);
                    None
                }
                Waiting::Move(id) => engine.outcome(id),
            };
            match over {
                None => {
                    self.waiting = Some(waiting);
                    return Step::Wait;
                }
                Some(Ok(())) => events.push(Event::Done { rows: None }),
                Some(Err(messages)) => self.complain(&mut events, messages),
            }
        }
        while let Some(statement) = self.queue.pop_front() {
            match self.one(engine, session, statement) {
                Ok(Went::On(more)) => events.extend(more),
                Ok(Went::Returned) => self.queue.clear(),
                Ok(Went::Waits(waiting)) => {
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
                    self.complain(&mut events, messages);
                }
            }
        }
        Step::Finished(events)
    }

    fn complain(&mut self, events: &mut Vec<Event>, messages: Vec<Message>) {
        if let Some(last) = messages.last() {
            self.globals.insert("error", i64::from(last.number));
        }
        events.extend(messages.into_iter().map(Event::Message));
        events.push(Event::Done { rows: None });
    }

    fn scope<'a, E>(&'a self, engine: &'a E, session: u64) -> Scope<'a, E> {
        Scope { engine, session, variables: &self.variables, globals: &self.globals, row: &[] }
    }

    fn one<E: Engine>(&mut self, engine: &mut E, session: u64, statement: Statement) -> Result<Went, Vec<Message>> {
        let one = |message: Message| vec![message];
        let nothing = Ok(Went::On(Vec::new()));
        match statement {
            Statement::Option => nothing,
            Statement::NoCount(on) => {
                self.no_count = on;
                nothing
            }
            Statement::Declare(all) => {
                for (name, ty, initial) in all {
                    let value = match initial {
                        Some(expr) => value(&self.scope(engine, session), &expr).map_err(one)?,
                        None => Value::Null,
                    };
                    self.variables.insert(name, (ty, cast(value, ty).map_err(|text| one(error(245, 16, text)))?));
                }
                nothing
            }
            Statement::Assign(name, expr) => {
                let value = value(&self.scope(engine, session), &expr).map_err(one)?;
                self.assign(&name, value).map_err(one)?;
                nothing
            }
            Statement::Use(name) => {
                let old = engine.database(session);
                engine.use_database(session, &name).map_err(one)?;
                let new = engine.database(session);
                let info = Message {
                    number: 5701,
                    state: 2,
                    class: 0,
                    text: format!("Changed database context to '{new}'."),
                    line: 1,
                };
                Ok(Went::On(vec![Event::Database { old, new }, Event::Message(info), Event::Done { rows: None }]))
            }
            Statement::Select(select) => self.select(engine, session, &select).map(Went::On).map_err(one),
            Statement::If(condition, then, otherwise) => {
                let holds = truth(&self.scope(engine, session), &condition).map_err(one)? == Some(true);
                let next = if holds { Some(then) } else { otherwise };
                if let Some(next) = next {
                    self.queue.push_front(*next);
                }
                nothing
            }
            Statement::Block(all) => {
                for statement in all.into_iter().rev() {
                    self.queue.push_front(statement);
                }
                nothing
            }
            Statement::Print(expr) => {
                let text = text(&value(&self.scope(engine, session), &expr).map_err(one)?).unwrap_or_default();
                let info = Message { number: 0, state: 1, class: 0, text, line: 1 };
                Ok(Went::On(vec![Event::Message(info), Event::Done { rows: None }]))
            }
            Statement::Raise { text: format, severity, state, arguments } => {
                let scope = self.scope(engine, session);
                let format = text(&value(&scope, &format).map_err(one)?).unwrap_or_default();
                let class = number(&value(&scope, &severity).map_err(one)?)
                    .and_then(|class| u8::try_from(class).ok())
                    .unwrap_or(16);
                let state = number(&value(&scope, &state).map_err(one)?)
                    .and_then(|state| u8::try_from(state).ok())
                    .unwrap_or(1);
                let mut values = Vec::new();
                for argument in &arguments {
                    values.push(value(&scope, argument).map_err(one)?);
                }
                Err(vec![Message { number: 50000, state, class, text: formatted(&format, &values), line: 1 }])
            }
            Statement::Return => Ok(Went::Returned),
            Statement::Delay(expr) => {
                let delay =
                    text(&value(&self.scope(engine, session), &expr).map_err(one)?).and_then(|text| millis(&text));
                let delay = delay
                    .ok_or_else(|| vec![error(148, 15, "Incorrect time syntax in time string used with WAITFOR.")])?;
                let at = engine.now_millis().saturating_add(delay);
                engine.set_timer_millis(at);
                Ok(Went::Waits(Waiting::Until(at)))
            }
            Statement::Transaction(change) => {
                let count = self.globals.entry("trancount").or_insert(0);
                *count = if change == 0 { 0 } else { (*count + i64::from(change)).max(0) };
                Ok(Went::On(vec![Event::Done { rows: None }]))
            }
            Statement::Execute(expr) => {
                let inner = text(&value(&self.scope(engine, session), &expr).map_err(one)?).unwrap_or_default();
                let statements =
                    parse(&inner).map_err(|near| vec![error(102, 15, format!("Incorrect syntax near '{near}'."))])?;
                statements.into_iter().rev().for_each(|statement| self.queue.push_front(statement));
                nothing
            }
            Statement::Alter { database, action } => match engine.alter_partner(session, &database, action)? {
                Altered::Done => Ok(Went::On(vec![Event::Done { rows: None }])),
                Altered::Pending(id) => Ok(Went::Waits(Waiting::Move(id))),
            },
        }
    }

    fn select<E: Engine>(&mut self, engine: &E, session: u64, select: &Select) -> Result<Vec<Event>, Message> {
        let table = query::run(&self.scope(engine, session), select)?;
        let count = u64::try_from(table.rows.len()).unwrap_or(u64::MAX);
        self.globals.insert("rowcount", i64::try_from(table.rows.len()).unwrap_or(i64::MAX));
        self.globals.insert("error", 0);
        if select.items.iter().any(|item| matches!(item, Item::Assign(..))) {
            // The last row wins; without a row the variables keep what they had.
            if let Some(row) = table.rows.into_iter().next_back() {
                for (item, value) in select.items.iter().zip(row) {
                    if let Item::Assign(name, _) = item {
                        self.assign(name, value)?;
                    }
                }
            }
            return Ok(Vec::new());
        }
        let mut events = vec![Event::Columns(table.columns)];
        events.extend(table.rows.into_iter().map(Event::Row));
        events.push(Event::Done { rows: (!self.no_count).then_some(count) });
        Ok(events)
    }

    fn assign(&mut self, name: &str, value: Value) -> Result<(), Message> {
        let Some((ty, slot)) = self.variables.get_mut(name) else {
            return Err(error(137, 15, format!("Must declare the scalar variable \"@{name}\".")));
        };
        *slot = cast(value, *ty).map_err(|text| error(245, 16, text))?;
        Ok(())
    }
}

/// RAISERROR's substitutions.
fn formatted(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d' | 'i' | 'u' | 's') => {
                out.push_str(&values.next().and_then(text).unwrap_or_else(|| "(null)".to_owned()))
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// `hh:mm:ss[.mmm]`.
fn millis(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes): (i64, i64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next().unwrap_or("0").parse().ok()?;
    Some((hours * 60 + minutes) * 60_000 + (seconds * 1000.0) as i64)
}
