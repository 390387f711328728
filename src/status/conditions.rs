//! Plan -> conditions in the sense of kstatus: Ready is True only for the observed generation, and exactly one of Ready,
//! Reconciling and Stalled is True. Pure.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use strum::IntoEnumIterator;

use crate::api::{ConditionDraft, ConditionType, ParsedSpec, ServerStatus, SpecError, TlsMode};
use crate::model::{
    Effect, MirroringState, Observation, ObservedPrincipal, Pair, Reason, Seat, ServerObservation, Service, Unavailable,
};
use crate::plan::{Finding, Plan, TypePlan};
use crate::status::drift::{self, Comparison};
use crate::status::input::Input;
use crate::status::summary::{self, Summary};
use crate::status::{quorum, servers};

/// All conditions of this operator, and those of others unchanged.
pub(super) fn conditions(input: &Input, servers: &[ServerStatus], comparison: &Comparison) -> Vec<Condition> {
    let Input { spec, observation, plan, now, .. } = *input;
    let old = input.before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let quorum = quorum::condition(spec, observation, plan);
    let mut drafts = ready_conditions(input, servers, &quorum);
    let partial = !spec.desired.unusable.is_empty() || plan.types.is_empty();
    for (kind, good, draft) in [
        (ConditionType::PrincipalsAligned, "True", aligned(plan)),
        (ConditionType::Synchronized, "True", synchronized(plan, observation)),
        (ConditionType::PartnersReachable, "True", reachable(observation, plan)),
        (ConditionType::QuorumAtRisk, "False", quorum),
        (ConditionType::Serving, "True", serving(plan)),
    ] {
        // What is observed may be good, but it is not the whole.
        let incomplete = "The operator does not observe every database type, as the spec has problems.";
        let unknown = || ConditionDraft::unknown(kind, Reason::InvalidSpec, incomplete);
        drafts.push(if partial && draft.is(kind, good) { unknown() } else { draft });
    }
    drafts.push(suspended(spec, plan, now));
    drafts.extend(drift::condition(comparison));
    drafts.extend(weak_encryption(spec));
    drafts.extend(stale_credentials(observation));
    publishable(drafts, old, spec.desired.generation, now)
}

/// The conditions of a spec that cannot be decoded, for which no server is polled.
pub(super) fn invalid(before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let message =
        "Unknown. The spec cannot be decoded, so that the operator polls no server. To fix: see status.specProblems.";
    publishable(three(Reason::InvalidSpec, message.to_owned(), Progress::Stuck), before, generation, now)
}

/// Which of the three conditions of kstatus is True.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    Working,
    Stuck,
}

