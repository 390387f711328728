//! The redo rate of a mirror, derived from two polls ("Redo Bytes/sec" is a running sum).

use std::time::Duration;

use crate::model::Server;

/// The shortest interval between two polls that yields a rate; the clock dominates shorter ones.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// Sets `redo_rate_kb` (KiB per second). Only a queue that is not empty at both polls shows the capacity; otherwise the
/// previous rate is kept.
pub fn update_redo_rate(server: &mut Server, before: &Server, elapsed: Duration) {
    for (name, database) in &mut server.databases {
        let Some(old) = before.databases.get(name) else { continue };
        database.redo_rate_kb = old.redo_rate_kb;
        let busy = |queue: Option<i64>| queue.is_some_and(|kb| kb > 0);
        if !busy(old.redo_queue_kb) || !busy(database.redo_queue_kb) || elapsed < MIN_INTERVAL {
            continue;
        }
        let redone = database.redone_bytes.zip(old.redone_bytes).map_or(0, |(now, then)| now.saturating_sub(then));
        let millis = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let rate = redone.saturating_mul(1000) / 1024 / millis;
        if rate > 0 {
            database.redo_rate_kb = Some(rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Database, DatabaseName, DatabaseState, MemoryShare};

    fn server(queue: i64, redone: i64, rate: Option<i64>) -> Server {
        let database = Database {
            state: DatabaseState::Restoring,
            mirroring: None,
            redo_queue_kb: Some(queue),
            send_queue_kb: None,
            redone_bytes: Some(redone),
            redo_rate_kb: rate,
        };
        Server {
            name: "SQL-B".into(),
            local_name: None,
            version: "11.0".into(),
            edition: String::new(),
            login: "lync".into(),
            sysadmin: true,
            view_server_state: true,
            view_any_database: true,
            endpoint: None,
            databases: BTreeMap::from([(DatabaseName::new("rtcxds"), database)]),
            witnessed: Vec::new(),
            stale_login: None,
            memory: MemoryShare::default(),
        }
    }

    fn rate(before: &Server, mut now: Server, millis: u64) -> Option<i64> {
        update_redo_rate(&mut now, before, Duration::from_millis(millis));
        now.databases[&DatabaseName::new("rtcxds")].redo_rate_kb
    }

    #[test]
    fn update_redo_rate_without_a_queue_at_both_polls_keeps_the_rate() {
        let second = 4 * 1024 * 1024;
        assert_eq!(rate(&server(9000, 0, None), server(5000, second, None), 1000), Some(4096));
        assert_eq!(
            rate(&server(0, 0, None), server(5000, second, None), 1000),
            None,
            "redo was idle for a part of the interval"
        );
        assert_eq!(
            rate(&server(9000, 0, Some(7)), server(0, second, None), 1000),
            Some(7),
            "the previous rate is kept"
        );
        assert_eq!(rate(&server(9000, second, Some(7)), server(9000, 0, None), 1000), Some(7), "the counter restarted");
        assert_eq!(rate(&server(9000, 0, Some(7)), server(9000, 100, None), 1000), Some(7), "nothing was redone");
        assert_eq!(rate(&server(9000, 0, None), server(5000, second / 2, None), 500), Some(4096));
        assert_eq!(rate(&server(9000, 0, None), server(5000, second, None), 100), None, "the polls are too close");
    }
}
