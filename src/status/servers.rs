//! The servers in the status, with the memory of when an unreachable one was last read. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ParsedSpec, ServerStatus};
use crate::model::{
    Evidence, LastRead, Observation, Pair, Reason, Seat, ServerObservation, Unavailable, whole_seconds,
};
use crate::plan::{Plan, second};
use crate::status::summary::is_unpolled;

/// What is remembered of the servers.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    /// The servers of the previous status of the same resource.
    pub before: &'a [ServerStatus],
    /// The last contact of this process with each server, by address.
    pub last_reads: &'a BTreeMap<String, LastRead>,
    pub now: Timestamp,
}

pub(super) fn servers(spec: &ParsedSpec, observation: &Observation, plan: &Plan, memory: Memory) -> Vec<ServerStatus> {
    let mut servers = Vec::new();
    for (store, pair) in spec.stores.iter().zip(observation.pairs.iter()) {
        let prefix = if store.label.is_empty() { String::new() } else { format!("{} ", store.label) };
        let partner = |seat| (before_start(plan, observation, pair, seat), Some(pair.view(seat)));
        let [primary, mirror] = Seat::BOTH.map(partner);
        let seats = [("Primary", primary), ("Mirror", mirror), ("Witness", (None, pair.witness.as_ref()))];
        for (seat, (page, view)) in seats {
            let Some(view) = view else { continue };
            let mut status = server_status(format!("{prefix}{seat}"), view, memory);
            if let (Some(page), ServerObservation::Unavailable { unavailable, .. }) = (page, view) {
                status.message = Some(caution(unavailable, page));
            }
            servers.push(status);
        }
    }
    servers
}

/// The reason whose page has to be read before this server starts, if its return is a risk for a type.
pub(super) fn before_start(plan: &Plan, observation: &Observation, pair: &Pair, seat: Seat) -> Option<Reason> {
    let types = plan.types.values().filter(|planned| {
        // The resource can have a second pair.
        std::ptr::eq(observation.pair(planned.desired_type.store), pair)
    });
    types.into_iter().find_map(|planned| planned.before_start(pair, seat))
}

/// The step of a server that does not answer, as to start it, would contradict the page. That of another cause is needed after
/// the page.
fn caution(unavailable: &Unavailable, page: Reason) -> String {
    let caution = format!("It can hold a second live copy. To fix: read docs/reasons/{page}.md before it starts.");
    match unavailable.cause.evidence() {
        Evidence::NotAnswering => format!("{}. {caution}", unavailable.problem()),
        Evidence::Inconclusive | Evidence::Alive => format!("{caution} {}", unavailable.detail),
    }
}

fn server_status(seat: String, view: &ServerObservation, memory: Memory) -> ServerStatus {
    match view {
        ServerObservation::Available { address, server } => {
            let stale = server.stale_login.as_ref().filter(|unavailable| unavailable.cause.is_refused_login());
            ServerStatus {
                seat,
                address: address.clone(),
                reachable: true,
                name: Some(server.name.clone()),
                version: Some(server.version.clone()),
                edition: Some(server.edition.clone()),
                reason: stale.map(|_| Reason::CredentialsStale.name().to_owned()),
                message: stale.map(|unavailable| unavailable.detail.clone()),
                unreachable_since: None,
                last_read_time: None,
                last_port: last_port(address, memory),
            }
        }
        ServerObservation::Unavailable { address, unavailable } => {
            let (since, last_read) = absence(address, is_unpolled(unavailable), memory);
            ServerStatus {
                seat,
                address: address.clone(),
                reachable: false,
                name: None,
                version: None,
                edition: None,
                reason: Some(unavailable.cause.reason().name().to_owned()),
                message: Some(unavailable.detail.clone()),
                unreachable_since: since.map(Time),
                last_read_time: last_read.map(Time),
                last_port: last_port(address, memory),
            }
        }
    }
}

