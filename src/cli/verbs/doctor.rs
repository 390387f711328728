//! `doctor`: checks everything at once with a fresh poll from this computer, by the operator's own code.

use clap::Args;
use jiff::Timestamp;

use crate::api::{parse, restore_state};
use crate::cli::arguments::PoolArgument;
use crate::cli::cluster::client::{Cluster, ClusterArguments, OperatorArguments};
use crate::cli::cluster::find;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::view::doctor::{self, Check, Result as Outcome};
use crate::cli::view::state::Operator;
use crate::cli::{descriptors, memory};
use crate::controller::probe;
use crate::model::{Observation, PhaseTimings};
use crate::plan::{plan, second};
use crate::sql::{Limits, Sizes};
use crate::status::{Input, render};

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    operator: OperatorArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub async fn run(self) -> Result<Exit, Error> {
        if let Err(error) = memory::forbid_dumps() {
            output::note(&format!("Core files of this command can show passwords: {error}."));
        }
        let cluster = Cluster::connect(&self.cluster).await?;
        let pool = find::pool(&cluster, &self.pool.pool).await?;
        let mut checks = vec![of_operator(cluster.operator(&self.operator).await.as_ref(), &pool, Timestamp::now())];
        match stopped(&pool, Timestamp::now()) {
            // The administrator wants no connection to the servers now.
            Some(check) => checks.push(check),
            None => checks.extend(fresh(&cluster, &pool).await?),
        }
        if self.json {
            output::print(&output::json(&checks)?)?;
        } else {
            output::print(&doctor::render(&checks, output::width()))?;
            output::note(
                "Checked from this computer with your rights. The operator may have another network and other rights. Other resources on the same databases (Conflict) are in the status only.",
            );
        }
        Ok(doctor::exit(&checks))
    }
}

/// The status that the operator would publish, if it ran here.
async fn fresh(cluster: &Cluster, pool: &Pool) -> Result<Vec<Check>, Error> {
    let resource = pool.readable()?;
    let spec = parse(resource);
    let limits = Limits::new(Sizes::for_descriptors(descriptors::raise_limit()), denied());
    let probe = probe(cluster.client.clone(), resource, &spec, limits).await;
    let observation = Observation {
        pairs: probe.pairs,
        conflicts: Default::default(),
        turns: Default::default(),
        statements: Default::default(),
    };
    let uid = resource.metadata.uid.as_deref().unwrap_or_default();
    let now = Timestamp::now();
    let planned = plan(&spec.desired, &observation, &restore_state(uid, Some(&pool.status)), now);
    let status = render(&Input {
        spec: &spec,
        uid,
        observation: &observation,
        plan: &planned,
        timings: PhaseTimings::default(),
        drift: None,
        last_reads: &Default::default(),
        before: Some(&pool.status),
        now,
    });
    Ok(doctor::status(&status, &probe.credentials))
}

/// Why the servers are not polled.
fn stopped(pool: &Pool, now: Timestamp) -> Option<Check> {
    let resource = pool.resource.as_ref()?;
    let suspend = resource.spec.suspend.as_ref()?;
    let operation = restore_state(pool.uid(), Some(&pool.status)).operation;
    if !parse(resource).polls_are_stopped(operation.as_ref(), now) {
        return None;
    }
    let until = suspend.until.map(|until| format!(" until {}", second(until))).unwrap_or_default();
    Some(Check::new(
        "suspend",
        Outcome::NotKnown,
        format!(
            "No server was polled: spec.suspend.stopPolls ends every connection{until}. Its reason: {}. To fix: once the servers may be polled, run {} resume {} -n {}.",
            suspend.reason,
            output::program(),
            pool.name,
            pool.namespace
        ),
    ))
}

/// The networks that the operator refuses by default.
fn denied() -> Vec<ipnet::IpNet> {
    Limits::DENIED.split(',').filter_map(|network| network.parse().ok()).collect()
}

fn of_operator(operator: Option<&Operator>, pool: &Pool, now: Timestamp) -> Check {
    let check = |result, text: String| Check::new("operator", result, text);
    let confirmed = pool.status.observed_time.as_ref().map(|at| second(at.0));
    match (operator, confirmed) {
        (None | Some(_), Some(at)) if pool.is_old(now) && operator.is_none_or(|operator| !operator.is_silent(now)) => {
            check(
                Outcome::Fail,
                format!("It last confirmed the status at {at}. To fix: check that it runs and watches this namespace."),
            )
        }
        (None, Some(at)) if pool.is_current() => check(
            Outcome::Ok,
            format!("It confirmed the status at {at}. You may not read its lease, or it is elsewhere."),
        ),
        (None, None) if pool.is_current() => check(
            Outcome::NotKnown,
            "You may not read its lease, or it is elsewhere. It has processed the present spec.".to_owned(),
        ),
        (None, _) => check(
            Outcome::Fail,
            "It has not processed the present spec. To fix: check that it runs and watches this namespace.".to_owned(),
        ),
        (Some(operator), _) if operator.is_silent(now) => check(
            Outcome::Fail,
            format!(
                "It has not renewed its lease since {}. To fix: check the Pods of the operator.",
                second(operator.renewed)
            ),
        ),
        (Some(operator), _) => check(
            Outcome::Ok,
            format!(
                "{} renewed its lease at {}",
                operator.holder.as_deref().unwrap_or_default(),
                second(operator.renewed)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixtures::Passes;
    use crate::model::later;

    #[test]
    fn doctor_does_not_poll_while_the_polls_are_stopped() {
        let stopped_polls = |suspend: serde_json::Value| {
            let passes = Passes::new().edit(|spec| spec["suspend"] = suspend);
            stopped(&passes.pool(), passes.now)
        };
        let check = stopped_polls(json!({"reason": "single user", "stopPolls": true})).unwrap();
        assert!(check.text.starts_with("No server was polled: spec.suspend.stopPolls ends"), "{check:?}");
        assert!(check.text.contains("Its reason: single user."), "{check:?}");
        assert_eq!(doctor::exit(&[check]), Exit::NotKnown);
        assert_eq!(stopped_polls(json!({"reason": "patches"})), None);
        let over = json!({"reason": "x", "stopPolls": true, "until": "1969-12-31T00:00:00Z"});
        assert_eq!(stopped_polls(over), None);
    }

    #[test]
    fn operator_without_a_readable_lease_is_judged_by_the_age_of_its_status() {
        let passes = Passes::new().pass("P/4/C", "M/4/C");
        let after = |minutes: u64| later(passes.now, std::time::Duration::from_secs(minutes * 60));
        assert_eq!(of_operator(None, &passes.pool(), after(11)).result, Outcome::Ok);
        assert_eq!(of_operator(None, &passes.pool(), after(13)).result, Outcome::Fail);
        let edited = passes.edit(|_| ());
        assert_eq!(of_operator(None, &edited.pool(), edited.now).result, Outcome::Fail);
    }
}
