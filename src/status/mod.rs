//! Plan, observation and previous status -> status, with conditions and history. Pure.

mod conditions;
#[cfg(test)]
mod fixtures;
mod history;
mod input;
mod limits;
mod quorum;
mod render;
#[cfg(test)]
mod sentence_tests;
mod servers;
mod summary;
mod summary_text;
#[cfg(test)]
mod tables;
mod unmanaged;
mod unobserved;

pub use input::Input;
pub use render::render;
pub use summary::{LIMIT, Summary};
pub use unobserved::undecodable;
