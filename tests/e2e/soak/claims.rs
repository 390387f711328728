//! Every published service word against the world at its time. The truth is the simulation's own record of the copies that
//! a client could open, which shares no code with the operator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use mirror_sim::sim::Sim;
use serde_json::Value;

use crate::support::proxy::{ApiRequest, Decision, Hook};

/// The oldest observation that a status may use: the limits of a login and of a poll on a server that stalls.
const OLDEST: Duration = Duration::from_secs(30);
/// A status can use a poll older than the last one by this time: the pass began before the last one ended.
const PASS: Duration = Duration::from_secs(1);

/// The service of a resource in a status write, at the time of the simulation.
#[derive(Debug, Clone)]
struct Claim {
    at: Duration,
    resource: String,
    service: String,
    message: String,
    /// Whether the primary and the mirror were read.
    read: [bool; 2],
}

/// Collects the claims of all status writes.
pub struct Claims {
    sim: Arc<Sim>,
    claims: Mutex<Vec<Claim>>,
}

impl Claims {
    pub fn new(sim: Arc<Sim>) -> Arc<Claims> {
        Arc::new(Claims { sim, claims: Mutex::default() })
    }
}

impl Hook for Claims {
    fn received(&self, request: &ApiRequest) -> Decision {
        if request.method == Method::PUT && request.path.ends_with("/status") {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let status = &body["status"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let read = |seat: &str| {
                let servers = status["servers"].as_array();
                servers.is_some_and(|all| all.iter().any(|one| one["seat"] == seat && one["reachable"] == true))
            };
            let claim = Claim {
                at: self.sim.now(),
                resource: text(&body["metadata"]["name"]),
                service: text(&status["databaseTypes"][0]["service"]),
                message: text(&status["databaseTypes"][0]["message"]),
                read: [read("Primary"), read("Mirror")],
            };
            self.claims.lock().unwrap().push(claim);
        }
        Decision::Go
    }
}

/// When a database was open on a server: begin and end, in the order of time.
type Intervals = Vec<(Duration, Duration)>;

/// What the records of the simulation prove.
struct Truth {
    open: BTreeMap<(String, String), Intervals>,
    /// Begin and end of the polls that succeeded, by server.
    polls: BTreeMap<String, Vec<(Duration, Duration)>>,
}

impl Truth {
    fn of(sim: &Sim) -> Truth {
        let mut open: BTreeMap<(String, String), Intervals> = BTreeMap::new();
        for change in sim.service_changes() {
            let intervals = open.entry((change.server, change.database)).or_default();
            match (change.open, intervals.last_mut()) {
                (true, _) => intervals.push((change.at, Duration::MAX)),
                (false, Some(last)) => last.1 = change.at,
                (false, None) => {}
            }
        }
        let mut polls: BTreeMap<String, Vec<(Duration, Duration)>> = BTreeMap::new();
        for entry in sim.journal(0) {
            let is_poll = entry.text.contains("sys.database_mirroring") && !entry.text.contains("ALTER DATABASE");
            let done = entry.outcome.as_deref() == Some("done");
            if let (true, true, Some(ended)) = (is_poll, done, entry.ended_millis) {
                let span = (Duration::from_millis(entry.started_millis), Duration::from_millis(ended));
                polls.entry(entry.server).or_default().push(span);
            }
        }
        Truth { open, polls }
    }

    /// The begin of the oldest poll that a status of this time can be based on.
    fn begin(&self, servers: &[String; 2], claim: &Claim) -> Duration {
        let latest = |server: &String| {
            let polls = self.polls.get(server)?.iter().rev();
            polls.map(|poll| (poll.0, poll.1)).find(|(_, ended)| *ended + PASS <= claim.at).map(|(begun, _)| begun)
        };
        let begun = servers.iter().zip(claim.read).filter(|(_, read)| *read).filter_map(|(server, _)| latest(server));
        begun.min().unwrap_or_default().max(claim.at.saturating_sub(OLDEST))
    }

