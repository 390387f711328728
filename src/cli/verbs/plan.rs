//! `plan`: the statements that come next, or with -f what an edited manifest would do. Nothing is changed.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use kube::api::{DynamicObject, PostParams};
use serde_json::Value;

use crate::api::LyncPoolMirror;
use crate::cli::cluster::client::{Cluster, ClusterArguments};
use crate::cli::cluster::find;
use crate::cli::cluster::managed::{MANAGER, is_own};
use crate::cli::direct::arguments::DirectOptions;
use crate::cli::direct::session::Direct;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::forecast::decision::{Decision, Forecast, forecast};
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::view;
use crate::model::Effect;

#[derive(Debug, Args)]
pub struct Plan {
    /// Name of the resource, or FQDN of the pool. With -f: default is the name in the file.
    #[arg(value_name = "POOL", required_unless_present = "file")]
    pool: Option<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectOptions,
    /// A manifest of the pool, as it would be applied; - for the standard input. With --direct: the file of the pool, or a folder.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Plan {
    pub async fn run(self) -> Result<Exit, Error> {
        if let Some(chosen) = self.direct.with(self.file.as_deref())? {
            let direct = Direct::open(chosen, &self.cluster, "plan").await?;
            let pools = direct.pools(self.pool.as_slice()).await?;
            let exits: Result<Vec<Exit>, Error> = pools.iter().map(live).collect();
            return Ok(exits?.into_iter().max().unwrap_or(Exit::AsWanted).max(direct.report_problems()));
        }
        let manifest = match self.file {
            // A terminal as the input must not hold back Ctrl-C.
            Some(path) => Some(
                tokio::task::spawn_blocking(move || read(&path))
                    .await
                    .map_err(|error| Error::Render(error.to_string()))??,
            ),
            None => None,
        };
        let named = manifest.as_ref().and_then(|manifest| manifest["metadata"]["name"].as_str());
        let name = self.pool.as_deref().or(named).unwrap_or_default();
        let mut arguments = self.cluster;
        let namespace = manifest.as_ref().and_then(|manifest| manifest["metadata"]["namespace"].as_str());
        arguments.namespace = arguments.namespace.or_else(|| namespace.map(str::to_owned));
        let cluster = Cluster::connect(&arguments).await?;
        let pool = find::pool(&cluster, name).await?;
        match manifest {
            None => live(&pool),
            Some(manifest) => edited(&cluster, &pool, &manifest).await,
        }
    }
}

/// The one LyncPoolMirror of a file.
fn read(path: &std::path::Path) -> Result<Value, Error> {
    let wrong = |cause: String| Error::File { path: path.display().to_string(), cause };
    let text = if path == std::path::Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| wrong(error.to_string()))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| wrong(error.to_string()))?;
    let mut pools = documents.into_iter().filter(|document| document["kind"] == "LyncPoolMirror");
    match (pools.next(), pools.next()) {
        (Some(pool), None) => Ok(pool),
        (None, _) => Err(wrong("It has no LyncPoolMirror".to_owned())),
        (Some(_), Some(_)) => Err(wrong("It has several LyncPoolMirrors".to_owned())),
    }
}

/// The plan that the operator has published.
fn live(pool: &Pool) -> Result<Exit, Error> {
    let mut text = String::new();
    for step in &pool.status.plan {
        let predicted = step.predicted_interruption.as_ref().map(|time| format!("  (interruption about {time})"));
        text.push_str(&format!(
            "{}: {}  {}{}, waits for {}\n",
            step.type_,
            step.server,
            step.statement,
            predicted.unwrap_or_default(),
            step.why
        ));
    }
    if text.is_empty() {
        text.push_str("No statement comes next.\n");
    }
    let ready = pool.condition("Ready").map(|ready| ready.message.clone()).unwrap_or_default();
    output::print(&format!("{} ({}): {ready}\n{text}", pool.fqdn(), pool.reference()))?;
    Ok(pool.exit(Timestamp::now()))
}

async fn edited(cluster: &Cluster, pool: &Pool, manifest: &Value) -> Result<Exit, Error> {
    let mut object = pool.object.clone();
    object["spec"] = manifest["spec"].clone();
    let kept = keep_own(pool, &mut object["spec"]);
    let checked = dry_run(cluster, pool, &object).await?;
    let before = &pool.object["spec"];
    let lines = view::forecast::difference(before, &checked.object["spec"]);
    let mut text =
        format!("{} ({}): {} fields differ. Nothing is changed.\n", pool.fqdn(), pool.reference(), lines.len());
    lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    kept.iter().for_each(|field| {
        text.push_str(&format!("  = {field}  stays: a verb has set it, and the manifest does not have it\n"));
    });
    let forecast = forecast(pool, checked.readable()?, Timestamp::now());
    text.push_str(&view::forecast::render(&forecast, output::width()));
    output::print(&text)?;
    Ok(exit(&forecast))
}

