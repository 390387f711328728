//! The points of a life: every API write and every TDS request gets a name that is the same in the next life, and the
//! operator is killed at the one that is armed. What a life is about is not known here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use mirror_sim::probe::{Moment, Probe, Request, Then};
use serde_json::Value;
use tokio::sync::watch;

use crate::support::Operator;
use crate::support::proxy::{Ask, Steer, Way};

/// A point and a moment of it: where a life may end.
pub type Mark = (String, Moment);

/// How long an answer takes to reach the process behind a socket of this machine, with a good margin.
const ARRIVAL: Duration = Duration::from_millis(5);

/// Of the looks during a move, as many per server and attempt are numbered; at rest one per server.
const LOOKS_OF_A_MOVE: usize = 2;

#[derive(Default)]
pub struct Recorder {
    inner: Mutex<Inner>,
    fired: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    on: bool,
    /// The move that the journal in the status tells of, if any.
    phase: String,
    counts: HashMap<String, usize>,
    /// The requests that are under way, with the names that they got when they were received.
    names: HashMap<(Source, u64), String>,
    met: Vec<Mark>,
    armed: Option<Mark>,
    victim: Option<Operator>,
    /// The last write of a status: what it would be called, and what it says of the comparison after a switch.
    told: (String, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Api,
    Tds,
}

/// What a request would be called, and how many of this name are numbered.
struct Label {
    text: String,
    most: usize,
}

impl Label {
    fn each(text: String) -> Label {
        Label { text, most: usize::MAX }
    }

    /// For what comes when it comes: no number would be the same in the next life.
    fn never() -> Label {
        Label { text: String::new(), most: 0 }
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Numbers what comes from now on, and kills the operator at `mark`.
    pub fn start(&self, mark: Option<Mark>) {
        let mut inner = self.lock();
        inner.armed = mark;
        inner.on = true;
    }

    /// The marks that were met, in order. From now on nothing is numbered.
    pub fn stop(&self) -> Vec<Mark> {
        let mut inner = self.lock();
        inner.on = false;
        std::mem::take(&mut inner.met)
    }

    /// The process that dies at the armed mark.
    pub fn employ(&self, operator: Operator) {
        self.lock().victim = Some(operator);
    }

    pub fn dismiss(&self) -> Option<Operator> {
        self.lock().victim.take()
    }

    pub fn fired(&self) -> watch::Receiver<bool> {
        self.fired.subscribe()
    }

    fn received(self: &Arc<Self>, source: Source, number: u64, label: Option<Label>) -> Way {
        let mut inner = self.lock();
        let Some(label) = label.filter(|label| inner.on && label.most > 0) else { return Way::Go };
        let count = inner.counts.entry(label.text.clone()).or_default();
        *count += 1;
        if *count > label.most {
            return Way::Go;
        }
        let name = format!("{} #{count}", label.text);
        inner.names.insert((source, number), name);
        self.meet(inner, source, number, Moment::Received)
    }

    fn later(self: &Arc<Self>, source: Source, number: u64, moment: Moment) -> Way {
        self.meet(self.lock(), source, number, moment)
    }

    fn meet(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>, source: Source, number: u64, moment: Moment) -> Way {
        let Some(name) = inner.names.get(&(source, number)).cloned() else { return Way::Go };
        if !inner.on {
            return Way::Go;
        }
        let mark = (name, moment);
        inner.met.push(mark.clone());
        if inner.armed.as_ref() != Some(&mark) {
            return Way::Go;
        }
        inner.armed = None;
        if moment == Moment::Answered {
            let recorder = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(ARRIVAL).await;
                recorder.kill(recorder.lock());
            });
            return Way::Go;
        }
        self.kill(inner);
        Way::Stay
    }

    fn kill(&self, mut inner: MutexGuard<'_, Inner>) {
        if let Some(operator) = &mut inner.victim {
            operator.kill();
        }
        inner.on = false;
        self.fired.send_replace(true);
    }
}

/// The recorder on the side of the API server, and on the side of the SQL Servers.
pub struct Tap(pub Arc<Recorder>);