    fn intervals(&self, server: &str, database: &str) -> &[(Duration, Duration)] {
        self.open.get(&(server.to_owned(), database.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// None: the claim holds, or it claims nothing.
    fn contradiction(&self, claim: &Claim) -> Option<String> {
        let (pool, database) = claim.resource.split_once('-')?;
        let number = pool.strip_prefix("pool")?;
        let servers = [format!("a{number}"), format!("b{number}")];
        let begin = self.begin(&servers, claim);
        let intervals = || servers.iter().flat_map(|server| self.intervals(server, database));
        let is_false = match claim.service.as_str() {
            "Protected" | "Exposed" => !intervals().any(|(from, to)| *from <= claim.at && *to >= begin),
            "NotServed" => intervals().any(|(from, to)| *from < begin && *to > claim.at),
            _ => false,
        };
        let near = |server: &String| {
            let near = self.intervals(server, database).iter().filter(|(_, to)| to.saturating_add(OLDEST) >= begin);
            format!("{server} open {:?}", near.collect::<Vec<_>>())
        };
        // Begin and end of the last polls before the claim, in milliseconds.
        let polls = |server: &String| -> Vec<(u128, u128)> {
            let polls = self.polls.get(server).into_iter().flatten();
            let last = polls.rev().skip_while(|(begun, _)| *begun > claim.at).take(6);
            last.map(|(begun, ended)| (begun.as_millis(), ended.as_millis())).collect()
        };
        let shown = servers.each_ref().map(|server| format!("{}, polls {:?}", near(server), polls(server)));
        is_false.then(|| format!("{claim:?} since {begin:?}: {}", shown.join("; ")))
    }
}

/// Prints the counts, and fails the test if a claim was false.
pub fn assert_no_false_claim(claims: &Claims) {
    let truth = Truth::of(&claims.sim);
    let all = claims.claims.lock().unwrap().clone();
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for claim in all.iter().filter(|claim| !claim.service.is_empty()) {
        *words.entry(&claim.service).or_default() += 1;
        assert!(claim.message.starts_with(&format!("{}. ", claim.service)), "{claim:?}");
    }
    let wrong: Vec<String> = all.iter().filter_map(|claim| truth.contradiction(claim)).collect();
    println!("soak: claims of service {words:?}: {} false", wrong.len());
    assert!(words.contains_key("Protected") && words.contains_key("Exposed"), "no claims were seen: {words:?}");
    assert!(wrong.is_empty(), "{} false claims of service:\n{}", wrong.len(), wrong.join("\n"));
}

/// The judgement itself: the world of one database, and claims about it.
#[test]
fn claim_is_false_only_against_the_whole_interval() {
    let second = Duration::from_secs;
    let open = [(("a1".to_owned(), "db1".to_owned()), vec![(second(0), second(10)), (second(20), second(60))])];
    let polls = [("a1".to_owned(), (0..60).map(|at| (second(at), second(at) + Duration::from_millis(20))).collect())];
    let truth = Truth { open: open.into(), polls: polls.into() };
    let judged = |service: &str, at: u64| {
        let claim = Claim {
            at: second(at),
            resource: "pool1-db1".to_owned(),
            service: service.to_owned(),
            message: String::new(),
            read: [true, false],
        };
        truth.contradiction(&claim).is_some()
    };
    // The database was closed from the 10th to the 20th second.
    for (service, at, is_false) in [
        ("Protected", 5, false),
        ("Exposed", 11, false),
        ("Exposed", 15, true),
        ("Protected", 19, true),
        ("Exposed", 20, false),
        ("NotServed", 15, false),
        ("NotServed", 21, false),
        ("NotServed", 25, true),
        ("Unknown", 15, false),
    ] {
        assert_eq!(judged(service, at), is_false, "{service} at {at} s");
    }
}
