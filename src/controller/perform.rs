//! The act: all databases of a type at once, after the journal, after a last question to the lease. The answers go to
//! `flights`; what they are worth, the next look decides.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tracing::{info, warn};

use crate::api::Asked;
use crate::controller::context::{Context, Ref, key};
use crate::controller::flights::Ticket;
use crate::controller::observe::Eyes;
use crate::model::Answer;
use crate::plan::{Failover, Plan};
use crate::sql::{self, Target};

impl Context {
    /// Starts the steps of a plan, whose journal has been written. Does not wait for the answers.
    pub fn perform(self: &Arc<Self>, resource: &Ref, uid: &str, asked: &Asked, eyes: &Eyes, plan: &Plan) {
        let (Some(operation), Some(first)) = (&plan.memory.operation, plan.steps.first()) else { return };
        let store = asked.desired.wishes.iter().find(|wish| wish.ty == operation.ty).map(|wish| wish.store);
        let Some(target) = store.and_then(|store| eyes.target(store, first.on)) else { return };
        let ticket = Ticket::of(uid, operation);
        self.flights.begin(&ticket, &plan.steps);
        let (context, resource, target, steps) = (self.clone(), resource.clone(), target.clone(), plan.steps.clone());
        let deadline = asked.desired.policy.switch_deadline;
        tokio::spawn(async move {
            context.fly(&resource, &ticket, &target, &steps, deadline).await;
        });
    }

    async fn fly(&self, resource: &Ref, ticket: &Ticket, target: &Target, steps: &[Failover], deadline: Duration) {
        let land = |step: &Failover, answer: Answer| {
            info!(resource = key(resource), database = %step.database, server = step.server, ?answer, "answered");
            self.metrics.answered(&answer);
            self.flights.answer(ticket, &step.database, answer);
            self.wake(resource);
        };
        let sessions = match sql::connect_for_moves(target, steps.len(), &self.deadlines).await {
            Ok(sessions) if self.leadership.leads() => sessions,
            Ok(_) => {
                warn!(resource = key(resource), "the lease was lost before the statements were sent: nothing was sent");
                let detail = "this operator lost its lease before the statement was sent".to_owned();
                return steps.iter().for_each(|step| land(step, Answer::NotSent { detail: detail.clone() }));
            }
            Err(darkness) => {
                return steps.iter().for_each(|step| land(step, Answer::NotSent { detail: darkness.detail.clone() }));
            }
        };
        self.flights.sent(ticket);
        let all = sessions.into_iter().zip(steps).map(async |(session, step)| {
            info!(resource = key(resource), database = %step.database, server = step.server, role_sequence = step.role_sequence, "failover sent");
            land(step, sql::fail_over(session, step, deadline).await);
        });
        join_all(all).await;
    }
}