/// The port at which this process last logged in, or a former one before it.
fn last_port(address: &str, memory: Memory) -> Option<i32> {
    let stored = || memory.before.iter().find(|server| server.address == address)?.last_port;
    memory.last_reads.get(address).and_then(|read| read.port).map(i32::from).or_else(stored)
}

/// Since when the server at this address is unreachable, and when it was last read. The previous status is the only memory
/// after a restart. It belongs to the address: another address may be another server.
fn absence(address: &str, unpolled: bool, memory: Memory) -> (Option<Timestamp>, Option<Timestamp>) {
    let before = memory.before.iter().find(|server| server.address == address && !server.reachable);
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let (since, stored) =
        before.map_or((None, None), |server| (time(&server.unreachable_since), time(&server.last_read_time)));
    let read = memory.last_reads.get(address).map(|read| whole_seconds(read.at));
    let returned = read.zip(since).is_some_and(|(read, since)| read > since);
    let since = match since.filter(|since| !returned && *since <= memory.now) {
        None if unpolled => None,
        None => Some(whole_seconds(memory.now)),
        since => since,
    };
    (since, read.max(stored.filter(|stored| *stored <= memory.now)))
}

/// Since when the operator does not reach the server at this address.
pub(super) fn unreachable_since(servers: &[ServerStatus], address: &str) -> Option<Timestamp> {
    let server = servers.iter().find(|server| server.address == address && !server.reachable)?;
    server.unreachable_since.as_ref().map(|at| at.0)
}

