//! Plan -> conditions, kstatus-correct at every moment: Ready is True only for the generation that was judged, and
//! exactly one of Ready, Reconciling, Stalled speaks. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use strum::IntoEnumIterator;

use crate::api::{ConditionDraft, ConditionType, ParsedSpec, TlsMode};
use crate::model::{
    DatabaseName, DriftReport, Effect, Mirroring, MirroringState, Observation, ObservedPrincipal, Reason, Role, Seat,
    ServerObservation, WitnessLink,
};
use crate::plan::{Finding, Plan, TypePlan, unavailable_reason};
use crate::status::Input;

/// All conditions of this operator, and those of others unchanged.
pub(super) fn conditions(input: &Input) -> Vec<Condition> {
    let Input { spec, observation, plan, now, .. } = *input;
    let old = input.before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut drafts = summary(plan);
    drafts.push(aligned(plan));
    drafts.push(synchronized(plan, observation));
    drafts.push(reachable(observation));
    drafts.push(quorum(observation, plan));
    drafts.push(suspended(spec, now));
    drafts.extend(input.drift.map(post_switch_drift));
    drafts.extend(weak_encryption(spec));
    publishable(drafts, old, spec.desired.generation, now)
}

/// What the condition says in full; the rest is in the status.
const SENTENCES: usize = 3;

fn post_switch_drift(report: &DriftReport) -> ConditionDraft {
    let kind = ConditionType::PostSwitchDrift;
    match report {
        DriftReport::InSync => ConditionDraft::no(
            kind,
            Reason::NoPostSwitchDrift,
            "Logins, Agent jobs, linked servers and the options of the databases agree on both partners.",
        ),
        DriftReport::Drifted(all) => {
            let mut words = all.iter().take(SENTENCES).cloned().collect::<Vec<_>>().join(" ");
            if let Some(more) = all.len().checked_sub(SENTENCES).filter(|more| *more > 0) {
                words.push_str(&format!(" {more} more in status.postSwitchDifferences."));
            }
            ConditionDraft::yes(kind, Reason::PostSwitchDrift, words)
        }
        DriftReport::Unknown(unavailable) => {
            ConditionDraft::unknown(kind, unavailable_reason(unavailable.cause), unavailable.detail.clone())
        }
    }
}

/// A spec that cannot be used: nothing was looked at.
pub fn invalid(problem: &str, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let reason = Reason::InvalidSpec;
    let drafts = vec![
        ConditionDraft::no(ConditionType::Ready, reason, problem),
        ConditionDraft::no(ConditionType::Reconciling, reason, problem),
        ConditionDraft::yes(ConditionType::Stalled, reason, problem),
    ];
    publishable(drafts, before, generation, now)
}

fn publishable(drafts: Vec<ConditionDraft>, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut all: Vec<Condition> = drafts.into_iter().map(|draft| draft.since(before, generation, now)).collect();
    let foreign: Vec<Condition> = before.iter().filter(|old| !is_ours(old)).cloned().collect();
    all.extend(foreign);
    // Nobody has compared since: what was found then still stands.
    let drift: &str = ConditionType::PostSwitchDrift.into();
    if all.iter().all(|condition| condition.type_ != drift) {
        all.extend(before.iter().find(|old| old.type_ == drift).cloned());
    }
    all
}

/// Written by this operator, whether it holds now or not.
fn is_ours(condition: &Condition) -> bool {
    ConditionType::iter().map(<&str>::from).any(|ours| ours == condition.type_)
}

/// The type that speaks for the resource: one that is stuck before one that goes on, those before one that is fine.
fn spokesman(plan: &Plan) -> Option<&TypePlan> {
    plan.types.values().min_by_key(|of| match of.verdict.reason.effect() {
        Effect::Stalled => 0,
        Effect::Reconciling => 1,
        Effect::Ready => 2,
    })
}

