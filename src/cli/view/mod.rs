//! What the verbs print, as pure functions: a pool and the time in, text out.

pub mod forecast;
pub mod history;
pub mod next;
pub mod overview;
pub mod rows;
pub mod state;
pub mod text;
