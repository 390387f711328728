//! An interpreter for a subset of T-SQL, which runs against an `Engine`. Unsupported SQL is an error and a recorded
//! failure, never an empty result. Pure: no sockets, no clock.

mod batch;
pub mod engine;
mod evaluate;
mod expression;
mod functions;
mod parse;
mod query;
mod select;
mod syntax;
#[cfg(test)]
mod tests;
mod token;
mod values;

pub use batch::Batch;
