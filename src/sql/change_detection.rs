//! Compares two observations of a server. Rates are ignored, and of the redo queue only a change of its class counts, because
//! they change with each transaction.

use crate::model::{Database, DatabaseName, Server, ServerObservation, queue_class};

/// Whether two observations are equal apart from rates and small changes of queues.
pub fn is_unchanged(a: &ServerObservation, b: &ServerObservation) -> bool {
    match (a, b) {
        (ServerObservation::Available { server: a, .. }, ServerObservation::Available { server: b, .. }) => {
            servers(a, b)
        }
        (
            ServerObservation::Unavailable { unavailable: a, .. },
            ServerObservation::Unavailable { unavailable: b, .. },
        ) => a == b,
        _ => false,
    }
}

fn servers(a: &Server, b: &Server) -> bool {
    // The pattern is exhaustive, so that the compiler reports a new field.
    let Server {
        name,
        local_name,
        version,
        edition,
        login,
        sysadmin,
        view_server_state,
        view_any_database,
        endpoint,
        databases,
        witnessed,
        stale_login,
        memory: _,
    } = a;
    (name, local_name, version) == (&b.name, &b.local_name, &b.version)
        && (edition, login, stale_login) == (&b.edition, &b.login, &b.stale_login)
        && (*sysadmin, *view_server_state, *view_any_database) == (b.sysadmin, b.view_server_state, b.view_any_database)
        && (endpoint, witnessed) == (&b.endpoint, &b.witnessed)
        && databases.len() == b.databases.len()
        && databases.iter().zip(&b.databases).all(|((n, d), (m, e))| n.as_str() == m.as_str() && database(d, e))
}

/// Whether two servers are equal in everything, also in the spelling of the databases.
pub fn is_equal(a: &Server, b: &Server) -> bool {
    a == b && a.databases.keys().map(DatabaseName::as_str).eq(b.databases.keys().map(DatabaseName::as_str))
}

fn database(a: &Database, b: &Database) -> bool {
    let Database { state, mirroring, redo_queue_kb, send_queue_kb: _, redone_bytes: _, redo_rate_kb: _ } = a;
    (state, mirroring) == (&b.state, &b.mirroring) && redo_queue_kb.map(queue_class) == b.redo_queue_kb.map(queue_class)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::{DatabaseState, MemoryShare, Unavailable, UnavailableCause};

    fn observation(name: &str, state: DatabaseState, queue: Option<i64>) -> ServerObservation {
        let database = Database {
            state,
            mirroring: None,
            redo_queue_kb: queue,
            send_queue_kb: queue,
            redone_bytes: queue,
            redo_rate_kb: queue,
        };
        let server = Server {
            name: name.into(),
            local_name: None,
            version: "11.0.7001.0".into(),
            edition: "Standard Edition".into(),
            login: "lync".into(),
            sysadmin: true,
            view_server_state: true,
            view_any_database: true,
            endpoint: None,
            databases: BTreeMap::from([(DatabaseName::new("rtcxds"), database)]),
            witnessed: Vec::new(),
            stale_login: None,
            memory: MemoryShare::default(),
        };
        ServerObservation::Available { address: "a,1433".into(), server: Arc::new(server) }
    }

    #[test]
    fn is_unchanged_ignores_small_changes_of_queues() {
        let one = observation("A", DatabaseState::Online, Some(1));
        assert!(is_unchanged(&one, &observation("A", DatabaseState::Online, Some(2))));
        assert!(!is_unchanged(&one, &observation("A", DatabaseState::Online, Some(2 << 10))));
        assert!(!is_unchanged(&one, &observation("A", DatabaseState::Online, None)), "a right was withdrawn");
        assert!(!is_unchanged(&one, &observation("A", DatabaseState::Restoring, Some(1))));
        assert!(!is_unchanged(&one, &observation("B", DatabaseState::Online, Some(1))));
    }

    #[test]
    fn is_equal_compares_rates_and_the_spelling() {
        let server = |queue| match observation("A", DatabaseState::Online, Some(queue)) {
            ServerObservation::Available { server, .. } => Server::clone(&server),
            ServerObservation::Unavailable { .. } => unreachable!(),
        };
        assert!(is_equal(&server(1), &server(1)) && !is_equal(&server(1), &server(2)));
        let mut spelled = server(1);
        let databases = std::mem::take(&mut spelled.databases);
        spelled.databases = databases.into_values().map(|row| (DatabaseName::new("RTCXDS"), row)).collect();
        assert!(spelled == server(1) && !is_equal(&spelled, &server(1)));
    }

    #[test]
    fn is_unchanged_compares_the_cause_of_unavailability() {
        let unavailable = |cause| ServerObservation::Unavailable {
            address: "a,1433".into(),
            unavailable: Unavailable { cause, detail: "d".into() },
        };
        assert!(!is_unchanged(
            &observation("A", DatabaseState::Online, None),
            &unavailable(UnavailableCause::TimedOut)
        ));
        assert!(is_unchanged(&unavailable(UnavailableCause::TimedOut), &unavailable(UnavailableCause::TimedOut)));
        assert!(!is_unchanged(
            &unavailable(UnavailableCause::TimedOut),
            &unavailable(UnavailableCause::ConnectionLost)
        ));
    }
}
