//! The execution of a plan: sends the statements for all databases of a type at once, after the write of the journal and a
//! last check of the lease. `in_flight` stores the answers, and the next observation decides the outcome.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tracing::{info, warn};

use crate::controller::connections::Connections;
use crate::controller::context::Context;
use crate::controller::in_flight::AttemptId;
use crate::controller::object::{ResourceRef, namespaced_name};
use crate::controller::pass::Pass;
use crate::model::{Answer, Failover, UnavailableCause};
use crate::plan::Plan;
use crate::sql::{self, Target};

/// The statements of an attempt, all for the same server.
struct Attempt {
    resource: ResourceRef,
    id: AttemptId,
    target: Target,
    steps: Vec<Failover>,
    deadline: Duration,
}

/// Starts the steps of a plan and does not wait for the answers. The journal of the plan must be written before.
pub fn execute(ctx: &Arc<Context>, pass: &Pass, connections: &Connections, plan: &Plan) {
    let (Some(operation), Some(first)) = (&plan.persisted.operation, plan.steps.first()) else { return };
    let desired = &pass.spec.desired;
    let Some(desired_type) = desired.types.iter().find(|desired_type| desired_type.ty == operation.ty) else { return };
    let Some(target) = connections.target(desired_type.store, first.on) else { return };
    let attempt = Attempt {
        resource: pass.resource().clone(),
        id: AttemptId::of(pass.uid(), operation),
        target: target.clone(),
        steps: plan.steps.clone(),
        deadline: desired.policy.switch_deadline,
    };
    ctx.in_flight.register(&attempt.id, &attempt.steps);
    let running = ctx.movements.statements_sent(pass.uid(), &pass.name());
    let ctx = ctx.clone();
    tokio::spawn(async move {
        send(&ctx, &attempt).await;
        if let Some(id) = running {
            ctx.enqueue_each(ctx.movements.statements_answered(&id));
        }
    });
}

async fn send(ctx: &Context, attempt: &Attempt) {
    let Attempt { resource, id, target, steps, deadline } = attempt;
    let name = namespaced_name(resource);
    let record = |step: &Failover, answer: Answer| {
        info!(resource = name, database = %step.database, server = step.server, ?answer, "statement answered");
        ctx.metrics.statement_answered(&answer);
        ctx.in_flight.record_answer(id, &step.database, answer);
        ctx.enqueue(resource);
    };
    let not_sent = |detail: &str, limited: bool| {
        steps.iter().for_each(|step| record(step, Answer::NotSent { detail: detail.to_owned(), limited }));
    };
    let sessions = match ctx.monitors.connect_for_moves(target, steps.len()).await {
        Ok(sessions) if ctx.leadership.leads() => sessions,
        Ok(_) => {
            warn!(resource = name, "the lease was lost before the statements were sent: nothing was sent");
            return not_sent("This operator lost its lease before it sent the statement.", false);
        }
        Err(unavailable) => {
            return not_sent(&unavailable.detail, unavailable.cause == UnavailableCause::OperatorLimited);
        }
    };
    // The journal was written under this lock, before the connection.
    if let Err(error) = ctx.backend.check_lock(&name) {
        warn!(resource = name, %error, "the lock was lost before the statements were sent: nothing was sent");
        return not_sent(&error.to_string(), false);
    }
    ctx.in_flight.mark_sent(id);
    let answers = sessions.into_iter().zip(steps).map(async |(session, step)| {
        info!(resource = name, database = %step.database, server = step.server, role_sequence = step.role_sequence, "failover sent");
        record(step, sql::fail_over(session, step, *deadline).await);
    });
    join_all(answers).await;
}
