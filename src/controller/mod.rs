//! The controller: watches resources and reconciles them. `reconcile` contains the steps of a pass in their order.

mod announce;
mod backend;
mod cluster_holder;
mod connections;
mod context;
mod credentials;
mod drift_check;
mod drift_schedule;
mod error;
mod event_budget;
mod events;
mod execute;
#[cfg(test)]
mod fixture;
mod in_flight;
mod index;
mod login_secret;
mod movement;
mod object;
mod object_cache;
mod observe;
mod ownership;
mod pass;
mod probe;
mod proven_pair;
mod reconcile;
mod retries;
mod run;
mod running;
mod slots;
mod snapshot;
mod status_writer;
mod triggers;
mod unconfirmed;
mod watches;

pub use backend::{Backend, Files};
pub use error::Error;
pub use probe::{Probe, StoreCredentials, probe};
pub use run::{Settings, run};
