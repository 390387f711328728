//! One run: a fresh pair, a fresh resource, an operator behind the recorder, and the actions and conditions of scenarios.
//! It uses a client of its own for the API server: a kubectl process per request would take longer than the run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::recorder::{Checkpoint, Recorder, Tap};
use crate::support::proxy::Proxy;
use crate::support::{Cluster, DATABASES, Operator, PATIENCE, TestPool, condition, log_path};

pub const POOL: &str = "pool01";

/// Used by one run after the other: a namespace with the chart in it, and the ServiceAccount's kubeconfig.
pub struct Lane {
    namespace: String,
    identity: PathBuf,
    kubeconfig: PathBuf,
    client: kube::Client,
}

impl Lane {
    pub async fn start(number: usize) -> Lane {
        let (cluster, namespace) = (Cluster::get(), format!("points-{number}"));
        cluster.install(&namespace);
        let identity = cluster.identity(&namespace);
        let admin = Kubeconfig::read_from(cluster.dir.join("kubeconfig")).unwrap();
        let config = kube::Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let kubeconfig = cluster.dir.join(format!("{namespace}.proxy.kubeconfig"));
        Lane { namespace, identity, kubeconfig, client }
    }

    fn api(&self, kind: (&str, &str, &str)) -> Api<DynamicObject> {
        let (group, version, kind) = kind;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    fn pools(&self) -> Api<DynamicObject> {
        self.api(("lyncmirror.io", "v1alpha1", "LyncPoolMirror"))
    }

    pub fn log(&self) -> PathBuf {
        log_path(&self.namespace)
    }

    async fn put(&self, kind: (&str, &str, &str), object: Value) -> Result<(), String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let how = PatchParams::apply("points").force();
        self.api(kind).patch(&name, &how, &Patch::Apply(object)).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn gone(&self, kind: (&str, &str, &str), name: &str) -> Result<(), String> {
        match self.api(kind).delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

pub struct Run<'a> {
    pub fixture: TestPool,
    pub recorder: Arc<Recorder>,
    lane: &'a Lane,
    _proxy: Proxy,
}

/// How a run ended, as far as it must be the same with and without a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub ready: String,
    pub principals: String,
    /// `database>server`, sorted: databases of one type move in any order.
    pub failovers: Vec<String>,
}

impl<'a> Run<'a> {
    /// A pair, and no operator yet.
    pub async fn open(lane: &'a Lane, witness: bool) -> Result<Run<'a>, String> {
        let sim = TestPool::simulate(witness, &DATABASES).await;
        let recorder = Arc::new(Recorder::default());
        sim.probe(Arc::new(Tap(recorder.clone())));
        let proxy = Proxy::start(&lane.identity, Arc::new(Tap(recorder.clone()))).await;
        proxy.kubeconfig(&lane.kubeconfig, &lane.namespace);
        std::fs::write(lane.log(), "").map_err(|error| error.to_string())?;
        let fixture = TestPool { cluster: Cluster::get(), namespace: lane.namespace.clone(), sim };
        let run = Run { fixture, recorder, lane, _proxy: proxy };
        run.close().await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql"},
            "stringData": {"username": "lync-mirror", "password": "Passw0rd"},
        });
        lane.put(("", "v1", "Secret"), secret).await?;
        let bundle = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sql-ca"},
            "data": {"ca.crt": run.fixture.sim.ca_pem()},
        });
        lane.put(("", "v1", "ConfigMap"), bundle).await?;
        Ok(run)
    }

    pub fn employ(&self) {
        let (cluster, namespace) = (self.fixture.cluster, &self.fixture.namespace);
        let operator = Operator::launch(cluster, namespace, "1s", namespace, &self.lane.kubeconfig, namespace);
        self.recorder.employ(operator);
    }

    /// Deletes the lease of a killed operator, so that the next one leads at once.
    pub async fn lease_runs_out(&self) -> Result<(), String> {
        let name = format!("lync-mirror-{}", self.fixture.namespace);
        self.lane.gone(("coordination.k8s.io", "v1", "Lease"), &name).await
    }

    /// Removes the operator, the resource and the lease.
    pub async fn close(&self) -> Result<(), String> {
        drop(self.recorder.dismiss());
        self.delete().await?;
        self.lease_runs_out().await
    }

    pub async fn create(&self, types: Value) -> Result<(), String> {
        self.create_with(types, json!({"cooldown": "0s", "settleAfter": "0s", "switchDeadline": "1m"})).await
    }

    pub async fn create_with(&self, types: Value, policy: Value) -> Result<(), String> {
        let mut pool = self.fixture.pool(POOL, types);
        pool["spec"]["policy"] = policy;
        let object: DynamicObject = serde_json::from_value(pool).map_err(|error| error.to_string())?;
        let made = self.lane.pools().create(&PostParams::default(), &object).await;
        made.map(|_| ()).map_err(|error| error.to_string())
    }

    pub async fn delete(&self) -> Result<(), String> {
        self.lane.gone(("lyncmirror.io", "v1alpha1", "LyncPoolMirror"), POOL).await
    }

    /// Changes the spec.
    pub async fn set(&self, spec: Value) -> Result<(), String> {
        let patch = Patch::Merge(json!({"spec": spec}));
        let patched = self.lane.pools().patch(POOL, &PatchParams::default(), &patch).await;
        patched.map(|_| ()).map_err(|error| error.to_string())
    }

    pub fn command(&self, command: Value) -> Result<(), String> {
        self.fixture.sim.do_json(command)
    }

    pub async fn object(&self) -> Result<Value, String> {
        let object = self.lane.pools().get(POOL).await.map_err(|error| error.to_string())?;
        serde_json::to_value(object).map_err(|error| error.to_string())
    }

    /// Waits for a condition of the resource.
    pub async fn until<T>(&self, what: &str, check: impl Fn(&Value) -> Result<T, String>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = match self.object().await.and_then(|object| check(&object)) {
                Ok(found) => return Ok(found),
                Err(last) => last,
            };
            if Instant::now() > deadline {
                return Err(format!("{what}: not within {PATIENCE:?}; last seen: {last}"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Waits until Ready has this status and this reason for the present generation, and no move is under way.
    pub async fn ready(&self, status: &str, reason: &str) -> Result<Value, String> {
        self.until(&format!("Ready={status} {reason}"), |object| {
            let ready = condition(&object["status"], "Ready").ok_or("no Ready condition")?;
            let fresh = ready["observedGeneration"] == object["metadata"]["generation"];
            let idle = object["status"]["operation"].is_null();
            let wanted = ready["status"] == status && ready["reason"] == reason;
            if fresh && idle && wanted { Ok(object["status"].clone()) } else { Err(ready.to_string()) }
        })
        .await
    }

    /// Waits until the state of the servers fulfils `wanted`.
    pub async fn world(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<(), String> {
        let world = self.fixture.sim.until(|world| wanted(&world.state()));
        let late = || format!("{what}: not within {PATIENCE:?}; last seen: {}", self.fixture.sim.state());
        tokio::time::timeout(PATIENCE, world).await.map_err(|_| late())
    }

    /// Waits until each database of User moves or has moved.
    pub async fn user_moves(&self, to: &str) -> Result<(), String> {
        let seat = to.to_owned();
        self.world("User moves", move |state| {
            let databases = state["databases"].as_array().into_iter().flatten();
            let of_user = databases.filter(|entry| {
                entry["pair"] == POOL
                    && ["rtcxds", "rtcshared", "rtcab"].contains(&entry["database"].as_str().unwrap_or(""))
            });
            let mut all = of_user.map(|entry| entry["moving"] == true || entry[&seat]["role"] == "PRINCIPAL");
            all.all(|moved| moved)
        })
        .await
    }

    /// Waits until the operator has polled the server of the mirror once more.
    pub async fn polled_again(&self) -> Result<(), String> {
        let before = self.fixture.sim.journal(0).last().map_or(0, |entry| entry.seq);
        let answered = |entry: &mirror_sim::journal::Entry| entry.server == "b" && entry.outcome.is_some();
        let polls = self.fixture.sim.until_journal(|journal| journal.since(before).iter().any(answered));
        tokio::time::timeout(PATIENCE, polls).await.map_err(|_| "the operator stopped polling".to_owned())
    }

    /// Starts another operator when this one is killed. Never returns.
    pub async fn supervise(&self) -> Result<(), String> {
        let _ = self.recorder.fired().wait_for(|fired| *fired).await;
        self.lease_runs_out().await?;
        self.employ();
        std::future::pending().await
    }

    /// The end of a run, once nothing is under way any more.
    pub async fn end(&self) -> Result<(End, Vec<Checkpoint>), String> {
        let met = self.recorder.stop();
        // After a kill in the last moments, `supervise` starts the next operator.
        let _ = self.recorder.employed().wait_for(|employed| *employed).await;
        self.polled_again().await?;
        let object = self.object().await?;
        let ready = condition(&object["status"], "Ready").cloned().unwrap_or_default();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if !object["status"]["operation"].is_null() {
            return Err(format!("a move is left in the journal: {}", object["status"]["operation"]));
        }
        let failures = self.fixture.sim.failures();
        if !failures.is_empty() {
            return Err(format!("statements that no server understands: {failures:?}"));
        }
        let mut failovers = self.fixture.failovers();
        failovers.sort();
        let end = End {
            ready: format!("{} {}", word(&ready["status"]), word(&ready["reason"])),
            principals: word(&object["status"]["principals"]),
            failovers,
        };
        let runs = self.recorder.dismiss().is_some_and(|mut operator| operator.is_running());
        if runs { Ok((end, met)) } else { Err("the operator ended by itself".to_owned()) }
    }
}