/// Adds what the verbs have set and the manifest does not have, as `kubectl apply` would leave it. The names of these fields.
fn keep_own(pool: &Pool, spec: &mut Value) -> Vec<String> {
    let managed = pool.resource.as_ref().and_then(|resource| resource.metadata.managed_fields.as_deref());
    let managed = managed.unwrap_or_default();
    let live = &pool.object["spec"];
    let mut kept = Vec::new();
    if spec.get("suspend").is_none() && live["suspend"].is_object() && is_own(managed, &["f:spec", "f:suspend"]) {
        spec["suspend"] = live["suspend"].clone();
        kept.push("suspend".to_owned());
    }
    for item in spec["databaseTypes"].as_array_mut().into_iter().flatten() {
        let same = |other: &&Value| other["type"] == item["type"];
        let Some(live) = live["databaseTypes"].as_array().and_then(|items| items.iter().find(same)) else { continue };
        let ty = item["type"].as_str().unwrap_or_default().to_owned();
        for field in ["approve", "forceService"] {
            let path = ["f:spec", "f:databaseTypes", &format!("k:{{\"type\":\"{ty}\"}}"), &format!("f:{field}")];
            if item.get(field).is_none() && live[field].is_object() && is_own(managed, &path) {
                item[field] = live[field].clone();
                kept.push(format!("databaseTypes[{ty}].{field}"));
            }
        }
    }
    kept
}

/// The resource as the API server would store it, with defaults.
async fn dry_run(cluster: &Cluster, pool: &Pool, object: &Value) -> Result<Pool, Error> {
    let typed: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|error| Error::Render(error.to_string()))?;
    let parameters = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
    let api = cluster.pools(&pool.namespace);
    match api.replace(&pool.name, &parameters, &typed).await {
        Ok(stored) => Pool::new(&stored),
        // Without the right to write, the operator's own checks remain.
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            output::note("You may not update the resource, so that the API server did not check the manifest.");
            let _: LyncPoolMirror = serde_json::from_value(object.clone())
                .map_err(|error| Error::Refused { message: error.to_string() })?;
            Ok(Pool::of_value(object.clone()))
        }
        Err(error) => Err(Error::of_request(error, "update", "lyncpoolmirrors.lyncmirror.io")),
    }
}

/// The exit that the state would have: a move or a wait is on its way.
fn exit(forecast: &Forecast) -> Exit {
    let of = |decision: &Decision| match decision {
        Decision::Nothing { .. } => Exit::AsWanted,
        Decision::Move { .. } => Exit::OnItsWay,
        Decision::Hold { reason, .. } if reason.effect() == Effect::Reconciling => Exit::OnItsWay,
        Decision::Hold { .. } => Exit::ActionNeeded,
        Decision::Unknown { .. } => Exit::NotKnown,
    };
    let problems = if forecast.problems.is_empty() { Exit::AsWanted } else { Exit::ActionNeeded };
    forecast.types.iter().map(|one| of(&one.decision)).max().unwrap_or(Exit::AsWanted).max(problems)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plan_keeps_what_the_verbs_set_and_nothing_else() {
        let user = "k:{\"type\":\"User\"}";
        let fields = json!({"f:spec": {
            "f:suspend": {"f:reason": {}}, "f:databaseTypes": {user: {"f:approve": {"f:epoch": {}}}},
        }});
        let entry = |manager: &str| json!({"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let pool = |manager: &str| {
            let mut object = crate::cli::fixtures::Passes::new().pool().object;
            object["metadata"]["managedFields"] = json!([entry(manager)]);
            object["spec"]["suspend"] = json!({"reason": "patches"});
            object["spec"]["databaseTypes"][0]["approve"] = json!({"epoch": "5-abcd"});
            Pool::of_value(object)
        };
        let manifest = || json!({"databaseTypes": [{"type": "User", "principal": "Mirror"}]});
        let mut spec = manifest();
        assert_eq!(keep_own(&pool(MANAGER), &mut spec), ["suspend", "databaseTypes[User].approve"]);
        assert_eq!(spec["suspend"], json!({"reason": "patches"}));
        assert_eq!(spec["databaseTypes"][0]["approve"], json!({"epoch": "5-abcd"}));
        let mut spec = manifest();
        assert_eq!(keep_own(&pool("kubectl"), &mut spec), [""; 0]);
        assert_eq!(spec, manifest());
        let mut spec = json!({"suspend": {"reason": "of the file"}});
        assert_eq!(keep_own(&pool(MANAGER), &mut spec), [""; 0]);
    }
}