fn summary(plan: &Plan) -> Vec<ConditionDraft> {
    let Some(speaker) = spokesman(plan) else { return Vec::new() };
    let reason = speaker.verdict.reason;
    let weight = reason.effect();
    let message = match weight {
        Effect::Ready => "Every database type has its principal where the spec wants it, synchronized.".to_owned(),
        Effect::Reconciling | Effect::Stalled => {
            let others = plan.types.values().filter(|of| of.verdict.reason.effect() != Effect::Ready).count() - 1;
            let more = if others == 0 { String::new() } else { format!(" {others} more in status.databaseTypes.") };
            format!("{}{more}", speaker.verdict.message)
        }
    };
    // A move under way keeps Reconciling true even when another type is stuck: something still changes.
    let working = weight == Effect::Reconciling || plan.persisted.operation.is_some();
    let stuck = weight == Effect::Stalled && !working;
    let (ready_reason, ready_message) = (reason, message);
    vec![
        ConditionDraft::when(
            weight == Effect::Ready && !working,
            ConditionType::Ready,
            ready_reason,
            ready_message.clone(),
        ),
        ConditionDraft::when(working, ConditionType::Reconciling, ready_reason, ready_message.clone()),
        ConditionDraft::when(stuck, ConditionType::Stalled, ready_reason, ready_message),
    ]
}

fn aligned(plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::PrincipalsAligned;
    let off: Vec<&TypePlan> =
        plan.types.values().filter(|of| of.observed != of.desired_type.principal.into()).collect();
    let name = |of: &&TypePlan| of.desired_type.ty.to_string();
    let names = off.iter().map(name).collect::<Vec<_>>().join(", ");
    match off.first() {
        None => ConditionDraft::yes(kind, Reason::Aligned, "Every principal is where the spec wants it."),
        Some(first) if off.iter().any(|of| of.observed != ObservedPrincipal::Unknown) => ConditionDraft::no(
            kind,
            first.verdict.reason,
            format!("The principal is not where the spec wants it: {names}."),
        ),
        Some(first) => ConditionDraft::unknown(
            kind,
            first.verdict.reason,
            format!("The operator does not see the principal: {names}."),
        ),
    }
}

fn synchronized(plan: &Plan, observation: &Observation) -> ConditionDraft {
    let kind = ConditionType::Synchronized;
    let findings = || plan.types.values().flat_map(|of| of.findings.iter().map(move |finding| (of, finding)));
    let bad = || {
        findings().filter(|(of, finding)| {
            let states = Seat::BOTH.map(|seat| state(observation, of, finding, seat));
            states != [Some(MirroringState::Synchronized); 2]
        })
    };
    let reason = |finding: &Finding| finding.obstacle.as_ref().map_or(Reason::Unsettled, |obstacle| obstacle.reason());
    match bad().next() {
        None => ConditionDraft::yes(kind, Reason::AllSynchronized, "Every database is SYNCHRONIZED on both servers."),
        Some((_, finding)) => {
            let alike = bad().filter(|(_, other)| reason(other) == reason(finding));
            let names = alike.map(|(_, finding)| finding.name.as_str()).collect::<Vec<_>>().join(", ");
            let reason = reason(finding);
            let text = finding.obstacle.as_ref().map(|obstacle| obstacle.message(&names)).unwrap_or_default();
            if finding.agreed {
                ConditionDraft::no(kind, reason, text)
            } else {
                ConditionDraft::unknown(kind, reason, text)
            }
        }
    }
}

fn state(observation: &Observation, of: &TypePlan, finding: &Finding, seat: Seat) -> Option<MirroringState> {
    let server = observation.pair(of.desired_type.store).view(seat).available()?;
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
        None => ConditionDraft::yes(kind, Reason::PartnersReachable, "Both partners answer."),
        Some(unavailable) => {
            let reason = unavailable_reason(unavailable.cause);
            if reason == Reason::NotYetObserved {
                ConditionDraft::unknown(kind, reason, unavailable.detail.clone())
            } else {
                ConditionDraft::no(kind, reason, unavailable.detail.clone())
            }
        }
    }
}

