//! Plan -> conditions, kstatus-correct at every moment: Ready is True only for the generation that was judged, and
//! exactly one of Ready, Reconciling, Stalled speaks. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use strum::IntoEnumIterator;

use crate::api::{Asked, Claim, ConditionType, TlsMode};
use crate::model::{
    DatabaseName, DriftReport, Effect, Mirroring, MirroringState, Observation, Reason, Role, Side, View, WitnessLink,
};
use crate::plan::{Finding, Observed, Plan, TypePlan, dark_reason};
use crate::status::Input;

/// All conditions of this operator, and those of others unchanged.
pub(super) fn conditions(input: &Input) -> Vec<Condition> {
    let Input { asked, seen, plan, now, .. } = *input;
    let old = input.before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut claims = summary(plan);
    claims.push(aligned(plan));
    claims.push(synchronized(plan, seen));
    claims.push(reachable(seen));
    claims.push(quorum(seen, plan));
    claims.push(suspended(asked, now));
    claims.extend(input.drift.map(post_switch_drift));
    claims.extend(weak_encryption(asked));
    publishable(claims, old, asked.desired.generation, now)
}

/// What the condition says in full; the rest is in the status.
const SENTENCES: usize = 3;

fn post_switch_drift(report: &DriftReport) -> Claim {
    let kind = ConditionType::PostSwitchDrift;
    match report {
        DriftReport::InSync => Claim::no(
            kind,
            Reason::NoPostSwitchDrift,
            "logins, Agent jobs, linked servers and the options of the databases agree on both partners",
        ),
        DriftReport::Drifted(all) => {
            let mut words = all.iter().take(SENTENCES).cloned().collect::<Vec<_>>().join(". ");
            if let Some(more) = all.len().checked_sub(SENTENCES).filter(|more| *more > 0) {
                words.push_str(&format!(". And {more} more in status.postSwitchDifferences"));
            }
            Claim::yes(kind, Reason::PostSwitchDrift, words)
        }
        DriftReport::Unknown(darkness) => Claim::unknown(kind, dark_reason(darkness.cause), darkness.detail.clone()),
    }
}

/// A spec that cannot be used: nothing was looked at.
pub fn invalid(problem: &str, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let reason = Reason::InvalidSpec;
    let claims = vec![
        Claim::no(ConditionType::Ready, reason, problem),
        Claim::no(ConditionType::Reconciling, reason, problem),
        Claim::yes(ConditionType::Stalled, reason, problem),
    ];
    publishable(claims, before, generation, now)
}

