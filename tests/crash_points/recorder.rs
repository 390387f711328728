//! The points of a run: every API write and every TDS request gets a name that is the same in the next run. The operator is
//! killed at the armed one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use mirror_sim::probe::{Moment, Probe, Request, Then};
use serde_json::Value;
use tokio::sync::watch;

use crate::support::Operator;
use crate::support::proxy::{ApiRequest, Decision, Hook};

/// A point and a moment of it: where a run may end.
pub type Checkpoint = (String, Moment);

/// How long an answer takes to reach the process behind a socket of this machine, with a good margin.
const ARRIVAL: Duration = Duration::from_millis(5);

/// How many polls of a server are numbered per attempt of a move; without a move it is one.
const POLLS_OF_A_MOVE: usize = 2;

#[derive(Default)]
pub struct Recorder {
    inner: Mutex<Inner>,
    fired: watch::Sender<bool>,
    /// An operator runs.
    employed: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    on: bool,
    /// The move in the journal of the status, if any.
    phase: String,
    counts: HashMap<String, usize>,
    /// The requests that are in progress, with the names that they got when they were received.
    names: HashMap<(Source, u64), String>,
    met: Vec<Checkpoint>,
    armed: Option<Checkpoint>,
    victim: Option<Operator>,
    /// The last write of a status: its label, and its condition PostSwitchDrift.
    last_status: (String, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Api,
    Tds,
}

/// The name of a request, and how many requests of this name are numbered.
struct Label {
    text: String,
    most: usize,
}

impl Label {
    fn each(text: String) -> Label {
        Label { text, most: usize::MAX }
    }

    /// For requests at random times, which have no stable number.
    fn never() -> Label {
        Label { text: String::new(), most: 0 }
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Numbers requests from now on, and kills the operator at `checkpoint`.
    pub fn start(&self, checkpoint: Option<Checkpoint>) {
        let mut inner = self.lock();
        inner.armed = checkpoint;
        inner.on = true;
    }

    /// The checkpoints that were met, in order. From now on nothing is numbered.
    pub fn stop(&self) -> Vec<Checkpoint> {
        let mut inner = self.lock();
        inner.on = false;
        std::mem::take(&mut inner.met)
    }

    /// The process that dies at the armed checkpoint.
    pub fn employ(&self, operator: Operator) {
        self.lock().victim = Some(operator);
        self.employed.send_replace(true);
    }

    pub fn employed(&self) -> watch::Receiver<bool> {
        self.employed.subscribe()
    }

    pub fn dismiss(&self) -> Option<Operator> {
        self.lock().victim.take()
    }

    pub fn fired(&self) -> watch::Receiver<bool> {
        self.fired.subscribe()
    }

    fn received(self: &Arc<Self>, source: Source, number: u64, label: Option<Label>) -> Decision {
        let mut inner = self.lock();
        let Some(label) = label.filter(|label| inner.on && label.most > 0) else { return Decision::Go };
        let count = inner.counts.entry(label.text.clone()).or_default();
        *count += 1;
        if *count > label.most {
            return Decision::Go;
        }
        let name = format!("{} #{count}", label.text);
        inner.names.insert((source, number), name);
        self.meet(inner, source, number, Moment::Received)
    }

    fn later(self: &Arc<Self>, source: Source, number: u64, moment: Moment) -> Decision {
        self.meet(self.lock(), source, number, moment)
    }

    fn meet(
        self: &Arc<Self>,
        mut inner: MutexGuard<'_, Inner>,
        source: Source,
        number: u64,
        moment: Moment,
    ) -> Decision {
        let Some(name) = inner.names.get(&(source, number)).cloned() else { return Decision::Go };
        if !inner.on {
            return Decision::Go;
        }
        let checkpoint = (name, moment);
        inner.met.push(checkpoint.clone());
        if inner.armed.as_ref() != Some(&checkpoint) {
            return Decision::Go;
        }
        inner.armed = None;
        if moment == Moment::Answered {
            let recorder = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(ARRIVAL).await;
                let inner = recorder.lock();
                // The run can have ended in between.
                if inner.on {
                    recorder.kill(inner);
                }
            });
            return Decision::Go;
        }
        self.kill(inner);
        Decision::Hold
    }

