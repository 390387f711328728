//! The election as a function. It knows no API server and reads no clock.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

const LEASE: Duration = Duration::from_secs(15);
const RENEW_BY: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_secs(2);
const STAND: Duration = Duration::from_secs(1);

// A leader whose renewals fail has had two more chances, and still stops before any rival may start.
const _: () = assert!(RENEW_BY.as_millis() + 2 * BEAT.as_millis() < LEASE.as_millis());

/// The rhythm of an election. All candidates should agree on `lease`.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A rival may take a lease that it has not seen change for this long.
    pub lease: Duration,
    /// A leader believes in its lease for this long after it began to renew it.
    pub renew_by: Duration,
    /// A leader renews this often, and no round of requests takes longer.
    pub beat: Duration,
    /// A standby looks this often.
    pub stand: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease: LEASE, renew_by: RENEW_BY, beat: BEAT, stand: STAND }
    }
}

impl Timing {
    /// As the Lease has it: whole seconds, never fewer than meant.
    pub fn lease_seconds(&self) -> i32 {
        let up = u64::from(self.lease.subsec_nanos() > 0);
        i32::try_from(self.lease.as_secs() + up).unwrap_or(i32::MAX)
    }
}

/// What was last read of the lease, and when our own clock last saw it change: clocks of rivals are never compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    pub holder: Option<String>,
    pub renewed: Option<MicroTime>,
    /// How long the holder asked to be left alone.
    pub lasts: Duration,
    pub seen_at: Instant,
}

impl Sighting {
    /// What is read now, with the time of `former` if nothing changed since.
    pub fn of(spec: &LeaseSpec, former: Option<Sighting>, now: Instant, lease: Duration) -> Self {
        let asked = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let seen_at = former
            .filter(|former| former.holder == spec.holder_identity && former.renewed == spec.renew_time)
            .map_or(now, |former| former.seen_at);
        Self {
            holder: spec.holder_identity.clone(),
            renewed: spec.renew_time.clone(),
            lasts: asked.map_or(lease, Duration::from_secs),
            seen_at,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Take,
    Renew,
    Stand,
}

/// What a candidate does about a lease that it has just read.
pub fn next_move(me: &str, sighting: &Sighting, now: Instant) -> Move {
    match sighting.holder.as_deref() {
        None | Some("") => Move::Take,
        Some(holder) if holder == me => Move::Renew,
        Some(_) if now.saturating_duration_since(sighting.seen_at) > sighting.lasts => Move::Take,
        Some(_) => Move::Stand,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_moves() {
        let seen_at = Instant::now();
        let table = [
            // holder       unchanged for   move
            (None,          0,              Move::Take),
            (Some(""),      0,              Move::Take),
            (Some("me"),    0,              Move::Renew),
            (Some("me"),    3600,           Move::Renew),
            (Some("rival"), 0,              Move::Stand),
            (Some("rival"), 15,             Move::Stand),
            (Some("rival"), 16,             Move::Take),
            (Some("me2"),   1,              Move::Stand),
        ];
        for (holder, unchanged, expected) in table {
            let sighting = Sighting { holder: holder.map(str::to_owned), renewed: None, lasts: LEASE, seen_at };
            let now = seen_at + Duration::from_secs(unchanged);
            assert_eq!(next_move("me", &sighting, now), expected, "{holder:?}, unchanged for {unchanged} s");
        }
    }

    #[test]
    fn a_rivals_clock_counts_for_nothing() {
        let start = Instant::now();
        let ancient = MicroTime(Timestamp::UNIX_EPOCH);
        let spec = LeaseSpec {
            holder_identity: Some("rival".to_owned()),
            renew_time: Some(ancient),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let first = Sighting::of(&spec, None, start, LEASE);
        assert_eq!(next_move("me", &first, start), Move::Stand, "seen for the first time, however old it says it is");

        let later = start + Duration::from_secs(16);
        let unchanged = Sighting::of(&spec, Some(first.clone()), later, LEASE);
        assert_eq!(next_move("me", &unchanged, later), Move::Take);

        let renewed = LeaseSpec { renew_time: Some(MicroTime(Timestamp::now())), ..spec };
        let changed = Sighting::of(&renewed, Some(first), later, LEASE);
        assert_eq!(next_move("me", &changed, later), Move::Stand);
    }

    #[test]
    fn a_holder_that_asks_for_longer_is_left_alone_for_longer() {
        let start = Instant::now();
        let spec = LeaseSpec {
            holder_identity: Some("rival".to_owned()),
            lease_duration_seconds: Some(60),
            ..LeaseSpec::default()
        };
        let sighting = Sighting::of(&spec, None, start, LEASE);
        assert_eq!(next_move("me", &sighting, start + Duration::from_secs(59)), Move::Stand);
        assert_eq!(next_move("me", &sighting, start + Duration::from_secs(61)), Move::Take);
    }
}
