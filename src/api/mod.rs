//! The contract with humans: what they write, what they are told. The only room that builds conditions.

mod askers;
mod condition;
mod duration;
mod parse;
mod remember;
mod salvage;
mod spec;
mod status;
mod tls;
mod until;

pub use askers::keep_askers;
pub use condition::{Claim, ConditionType};
pub use duration::Span;
pub use parse::{Asked, SpecError, Store, parse};
pub use remember::{operation_status, remember, track_status};
pub use salvage::{Salvaged, salvage};
pub use spec::{
    Approve, Auth, AuthMethod, DatabaseTypeSpec, ForceServiceSpec, LyncPoolMirror, LyncPoolMirrorSpec,
    MaintenanceWindow, PolicySpec, SecretRef, SqlServer, SqlStore, SuspendSpec,
};
pub use status::{
    DatabaseStatus, DatabaseTypeStatus, HistoryDatabase, HistoryEntry, LastMoveStatus, LyncPoolMirrorStatus,
    ObservedPrincipal, OperationDatabaseStatus, OperationStatus, PlannedStep, RequestStatus, ServerStatus,
    SteadyStatus, TrackStatus,
};
pub use tls::{CaBundle, ConfigMapRef, TlsMode, TlsSpec};
