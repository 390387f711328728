//! The flags of the leader election.

use anyhow::ensure;
use clap::Args;

use crate::api::Span;
use crate::leader::Timing;

/// Limits `--retry-period`: `/livez` fails if the loop of the election makes no attempt for longer.
const LONGEST_RETRY: Span = Span::seconds(10);

#[derive(Debug, Args)]
pub struct Election {
    /// Name of the Lease for leader election.
    #[arg(long, env = "LYNC_MIRROR_LEASE_NAME", default_value = "lync-mirror")]
    pub lease_name: String,
    /// Time without a renewal after which another replica acquires the Lease. The same for all replicas.
    #[arg(long, env = "LYNC_MIRROR_LEASE_DURATION", default_value = "15s")]
    lease_duration: Span,
    /// Time without a renewal after which the leader stops.
    #[arg(long, env = "LYNC_MIRROR_RENEW_DEADLINE", default_value = "10s")]
    renew_deadline: Span,
    /// Interval of the renewals. A standby asks twice as often.
    #[arg(long, env = "LYNC_MIRROR_RETRY_PERIOD", default_value = "2s")]
    retry_period: Span,
}

impl Election {
    /// The periods. A leader has to stop before another replica can acquire the Lease.
    pub fn timing(&self) -> anyhow::Result<Timing> {
        let (lease, deadline, retry) = (self.lease_duration, self.renew_deadline, self.retry_period);
        ensure!(
            !retry.0.is_zero() && retry <= LONGEST_RETRY,
            "--retry-period is {retry}. To fix: set it between 1s and {LONGEST_RETRY}."
        );
        ensure!(
            deadline.0 >= 2 * retry.0,
            "--renew-deadline {deadline} is too short for two renewals. To fix: set it to at least twice --retry-period ({retry})."
        );
        ensure!(
            lease.0 > deadline.0 + 2 * retry.0,
            "--lease-duration {lease} is too short. To fix: set it above --renew-deadline ({deadline}) plus twice --retry-period ({retry})."
        );
        Ok(Timing {
            lease_duration: lease.0,
            renew_deadline: deadline.0,
            retry_period: retry.0,
            acquire_period: retry.0 / 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        election: Election,
    }

    fn timing(flags: &[&str]) -> Result<Timing, String> {
        let flags = Flags::try_parse_from([&["run"], flags].concat()).map_err(|error| error.to_string())?;
        flags.election.timing().map_err(|error| error.to_string())
    }

    #[test]
    fn timing_without_flags_is_the_default() {
        let (found, default) = (timing(&[]).unwrap(), Timing::default());
        assert_eq!(format!("{found:?}"), format!("{default:?}"));
    }

    #[test]
    fn timing_in_which_two_replicas_could_lead_is_refused() {
        for (flags, flag) in [
            (["--lease-duration=14s", "--renew-deadline=10s", "--retry-period=2s"], "--lease-duration"),
            (["--lease-duration=60s", "--renew-deadline=3s", "--retry-period=2s"], "--renew-deadline"),
            (["--lease-duration=60s", "--renew-deadline=40s", "--retry-period=0s"], "--retry-period"),
            (["--lease-duration=5m", "--renew-deadline=2m", "--retry-period=11s"], "--retry-period"),
        ] {
            let error = timing(&flags).expect_err(flag);
            assert!(error.starts_with(flag) && error.contains("To fix: "), "{flags:?}: {error}");
        }
        let slow = timing(&["--lease-duration=60s", "--renew-deadline=40s", "--retry-period=8s"]).unwrap();
        assert_eq!(slow.lease_duration_seconds(), 60);
    }
}
