//! The words of the domain: seats, roles, databases, what is wanted, what was seen, what is remembered.
//! No Kubernetes, no SQL, no clock.

mod belongings;
mod database;
mod desired;
mod memory;
mod observation;
mod reason;
mod side;
mod statement;
mod store;
mod window;

pub use belongings::{Belongings, DatabaseCopy, Login};
pub use database::{DatabaseName, DatabaseType};
pub use desired::{Askers, Desired, ForceService, Policy, Suspend, UnrequestedSwitch, Wish};
pub use memory::{Attempt, Cause, Epoch, Memory, Operation, OperationDatabase, Outcome, Request, Steady, Track};
pub use observation::{
    Answer, Dark, Darkness, Database, DatabaseState, DriftReport, Endpoint, Flight, Guid, Mirroring, MirroringState,
    Observation, Pair, PhaseTimings, Safety, Server, View, WitnessLink, Witnessed,
};
pub use reason::{Effect, Reason};
pub use side::{Role, Side};
pub use statement::{Act, Failover};
pub use store::{StoreId, Stores};
pub use window::{Window, later};
