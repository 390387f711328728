//! The decision for each database type of another spec, with the proof that the status is enough to repeat the present one.
//! Pure.

use jiff::Timestamp;

use crate::api::{DatabaseTypeStatus, LyncPoolMirror, ParsedSpec, parse, restore_state};
use crate::cli::forecast::observation::observation;
use crate::cli::pool::Pool;
use crate::model::{DatabaseType, Effect, Failover, Observation, Reason, duration_text};
use crate::plan::{Plan, TypePlan, coarse, plan, predict, second};
use crate::sql;

/// What the operator would decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// What the operator would refuse in the spec. No move starts while there is one.
    pub problems: Vec<String>,
    pub types: Vec<TypeForecast>,
    /// The types that the spec no longer has, with their databases.
    pub removed: Vec<(DatabaseType, Vec<String>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypeForecast {
    pub ty: DatabaseType,
    pub decision: Decision,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The statements that the operator would send at once.
    Move { steps: Vec<Step> },
    /// No statement now. `steps`: those that wait.
    Hold { reason: Reason, message: String, steps: Vec<Step> },
    /// The principals are where the spec wants them.
    Nothing { reason: Reason },
    /// The status does not have what the decision depends on.
    Unknown { why: String },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub server: String,
    pub statement: String,
    pub predicted: Option<String>,
}

/// The forecast for `edited`, the resource with another spec.
pub fn forecast(pool: &Pool, edited: &LyncPoolMirror, now: Timestamp) -> Forecast {
    let spec = parse(edited);
    let live = pool.resource.as_ref().map(parse);
    let proof = live.as_ref().map(|live| planned(pool, live, now).0);
    let (plan, observation) = planned(pool, &spec, now);
    let decide = |(ty, planned): (&DatabaseType, &TypePlan)| TypeForecast {
        ty: *ty,
        decision: match unproven(pool, *ty, planned, proof.as_ref()).or_else(|| past(pool, now)) {
            Some(why) => Decision::Unknown { why },
            None => decision(pool, &plan, planned, &observation),
        },
    };
    let unusable = spec.desired.unusable.keys().map(|ty| TypeForecast {
        ty: *ty,
        decision: Decision::Unknown { why: "Its part of the spec cannot be used.".to_owned() },
    });
    let listed = |ty: DatabaseType| edited.spec.database_types.iter().any(|of| of.type_ == ty);
    let removed = pool.status.database_types.iter().filter(|of| !listed(of.type_));
    Forecast {
        types: plan.types.iter().map(decide).chain(unusable).collect(),
        removed: removed
            .map(|of| (of.type_, of.databases.iter().map(|database| database.name.clone()).collect()))
            .collect(),
        problems: spec.desired.problems,
    }
}

fn planned(pool: &Pool, spec: &ParsedSpec, now: Timestamp) -> (Plan, Observation) {
    let observation = observation(pool, spec);
    let uid = pool.object["metadata"]["uid"].as_str().unwrap_or_default();
    let persisted = restore_state(uid, Some(&pool.status));
    (plan(&spec.desired, &observation, &persisted, now), observation)
}

/// Why the status is not that of this moment.
fn past(pool: &Pool, now: Timestamp) -> Option<String> {
    let at = pool.status.observed_time.as_ref().filter(|_| pool.is_old(now))?;
    Some(format!("The operator last confirmed the status at {}.", second(at.0)))
}

/// Why this forecast would be a guess. The planner must give the present reason for the present spec, from the same status.
fn unproven(pool: &Pool, ty: DatabaseType, planned: &TypePlan, proof: Option<&Plan>) -> Option<String> {
    let Some(of) = pool.type_status(ty) else {
        return Some("The operator has not read its databases yet.".to_owned());
    };
    if !pool.is_current() {
        return Some("The operator has not processed the present spec yet.".to_owned());
    }
    if pool.status.operation.is_some() {
        return Some("A move is in flight: the decision follows its end.".to_owned());
    }
    let known = |name: &str| of.databases.iter().any(|row| row.name.eq_ignore_ascii_case(name));
    let unseen: Vec<&str> =
        planned.desired_type.databases.iter().map(|name| name.as_str()).filter(|name| !known(name)).collect();
    if !unseen.is_empty() {
        return Some(format!("The operator has not read {} yet.", unseen.join(", ")));
    }
    let is_same = proof.and_then(|plan| plan.types.get(&ty)).is_some_and(|planned| repeats(planned, of));
    (!is_same).then(|| {
        format!(
            "The status alone does not explain its present reason {}: the operator saw more of the servers than the status has.",
            of.reason
        )
    })
}

/// The plan from the status gives everything that the status has of the decision.
fn repeats(planned: &TypePlan, of: &DatabaseTypeStatus) -> bool {
    let whole = (planned.verdict.reason.name(), planned.observed, planned.service)
        == (of.reason.as_str(), of.observed, of.service)
        && planned.epoch.as_ref().map(ToString::to_string) == of.epoch;
    whole
        && planned.findings.iter().all(|finding| {
            let row = of.databases.iter().find(|row| row.name.eq_ignore_ascii_case(finding.name.as_str()));
            let obstacle = finding.obstacle.as_ref().map(|obstacle| obstacle.reason().name());
            row.is_some_and(|row| row.reason.as_deref() == obstacle)
        })
}

fn decision(pool: &Pool, plan: &Plan, planned: &TypePlan, observation: &Observation) -> Decision {
    let ty = planned.desired_type.ty;
    let steps = |steps: &[Failover]| steps.iter().map(|step| described(pool, planned, step, observation)).collect();
    let operation = plan.persisted.operation.as_ref().filter(|operation| operation.ty == ty);
    let reason = planned.verdict.reason;
    if operation.is_some() {
        return Decision::Move { steps: steps(&plan.steps) };
    }
    if reason.effect() == Effect::Ready {
        return Decision::Nothing { reason };
    }
    Decision::Hold { reason, message: planned.verdict.message.clone(), steps: steps(&planned.next) }
}

fn described(pool: &Pool, planned: &TypePlan, step: &Failover, observation: &Observation) -> Step {
    let published = pool.status.plan.iter().find(|known| step.database.as_str() == known.database);
    let from_range =
        || Some(duration_text(coarse(predict(observation.pair(planned.desired_type.store), &step.database)?)));
    Step {
        server: step.server.clone(),
        statement: sql::statement(step.act, &step.database),
        predicted: published.and_then(|known| known.predicted_interruption.clone()).or_else(from_range),
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
