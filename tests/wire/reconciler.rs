//! The operator without a control plane, in the process of the test: the client polls both partners of a simulated pair, the
//! planner decides, and the client sends the statements. The clock of the planner stands still until the test moves it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use lync_mirror::model::{
    Answer, DatabaseName, DatabaseType, Desired, DesiredType, Failover, FieldManagers, Observation, Outcome, Pair,
    PersistedState, Policy, Reason, Seat, StatementState, Stores, later,
};
use lync_mirror::plan::{Plan, TypePlan, plan};
use lync_mirror::sql::{Deadlines, InstanceMonitors, MonitorHandle, Target, connect_for_moves, fail_over};
use mirror_sim::config::{Config, TlsMode};
use mirror_sim::journal::Entry;
use mirror_sim::sim::Sim;
use serde_json::Value;

use crate::support::client;

/// So long that only requested polls happen.
const NEVER: Duration = Duration::from_secs(3600);
/// For what a simulated server does, and for the answer to a statement.
const PATIENCE: Duration = Duration::from_secs(30);
const TY: DatabaseType = DatabaseType::User;

pub struct Reconciler {
    pub sim: Sim,
    pub desired: Desired,
    pub persisted: PersistedState,
    now: Timestamp,
    statements: BTreeMap<DatabaseName, StatementState>,
    polls: [MonitorHandle; 2],
}

/// `Config::sample` with short durations, and servers that require TLS. Its pair mirrors the databases of the type User.
pub fn config() -> Config {
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| server.tls.mode = TlsMode::Required);
    let pair = &mut config.pairs[0];
    (pair.switch_millis, pair.resync_millis, pair.timeout_seconds) = (50, 50, 0.2);
    config
}

fn desired(databases: &[String]) -> Desired {
    let (_, store) = Stores::single(());
    let desired_type = DesiredType {
        ty: TY,
        principal: Seat::Primary,
        databases: databases.iter().map(DatabaseName::new).collect(),
        store,
        approve: None,
        force: None,
        requested_by: FieldManagers::default(),
    };
    Desired {
        pool: "pool01.contoso.com".to_owned(),
        generation: 1,
        types: vec![desired_type],
        suspend: None,
        policy: Policy { settle_after: Duration::ZERO, cooldown: Duration::ZERO, ..Policy::default() },
        problems: Vec::new(),
        unusable: BTreeMap::new(),
    }
}

impl Reconciler {
    /// A simulated pair, aligned with a spec that wants its databases on the primary.
    pub async fn aligned(config: Config) -> Reconciler {
        let databases = config.pairs[0].databases.clone();
        let sim = Sim::start(config).await.unwrap();
        let monitors = InstanceMonitors::new(NEVER, Deadlines::default());
        let polls = ["a", "b"].map(|server| monitors.watch(&target(&sim, server)));
        let (persisted, statements) = (PersistedState::default(), BTreeMap::new());
        let desired = desired(&databases);
        let mut reconciler = Reconciler { sim, desired, persisted, now: Timestamp::UNIX_EPOCH, statements, polls };
        reconciler.until(Reason::Aligned).await;
        reconciler
    }

