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
        checks.extend(fresh(&cluster, &pool).await?);
        if self.json {
            output::print(&output::json(&checks)?)?;
        } else {
            output::print(&doctor::render(&checks, output::width()))?;
            output::note(
                "Checked from this computer with your rights. The operator may have another network and other rights.",
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

/// The networks that the operator refuses by default.
fn denied() -> Vec<ipnet::IpNet> {
    Limits::DENIED.split(',').filter_map(|network| network.parse().ok()).collect()
}

fn of_operator(operator: Option<&Operator>, pool: &Pool, now: Timestamp) -> Check {
    let check = |result, text: String| Check::new("operator", result, text);
    match operator {
        None if pool.is_current() => check(
            Outcome::NotKnown,
            "You may not read its lease, or it is elsewhere. It has processed the present spec.".to_owned(),
        ),
        None => check(
            Outcome::Fail,
            "It has not processed the present spec. To fix: check that it runs and watches this namespace.".to_owned(),
        ),
        Some(operator) if operator.is_silent(now) => check(
            Outcome::Fail,
            format!(
                "It has not renewed its lease since {}. To fix: check the Pods of the operator.",
                second(operator.renewed)
            ),
        ),
        Some(operator) => check(
            Outcome::Ok,
            format!(
                "{} renewed its lease at {}",
                operator.holder.as_deref().unwrap_or_default(),
                second(operator.renewed)
            ),
        ),
    }
}
