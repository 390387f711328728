//! The verbs of the command line. Each has a file with its arguments and its steps.

pub mod approve;
pub mod completion;
pub mod confirm;
pub mod doctor;
pub mod exclude;
pub mod explain;
pub mod failover;
pub mod follow;
pub mod force_service;
pub mod history;
pub mod keep;
pub mod live;
pub mod plan;
pub mod progress;
pub mod reason_pages;
pub mod report;
pub mod state;
pub mod suspend;
pub mod wait;
