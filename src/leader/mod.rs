//! Leader election with a Lease: only the leader polls SQL Server and sends statements.
//!
//! kube contains no election whose leader stops before another candidate can acquire the lease, so this module
//! implements one. The election keeps two operators apart in normal operation and cannot guarantee it. The guard in each
//! T-SQL batch is what makes a second leader harmless.

mod election;
#[cfg(test)]
mod tests;

pub use election::{LeaseAction, LeaseRecord, Timing, next_action};

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// A handle on the leadership of this process.
#[derive(Clone)]
pub struct Leadership {
    valid_until: watch::Receiver<Option<Instant>>,
    leading: watch::Receiver<bool>,
    rounds: watch::Receiver<u64>,
    resigned: CancellationToken,
}

impl Leadership {
    /// Compares the lease with the clock at the time of the call, so that a process that was paused does not act on an
    /// expired lease.
    pub fn leads(&self) -> bool {
        self.valid_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// The leadership of a process that a lock keeps alone, so that no election is necessary.
    pub fn without_election() -> Leadership {
        let far = Instant::now() + Duration::from_secs(1 << 31);
        let (valid_until, leading, rounds) = (watch::channel(Some(far)).1, watch::channel(true).1, watch::channel(0).1);
        let resigned = CancellationToken::new();
        resigned.cancel();
        Leadership { valid_until, leading, rounds, resigned }
    }

    /// A leadership that a test begins and ends.
    #[cfg(test)]
    pub fn of_tests() -> (Leadership, watch::Sender<Option<Instant>>) {
        let (valid_until, seen) = watch::channel(None);
        let (leading, rounds) = (watch::channel(false).1, watch::channel(0).1);
        (Leadership { valid_until: seen, leading, rounds, resigned: CancellationToken::new() }, valid_until)
    }

    /// The transitions. They can lag behind `leads`: call `leads` again before an action that must not happen twice.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Counts the attempts to acquire or renew the lease, successful or not. The count stops only if the loop stops.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.clone()
    }

    /// Completes when the campaign is over and this process has released its lease, if it held the lease.
    pub async fn resigned(&self) {
        self.resigned.cancelled().await;
    }
}

/// Campaigns until `stop`, then clears the holder of the lease, so that another candidate acquires the lease at its next
/// attempt. `identity` must be unique to this process. Cancel `stop` only after everything that this process started as
/// the leader is complete.
pub fn campaign(
    client: kube::Client,
    namespace: &str,
    name: &str,
    identity: String,
    stop: CancellationToken,
    timing: Timing,
) -> Leadership {
    let (valid_until, valid_until_seen) = watch::channel(None);
    let (leading, leading_seen) = watch::channel(false);
    let (rounds, rounds_seen) = watch::channel(0);
    let resigned = CancellationToken::new();
    let leases = Api::<Lease>::namespaced(client, namespace);
    let candidate = Candidate { leases, name: name.to_owned(), identity, timing, record: None, held: None };
    let cancel_resigned = resigned.clone().drop_guard();
    tokio::spawn(publish_transitions(valid_until_seen.clone(), leading));
    tokio::spawn(async move {
        candidate.run(valid_until, rounds, stop).await;
        drop(cancel_resigned);
    });
    Leadership { valid_until: valid_until_seen, leading: leading_seen, rounds: rounds_seen, resigned }
}

/// Publishes each transition, and the expiry of a lease at the moment of the expiry.
async fn publish_transitions(mut valid_until: watch::Receiver<Option<Instant>>, leading: watch::Sender<bool>) {
    loop {
        let until = *valid_until.borrow_and_update();
        let leads = until.is_some_and(|until| Instant::now() < until);
        if leading.send_if_modified(|current| std::mem::replace(current, leads) != leads) {
            match (leads, until) {
                (true, _) => info!("leadership acquired"),
                (false, None) => info!("leadership ended"),
                (false, Some(_)) => warn!("leadership ended: the lease was not renewed in time"),
            }
        }
        let changed = match until.filter(|_| leads) {
            Some(until) => tokio::select! {
                changed = valid_until.changed() => changed,
                () = tokio::time::sleep_until(until.into()) => Ok(()),
            },
            None => valid_until.changed().await,
        };
        if changed.is_err() {
            leading.send_replace(false);
            return;
        }
    }
}

struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    record: Option<LeaseRecord>,
    /// The lease of the last successful write. A renewal of it needs no read, because its resource version is current until
    /// another client writes.
    held: Option<Lease>,
}

impl Candidate {
    async fn run(
        mut self,
        valid_until: watch::Sender<Option<Instant>>,
        rounds: watch::Sender<u64>,
        stop: CancellationToken,
    ) {
        let mut failing = false;
        loop {
            // The validity counts from before the request: the clocks of other candidates start after the write.
            let requested_at = Instant::now();
            let error = match timeout(self.timing.retry_period, self.try_acquire_or_renew()).await {
                Ok(Ok(acquired)) => {
                    valid_until.send_replace(acquired.then(|| requested_at + self.timing.renew_deadline));
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("the API server did not answer within {:?}", self.timing.retry_period)),
            };
            match &error {
                Some(error) if failing => debug!(lease = self.name, error, "lease still unavailable"),
                Some(error) => warn!(lease = self.name, error, "lease unavailable"),
                None if failing => info!(lease = self.name, "lease available again"),
                None => {}
            }
            failing = error.is_some();
            rounds.send_modify(|rounds| *rounds += 1);
            let leads = valid_until.borrow().is_some();
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(jittered(if leads { self.timing.retry_period } else { self.timing.acquire_period })) => {}
            }
        }
        // The order matters: this process must not lead after the release.
        valid_until.send_replace(None);
        self.resign().await;
    }

    /// Renews the lease with one request. After a conflict or a failed request, reads it and writes it if this candidate holds it
    /// or may acquire it. True: this candidate holds the lease.
    async fn try_acquire_or_renew(&mut self) -> Result<bool, kube::Error> {
        // Taken, so that a round without an answer is followed by a read.
        if let Some(mut lease) = self.held.take() {
            self.set_renewed(lease.spec.get_or_insert_default());
            self.held = written(self.leases.replace(&self.name, &PostParams::default(), &lease).await)?;
            if self.held.is_some() {
                return Ok(true);
            }
        }
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            self.held = written(self.leases.create(&PostParams::default(), &self.new_lease()).await)?;
            return Ok(self.held.is_some());
        };
        let spec = lease.spec.get_or_insert_default();
        let now = Instant::now();
        let record = LeaseRecord::new(spec, self.record.take(), now, self.timing.lease_duration);
        match next_action(&self.identity, self.record.insert(record), now) {
            LeaseAction::Wait => return Ok(false),
            LeaseAction::Renew => {}
            LeaseAction::Acquire => {
                spec.holder_identity = Some(self.identity.clone());
                spec.acquire_time = Some(MicroTime(Timestamp::now()));
                spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            }
        }
        self.set_renewed(spec);
        // `replace` sends the resource version: a write of another candidate in between is a conflict.
        self.held = written(self.leases.replace(&self.name, &PostParams::default(), &lease).await)?;
        Ok(self.held.is_some())
    }

    fn set_renewed(&self, spec: &mut LeaseSpec) {
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        spec.lease_duration_seconds = Some(self.timing.lease_duration_seconds());
    }

    fn new_lease(&self) -> Lease {
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_duration_seconds: Some(self.timing.lease_duration_seconds()),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn resign(&self) {
        // The API server can still apply a renewal that timed out here: a conflict is a reason to retry.
        for _ in 0..3 {
            match timeout(self.timing.retry_period, self.clear_holder()).await {
                Ok(Ok(())) => return,
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {}
                Ok(Err(error)) => return warn!(lease = self.name, %error, "lease not released: it will expire"),
                Err(_) => return warn!(lease = self.name, "lease not released: the API server does not answer"),
            }
        }
    }

    async fn clear_holder(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
        info!(lease = self.name, "lease released");
        Ok(())
    }
}

/// The lease as the API server stored it. None: another client wrote or deleted it before.
fn written(answer: Result<Lease, kube::Error>) -> Result<Option<Lease>, kube::Error> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status))
            if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Shortens the wait by up to a fifth, so that candidates that start together do not stay in step.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 200;
    wait.mul_f64(1.0 - random as f64 / 1000.0)
}
