//! The vocabulary of all modules: seats, roles, databases, the desired state, observations and the persisted state. The
//! module is pure: it contains no Kubernetes client, no SQL and no clock.

mod database;
mod desired;
mod drift;
mod inventory;
mod memory_share;
mod observation;
mod persisted;
mod reason;
mod seat;
mod service;
mod statement;
mod store;
mod time;
mod unavailable;
mod window;

pub use database::{DatabaseName, DatabaseType};
pub use desired::{Approval, Desired, DesiredType, FieldManagers, ForceService, Policy, Suspend, UnrequestedSwitch};
pub use drift::{Differences, DriftReport};
pub use inventory::{DatabaseCopy, ServerInventory, ServerLogin};
pub use memory_share::MemoryShare;
pub use observation::{
    Answer, Database, DatabaseState, Guid, LastRead, Mirroring, MirroringEndpoint, MirroringState, Observation, Pair,
    PhaseTimings, Safety, Server, ServerObservation, StatementState, WitnessLink, Witnessed, queue_class,
};
pub use persisted::{
    Absence, Attempt, Cause, Consent, Epoch, LastRoles, Operation, OperationDatabase, Outcome, PairIdentity,
    PersistedState, Request, ServerIdentity, Stable, TransitionKind, TypeTracking,
};
pub use reason::{Effect, Reason};
pub use seat::{ObservedPrincipal, Role, Seat};
pub use service::Service;
pub use statement::{Act, Failover};
pub use store::{StoreId, Stores};
pub use time::{duration_text, later, whole_seconds};
pub use unavailable::{Evidence, Unavailable, UnavailableCause};
pub use window::{Window, WindowError};