/// Ready, Reconciling and Stalled with one summary. What is False apart from Ready needs no second copy.
fn three(reason: Reason, summary: String, progress: Progress) -> Vec<ConditionDraft> {
    let copy = |holds, kind| {
        ConditionDraft::when(holds, kind, reason, if holds { summary.as_str() } else { "See condition Ready." })
    };
    vec![
        ConditionDraft::when(progress == Progress::Done, ConditionType::Ready, reason, summary.as_str()),
        copy(progress == Progress::Working, ConditionType::Reconciling),
        copy(progress == Progress::Stuck, ConditionType::Stalled),
    ]
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

/// The database type whose reason becomes that of the resource: stalled first, then reconciling, then ready, and of those the
/// one with the worst service.
fn primary_type(plan: &Plan) -> Option<&TypePlan> {
    plan.types.values().min_by_key(|planned| {
        let effect = match planned.verdict.reason.effect() {
            Effect::Stalled => 0,
            Effect::Reconciling => 1,
            Effect::Ready => 2,
        };
        // The worst first.
        (effect, Reverse(planned.service))
    })
}

fn ready_conditions(input: &Input, servers: &[ServerStatus], quorum: &ConditionDraft) -> Vec<ConditionDraft> {
    let Input { spec, observation, plan, .. } = *input;
    if !spec.problems.is_empty() {
        return unusable_spec(plan, spec);
    }
    let Some(primary) = primary_type(plan) else { return Vec::new() };
    let effect = primary.verdict.reason.effect();
    // A move under way keeps Reconciling true even when another type is stuck, and after its deadline: it may still end. Two
    // principals or two mirrors, or the loss of the principal, end no move.
    let reason = primary.verdict.reason;
    let own = plan.persisted.operation.as_ref().is_some_and(|operation| operation.ty == primary.desired_type.ty);
    let ends_no_move = matches!(reason, Reason::TwoPrincipals | Reason::NoPrincipal)
        || (own && matches!(reason, Reason::PrincipalLost | Reason::NoQuorum));
    let progress = match effect {
        _ if plan.persisted.operation.is_some() && !ends_no_move => Progress::Working,
        Effect::Ready => Progress::Done,
        Effect::Reconciling => Progress::Working,
        Effect::Stalled => Progress::Stuck,
    };
    let message = match effect {
        Effect::Ready => {
            let risk = quorum.is(ConditionType::QuorumAtRisk, "True").then(|| quorum.message());
            summary::of_ready(plan, risk)
        }
        Effect::Reconciling | Effect::Stalled => {
            let pair = observation.pair(primary.desired_type.store);
            let ty = primary.desired_type.ty;
            let operation = plan.persisted.operation.as_ref().filter(|operation| operation.ty == ty);
            let unreachable_since =
                Seat::BOTH.map(|seat| servers::unreachable_since(servers, pair.view(seat).address()));
            summary::of_worst(&Summary { planned: primary, pair, operation, unreachable_since }, plan)
        }
    };
    let message = match notes(spec, plan, input.now) {
        // They are more than the remark that nothing is to do.
        Some([long, short]) => {
            let first = message.trim_end_matches(summary::NO_ACTION);
            let full = format!("{message} {short}");
            summary::fit([format!("{first} {long}"), full, format!("{first} {short}"), message])
        }
        None => message,
    };
    three(primary.verdict.reason, message, progress)
}

/// What spec.suspend does not do, although it is in the spec: long and short.
fn notes(spec: &ParsedSpec, plan: &Plan, now: Timestamp) -> Option<[String; 2]> {
    let suspend = spec.desired.suspend.as_ref()?;
    Some(match suspend.until.filter(|until| *until <= now) {
        Some(until) => [
            format!("spec.suspend ended at {until}: remove it, or set a later until."),
            format!("spec.suspend ended at {until}."),
        ],
        None => {
            let ty = plan.persisted.operation.as_ref()?.ty;
            [format!("spec.suspend does not stop the move of {ty}."), format!("spec.suspend does not stop {ty}.")]
        }
    })
}

/// Whether clients are served: the worst of all types.
fn serving(plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::Serving;
    let worst = Service::worst(plan.types.values().map(|planned| planned.service));
    let types = plan.types.values().filter(|planned| planned.service == worst);
    let types = types.map(|planned| planned.desired_type.ty.to_string()).collect::<Vec<_>>();
    let of = |what: &str| summary::fit_names(&types, "types", |names| format!("{names}: {what}"));
    match worst {
        Service::Protected => ConditionDraft::true_(
            kind,
            worst.reason(),
            "Every database is served and synchronized, with the witness connected if its session has one.",
        ),
        Service::Exposed => ConditionDraft::true_(
            kind,
            worst.reason(),
            of("served, and one further loss stops it or endangers its data."),
        ),
        Service::Unknown => ConditionDraft::unknown(
            kind,
            worst.reason(),
            of("what the operator sees proves neither that clients are served nor that they are not."),
        ),
        Service::NotServed => ConditionDraft::false_(
            kind,
            worst.reason(),
            of("the servers that could serve it were read and do not serve it."),
        ),
    }
}

/// A spec with problems. A move in flight is still followed, if its type is usable.
fn unusable_spec(plan: &Plan, spec: &ParsedSpec) -> Vec<ConditionDraft> {
    let unobserved = spec.desired.unusable.keys().map(|_| Service::Unknown);
    let service = Service::worst(plan.types.values().map(|planned| planned.service).chain(unobserved));
    let SpecError { field, value, problem } = &spec.problems[0];
    let more = match spec.problems.len() - 1 {
        0 => String::new(),
        more => format!(" (+{more} more)"),
    };
    let pointer = "cannot be used, and no move starts. To fix: see status.specProblems.";
    let last = field.rsplit('.').next().unwrap_or(field);
    let message = summary::fit([
        format!("{service}. No move starts. {field} {value}{more}: {problem}"),
        format!("{service}. {field} {value}{more}: {problem}"),
        format!("{service}. {field} {value}{more} {pointer}"),
        format!("{service}. {field}{more} {pointer}"),
        format!("{service}. {last}{more} {pointer}"),
    ]);
    let working = plan.persisted.operation.as_ref().is_some_and(|operation| plan.types.contains_key(&operation.ty));
    three(Reason::InvalidSpec, message, if working { Progress::Working } else { Progress::Stuck })
}

fn aligned(plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::PrincipalsAligned;
    let off: Vec<&TypePlan> = plan.types.values().filter(|planned| !planned.is_aligned()).collect();
    let name = |planned: &&TypePlan| planned.desired_type.ty.to_string();
    let of = |types: &[&TypePlan], what: &str| {
        let names: Vec<String> = types.iter().map(name).collect();
        summary::fit_names(&names, "types", |names| format!("{what}: {names}."))
    };
    let (unseen, elsewhere): (Vec<&TypePlan>, Vec<&TypePlan>) =
        off.into_iter().partition(|planned| planned.observed == ObservedPrincipal::Unknown);
    match (elsewhere.first(), unseen.first()) {
        (Some(first), _) => {
            let text = of(&elsewhere, "The principal is not where the spec wants it");
            ConditionDraft::false_(kind, first.verdict.reason, text)
        }
        (None, Some(first)) => ConditionDraft::unknown(
            kind,
            first.verdict.reason,
            of(&unseen, "The principal of these types is not known"),
        ),
        (None, None) => ConditionDraft::true_(kind, Reason::Aligned, "Every principal is where the spec wants it."),
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
    let reason = |(planned, finding): (&TypePlan, &Finding)| {
        finding.obstacle.as_ref().map_or(Reason::Unsettled, |obstacle| summary::reason_of(planned, obstacle))
    };
    // What both servers prove goes before what one of them hides.
    match bad().find(|(_, finding)| finding.agreed).or(bad().next()) {
        None => ConditionDraft::true_(kind, Reason::AllSynchronized, "Every database is SYNCHRONIZED on both servers."),
        Some((planned, finding)) => {
            let reason_here = reason((planned, finding));
            let alike = bad().filter(|other| reason(*other) == reason_here);
            let names: Vec<String> = alike.map(|(_, finding)| finding.name.to_string()).collect();
            let text = summary::fit_names(&names, "databases", |names| summary::of_databases(planned, finding, names));
            if finding.agreed {
                ConditionDraft::false_(kind, reason_here, text)
            } else {
                ConditionDraft::unknown(kind, reason_here, text)
            }
        }
    }
}

fn state(observation: &Observation, planned: &TypePlan, finding: &Finding, seat: Seat) -> Option<MirroringState> {
    let server = observation.pair(planned.desired_type.store).view(seat).available()?;
    Some(server.databases.get(&finding.name)?.mirroring.as_ref()?.state)
}

fn reachable(observation: &Observation, plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::PartnersReachable;
    let unavailable: Vec<(Seat, &Pair, &Unavailable)> = observation
        .pairs
        .iter()
        .flat_map(|pair| Seat::BOTH.map(|seat| (seat, pair, pair.view(seat))))
        .filter_map(|(seat, pair, view)| match view {
            ServerObservation::Available { .. } => None,
            ServerObservation::Unavailable { unavailable, .. } => Some((seat, pair, unavailable)),
        })
        .collect();
    let Some((seat, pair, first)) = unavailable.first() else {
        return ConditionDraft::true_(kind, Reason::PartnersReachable, "Both partners answer.");
    };
    let read_first = servers::before_start(plan, observation, pair, *seat);
    let text = summary::of_server((*seat, pair), first, read_first, unavailable.len() - 1);
    let reason = first.cause.reason();
    if summary::is_unpolled(first) {
        ConditionDraft::unknown(kind, reason, text)
    } else {
        ConditionDraft::false_(kind, reason, text)
    }
}

/// Published only while a server refuses a fresh login, although the connection of an earlier login still works. The next
/// failover ends that connection.
fn stale_credentials(observation: &Observation) -> Option<ConditionDraft> {
    let partners = observation.pairs.iter().flat_map(|pair| Seat::BOTH.map(|seat| (seat, pair)));
    let (seat, pair) = partners.into_iter().find(|(seat, pair)| {
        let server = pair.view(*seat).available();
        server.and_then(|server| server.stale_login.as_ref()).is_some_and(|stale| stale.cause.is_refused_login())
    })?;
    let sentence = |server: &str| {
        format!(
            "The {server} refuses a fresh login, which the next failover needs. To fix: correct the Secret, see status.servers[].message."
        )
    };
    let message = summary::fit([sentence(&pair.label(seat)), sentence(seat.word())]);
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
            "tls.mode{store} is Disabled: an on-path attacker can read the traffic. To fix: set mode to Verify, Pin or Legacy."
        );
        return Some(ConditionDraft::true_(ConditionType::WeakEncryption, Reason::TlsDisabled, message));
    }
    let store = with(TlsMode::Legacy)?;
    let message = format!(
        "tls.mode{store} is Legacy: an on-path attacker can break TLS 1.0. To fix: see docs/reasons/LegacyTls.md."
    );
    Some(ConditionDraft::true_(ConditionType::WeakEncryption, Reason::LegacyTls, message))
}

fn suspended(spec: &ParsedSpec, plan: &Plan, now: Timestamp) -> ConditionDraft {
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
            let running = plan.persisted.operation.as_ref().map(|operation| operation.ty);
            let what = running
                .map_or("No move starts".to_owned(), |ty| format!("The move of {ty} goes on, and no other one starts"));
            let message = summary::fit([
                format!("{what} until {until}: {}.", suspend.reason.trim_end_matches('.')),
                format!("{what} until {until}: see spec.suspend.reason."),
            ]);
            ConditionDraft::true_(kind, Reason::Suspended, message)
        }
    }
}
