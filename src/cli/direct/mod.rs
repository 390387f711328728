//! The verbs without a cluster: pools in files, and this process in the place of the operator.

pub mod arguments;
pub mod engine;
pub mod fresh;
pub mod session;
pub mod write;
