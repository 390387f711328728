//! `doctor`: checks everything at once with a fresh poll from this computer, by the operator's own code.

use clap::Args;
use jiff::Timestamp;

use crate::api::parse;
use crate::cli::arguments::PoolArgument;
use crate::cli::cluster::client::{Cluster, ClusterArguments, OperatorArguments};
use crate::cli::cluster::find;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::direct::fresh::{Fresh, fresh, polls_are_stopped};
use crate::cli::direct::session::{Direct, READER};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::memory;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::view::doctor::{self, Check, Result as Outcome};
use crate::cli::view::state::Operator;
use crate::controller::Backend;
use crate::plan::second;

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
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
        let (backend, pool, mut checks) = self.begin().await?;
        match stopped(&pool, Timestamp::now()) {
            // The administrator wants no connection to the servers now.
            Some(check) => checks.push(check),
            None => {
                let Fresh { status, credentials, .. } =
                    fresh(&backend, &pool, pool.origin.as_ref().map(|_| READER)).await?;
                checks.extend(doctor::status(&status, &credentials));
            }
        }
        if self.json {
            output::print(&output::json(&checks)?)?;
        } else {
            output::print(&doctor::render(&checks, output::width()))?;
            if pool.origin.is_none() {
                output::note(
                    "Checked from this computer with your rights. The operator may have another network and other rights. Other resources on the same databases (Conflict) are in the status only.",
                );
            }
        }
        Ok(doctor::exit(&checks))
    }
}

impl Doctor {
    /// Where the pool is, and what acts on it.
    async fn begin(&self) -> Result<(Backend, Pool, Vec<Check>), Error> {
        if let Some(chosen) = self.direct.chosen()? {
            let direct = Direct::open(chosen, &self.cluster, "doctor").await?;
            let pool = direct.pool(self.pool.pool.as_deref())?;
            let checks = of_file(&direct.backend(), &pool).await?;
            return Ok((direct.backend(), pool, checks));
        }
        let cluster = Cluster::connect(&self.cluster).await?;
        let pool = find::pool(&cluster, self.pool.pool.as_deref().unwrap_or_default()).await?;
        let checks = vec![of_operator(cluster.operator(&self.operator).await.as_ref(), &pool, Timestamp::now())];
        Ok((Backend::Cluster(cluster.client), pool, checks))
    }
}

/// Without a cluster: the process that acts on the pool, and the operator of a cluster on the same servers.
async fn of_file(backend: &Backend, pool: &Pool) -> Result<Vec<Check>, Error> {
    let holder = pool.origin.as_ref().and_then(|origin| origin.holder.as_deref());
    let process =
        holder.map_or("No process acts on this pool.".to_owned(), |holder| format!("{holder} acts on this pool."));
    let cluster = match backend.holder(&parse(pool.readable()?)).await {
        Some(holder) => Check::new(
            "cluster",
            Outcome::Fail,
            format!("A move would wait for {holder}. To fix: act there, or suspend that pool."),
        ),
        None => Check::new("cluster", Outcome::Ok, "No operator is known that acts on these servers.".to_owned()),
    };
    Ok(vec![Check::new("process", Outcome::Ok, process), cluster])
}

/// Why the servers are not polled.
fn stopped(pool: &Pool, now: Timestamp) -> Option<Check> {
    let resource = pool.resource.as_ref()?;
    let suspend = resource.spec.suspend.as_ref()?;
    if !polls_are_stopped(pool, now) {
        return None;
    }
    let until = suspend.until.map(|until| format!(" until {}", second(until))).unwrap_or_default();
    Some(Check::new(
        "suspend",
        Outcome::NotKnown,
        format!(
            "No server was polled: spec.suspend.stopPolls ends every connection{until}. Its reason: {}. To fix: once the servers may be polled, run {} resume {}.",
            suspend.reason,
            output::program(),
            pool.arguments()
        ),
    ))
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
