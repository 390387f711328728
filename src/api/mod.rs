//! The API of the operator: spec, status and conditions of a resource. Only this module builds conditions.

mod bounds;
mod check;
mod condition;
mod decode_lossy;
mod definition;
mod duration;
mod field_managers;
mod parse;
mod restore;
mod rules;
#[cfg(test)]
mod rules_tests;
mod spec;
mod status;
mod timestamp;
mod tls;
mod tracking;

pub use check::is_object_name;
pub use condition::{ConditionDraft, ConditionType, MESSAGE_LIMIT};
pub use decode_lossy::{PartialStatus, decode_lossy};
pub use definition::definition;
pub use duration::Span;
pub use field_managers::retain_field_managers;
pub use parse::{MOST_DATABASES, ParsedSpec, SpecError, Store, parse};
pub use restore::{last_move_status, operation_status, restore_state, tracking_status};
pub use spec::{
    Approve, Auth, AuthMethod, DatabaseTypeSpec, ForceServiceSpec, LyncPoolMirror, LyncPoolMirrorSpec,
    MaintenanceWindow, PolicySpec, SecretRef, SqlServer, SqlStore, SuspendSpec,
};
pub use status::{
    DatabaseStatus, DatabaseTypeStatus, ForcedDatabaseStatus, HistoryDatabase, HistoryEntry, LastMoveStatus,
    LyncPoolMirrorStatus, OperationDatabaseStatus, OperationStatus, PlannedStep, RequestStatus, ServerStatus,
    UnmanagedDatabase,
};
pub use tls::{CaBundle, ConfigMapRef, TlsMode, TlsSpec};
pub use tracking::{
    ConsentStatus, PairIdentityStatus, ServerIdentityStatus, SessionStatus, StableStatus, TransitionStatus,
    TypeTrackingStatus,
};