fn publishable(claims: Vec<Claim>, before: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut all: Vec<Condition> = claims.into_iter().map(|claim| claim.since(before, generation, now)).collect();
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

fn summary(plan: &Plan) -> Vec<Claim> {
    let Some(speaker) = spokesman(plan) else { return Vec::new() };
    let reason = speaker.verdict.reason;
    let weight = reason.effect();
    let message = match weight {
        Effect::Ready => "every database type has its principal where the spec wants it, synchronized".to_owned(),
        Effect::Reconciling | Effect::Stalled => {
            let others = plan.types.values().filter(|of| of.verdict.reason.effect() != Effect::Ready).count() - 1;
            let more = if others == 0 { String::new() } else { format!(" ({others} more in status.databaseTypes)") };
            format!("{}{more}", speaker.verdict.message)
        }
    };
    // A move under way keeps Reconciling true even when another type is stuck: something still changes.
    let working = weight == Effect::Reconciling || plan.memory.operation.is_some();
    let stuck = weight == Effect::Stalled && !working;
    let (ready_reason, ready_message) = (reason, message);
    vec![
        Claim::when(weight == Effect::Ready && !working, ConditionType::Ready, ready_reason, ready_message.clone()),
        Claim::when(working, ConditionType::Reconciling, ready_reason, ready_message.clone()),
        Claim::when(stuck, ConditionType::Stalled, ready_reason, ready_message),
    ]
}

fn aligned(plan: &Plan) -> Claim {
    let kind = ConditionType::PrincipalsAligned;
    let off: Vec<&TypePlan> = plan.types.values().filter(|of| of.observed != Observed::On(of.wish.principal)).collect();
    let name = |of: &&TypePlan| of.wish.ty.to_string();
    let names = off.iter().map(name).collect::<Vec<_>>().join(", ");
    match off.first() {
        None => Claim::yes(kind, Reason::Aligned, "every principal is where the spec wants it"),
        Some(first) if off.iter().any(|of| of.observed != Observed::Unknown) => {
            Claim::no(kind, first.verdict.reason, format!("not where the spec wants it: {names}"))
        }
        Some(first) => Claim::unknown(kind, first.verdict.reason, format!("the principal is not seen: {names}")),
    }
}

fn synchronized(plan: &Plan, seen: &Observation) -> Claim {
    let kind = ConditionType::Synchronized;
    let findings = || plan.types.values().flat_map(|of| of.findings.iter().map(move |finding| (of, finding)));
    let bad = || {
        findings().filter(|(of, finding)| {
            let states = Side::BOTH.map(|side| state(seen, of, finding, side));
            states != [Some(MirroringState::Synchronized); 2]
        })
    };
    let reason = |finding: &Finding| finding.obstacle.as_ref().map_or(Reason::Unsettled, |obstacle| obstacle.reason());
    match bad().next() {
        None => Claim::yes(kind, Reason::AllSynchronized, "every database is SYNCHRONIZED on both servers"),
        Some((_, finding)) => {
            let alike = bad().filter(|(_, other)| reason(other) == reason(finding));
            let names = alike.map(|(_, finding)| finding.name.as_str()).collect::<Vec<_>>().join(", ");
            let reason = reason(finding);
            let text = finding.obstacle.as_ref().map(|obstacle| obstacle.words(&names)).unwrap_or_default();
            if finding.agreed { Claim::no(kind, reason, text) } else { Claim::unknown(kind, reason, text) }
        }
    }
}

fn state(seen: &Observation, of: &TypePlan, finding: &Finding, side: Side) -> Option<MirroringState> {
    let server = seen.pair(of.wish.store).view(side).lit()?;
    Some(server.databases.get(&finding.name)?.mirroring.as_ref()?.state)
}

fn reachable(seen: &Observation) -> Claim {
    let kind = ConditionType::PartnersReachable;
    let dark = seen.pairs.iter().flat_map(|pair| [&pair.primary, &pair.mirror]).find_map(|view| match view {
        View::Lit { .. } => None,
        View::Dark { darkness, .. } => Some(darkness),
    });
    match dark {
        None => Claim::yes(kind, Reason::PartnersReachable, "both partners answer"),
        Some(darkness) => {
            let reason = dark_reason(darkness.cause);
            if reason == Reason::NotYetObserved {
                Claim::unknown(kind, reason, darkness.detail.clone())
            } else {
                Claim::no(kind, reason, darkness.detail.clone())
            }
        }
    }
}

/// True while one further loss stops a database that the witness is to protect (R15, S19).
fn quorum(seen: &Observation, plan: &Plan) -> Claim {
    let kind = ConditionType::QuorumAtRisk;
    let sessions: Vec<_> = seen
        .pairs
        .iter()
        .flat_map(|pair| [&pair.primary, &pair.mirror])
        .filter_map(View::lit)
        .flat_map(|server| {
            server.databases.iter().filter_map(|(name, database)| Some((name, database.mirroring.as_ref()?)))
        })
        .filter(|(name, _)| plan.types.values().any(|of| of.wish.databases.contains(name)))
        .collect();
    let lost = names(&sessions, |row| matches!(row.witness, WitnessLink::Disconnected | WitnessLink::Unknown));
    let apart = |row: &Mirroring| {
        row.witness != WitnessLink::None
            && matches!(row.state, MirroringState::Disconnected | MirroringState::Suspended)
    };
    let exposed = names(&sessions, |row| row.role == Role::Principal && apart(row));
    let nobody_serves = exposed.is_none();
    let dark_witness = seen.pairs.iter().filter_map(|pair| pair.witness.as_ref()).find_map(|view| match view {
        View::Lit { .. } => None,
        View::Dark { darkness, .. } => Some(darkness),
    });
    match (sessions.is_empty(), lost, exposed.or_else(|| names(&sessions, apart)), dark_witness) {
        (true, ..) => Claim::unknown(kind, Reason::NotYetObserved, "no mirroring session is seen"),
        (_, Some(names), ..) => Claim::yes(
            kind,
            Reason::WitnessDisconnected,
            format!(
                "{names}: a witness is set and not connected: if a partner is lost too, the database stops even if its principal lives"
            ),
        ),
        (_, None, Some(names), _) => {
            // Without a principal in sight nothing runs; what is left to lose is the way out (error 1431).
            let what = match nobody_serves {
                true => {
                    "the mirror is without its principal: if the witness is lost too, not even forced service is possible"
                }
                false => "runs without its partner: if the witness is lost too, the database stops",
            };
            Claim::yes(kind, Reason::RunningExposed, format!("{names}: {what}"))
        }
        (_, None, None, Some(darkness)) => Claim::no(
            kind,
            Reason::WitnessUnreachable,
            format!("the partners see the witness, the operator does not: {}", darkness.detail),
        ),
        (_, None, None, None) if sessions.iter().all(|(_, row)| row.witness == WitnessLink::None) => Claim::no(
            kind,
            Reason::NoWitness,
            "no witness is set: nobody fails over by itself, and no quorum is needed",
        ),
        (_, None, None, None) => Claim::no(kind, Reason::QuorumHealthy, "partners and witness see each other"),
    }
}

/// The databases whose row is so, each once, as `a, b`.
fn names(sessions: &[(&DatabaseName, &Mirroring)], is: impl Fn(&Mirroring) -> bool) -> Option<String> {
    let names: BTreeSet<&str> = sessions.iter().filter(|(_, row)| is(row)).map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
}

/// Only where it is so: a person asked for it, and everybody shall see it.
fn weak_encryption(asked: &Asked) -> Option<Claim> {
    let with = |mode| {
        let store = asked.stores.iter().find(|store| store.sql.tls.mode == mode)?;
        Some(if store.label.is_empty() { String::new() } else { format!(" of {}", store.label) })
    };
    if let Some(of) = with(TlsMode::Off) {
        let words = format!(
            "sql.tls.mode{of} is Off: nothing is encrypted, and somebody in the path can read and change what is said. Set mode to Verify, Pin or Legacy"
        );
        return Some(Claim::yes(ConditionType::WeakEncryption, Reason::TlsOff, words));
    }
    let of = with(TlsMode::Legacy)?;
    let words = format!(
        "sql.tls.mode{of} is Legacy: the connection may use TLS 1.0, SHA-1 and small keys, which somebody in the path can break. Install the TLS 1.2 update of SQL Server (KB3135244) and a certificate of 2048 bits and SHA-256, then set mode to Verify or Pin"
    );
    Some(Claim::yes(ConditionType::WeakEncryption, Reason::LegacyTls, words))
}

fn suspended(asked: &Asked, now: Timestamp) -> Claim {
    let kind = ConditionType::Suspended;
    match asked.desired.suspend.as_ref().filter(|suspend| suspend.holds(now)) {
        None => Claim::no(kind, Reason::NotSuspended, "moves are allowed"),
        Some(suspend) => {
            let until = suspend.until.map_or("spec.suspend is removed".to_owned(), |until| until.to_string());
            Claim::yes(kind, Reason::Suspended, format!("nothing is moved until {until}: {}", suspend.reason))
        }
    }
}
