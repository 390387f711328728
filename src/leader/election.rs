//! The decision of the election as a pure function, without an API server and without a clock.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

const LEASE_DURATION: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY_PERIOD: Duration = Duration::from_secs(2);
const ACQUIRE_PERIOD: Duration = Duration::from_secs(1);

// A leader whose renewals fail retries at least twice, and still stops before another candidate can acquire the lease.
const _: () = assert!(RENEW_DEADLINE.as_millis() + 2 * RETRY_PERIOD.as_millis() < LEASE_DURATION.as_millis());

/// The periods of an election, named as in client-go. All candidates should use the same `lease_duration`.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A candidate may acquire a lease that did not change for this long.
    pub lease_duration: Duration,
    /// A leader counts as the leader for this long after the start of its last successful renewal.
    pub renew_deadline: Duration,
    /// The interval between two renewals of a leader, and the limit for the requests of each attempt.
    pub retry_period: Duration,
    /// The interval between two attempts of a standby to acquire the lease.
    pub acquire_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: LEASE_DURATION,
            renew_deadline: RENEW_DEADLINE,
            retry_period: RETRY_PERIOD,
            acquire_period: ACQUIRE_PERIOD,
        }
    }
}

impl Timing {
    /// The value of `leaseDurationSeconds`: whole seconds, rounded up.
    pub fn lease_duration_seconds(&self) -> i32 {
        let up = u64::from(self.lease_duration.subsec_nanos() > 0);
        i32::try_from(self.lease_duration.as_secs() + up).unwrap_or(i32::MAX)
    }
}

/// The lease as it was last read, and the local time of its last observed change. Only the local clock counts: the clocks
/// of two candidates can differ.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseRecord {
    pub holder: Option<String>,
    pub renew_time: Option<MicroTime>,
    /// The lease duration that the holder requested.
    pub lease_duration: Duration,
    pub changed_at: Instant,
}

impl LeaseRecord {
    /// The record of a lease that was read at `now`. An unchanged lease keeps the time of the previous record.
    pub fn new(spec: &LeaseSpec, previous: Option<LeaseRecord>, now: Instant, default_duration: Duration) -> Self {
        let requested = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let changed_at = previous
            .filter(|previous| previous.holder == spec.holder_identity && previous.renew_time == spec.renew_time)
            .map_or(now, |previous| previous.changed_at);
        Self {
            holder: spec.holder_identity.clone(),
            renew_time: spec.renew_time.clone(),
            lease_duration: requested.map_or(default_duration, Duration::from_secs),
            changed_at,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAction {
    Acquire,
    Renew,
    Wait,
}

/// The action of the candidate `identity` on a lease that it has just read.
pub fn next_action(identity: &str, record: &LeaseRecord, now: Instant) -> LeaseAction {
    match record.holder.as_deref() {
        None | Some("") => LeaseAction::Acquire,
        Some(holder) if holder == identity => LeaseAction::Renew,
        Some(_) if now.saturating_duration_since(record.changed_at) > record.lease_duration => LeaseAction::Acquire,
        Some(_) => LeaseAction::Wait,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn next_action_for_each_holder_and_age_matches_the_table() {
        let changed_at = Instant::now();
        let table = [
            // holder       unchanged for   action
            (None,          0,              LeaseAction::Acquire),
            (Some(""),      0,              LeaseAction::Acquire),
            (Some("own"),   0,              LeaseAction::Renew),
            (Some("own"),   3600,           LeaseAction::Renew),
            (Some("other"), 0,              LeaseAction::Wait),
            (Some("other"), 15,             LeaseAction::Wait),
            (Some("other"), 16,             LeaseAction::Acquire),
            (Some("own2"),  1,              LeaseAction::Wait),
        ];
        for (holder, unchanged, expected) in table {
            let record =
                LeaseRecord { holder: holder.map(str::to_owned), renew_time: None, lease_duration: LEASE_DURATION, changed_at };
            let now = changed_at + Duration::from_secs(unchanged);
            assert_eq!(next_action("own", &record, now), expected, "{holder:?}, unchanged for {unchanged} s");
        }
    }

    #[test]
    fn lease_record_with_an_old_renew_time_ages_by_the_local_clock_only() {
        let start = Instant::now();
        let ancient = MicroTime(Timestamp::UNIX_EPOCH);
        let spec = LeaseSpec {
            holder_identity: Some("other".to_owned()),
            renew_time: Some(ancient),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let first = LeaseRecord::new(&spec, None, start, LEASE_DURATION);
        assert_eq!(next_action("own", &first, start), LeaseAction::Wait, "read for the first time, with any renewTime");

        let later = start + Duration::from_secs(16);
        let unchanged = LeaseRecord::new(&spec, Some(first.clone()), later, LEASE_DURATION);
        assert_eq!(next_action("own", &unchanged, later), LeaseAction::Acquire);

        let renewed = LeaseSpec { renew_time: Some(MicroTime(Timestamp::now())), ..spec };
        let changed = LeaseRecord::new(&renewed, Some(first), later, LEASE_DURATION);
        assert_eq!(next_action("own", &changed, later), LeaseAction::Wait);
    }

    #[test]
    fn next_action_with_a_longer_lease_duration_of_the_holder_waits_longer() {
        let start = Instant::now();
        let spec = LeaseSpec {
            holder_identity: Some("other".to_owned()),
            lease_duration_seconds: Some(60),
            ..LeaseSpec::default()
        };
        let record = LeaseRecord::new(&spec, None, start, LEASE_DURATION);
        assert_eq!(next_action("own", &record, start + Duration::from_secs(59)), LeaseAction::Wait);
        assert_eq!(next_action("own", &record, start + Duration::from_secs(61)), LeaseAction::Acquire);
    }
}
