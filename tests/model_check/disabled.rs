//! The planner with preconditions disabled, for this thread. The operator itself only ever enforces all of them.

use std::cell::RefCell;

use jiff::Timestamp;
use lync_mirror::model::{Desired, Observation, PersistedState};
use lync_mirror::plan::{Plan, Precondition, Preconditions, plan_with};

thread_local! {
    static PRECONDITIONS: RefCell<Preconditions> = RefCell::new(Preconditions::default());
}

/// Runs `what` with a planner that does not enforce these preconditions.
pub fn without<T>(disabled: &[Precondition], what: impl FnOnce() -> T) -> T {
    PRECONDITIONS.set(Preconditions::without(disabled));
    let result = what();
    PRECONDITIONS.set(Preconditions::default());
    result
}

/// The planner of the operator, as far as its preconditions are enforced on this thread.
pub fn plan(desired: &Desired, observation: &Observation, persisted: &PersistedState, now: Timestamp) -> Plan {
    PRECONDITIONS.with_borrow(|preconditions| plan_with(preconditions, desired, observation, persisted, now))
}
