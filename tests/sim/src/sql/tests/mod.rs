//! Batches against a world without a TDS server.

use serde_json::Value as Json;
use std::time::Duration;

use super::Batch;
use crate::config::Config;
use crate::value::{Event, Step, Value};
use crate::world::{Command, World};

mod administration;
mod collation;
mod counters;
mod maintenance;
mod options;
mod queries;

/// A session of the sysadmin `operator` on one server of a world.
pub struct Client {
    pub world: World,
    pub session: u64,
    pub now: Duration,
}

/// The result sets and the error numbers of a batch.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub rows: Vec<Vec<Value>>,
    pub errors: Vec<u32>,
}

impl Client {
    pub fn new(server: &str) -> Client {
        Client::with(&Config::sample(), server)
    }

    pub fn with(config: &Config, server: &str) -> Client {
        let mut world = World::new(config).unwrap();
        let session = world.login(Duration::ZERO, server, "operator", Some("secret"), "").unwrap().session;
        Client { world, session, now: Duration::ZERO }
    }

    pub fn apply(&mut self, command: &Json) {
        let command: Command = serde_json::from_value(command.clone()).unwrap();
        self.world.apply(self.now, &command).unwrap();
    }

    /// Another session on a server of the same world.
    pub fn log_in(&mut self, server: &str) {
        self.session = self.world.login(self.now, server, "operator", Some("secret"), "").unwrap().session;
    }

    pub fn advance(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.world.advance(self.now);
    }

    /// Runs a batch to its end. The clock advances to the next event of the world while the batch waits.
    pub fn run(&mut self, text: &str) -> Answer {
        let mut batch = Batch::new(text, Vec::new());
        let mut answer = Answer::default();
        loop {
            let (events, ended) = match batch.step(&mut self.world, self.session) {
                Step::Emit(events) => (events, false),
                Step::Finished(events) | Step::Disconnect(events) => (events, true),
                Step::Wait => {
                    self.now = self.world.wake_at().expect("the batch waits for nothing").max(self.now);
                    self.world.advance(self.now);
                    continue;
                }
            };
            answer.read(events);
            if ended {
                return answer;
            }
        }
    }

    /// The single value of a batch without errors.
    #[track_caller]
    pub fn value(&mut self, text: &str) -> Value {
        let answer = self.run(text);
        assert_eq!((answer.errors.as_slice(), answer.rows.len()), ([].as_slice(), 1), "{text}: {answer:?}");
        answer.rows[0][0].clone()
    }

    /// The single value of a batch as text, without the SQL_VARIANT around it.
    #[track_caller]
    pub fn text(&mut self, text: &str) -> String {
        super::values::as_text(&self.value(text)).unwrap_or_else(|| "NULL".to_owned())
    }

    /// The error numbers of a batch.
    pub fn errors(&mut self, text: &str) -> Vec<u32> {
        self.run(text).errors
    }
}

impl Answer {
    fn read(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Row(row) => self.rows.push(row),
                Event::Message(message) if message.class > 10 => self.errors.push(message.number),
                _ => {}
            }
        }
    }
}
