//! What was seen of the servers, darkness included: looking cannot fail, it can only see less.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::model::{DatabaseName, DatabaseType, Role, Seat, StoreId, Stores};

/// Everything one decision may rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The pair of servers of each store; `DesiredType::store` names one.
    pub pairs: Stores<Pair>,
    /// Other resources that claim a database of this type on the same servers, by `namespace/name`.
    pub conflicts: BTreeMap<DatabaseType, Vec<String>>,
    /// What this process knows of the statements of the operation in the journal. Empty after a restart.
    pub statements: BTreeMap<DatabaseName, StatementState>,
}

impl Observation {
    pub fn pair(&self, store: StoreId) -> &Pair {
        &self.pairs[store]
    }
}

/// Both partners and the witness, if one is named in the spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub primary: ServerObservation,
    pub mirror: ServerObservation,
    pub witness: Option<ServerObservation>,
}

impl Pair {
    pub fn view(&self, seat: Seat) -> &ServerObservation {
        match seat {
            Seat::Primary => &self.primary,
            Seat::Mirror => &self.mirror,
        }
    }

    /// The redo queue of a database in KB. The server that holds the mirror role reports it.
    pub fn redo_queue_kb(&self, name: &DatabaseName) -> Option<i64> {
        [&self.primary, &self.mirror].into_iter().filter_map(ServerObservation::available).find_map(|server| {
            let database = server.databases.get(name)?;
            (database.mirroring.as_ref()?.role == Role::Mirror).then_some(database.redo_queue_kb)?
        })
    }

    /// What both partners show of a database, in one line: `primary Principal Synchronized, mirror Mirror Synchronized`.
    pub fn words(&self, name: &DatabaseName) -> String {
        let words = Seat::BOTH.map(|seat| {
            let row = self
                .view(seat)
                .available()
                .map(|server| server.databases.get(name).and_then(|of| of.mirroring.as_ref()));
            match row {
                None => format!("{} not seen", seat.word()),
                Some(None) => format!("{} without a session", seat.word()),
                Some(Some(row)) => format!("{} {} {} #{}", seat.word(), row.role, row.state, row.role_sequence),
            }
        });
        words.join(", ")
    }
}

/// A server, as it was seen; or why it was not. `address` is how the spec names it.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerObservation {
    Available { address: String, server: Arc<Server> },
    Unavailable { address: String, unavailable: Unavailable },
}

impl ServerObservation {
    pub fn available(&self) -> Option<&Server> {
        match self {
            ServerObservation::Available { server, .. } => Some(server),
            ServerObservation::Unavailable { .. } => None,
        }
    }

    pub fn address(&self) -> &str {
        match self {
            ServerObservation::Available { address, .. } | ServerObservation::Unavailable { address, .. } => address,
        }
    }
}

/// Why a server was not seen. `detail` is for a person and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    pub cause: UnavailableCause,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr)]
pub enum UnavailableCause {
    /// The first look is still under way.
    NotYetPolled,
    SecretNotFound,
    SecretKeyMissing,
    /// The API server does not let the operator read the Secret or the ConfigMap.
    CredentialsForbidden,
    CaBundleNotFound,
    CaBundleInvalid,
    HostNotFound,
    /// The SQL Browser named no port for the instance.
    InstanceNotFound,
    /// The SQL Browser did not answer at all.
    BrowserSilent,
    ConnectionRefused,
    /// Nothing answered the TCP connection within its deadline.
    TimedOut,
    /// Something accepted the connection, or should have told its address, and then did not answer in time.
    Unresponsive,
    ConnectionLost,
    TlsFailed,
    /// No KDC gave a ticket in time.
    KdcUnreachable,
    /// The KDC does not know the instance.
    SpnUnknown,
    /// A ticket or an account is past its time, or a clock is wrong.
    TicketExpired,
    /// The keytab does not open the account.
    NoKerberosCredentials,
    /// 18456 and its relatives.
    LoginFailed,
    /// 18486, 18470, or the KDC says so.
    LoginLocked,
    /// The server answered a look with an error.
    QueryFailed,
    /// The answer was not what SQL Server answers.
    ProtocolError,
}

