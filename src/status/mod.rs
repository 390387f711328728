//! Plan, observation and previous status -> status, with conditions and history. Pure.

mod conditions;
mod history;
mod input;
mod limits;
mod quorum;
mod render;
#[cfg(test)]
mod tables;
mod unobserved;

pub use input::Input;
pub use render::render;
pub use unobserved::undecodable;
