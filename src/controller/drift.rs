//! What a role switch left behind (R22): asked of both servers once a move is over, told as a condition. It stops nothing
//! and changes nothing. What differs is told in `plan`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{join_all, try_join};
use tokio::time::Instant;
use tracing::info;

use crate::api::{Asked, ConditionType, LyncPoolMirrorStatus};
use crate::controller::context::{Context, Ref, key};
use crate::controller::observe::Eyes;
use crate::model::{Darkness, DatabaseName, Side, Weight};
use crate::plan::{Plan, differences};
use crate::sql::{self, Target};

/// How often what differed is compared again, so that the condition ends when somebody has mended it.
const AGAIN: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, PartialEq)]
pub enum Compared {
    Same,
    Differs(Vec<String>),
    Unknown(Darkness),
}

struct Entry {
    uid: String,
    due: bool,
    asked: Option<Instant>,
    /// None: nothing was found yet.
    found: Option<Compared>,
}

/// What this process has found, by resource.
#[derive(Default)]
pub struct Drift(Mutex<HashMap<Ref, Entry>>);

impl Drift {
    fn lock(&self) -> MutexGuard<'_, HashMap<Ref, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn known(&self, resource: &Ref, uid: &str) -> Option<Compared> {
        self.lock().get(resource).filter(|entry| entry.uid == uid)?.found.clone()
    }

    pub fn forget(&self, resource: &Ref) {
        self.lock().remove(resource);
    }

    pub fn forget_all(&self) {
        self.lock().clear();
    }

    /// True when it is time to ask: something made it due, and nothing moves.
    fn is_due(&self, resource: &Ref, uid: &str, news: bool, settled: bool) -> bool {
        let mut all = self.lock();
        if all.get(resource).is_none_or(|entry| entry.uid != uid) {
            if !news {
                return false;
            }
            all.insert(resource.clone(), Entry { uid: uid.to_owned(), due: true, asked: None, found: None });
        }
        let Some(entry) = all.get_mut(resource) else { return false };
        let stale = entry.asked.is_some_and(|asked| asked.elapsed() >= AGAIN);
        entry.due |= stale && !matches!(entry.found, None | Some(Compared::Same));
        let now = entry.due && settled;
        if now {
            (entry.due, entry.asked) = (false, Some(Instant::now()));
        }
        now
    }

    /// A move has ended: what was found before it is no longer the last word.
    fn moved(&self, resource: &Ref, uid: &str) {
        if let Some(entry) = self.lock().get_mut(resource).filter(|entry| entry.uid == uid) {
            entry.due = true;
        }
    }

    fn keep(&self, resource: &Ref, uid: &str, compared: Compared) {
        if let Some(entry) = self.lock().get_mut(resource).filter(|entry| entry.uid == uid) {
            entry.found = Some(compared);
        }
    }
}

impl Context {
    /// After a move; once per process when the last comparison found something, or there was none since the last move; and
    /// every ten minutes while something differs.
    pub fn compare_when_due(
        self: &Arc<Self>,
        resource: &Ref,
        uid: &str,
        asked: &Asked,
        eyes: &Eyes,
        plan: &Plan,
        status: &LyncPoolMirrorStatus,
    ) {
        let kind: &str = ConditionType::PostSwitchDrift.into();
        let last = status.conditions.iter().find(|condition| condition.type_ == kind);
        let unsettled = !status.history.is_empty() && last.is_none_or(|condition| condition.status != "False");
        let moved = plan.ended.is_some();
        if moved {
            self.drift.moved(resource, uid);
        }
        // Not beside a move, nor between those of two types.
        let going = plan.types.values().any(|of| of.verdict.reason.weight() == Weight::Progressing);
        let settled = plan.memory.operation.is_none() && !going;
        if !self.drift.is_due(resource, uid, moved || unsettled, settled) {
            return;
        }
        let stores: Vec<(Target, Target, Vec<DatabaseName>)> = (0..asked.stores.len())
            .filter_map(|store| {
                let mut names = Vec::new();
                for wish in asked.desired.wishes.iter().filter(|wish| wish.store == store) {
                    names.extend(wish.databases.iter().cloned());
                }
                let target = |side| eyes.target(store, side).cloned();
                Some((target(Side::Primary)?, target(Side::Mirror)?, names))
            })
            .collect();
        let (context, resource, uid) = (self.clone(), resource.clone(), uid.to_owned());
        tokio::spawn(async move {
            let compared = compare(&context, &stores).await;
            info!(resource = key(&resource), ?compared, "compared what a role switch does not carry along");
            context.drift.keep(&resource, &uid, compared);
            context.wake(&resource);
        });
    }
}

async fn compare(context: &Context, stores: &[(Target, Target, Vec<DatabaseName>)]) -> Compared {
    let pairs = stores.iter().map(async |(primary, mirror, names)| {
        let both = try_join(sql::belongings(primary, &context.deadlines), sql::belongings(mirror, &context.deadlines));
        both.await.map(|(primary, mirror)| differences(&primary, &mirror, names))
    });
    let all: Result<Vec<Vec<String>>, Darkness> = join_all(pairs).await.into_iter().collect();
    match all.map(|found| found.concat()) {
        Ok(none) if none.is_empty() => Compared::Same,
        Ok(found) => Compared::Differs(found),
        Err(darkness) => Compared::Unknown(darkness),
    }
}
