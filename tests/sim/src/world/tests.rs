//! The truth table of the domain facts (2.8), row by row: what happened, and what each partner then reports.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::Config;

struct Night {
    world: World,
    now: Duration,
}

impl Night {
    fn new(witness: bool) -> Self {
        let mut config = Config::sample();
        if !witness {
            config.pairs[0].witness = None;
        }
        Self { world: World::new(&config).unwrap(), now: Duration::ZERO }
    }

    fn when(mut self, commands: &[Value]) -> Self {
        for command in commands {
            let command: Command = serde_json::from_value(command.clone()).unwrap();
            self.world.apply(self.now, &command).unwrap();
        }
        self
    }

    fn after(mut self, seconds: f64) -> Self {
        self.now += Duration::from_secs_f64(seconds);
        self.world.advance(self.now);
        self
    }

    /// `role/state/witness/database state` of rtcxds.
    fn row(&self, server: &str) -> String {
        let Some(row) = self.world.row(server, "rtcxds") else { return "NULL".to_owned() };
        let role = if row.role == 1 { "P" } else { "M" };
        let witness = row.witness_state.map_or("-", |state| if state == 1 { "C" } else { "D" });
        format!("{role}/{}/{witness}/{}", row.state, row.database_state)
    }

    fn served(&self, server: &str) -> bool {
        let server = self.world.find_server(server).unwrap();
        self.world.open(server, "rtcxds", "operator").is_ok()
    }

    #[track_caller]
    fn shows(self, name: &str, a: &str, b: &str, served: &str) -> Self {
        assert_eq!((self.row("a").as_str(), self.row("b").as_str()), (a, b), "{name}");
        let by: String = ["a", "b"].into_iter().filter(|server| self.served(server)).collect();
        assert_eq!(by, served, "{name}: served by");
        self
    }
}

fn kill(server: &str) -> Value {
    json!({"do": "kill", "server": server})
}

fn start(server: &str) -> Value {
    json!({"do": "start", "server": server})
}

fn cut(a: &str, b: &str) -> Value {
    json!({"do": "cut", "a": a, "b": b})
}

#[test]
fn healthy_and_catching_up() {
    Night::new(true).shows("S1", "P/4/C/0", "M/4/C/1", "a");
    Night::new(false).shows("S2", "P/4/-/0", "M/4/-/1", "a");
    let desync = json!({"do": "desync", "pair": "user", "millis": 500});
    Night::new(true)
        .when(&[desync])
        .shows("S3", "P/2/C/0", "M/2/C/1", "a")
        .after(1.0)
        .shows("S1", "P/4/C/0", "M/4/C/1", "a");
}

#[test]
fn manual_failover() {
    let night = Night::new(true).when(&[json!({"do": "failover", "pair": "user"})]);
    let night = night.shows("S4", "P/3/C/0", "M/4/C/1", "").after(0.06).shows("S5", "M/2/C/1", "P/1/C/0", "b");
    let night = night.after(1.0).shows("S5, settled", "M/4/C/1", "P/4/C/0", "b");
    assert_eq!(night.world.failovers().len(), 3);
    assert!(
        night
            .world
            .failovers()
            .iter()
            .all(|failover| failover.kind == FailoverKind::Manual && failover.role_sequence == 2)
    );
}

#[test]
fn losses() {
    Night::new(true).when(&[kill("b")]).after(11.0).shows("S6", "P/1/C/0", "M/1/D/1", "a");
    Night::new(false).when(&[kill("b")]).after(11.0).shows("S7", "P/1/-/0", "M/1/-/1", "a");
    Night::new(true).when(&[kill("b"), kill("w")]).after(11.0).shows("S8", "P/1/D/0", "M/1/D/1", "");
    Night::new(false).when(&[kill("a")]).after(11.0).shows("S11", "P/1/-/0", "M/1/-/1", "");
    Night::new(true).when(&[kill("w"), kill("a")]).after(11.0).shows("S12", "P/1/D/0", "M/1/D/1", "");
    let late = json!({"do": "desync", "pair": "user", "millis": 60_000});
    Night::new(true).when(&[late, kill("a")]).after(11.0).shows("S13", "P/1/D/0", "M/1/C/1", "");
    Night::new(true).when(&[kill("w")]).after(11.0).shows("S19", "P/4/D/0", "M/4/D/1", "a");
}

#[test]
fn automatic_failover_and_return() {
    let night = Night::new(true).when(&[kill("a")]).after(9.0).shows("not noticed yet", "P/1/D/0", "M/4/C/1", "");
    let night = night.after(2.0).shows("S9", "P/1/D/0", "P/1/C/0", "b");
    assert!(night.world.failovers().iter().all(|failover| failover.kind == FailoverKind::Automatic));
    night.when(&[start("a")]).shows("S10", "M/2/C/1", "P/2/C/0", "b").after(1.0).shows(
        "S10, settled",
        "M/4/C/1",
        "P/4/C/0",
        "b",
    );
}