/// ` Polls of the mirror sql-b have failed since .... The last answer was at ....`: a sentence for each unreachable partner.
pub(super) fn absences(pair: &Pair, servers: &[ServerStatus]) -> String {
    let sentence = |seat: Seat| {
        let address = pair.view(seat).address();
        let server = servers.iter().find(|server| server.address == address && !server.reachable)?;
        let since = second(server.unreachable_since.as_ref()?.0);
        let last = server.last_read_time.as_ref().map(|at| format!(" The last answer was at {}.", second(at.0)));
        Some(format!(" Polls of the {} have failed since {since}.{}", pair.label(seat), last.unwrap_or_default()))
    };
    Seat::BOTH.into_iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnavailableCause::{self, ConnectionRefused, NotYetPolled, PollsStopped};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn read_at(second: i64, port: Option<u16>) -> LastRead {
        LastRead { at: at(second), port }
    }

    fn away(address: &str, cause: UnavailableCause) -> ServerObservation {
        let unavailable = Unavailable { cause, detail: "why".to_owned() };
        ServerObservation::Unavailable { address: address.to_owned(), unavailable }
    }

    fn former(address: &str, since: Option<i64>, read: Option<i64>) -> ServerStatus {
        ServerStatus {
            seat: "Primary".to_owned(),
            address: address.to_owned(),
            reachable: since.is_none() && read.is_none(),
            name: None,
            version: None,
            edition: None,
            reason: None,
            message: None,
            unreachable_since: since.map(|second| Time(at(second))),
            last_read_time: read.map(|second| Time(at(second))),
            last_port: None,
        }
    }

    /// Cause, former status, last read of this process -> since, last read.
    #[test]
    fn absence_of_every_memory_is_that_of_the_address() {
        let reachable = former("sql-a", None, None);
        let known = former("sql-a", Some(50), Some(45));
        let other = former("sql-x", Some(50), Some(45));
        let future = former("sql-a", Some(5_000), Some(5_000));
        for (name, cause, before, read, expected) in [
            ("first seen, never read", ConnectionRefused, None, None, (Some(100), None)),
            ("was reachable", ConnectionRefused, Some(&reachable), Some(97), (Some(100), Some(97))),
            ("was reachable, operator restarted", ConnectionRefused, Some(&reachable), None, (Some(100), None)),
            ("known, same process", ConnectionRefused, Some(&known), Some(45), (Some(50), Some(45))),
            ("known, operator restarted", ConnectionRefused, Some(&known), None, (Some(50), Some(45))),
            ("known, read in between", ConnectionRefused, Some(&known), Some(80), (Some(100), Some(80))),
            ("known, read at that time", ConnectionRefused, Some(&known), Some(50), (Some(50), Some(50))),
            ("known, first poll after a restart", NotYetPolled, Some(&known), None, (Some(50), Some(45))),
            ("first poll", NotYetPolled, None, None, (None, None)),
            ("first poll of a server that was reachable", NotYetPolled, Some(&reachable), None, (None, None)),
            ("polls are stopped", PollsStopped, Some(&reachable), Some(97), (None, Some(97))),
            ("another address", ConnectionRefused, Some(&other), None, (Some(100), None)),
            ("a restored status of the future", ConnectionRefused, Some(&future), None, (Some(100), None)),
        ] {
            let before = before.into_iter().cloned().collect::<Vec<_>>();
            let last_reads = read.map(|second| ("sql-a".to_owned(), read_at(second, None))).into_iter().collect();
            let memory = Memory { before: &before, last_reads: &last_reads, now: at(100) };
            let status = server_status("Mirror".to_owned(), &away("sql-a", cause), memory);
            let times = [status.unreachable_since.clone(), status.last_read_time.clone()]
                .map(|time| time.map(|time| time.0.as_second()));
            assert_eq!(times, [expected.0, expected.1], "{name}");

            let memory = Memory { before: std::slice::from_ref(&status), now: at(200), ..memory };
            let again = server_status("Mirror".to_owned(), &away("sql-a", cause), memory);
            assert_eq!(again, status, "{name}: a later poll without news changes nothing");
        }
    }

    #[test]
    fn last_port_is_that_of_this_process_or_the_stored_one_of_the_address() {
        let stored = |address, port| ServerStatus { last_port: port, ..former(address, Some(50), None) };
        let port = |before: &[ServerStatus], read: Option<LastRead>| {
            let last_reads = read.map(|read| ("sql-a".to_owned(), read)).into_iter().collect();
            let memory = Memory { before, last_reads: &last_reads, now: at(100) };
            server_status("Mirror".to_owned(), &away("sql-a", ConnectionRefused), memory).last_port
        };
        let before = [stored("sql-x", Some(1)), stored("sql-a", Some(50_123))];
        assert_eq!(port(&before, None), Some(50_123), "the operator restarted");
        assert_eq!(port(&before, Some(read_at(60, None))), Some(50_123), "read, and without a port");
        assert_eq!(port(&before, Some(read_at(60, Some(50_124)))), Some(50_124), "a newer login");
        assert_eq!(port(&before[..1], None), None, "another address");
    }

    #[test]
    fn server_is_unreachable_since_the_time_of_its_own_address() {
        let servers = [former("sql-x", Some(1), None), former("sql-a", Some(60), None), former("sql-b", None, None)];
        assert_eq!(unreachable_since(&servers, "sql-a"), Some(at(60)));
        assert_eq!(unreachable_since(&servers, "sql-b"), None);
        assert_eq!(unreachable_since(&servers, "sql-c"), None);
    }

    #[test]
    fn absences_of_a_pair_are_one_sentence_for_each_unreachable_partner() {
        let pair = Pair {
            primary: away("sql-a", ConnectionRefused),
            mirror: away("sql-b", ConnectionRefused),
            witness: Some(away("sql-w", ConnectionRefused)),
        };
        let servers =
            [former("sql-a", Some(60), Some(55)), former("sql-b", Some(90), None), former("sql-w", Some(1), None)];
        assert_eq!(
            absences(&pair, &servers),
            " Polls of the primary sql-a have failed since 1970-01-01T00:01:00Z. The last answer was at 1970-01-01T00:00:55Z. Polls of the mirror sql-b have failed since 1970-01-01T00:01:30Z."
        );
        assert_eq!(absences(&pair, &[]), "");
    }
}
