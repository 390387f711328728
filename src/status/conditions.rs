//! Plan -> conditions in the sense of kstatus: Ready is True only for the observed generation, and exactly one of Ready,
//! Reconciling and Stalled is True. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use strum::IntoEnumIterator;

use crate::api::{ConditionDraft, ConditionType, ParsedSpec, TlsMode};
use crate::model::{
    Desired, DriftReport, Effect, MirroringState, Observation, ObservedPrincipal, Reason, Seat, ServerObservation,
    Service,
};
use crate::plan::{Finding, Plan, TypePlan};
use crate::status::input::Input;
use crate::status::quorum;

/// All conditions of this operator, and those of others unchanged.
pub(super) fn conditions(input: &Input) -> Vec<Condition> {
    let Input { spec, observation, plan, now, .. } = *input;
    let old = input.before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut drafts = ready_conditions(plan, &spec.desired);
    let partial = !spec.desired.unusable.is_empty() || plan.types.is_empty();
    for (kind, good, draft) in [
        (ConditionType::PrincipalsAligned, "True", aligned(plan)),
        (ConditionType::Synchronized, "True", synchronized(plan, observation)),
        (ConditionType::PartnersReachable, "True", reachable(observation)),
        (ConditionType::QuorumAtRisk, "False", quorum::condition(spec, observation, plan)),
        (ConditionType::Serving, "True", serving(plan)),
    ] {
        // What is observed may be good, but it is not the whole.
        let incomplete = "The operator does not observe every database type, as the spec has problems.";
        let unknown = || ConditionDraft::unknown(kind, Reason::InvalidSpec, incomplete);
        drafts.push(if partial && draft.is(kind, good) { unknown() } else { draft });
    }
    drafts.push(suspended(spec, now));
    drafts.extend(input.drift.map(post_switch_drift));
    drafts.extend(weak_encryption(spec));
    drafts.extend(stale_credentials(observation));
    publishable(drafts, old, spec.desired.generation, now)
}

/// The number of differences in the message; the rest is in the status.
const SENTENCES: usize = 3;

fn post_switch_drift(report: &DriftReport) -> ConditionDraft {
    let kind = ConditionType::PostSwitchDrift;
    match report {
        DriftReport::InSync => ConditionDraft::false_(
            kind,
            Reason::NoPostSwitchDrift,
            "Logins, Agent jobs, linked servers and the options of the databases agree on both partners. Passwords and permissions are not compared.",
        ),
        DriftReport::Drifted(differences) => {
            let mut text = differences.iter().take(SENTENCES).cloned().collect::<Vec<_>>().join(" ");
            if let Some(more) = differences.len().checked_sub(SENTENCES).filter(|more| *more > 0) {
                text.push_str(&format!(" {more} more in status.postSwitchDifferences."));
            }
            text.push_str(" Passwords and permissions are not compared.");
            ConditionDraft::true_(kind, Reason::PostSwitchDrift, text)
        }
        DriftReport::Unknown(unavailable) => {
            ConditionDraft::unknown(kind, unavailable.cause.reason(), unavailable.detail.clone())
        }
    }
}

/// The conditions of a spec that cannot be decoded, for which no server is polled.
pub(super) fn invalid(problem: &str, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let reason = Reason::InvalidSpec;
    let drafts = vec![
        ConditionDraft::false_(ConditionType::Ready, reason, problem),
        ConditionDraft::false_(ConditionType::Reconciling, reason, problem),
        ConditionDraft::true_(ConditionType::Stalled, reason, problem),
    ];
    publishable(drafts, before, generation, now)
}

fn publishable(drafts: Vec<ConditionDraft>, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut all: Vec<Condition> = drafts.into_iter().map(|draft| draft.since(before, generation, now)).collect();
    let foreign: Vec<Condition> = before.iter().filter(|old| !is_ours(old)).cloned().collect();
    all.extend(foreign);
    // Without a newer comparison the previous condition stays.
    let drift: &str = ConditionType::PostSwitchDrift.into();
    if all.iter().all(|condition| condition.type_ != drift) {
        all.extend(before.iter().find(|old| old.type_ == drift).cloned());
    }
    all
}

/// True for every condition type of this operator, published now or not.
fn is_ours(condition: &Condition) -> bool {
    ConditionType::iter().map(<&str>::from).any(|ours| ours == condition.type_)
}

/// The database type whose reason becomes that of the resource: stalled first, then reconciling, then ready.
fn primary_type(plan: &Plan) -> Option<&TypePlan> {
    plan.types.values().min_by_key(|planned| match planned.verdict.reason.effect() {
        Effect::Stalled => 0,
        Effect::Reconciling => 1,
        Effect::Ready => 2,
    })
}