impl Steer for Tap {
    fn received(&self, ask: &Ask) -> Way {
        let mut label = write(ask);
        if let Some(put) = label.as_mut().filter(|_| ask.path.ends_with("/status")) {
            let drift = drift(&body(ask));
            let told = std::mem::replace(&mut self.0.lock().told, (put.text.clone(), drift.clone()));
            // Nothing but the comparison, which runs beside everything else.
            if told.0 == put.text && told.1 != drift {
                *put = Label::never();
            }
        }
        self.0.received(Source::Api, ask.number, label)
    }

    fn executed(&self, ask: &Ask, status: StatusCode) -> Way {
        if status.is_success() && ask.path.ends_with("/status") && ask.method == Method::PUT {
            self.0.lock().phase = phase(&body(ask)["status"]["operation"]);
        }
        self.0.later(Source::Api, ask.number, Moment::Executed)
    }

    fn answered(&self, ask: &Ask) {
        self.0.later(Source::Api, ask.number, Moment::Answered);
    }
}

impl Probe for Tap {
    fn at(&self, server: &str, number: u64, request: Request, moment: Moment) -> Then {
        let way = if moment == Moment::Received {
            let label = asked(server, request, &self.0.lock().phase);
            self.0.received(Source::Tds, number, Some(label))
        } else {
            self.0.later(Source::Tds, number, moment)
        };
        if way == Way::Go { Then::Go } else { Then::Stay }
    }
}

fn drift(resource: &Value) -> Value {
    let conditions = resource["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == "PostSwitchDrift");
    found.cloned().unwrap_or_default()
}

fn body(ask: &Ask) -> Value {
    serde_json::from_slice(&ask.body).unwrap_or_default()
}

/// `User to Mirror, attempt 1`; empty while nothing moves.
fn phase(operation: &Value) -> String {
    let word = |key: &str| operation[key].as_str().unwrap_or_default().to_owned();
    if operation.is_null() {
        return String::new();
    }
    format!("{} to {}, attempt {}", word("type"), word("to"), operation["attempt"])
}

fn write(ask: &Ask) -> Option<Label> {
    if !ask.writes() {
        return None;
    }
    let (verb, body) = (ask.method.as_str(), body(ask));
    let kind = ask.path.split('/').rev().find(|part| ["leases", "events", "lyncpoolmirrors"].contains(part));
    Some(match kind {
        // By the clock, whatever happens: the first one stands for all.
        Some("leases") => Label { text: format!("{verb} lease"), most: 1 },
        Some("events") => {
            // A repetition only counts up what was said before.
            let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            // The action names the moment at which the move began.
            let action = word("action").split('-').next().unwrap_or_default().to_owned();
            Label::each(format!("{verb} event {} {action}", word("reason")).trim_end().to_owned())
        }
        Some("lyncpoolmirrors") => {
            let status = &body["status"];
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let ready = conditions.clone().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
            let reason = ready["reason"].as_str().unwrap_or("?");
            let phase = phase(&status["operation"]);
            let journal = if phase.is_empty() { "no move" } else { &phase };
            let ended = status["history"].as_array().map_or(0, Vec::len);
            Label::each(format!("{verb} status {reason} ({journal}; {ended} ended)"))
        }
        _ => Label::each(format!("{verb} {}", ask.path)),
    })
}

fn asked(server: &str, request: Request, phase: &str) -> Label {
    let at = if phase.is_empty() { "at rest" } else { phase };
    match request {
        Request::Statement(text) => match database(text) {
            Some((database, "FAILOVER")) => Label::each(format!("failover of {database} on {server} ({at})")),
            Some((database, _)) => Label::each(format!("forced service of {database} on {server} ({at})")),
            None if text.contains("sys.server_principals") => Label::never(),
            None => {
                let most = if phase.is_empty() { 1 } else { LOOKS_OF_A_MOVE };
                Label { text: format!("look at {server} ({at})"), most }
            }
        },
        // A comparison logs in at rest, when it comes.
        Request::Login if phase.is_empty() => Label { text: format!("login on {server} ({at})"), most: 1 },
        Request::Login => Label::each(format!("login on {server} ({at})")),
    }
}

/// `ALTER DATABASE [rtcxds] SET PARTNER FAILOVER`: the database and the first word after `PARTNER`.
fn database(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once("ALTER DATABASE [")?.1.split_once("] SET PARTNER ")?;
    Some((name, rest.split_whitespace().next()?))
}