/// True while one further loss stops a database that the witness is to protect (R15, S19).
fn quorum(observation: &Observation, plan: &Plan) -> ConditionDraft {
    let kind = ConditionType::QuorumAtRisk;
    let sessions: Vec<_> = observation
        .pairs
        .iter()
        .flat_map(|pair| [&pair.primary, &pair.mirror])
        .filter_map(ServerObservation::available)
        .flat_map(|server| {
            server.databases.iter().filter_map(|(name, database)| Some((name, database.mirroring.as_ref()?)))
        })
        .filter(|(name, _)| plan.types.values().any(|of| of.desired_type.databases.contains(name)))
        .collect();
    let lost = names(&sessions, |row| matches!(row.witness, WitnessLink::Disconnected | WitnessLink::Unknown));
    let apart = |row: &Mirroring| {
        row.witness != WitnessLink::None
            && matches!(row.state, MirroringState::Disconnected | MirroringState::Suspended)
    };
    let exposed = names(&sessions, |row| row.role == Role::Principal && apart(row));
    let nobody_serves = exposed.is_none();
    let unavailable_witness =
        observation.pairs.iter().filter_map(|pair| pair.witness.as_ref()).find_map(|view| match view {
            ServerObservation::Available { .. } => None,
            ServerObservation::Unavailable { unavailable, .. } => Some(unavailable),
        });
    match (sessions.is_empty(), lost, exposed.or_else(|| names(&sessions, apart)), unavailable_witness) {
        (true, ..) => ConditionDraft::unknown(kind, Reason::NotYetObserved, "The operator sees no mirroring session."),
        (_, Some(names), ..) => ConditionDraft::yes(
            kind,
            Reason::WitnessDisconnected,
            format!(
                "{names}: the witness is not connected. If a partner is lost too, the database stops even if its principal is alive."
            ),
        ),
        (_, None, Some(names), _) => {
            // Without a principal in sight nothing runs; what is left to lose is the way out (error 1431).
            let what = match nobody_serves {
                true => {
                    "the mirror is without its principal. If the witness is lost too, not even forced service is possible."
                }
                false => "the principal runs without its partner. If the witness is lost too, the database stops.",
            };
            ConditionDraft::yes(kind, Reason::RunningExposed, format!("{names}: {what}"))
        }
        (_, None, None, Some(unavailable)) => ConditionDraft::no(
            kind,
            Reason::WitnessUnreachable,
            format!("The partners see the witness, the operator does not. {}", unavailable.detail),
        ),
        (_, None, None, None) if sessions.iter().all(|(_, row)| row.witness == WitnessLink::None) => {
            ConditionDraft::no(
                kind,
                Reason::NoWitness,
                "No witness is configured: there is no automatic failover and no quorum requirement.",
            )
        }
        (_, None, None, None) => {
            ConditionDraft::no(kind, Reason::QuorumHealthy, "Partners and witness see each other.")
        }
    }
}

/// The databases whose row is so, each once, as `a, b`.
fn names(sessions: &[(&DatabaseName, &Mirroring)], is: impl Fn(&Mirroring) -> bool) -> Option<String> {
    let names: BTreeSet<&str> = sessions.iter().filter(|(_, row)| is(row)).map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
}

/// Only where it is so: a person asked for it, and everybody shall see it.
fn weak_encryption(spec: &ParsedSpec) -> Option<ConditionDraft> {
    let with = |mode| {
        let store = spec.stores.iter().find(|store| store.sql.tls.mode == mode)?;
        Some(if store.label.is_empty() { String::new() } else { format!(" of {}", store.label) })
    };
    if let Some(of) = with(TlsMode::Disabled) {
        let words = format!(
            "sql.tls.mode{of} is Disabled: an on-path attacker can read and change the traffic. To fix: set mode to Verify, Pin or Legacy."
        );
        return Some(ConditionDraft::yes(ConditionType::WeakEncryption, Reason::TlsDisabled, words));
    }
    let of = with(TlsMode::Legacy)?;
    let words = format!(
        "sql.tls.mode{of} is Legacy: the connection may use TLS 1.0, SHA-1 and small keys, which an on-path attacker can break. To fix: install the TLS 1.2 update of SQL Server (KB3135244) and a certificate of 2048 bits and SHA-256, then set mode to Verify or Pin."
    );
    Some(ConditionDraft::yes(ConditionType::WeakEncryption, Reason::LegacyTls, words))
}

fn suspended(spec: &ParsedSpec, now: Timestamp) -> ConditionDraft {
    let kind = ConditionType::Suspended;
    match spec.desired.suspend.as_ref().filter(|suspend| suspend.holds(now)) {
        None => ConditionDraft::no(kind, Reason::NotSuspended, "Moves are allowed."),
        Some(suspend) => {
            let until = suspend.until.map_or("spec.suspend is removed".to_owned(), |until| until.to_string());
            ConditionDraft::yes(
                kind,
                Reason::Suspended,
                format!("No move starts until {until}: {}.", suspend.reason.trim_end_matches('.')),
            )
        }
    }
}
