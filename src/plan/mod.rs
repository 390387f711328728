//! The planner: pure, synchronous and total. This module uses no Kubernetes, no SQL and no clock. Missing observations are
//! values, time is an argument, and a plan leaves no choice to the modules that execute it.

mod approval;
mod caution;
mod consents;
mod contradiction;
mod decide;
mod estimate;
mod finding;
mod forced_operation;
mod forced_record;
mod forced_service;
mod foreign_journal;
mod gate;
mod hold;
mod identity;
#[cfg(test)]
mod identity_tests;
mod lost_partner;
mod obstacle;
mod obstacle_fix;
mod obstacle_text;
mod operation;
mod outcome;
mod planner;
mod precondition;
mod preflight;
mod roles;
mod row;
mod schedule;
mod service;
mod statements;
mod text;
mod third_partner;
mod tracking;
mod types;
mod version;

pub use estimate::predict;
pub use finding::{Finding, Session, assess};
pub(crate) use forced_service::limited_functionality;
pub use gate::next as next_window;
pub use obstacle::{Obstacle, Severity, Shown};
pub use planner::{plan, plan_with};
pub use precondition::{Precondition, Preconditions};
pub(crate) use row::is_witness_lost;
pub use row::same_name;
pub use text::{coarse, second};
pub use tracking::TRIPS;
pub use types::{ATTEMPTS, Ended, Plan, Progress, Release, Requeue, TypePlan, Verdict};

#[cfg(test)]
mod aftermath_tests;
#[cfg(test)]
mod boundary_tests;
#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
mod forced_tests;
#[cfg(test)]
mod hold_tests;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod moment_tests;
#[cfg(test)]
mod operation_tests;
#[cfg(test)]
mod owed_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod return_tests;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod spec_problem_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tracking_tests;