    /// A change of the spec.
    pub fn want(&mut self, seat: Seat) {
        self.desired.generation += 1;
        self.desired.types[0].principal = seat;
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn advance(&mut self, time: Duration) {
        self.now = later(self.now, time);
    }

    /// The process ended and another one has the persisted state.
    pub fn restart(&mut self) {
        self.statements.clear();
    }

    pub fn command(&self, command: Value) {
        self.sim.do_json(command).unwrap();
    }

    /// Polls and plans, and sends nothing.
    pub async fn plan(&mut self) -> Plan {
        let [primary, mirror] = &self.polls;
        let (primary, mirror) = tokio::join!(primary.refresh(), mirror.refresh());
        let observation = Observation {
            pairs: Stores::single(Pair { primary, mirror, witness: None }).0,
            conflicts: BTreeMap::new(),
            turns: BTreeMap::new(),
            statements: self.statements.clone(),
        };
        let plan = plan(&self.desired, &observation, &self.persisted, self.now);
        self.persisted = plan.persisted.clone();
        if self.persisted.operation.is_none() {
            self.statements.clear();
        }
        plan
    }

    /// Polls and plans, sends the statements of the plan, and waits for their answers.
    pub async fn pass(&mut self) -> TypePlan {
        let mut plan = self.plan().await;
        let answers = send(&self.target_of(&plan.steps), &plan.steps, PATIENCE).await;
        self.record(&plan.steps, answers);
        plan.types.remove(&TY).unwrap()
    }

    /// The answers to the statements of a plan.
    pub fn record(&mut self, steps: &[Failover], answers: Vec<Answer>) {
        let answers = answers.into_iter().map(StatementState::Answered);
        self.statements.extend(steps.iter().map(|step| step.database.clone()).zip(answers));
    }

    /// The server that receives these statements.
    pub fn target_of(&self, steps: &[Failover]) -> Target {
        let on_mirror = steps.first().is_some_and(|step| step.on == Seat::Mirror);
        target(&self.sim, if on_mirror { "b" } else { "a" })
    }

    /// Passes until the type has this reason. Returns the last plan of the type.
    pub async fn until(&mut self, reason: Reason) -> TypePlan {
        self.until_plan(&format!("{reason:?}"), |plan| plan.verdict.reason == reason).await
    }

    /// Passes until the plan of the type is `wanted`.
    pub async fn until_plan(&mut self, what: &str, wanted: impl Fn(&TypePlan) -> bool) -> TypePlan {
        let mut last = None;
        let passes = async {
            loop {
                let plan = self.pass().await;
                if wanted(&plan) {
                    return plan;
                }
                last = Some(plan.verdict);
            }
        };
        match tokio::time::timeout(PATIENCE, passes).await {
            Ok(plan) => plan,
            Err(_) => panic!("{what} did not come: {last:?}"),
        }
    }

    /// The statements that arrived at the servers, behind the guard or not: `a ALTER DATABASE [rtcab] SET PARTNER FAILOVER`.
    pub fn sent(&self) -> Vec<String> {
        let sent = self.batches().into_iter();
        sent.map(|(batch, statement)| format!("{} {statement}", batch.server)).collect()
    }

    /// The outcome of each of them.
    pub fn outcomes(&self) -> Vec<String> {
        let batches = self.batches().into_iter();
        batches.map(|(batch, _)| batch.outcome.unwrap_or_else(|| "running".to_owned())).collect()
    }

    /// The batches with a statement of a move, and their statements.
    fn batches(&self) -> Vec<(Entry, String)> {
        let statement =
            |text: &str| text.lines().find(|line| line.contains("SET PARTNER")).map(|line| line.trim().to_owned());
        let journal = self.sim.journal(0).into_iter();
        journal.filter_map(|entry| statement(&entry.text).map(|statement| (entry, statement))).collect()
    }

    /// The outcome and the detail of the last move.
    pub fn last(&self) -> (Outcome, &str) {
        let last = &self.persisted.last[&TY];
        (last.outcome, last.detail.as_deref().unwrap_or_default())
    }
}

pub fn target(sim: &Sim, server: &str) -> Target {
    client::target(sim.address(server), client::verify(sim))
}

/// Sends these statements over sessions of their own, as the operator does.
pub async fn send(target: &Target, steps: &[Failover], deadline: Duration) -> Vec<Answer> {
    if steps.is_empty() {
        return Vec::new();
    }
    let sessions = connect_for_moves(target, steps.len(), &Deadlines::default()).await.unwrap();
    join_all(sessions.into_iter().zip(steps).map(|(session, step)| fail_over(session, step, deadline))).await
}