#[test]
fn an_isolated_principal_stops_serving_before_the_mirror_begins() {
    let night = Night::new(true).when(&[cut("a", "b"), cut("a", "w")]).after(11.0);
    night.shows("S9, isolated", "P/1/D/0", "P/1/C/0", "b");
}

#[test]
fn forced_service() {
    let night = Night::new(false).when(&[kill("a")]).after(11.0).when(&[json!({"do": "force", "pair": "user"})]);
    let night =
        night.shows("S14", "P/1/-/0", "P/0/-/0", "b").when(&[start("a")]).shows("S15", "M/0/-/1", "P/0/-/0", "b");
    let night = night.when(&[json!({"do": "resume", "pair": "user"})]).shows("S16", "M/2/-/1", "P/2/-/0", "b");
    night.after(1.0).shows("S16, settled", "M/4/-/1", "P/4/-/0", "b");
}

#[test]
fn pauses() {
    Night::new(true).when(&[json!({"do": "suspend", "pair": "user"})]).shows("S17, S18", "P/0/C/0", "M/0/C/1", "a");
    let newer = json!({"do": "setVersion", "server": "b", "version": "12.0.5000.0"});
    let night = Night::new(true).when(&[newer, json!({"do": "failover", "pair": "user"})]).after(1.0);
    let night = night.shows("S27", "M/0/C/1", "P/0/C/0", "b");
    night.when(&[json!({"do": "resume", "pair": "user"})]).after(1.0).shows(
        "S27, resumed in vain",
        "M/0/C/1",
        "P/0/C/0",
        "b",
    );
}

#[test]
fn cut_links() {
    Night::new(true).when(&[cut("a", "b")]).after(11.0).shows("S20", "P/1/C/0", "M/1/C/1", "a");
    let night = Night::new(false).when(&[cut("a", "b")]).after(11.0).shows("S21", "P/1/-/0", "M/1/-/1", "a");
    let night = night.when(&[json!({"do": "force", "pair": "user"})]).shows("S22", "P/1/-/0", "P/0/-/0", "ab");
    night.when(&[json!({"do": "mendAll"})]).shows("S22, mended", "M/0/-/1", "P/0/-/0", "b");
    let night = Night::new(true).when(&[cut("a", "b"), cut("a", "w"), cut("b", "w")]).after(11.0);
    let night =
        night.shows("S23", "P/1/D/0", "M/1/D/1", "").when(&[json!({"do": "mend", "a": "b", "b": "w"})]).after(60.0);
    night
        .shows("S23, B-W", "P/1/D/0", "M/1/C/1", "")
        .when(&[json!({"do": "mendAll"})])
        .after(1.0)
        .shows("S1", "P/4/C/0", "M/4/C/1", "a");
}

#[test]
fn removed_and_split() {
    let remove = json!({"do": "removeMirroring", "pair": "user", "database": "rtcxds", "server": "a"});
    let night = Night::new(true).when(&[cut("a", "b")]).after(11.0).when(std::slice::from_ref(&remove));
    night.shows("S24", "NULL", "M/1/C/1", "a").when(&[json!({"do": "mendAll"})]).shows("S24, met", "NULL", "NULL", "a");
    Night::new(true).when(&[remove]).shows("S25", "NULL", "NULL", "a");
    let night = Night::new(true).when(&[json!({"do": "failover", "pair": "user", "database": "rtcab"})]).after(1.0);
    let night = night.shows("S26", "P/4/C/0", "M/4/C/1", "a");
    assert_eq!(night.world.row("b", "rtcab").unwrap().role, 1);
}

#[test]
fn a_partner_lost_in_the_middle_means_that_nothing_happened() {
    let slow = json!({"do": "setSwitchMillis", "pair": "user", "millis": 5_000});
    let night = Night::new(false).when(&[slow, json!({"do": "failover", "pair": "user"})]).after(1.0);
    let night = night.when(&[kill("b")]).after(11.0).when(&[start("b")]).after(1.0).shows(
        "as before",
        "P/4/-/0",
        "M/4/-/1",
        "a",
    );
    assert!(night.world.failovers().is_empty());
}

#[test]
fn wrong_names_are_answered_with_the_way_out() {
    let mut night = Night::new(true);
    let command: Command = serde_json::from_value(kill("x")).unwrap();
    let error = night.world.apply(Duration::ZERO, &command).unwrap_err();
    assert_eq!(error, "server \"x\": no such server; there are a, b, w");
}