/// What one instance says of itself and of its databases, in one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// `SERVERPROPERTY('ServerName')`: the only name that partners agree on (never an alias).
    pub name: String,
    /// `SERVERPROPERTY('ProductVersion')`, e.g. `11.0.7001.0`.
    pub version: String,
    pub edition: String,
    pub login: String,
    /// Without sysadmin the row of a mirror database reads NULL (sys.database_mirroring).
    pub sysadmin: bool,
    pub view_server_state: bool,
    pub view_any_database: bool,
    pub endpoint: Option<MirroringEndpoint>,
    pub databases: BTreeMap<DatabaseName, Database>,
    /// The sessions for which this instance is the witness.
    pub witnessed: Vec<Witnessed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroringEndpoint {
    pub name: String,
    /// STARTED; a stopped or disabled endpoint carries no mirroring.
    pub started: bool,
    /// Role PARTNER or ALL.
    pub partner: bool,
    pub port: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    pub state: DatabaseState,
    /// None: not mirrored, or not visible to this login; `Server::sysadmin` tells which.
    pub mirroring: Option<Mirroring>,
    /// Log not yet redone on a mirror, in KB; None without VIEW SERVER STATE.
    pub redo_queue_kb: Option<i64>,
    /// Log not yet sent by a principal, in KB.
    pub send_queue_kb: Option<i64>,
    /// All that this instance has redone for the database since it started.
    pub redone_bytes: Option<i64>,
    /// How fast a mirror with a backlog was last seen to redo, in KB/s.
    pub redo_rate_kb: Option<i64>,
}

/// `sys.databases.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum DatabaseState {
    Online,
    Restoring,
    Recovering,
    RecoveryPending,
    Suspect,
    Emergency,
    Offline,
    /// A number that the documentation does not list.
    Unknown,
}

/// One row of `sys.database_mirroring`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirroring {
    pub guid: Guid,
    pub state: MirroringState,
    pub role: Role,
    pub role_sequence: i32,
    pub safety: Safety,
    /// `TCP://host:port` of the partner's endpoint.
    pub partner_name: String,
    /// The partner's own server name.
    pub partner_instance: String,
    pub witness: WitnessLink,
}

/// `mirroring_guid`: the identity of a mirroring session. Printed in upper case, as SQL Server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(Uuid);

impl Guid {
    /// In the order in which the text prints them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}", self.0.hyphenated())
    }
}

impl std::str::FromStr for Guid {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// `mirroring_state`. The numbers 5 and 6 mean opposite things in two catalog views, so both are `Unknown` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum MirroringState {
    Suspended,
    Disconnected,
    Synchronizing,
    PendingFailover,
    Synchronized,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Safety {
    Full,
    Off,
    Unknown,
}

/// The witness of a session, as one partner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum WitnessLink {
    /// No witness is set: NULL or an empty name.
    None,
    Connected,
    Disconnected,
    Unknown,
}

/// One row of `sys.database_mirroring_witnesses`: a third opinion on who is principal.
#[derive(Debug, Clone, PartialEq)]
pub struct Witnessed {
    pub database: DatabaseName,
    pub guid: Guid,
    pub principal: String,
    pub mirror: String,
    pub role_sequence: i32,
}

/// A statement that this process sent.
#[derive(Debug, Clone, PartialEq)]
pub enum StatementState {
    /// No answer yet.
    Sent,
    Answered(Answer),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The server answered without an error; only a look tells whether it is true.
    Accepted,
    /// The guard in the batch found another state than the one that was planned on: nothing was done.
    GuardRefused { detail: String },
    /// The server refused with an error of its own.
    Refused { number: u32, detail: String },
    /// The statement was never sent: no connection.
    NotSent { detail: String },
    /// Sent, and no answer came: the outcome is unknown.
    Lost { detail: String },
}

/// How long the phases of a move took, in milliseconds, as far as this process made it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTimings {
    /// From the decision to open connections.
    pub connect: Option<i64>,
    /// From the first statement sent to the last answer.
    pub statement: Option<i64>,
    /// From the last answer to the observation that proved the outcome.
    pub verify: Option<i64>,
}

/// The comparison of what a role switch does not carry along (R22).
#[derive(Debug, Clone, PartialEq)]
pub enum DriftReport {
    InSync,
    /// Each difference as a sentence.
    Drifted(Vec<String>),
    /// One of the servers could not be read.
    Unknown(Unavailable),
}
