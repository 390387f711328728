//! Plan, observation and previous status -> status, with conditions and history. Pure.

mod age;
mod conditions;
mod drift;
#[cfg(test)]
mod fixtures;
mod history;
mod input;
mod limits;
#[cfg(test)]
mod line_tests;
mod quorum;
mod remarks;
mod render;
#[cfg(test)]
mod sentence_tests;
mod servers;
#[cfg(test)]
mod status_tests;
mod summary;
mod summary_rows;
#[cfg(test)]
mod summary_rows_tests;
mod summary_steps;
mod summary_text;
#[cfg(test)]
mod tables;
mod unmanaged;
mod unobserved;

pub use input::Input;
pub use render::render;
pub use summary::{LIMIT, Summary};
pub use unobserved::undecodable;