    fn kill(&self, mut inner: MutexGuard<'_, Inner>) {
        if let Some(operator) = &mut inner.victim {
            operator.kill();
        }
        inner.on = false;
        self.employed.send_replace(false);
        self.fired.send_replace(true);
    }
}

/// The recorder on the side of the API server, and on the side of the SQL Servers.
pub struct Tap(pub Arc<Recorder>);

impl Hook for Tap {
    fn received(&self, request: &ApiRequest) -> Decision {
        let mut label = write(request);
        if let Some(put) = label.as_mut().filter(|_| request.path.ends_with("/status")) {
            let drift = drift(&body(request));
            let last_status = std::mem::replace(&mut self.0.lock().last_status, (put.text.clone(), drift.clone()));
            // Only the drift check changed: it runs in the background at any time.
            if last_status.0 == put.text && last_status.1 != drift {
                *put = Label::never();
            }
        }
        self.0.received(Source::Api, request.number, label)
    }

    fn executed(&self, request: &ApiRequest, status: StatusCode) -> Decision {
        if status.is_success() && request.path.ends_with("/status") && request.method == Method::PUT {
            self.0.lock().phase = phase(&body(request)["status"]["operation"]);
        }
        self.0.later(Source::Api, request.number, Moment::Executed)
    }

    fn answered(&self, request: &ApiRequest) {
        self.0.later(Source::Api, request.number, Moment::Answered);
    }
}

impl Probe for Tap {
    fn at(&self, server: &str, number: u64, request: Request, moment: Moment) -> Then {
        let decision = if moment == Moment::Received {
            let label = label_of(server, request, &self.0.lock().phase);
            self.0.received(Source::Tds, number, Some(label))
        } else {
            self.0.later(Source::Tds, number, moment)
        };
        if decision == Decision::Go { Then::Go } else { Then::Stay }
    }
}

fn drift(resource: &Value) -> Value {
    let conditions = resource["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == "PostSwitchDrift");
    found.cloned().unwrap_or_default()
}

fn body(request: &ApiRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// `User to Mirror, attempt 1`; empty while nothing moves.
fn phase(operation: &Value) -> String {
    let word = |key: &str| operation[key].as_str().unwrap_or_default().to_owned();
    if operation.is_null() {
        return String::new();
    }
    format!("{} to {}, attempt {}", word("type"), word("to"), operation["attempt"])
}

fn write(request: &ApiRequest) -> Option<Label> {
    if !request.writes() {
        return None;
    }
    let (verb, body) = (request.method.as_str(), body(request));
    let kind = request.path.split('/').rev().find(|part| ["leases", "events", "lyncpoolmirrors"].contains(part));
    Some(match kind {
        // Renewals depend on the clock: only the first one is numbered.
        Some("leases") => Label { text: format!("{verb} lease"), most: 1 },
        Some("events") => {
            // The count of a repeated event is not part of its name.
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
        _ => Label::each(format!("{verb} {}", request.path)),
    })
}

fn label_of(server: &str, request: Request, phase: &str) -> Label {
    let at = if phase.is_empty() { "at rest" } else { phase };
    match request {
        Request::Statement(text) => match database(text) {
            Some((database, "FAILOVER")) => Label::each(format!("failover of {database} on {server} ({at})")),
            Some((database, _)) => Label::each(format!("forced service of {database} on {server} ({at})")),
            None if text.contains("sys.server_principals") => Label::never(),
            None => {
                let most = if phase.is_empty() { 1 } else { POLLS_OF_A_MOVE };
                Label { text: format!("poll of {server} ({at})"), most }
            }
        },
        // The drift check logs in at any time while nothing moves.
        Request::Login if phase.is_empty() => Label { text: format!("login on {server} ({at})"), most: 1 },
        Request::Login => Label::each(format!("login on {server} ({at})")),
    }
}

/// `ALTER DATABASE [rtcxds] SET PARTNER FAILOVER`: the database and the first word after `PARTNER`.
fn database(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once("ALTER DATABASE [")?.1.split_once("] SET PARTNER ")?;
    Some((name, rest.split_whitespace().next()?))
}
