//! An interpreter for a subset of T-SQL, which runs against an `Engine`. Unsupported SQL is an error and a recorded
//! failure, never an empty result. Pure: no sockets, no clock.

pub mod administration;
mod batch;
mod collation;
pub mod engine;
mod evaluate;
mod expression;
mod functions;
mod group;
mod join;
mod maintenance;
mod parse;
mod query;
mod raise;
mod select;
mod session_statement;
mod syntax;
#[cfg(test)]
mod tests;
mod token;
mod types;
mod values;

pub use batch::Batch;
pub use collation::Collation;
pub(crate) use functions::epoch_millis;
pub(crate) use values::unsupported;