fn ready_conditions(plan: &Plan, desired: &Desired) -> Vec<ConditionDraft> {
    if !desired.problems.is_empty() {
        return unusable_spec(plan, desired);
    }
    let Some(primary) = primary_type(plan) else { return Vec::new() };
    let reason = primary.verdict.reason;
    let effect = reason.effect();
    let message = match effect {
        Effect::Ready => {
            let service = Service::worst(plan.types.values().map(|planned| planned.service));
            format!("{service}. Every database type has its principal where the spec wants it, synchronized.")
        }
        Effect::Reconciling | Effect::Stalled => {
            let others =
                plan.types.values().filter(|planned| planned.verdict.reason.effect() != Effect::Ready).count() - 1;
            let more = if others == 0 { String::new() } else { format!(" {others} more in status.databaseTypes.") };
            format!("{}{more}", primary.verdict.message)
        }
    };
    // A move under way keeps Reconciling true even when another type is stuck: something still changes.
    let working = effect == Effect::Reconciling || plan.persisted.operation.is_some();
    let stuck = effect == Effect::Stalled && !working;
    let (ready_reason, ready_message) = (reason, message);
    vec![
        ConditionDraft::when(
            effect == Effect::Ready && !working,
            ConditionType::Ready,
            ready_reason,
            ready_message.clone(),
        ),
        ConditionDraft::when(working, ConditionType::Reconciling, ready_reason, ready_message.clone()),
        ConditionDraft::when(stuck, ConditionType::Stalled, ready_reason, ready_message),
    ]
}

/// Whether clients are served: the worst of all types.
fn serving(plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::Serving;
    let worst = Service::worst(plan.types.values().map(|planned| planned.service));
    let types = plan.types.values().filter(|planned| planned.service == worst);
    let names = types.map(|planned| planned.desired_type.ty.to_string()).collect::<Vec<_>>().join(", ");
    match worst {
        Service::Protected => ConditionDraft::true_(
            kind,
            worst.reason(),
            "Every database is served and synchronized, with the witness connected if its session has one.",
        ),
        Service::Exposed => ConditionDraft::true_(
            kind,
            worst.reason(),
            format!("{names}: served, and one further loss stops it or endangers its data."),
        ),
        Service::Unknown => ConditionDraft::unknown(
            kind,
            worst.reason(),
            format!("{names}: what the operator sees proves neither that clients are served nor that they are not."),
        ),
        Service::NotServed => ConditionDraft::false_(
            kind,
            worst.reason(),
            format!("{names}: the servers that could serve it were read and do not serve it."),
        ),
    }
}

/// A spec with problems. A move in flight is still followed, if its type is usable.
fn unusable_spec(plan: &Plan, desired: &Desired) -> Vec<ConditionDraft> {
    let (reason, mut message) = (Reason::InvalidSpec, desired.problems.join(" "));
    message.push_str(" No move starts until the spec is corrected.");
    if !desired.unusable.is_empty() {
        let names = desired.unusable.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        message.push_str(&format!(" Until then the operator does not observe {names}."));
    }
    let working = plan.persisted.operation.as_ref().is_some_and(|operation| plan.types.contains_key(&operation.ty));
    vec![
        ConditionDraft::false_(ConditionType::Ready, reason, message.clone()),
        ConditionDraft::when(working, ConditionType::Reconciling, reason, message.clone()),
        ConditionDraft::when(!working, ConditionType::Stalled, reason, message),
    ]
}

fn aligned(plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::PrincipalsAligned;
    let off: Vec<&TypePlan> =
        plan.types.values().filter(|planned| planned.observed != planned.desired_type.principal.into()).collect();
    let name = |planned: &&TypePlan| planned.desired_type.ty.to_string();
    let names = off.iter().map(name).collect::<Vec<_>>().join(", ");
    match off.first() {
        None => ConditionDraft::true_(kind, Reason::Aligned, "Every principal is where the spec wants it."),
        Some(first) if off.iter().any(|planned| planned.observed != ObservedPrincipal::Unknown) => {
            ConditionDraft::false_(
                kind,
                first.verdict.reason,
                format!("The principal is not where the spec wants it: {names}."),
            )
        }
        Some(first) => ConditionDraft::unknown(
            kind,
            first.verdict.reason,
            format!("The operator does not see the principal: {names}."),
        ),
    }
}

