//! Which of several operators may act: an election by Lease. Our own, because kube has none and a leader must stop
//! believing in its lease before a rival may take it. A courtesy, not a fence: the guard in the DDL is the fence.

mod election;
#[cfg(test)]
mod tests;

pub use election::{Move, Sighting, Timing, next_move};

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

/// What this process knows of its own leadership.
#[derive(Clone)]
pub struct Leadership {
    term: watch::Receiver<Option<Instant>>,
    leading: watch::Receiver<bool>,
    rounds: watch::Receiver<u64>,
    given_up: CancellationToken,
}

impl Leadership {
    /// Asked of the clock at the call: a process that was paused does not believe in an old lease.
    pub fn leads(&self) -> bool {
        self.term.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// The transitions. Before anything that must not happen twice, ask `leads` again.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Counts the rounds of the election, won or lost: it stands still only if the loop does.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.clone()
    }

    /// Completes when the campaign is over and the lease, if it was ours, has been given up.
    pub async fn resigned(&self) {
        self.given_up.cancelled().await;
    }
}

/// Campaigns until `stop`, then blanks the holder so that a rival takes over at its next beat. `me` must be unique to
/// this process. Cancel `stop` only when nothing that was begun as the leader is still under way.
pub fn campaign(client: kube::Client, namespace: &str, name: &str, me: String, stop: CancellationToken) -> Leadership {
    campaign_timed(client, namespace, name, me, stop, Timing::default())
}

/// `campaign`, with another rhythm.
pub fn campaign_timed(
    client: kube::Client,
    namespace: &str,
    name: &str,
    me: String,
    stop: CancellationToken,
    timing: Timing,
) -> Leadership {
    let (term, term_seen) = watch::channel(None);
    let (leading, leading_seen) = watch::channel(false);
    let (rounds, rounds_seen) = watch::channel(0);
    let given_up = CancellationToken::new();
    let leases = Api::<Lease>::namespaced(client, namespace);
    let candidate = Candidate { leases, name: name.to_owned(), me, timing, sighting: None };
    let over = given_up.clone().drop_guard();
    tokio::spawn(announce(term_seen.clone(), leading));
    tokio::spawn(async move {
        candidate.run(term, rounds, stop).await;
        drop(over);
    });
    Leadership { term: term_seen, leading: leading_seen, rounds: rounds_seen, given_up }
}

/// Turns the term into transitions, the end of a term at the moment at which it ends.
async fn announce(mut term: watch::Receiver<Option<Instant>>, leading: watch::Sender<bool>) {
    loop {
        let until = *term.borrow_and_update();
        let leads = until.is_some_and(|until| Instant::now() < until);
        if leading.send_if_modified(|was| std::mem::replace(was, leads) != leads) {
            match (leads, until) {
                (true, _) => info!("leading"),
                (false, None) => info!("leading no more"),
                (false, Some(_)) => warn!("leading no more: the lease was not renewed in time"),
            }
        }
        let changed = match until.filter(|_| leads) {
            Some(until) => tokio::select! {
                changed = term.changed() => changed,
                () = tokio::time::sleep_until(until.into()) => Ok(()),
            },
            None => term.changed().await,
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
    me: String,
    timing: Timing,
    sighting: Option<Sighting>,
}

impl Candidate {
    async fn run(mut self, term: watch::Sender<Option<Instant>>, rounds: watch::Sender<u64>, stop: CancellationToken) {
        let mut failing = false;
        loop {
            // The term counts from before the request: a rival's clock starts after it.
            let asked_at = Instant::now();
            let trouble = match timeout(self.timing.beat, self.beat()).await {
                Ok(Ok(won)) => {
                    term.send_replace(won.then(|| asked_at + self.timing.renew_by));
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("the API server did not answer within {:?}", self.timing.beat)),
            };
            match &trouble {
                Some(trouble) if failing => debug!(lease = self.name, trouble, "lease still out of reach"),
                Some(trouble) => warn!(lease = self.name, trouble, "lease out of reach"),
                None if failing => info!(lease = self.name, "lease within reach again"),
                None => {}
            }
            failing = trouble.is_some();
            rounds.send_modify(|rounds| *rounds += 1);
            let leads = term.borrow().is_some();
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(jittered(if leads { self.timing.beat } else { self.timing.stand })) => {}
            }
        }
        // First stop to believe, then let go.
        term.send_replace(None);
        self.resign().await;
    }

    /// One round: look, decide, and write what was decided. True: the lease is ours.
    async fn beat(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            return won(self.leases.create(&PostParams::default(), &self.fresh()).await);
        };
        let spec = lease.spec.get_or_insert_default();
        let now = Instant::now();
        let sighting = Sighting::of(spec, self.sighting.take(), now, self.timing.lease);
        match next_move(&self.me, self.sighting.insert(sighting), now) {
            Move::Stand => return Ok(false),
            Move::Renew => {}
            Move::Take => {
                spec.holder_identity = Some(self.me.clone());
                spec.acquire_time = Some(MicroTime(Timestamp::now()));
                spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            }
        }
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        spec.lease_duration_seconds = Some(self.timing.lease_seconds());
        // `replace` carries the resource version: a rival's write in between is a conflict.
        won(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn fresh(&self) -> Lease {
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_duration_seconds: Some(self.timing.lease_seconds()),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn resign(&self) {
        // A renewal that timed out here may still land there: a conflict is worth another look.
        for _ in 0..3 {
            match timeout(self.timing.beat, self.blank()).await {
                Ok(Ok(())) => return,
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {}
                Ok(Err(error)) => return warn!(lease = self.name, %error, "lease not given up: it will run out"),
                Err(_) => return warn!(lease = self.name, "lease not given up: the API server does not answer"),
            }
        }
    }

    async fn blank(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.me) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
        info!(lease = self.name, "lease given up");
        Ok(())
    }
}

/// A write that lost against another writer is a lost round, not an error.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Up to a fifth less, so that candidates that started together do not stay together.
fn jittered(wait: Duration) -> Duration {
    let dice = RandomState::new().hash_one(()) % 200;
    wait.mul_f64(1.0 - dice as f64 / 1000.0)
}
