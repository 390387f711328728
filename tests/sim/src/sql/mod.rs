//! A closed subset of T-SQL, run against an `Engine`. What it does not know is an error and a recorded failure, never
//! an empty success. Pure: no sockets, no clock.

pub mod engine;
mod eval;
mod expression;
mod functions;
mod parse;
mod query;
mod run;
mod select;
mod syntax;
mod token;
mod values;

pub use run::Batch;
