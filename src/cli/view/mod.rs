//! What the verbs print, as pure functions: a pool and the time in, text out.

pub mod doctor;
pub mod forecast;
pub mod history;
pub mod next;
pub mod overview;
pub mod report;
pub mod rows;
pub mod state;
pub mod text;
