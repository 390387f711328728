//! What the operator would decide for another spec: its own planner, on the observation as far as the status has it. Pure.

pub mod decision;
pub mod observation;