fn synchronized(plan: &Plan, observation: &Observation) -> ConditionDraft {
    let kind = ConditionType::Synchronized;
    let findings =
        || plan.types.values().flat_map(|planned| planned.findings.iter().map(move |finding| (planned, finding)));
    let bad = || {
        findings().filter(|(planned, finding)| {
            let states = Seat::BOTH.map(|seat| state(observation, planned, finding, seat));
            states != [Some(MirroringState::Synchronized); 2]
        })
    };
    let reason = |finding: &Finding| finding.obstacle.as_ref().map_or(Reason::Unsettled, |obstacle| obstacle.reason());
    match bad().next() {
        None => ConditionDraft::true_(kind, Reason::AllSynchronized, "Every database is SYNCHRONIZED on both servers."),
        Some((planned, finding)) => {
            let alike = bad().filter(|(_, other)| reason(other) == reason(finding));
            let names = alike.map(|(_, finding)| finding.name.as_str()).collect::<Vec<_>>().join(", ");
            let reason = reason(finding);
            let text = finding
                .obstacle
                .as_ref()
                .map(|obstacle| obstacle.message(&names, observation.pair(planned.desired_type.store)))
                .unwrap_or_default();
            if finding.agreed {
                ConditionDraft::false_(kind, reason, text)
            } else {
                ConditionDraft::unknown(kind, reason, text)
            }
        }
    }
}

fn state(observation: &Observation, planned: &TypePlan, finding: &Finding, seat: Seat) -> Option<MirroringState> {
    let server = observation.pair(planned.desired_type.store).view(seat).available()?;
    Some(server.databases.get(&finding.name)?.mirroring.as_ref()?.state)
}

fn reachable(observation: &Observation) -> ConditionDraft {
    let kind = ConditionType::PartnersReachable;
    let unavailable =
        observation.pairs.iter().flat_map(|pair| [&pair.primary, &pair.mirror]).find_map(|view| match view {
            ServerObservation::Available { .. } => None,
            ServerObservation::Unavailable { unavailable, .. } => Some(unavailable),
        });
    match unavailable {
        None => ConditionDraft::true_(kind, Reason::PartnersReachable, "Both partners answer."),
        Some(unavailable) => {
            let reason = unavailable.cause.reason();
            if reason == Reason::NotYetObserved {
                ConditionDraft::unknown(kind, reason, unavailable.detail.clone())
            } else {
                ConditionDraft::false_(kind, reason, unavailable.detail.clone())
            }
        }
    }
}

/// Published only while a server refuses a fresh login, although the connection of an earlier login still works. The next
/// failover ends that connection.
fn stale_credentials(observation: &Observation) -> Option<ConditionDraft> {
    let partners = observation.pairs.iter().flat_map(|pair| [&pair.primary, &pair.mirror]);
    let refused = partners
        .filter_map(|view| view.available()?.stale_login.as_ref())
        .find(|unavailable| unavailable.cause.is_refused_login())?;
    let message = format!(
        "The connections still work, and a fresh login is refused. {} To fix: correct the Secret before the next failover.",
        refused.detail
    );
    Some(ConditionDraft::true_(ConditionType::CredentialsStale, Reason::CredentialsStale, message))
}

/// Published only while a store uses a weak mode, so that every viewer of the resource notices it.
fn weak_encryption(spec: &ParsedSpec) -> Option<ConditionDraft> {
    let with = |mode| {
        let store = spec.stores.iter().find(|store| store.sql.tls.mode == mode)?;
        Some(if store.label.is_empty() { String::new() } else { format!(" of {}", store.label) })
    };
    if let Some(store) = with(TlsMode::Disabled) {
        let message = format!(
            "sql.tls.mode{store} is Disabled: an on-path attacker can read and change the traffic. To fix: set mode to Verify, Pin or Legacy."
        );
        return Some(ConditionDraft::true_(ConditionType::WeakEncryption, Reason::TlsDisabled, message));
    }
    let store = with(TlsMode::Legacy)?;
    let message = format!(
        "sql.tls.mode{store} is Legacy: the connection may use TLS 1.0, SHA-1 and small keys, which an on-path attacker can break. To fix: install the TLS 1.2 update of SQL Server (KB3135244) and a certificate of 2048 bits and SHA-256, then set mode to Verify or Pin."
    );
    Some(ConditionDraft::true_(ConditionType::WeakEncryption, Reason::LegacyTls, message))
}

fn suspended(spec: &ParsedSpec, now: Timestamp) -> ConditionDraft {
    let kind = ConditionType::Suspended;
    let ended = spec.desired.suspend.as_ref().and_then(|suspend| suspend.until).filter(|until| *until <= now);
    match spec.desired.suspend.as_ref().filter(|suspend| suspend.holds(now)) {
        None if ended.is_some() => ConditionDraft::false_(
            kind,
            Reason::NotSuspended,
            format!(
                "Moves are allowed, as the suspension ended at {}. To fix: remove spec.suspend, or set a later until.",
                ended.unwrap_or_default()
            ),
        ),
        None => ConditionDraft::false_(kind, Reason::NotSuspended, "Moves are allowed."),
        Some(suspend) => {
            let until = suspend.until.map_or("spec.suspend is removed".to_owned(), |until| until.to_string());
            ConditionDraft::true_(
                kind,
                Reason::Suspended,
                format!("No move starts until {until}: {}.", suspend.reason.trim_end_matches('.')),
            )
        }
    }
}
