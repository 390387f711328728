//! The observation of the servers. An unavailable server is part of an observation, not an error.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::model::{
    DatabaseName, DatabaseType, MemoryShare, Role, Seat, StoreId, Stores, Unavailable, UnavailableCause,
};

/// The complete input of a decision about the servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The pair of servers of each store, indexed by `DesiredType::store`.
    pub pairs: Stores<Pair>,
    /// The other resources, as `namespace/name`, that name a database of this type on the same servers.
    pub conflicts: BTreeMap<DatabaseType, Vec<String>>,
    /// The other resource that a type waits for, because it moves on the same pair of servers or has an earlier turn there.
    pub turns: BTreeMap<DatabaseType, String>,
    /// The statements of the operation in the journal that this process sent. Empty after a restart.
    pub statements: BTreeMap<DatabaseName, StatementState>,
}

impl Observation {
    pub fn pair(&self, store: StoreId) -> &Pair {
        &self.pairs[store]
    }
}

/// Both partners, and the witness if the spec names a witness.
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

    /// The row of a database on the server in this seat. None: unavailable, absent or without a session.
    pub fn row(&self, seat: Seat, name: &DatabaseName) -> Option<&Mirroring> {
        self.view(seat).available()?.databases.get(name)?.mirroring.as_ref()
    }

    /// `primary SQL-A\\RTC`: the seat with the name that the server reports, or its address in the spec.
    pub fn label(&self, seat: Seat) -> String {
        let view = self.view(seat);
        let name = view.available().map_or_else(|| view.address(), |server| &server.name);
        format!("{} {name}", seat.word())
    }

    /// `SQL-A\\RTC`: the name that the server reports, or its address in the spec without the domain, for a line that is short.
    pub fn short(&self, seat: Seat) -> String {
        let view = self.view(seat);
        let Some(server) = view.available() else {
            let address = view.address();
            let end = address.find(['\\', ',']).unwrap_or(address.len());
            let (host, rest) = address.split_at(end);
            let label = if host.parse::<IpAddr>().is_ok() { host } else { host.split('.').next().unwrap_or(host) };
            return format!("{label}{}", if rest.starts_with(',') { "" } else { rest });
        };
        server.name.clone()
    }

    /// The redo queue of a database in KB, as reported by the server with the mirror role.
    pub fn redo_queue_kb(&self, name: &DatabaseName) -> Option<i64> {
        [&self.primary, &self.mirror].into_iter().filter_map(ServerObservation::available).find_map(|server| {
            let database = server.databases.get(name)?;
            (database.mirroring.as_ref()?.role == Role::Mirror).then_some(database.redo_queue_kb)?
        })
    }

    /// The send queue of a database in KB, as reported by the server with the principal role.
    pub fn send_queue_kb(&self, name: &DatabaseName) -> Option<i64> {
        [&self.primary, &self.mirror].into_iter().filter_map(ServerObservation::available).find_map(|server| {
            let database = server.databases.get(name)?;
            (database.mirroring.as_ref()?.role == Role::Principal).then_some(database.send_queue_kb)?
        })
    }

    /// The longest redo queue of any database in KB.
    pub fn largest_redo_queue_kb(&self) -> Option<i64> {
        let servers = [&self.primary, &self.mirror].into_iter().filter_map(ServerObservation::available);
        servers.flat_map(|server| server.databases.keys()).filter_map(|name| self.redo_queue_kb(name)).max()
    }

    /// The roles and states of a database on both partners in a line: `primary Principal Synchronized, mirror Mirror Synchronized`.
    pub fn describe(&self, name: &DatabaseName) -> String {
        let words = Seat::BOTH.map(|seat| {
            let row = self
                .view(seat)
                .available()
                .map(|server| server.databases.get(name).and_then(|database| database.mirroring.as_ref()));
            match row {
                None => format!("{} not seen", seat.word()),
                Some(None) => format!("{} without a session", seat.word()),
                Some(Some(row)) => format!("{} {} {} #{}", seat.word(), row.role, row.state, row.role_sequence),
            }
        });
        words.join(", ")
    }
}

/// A server as observed, or the cause of its unavailability. `address` is the address in the spec.
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

    /// A poll has ended, with success or without.
    pub fn is_polled(&self) -> bool {
        match self {
            ServerObservation::Available { .. } => true,
            ServerObservation::Unavailable { unavailable, .. } => unavailable.cause != UnavailableCause::NotYetPolled,
        }
    }

    /// The server refused the login, at the newest poll or at an additional login.
    pub fn is_refused_login(&self) -> bool {
        let unavailable = match self {
            ServerObservation::Available { server, .. } => server.stale_login.as_ref(),
            ServerObservation::Unavailable { unavailable, .. } => Some(unavailable),
        };
        unavailable.is_some_and(|unavailable| unavailable.cause.is_refused_login())
    }

    pub fn address(&self) -> &str {
        match self {
            ServerObservation::Available { address, .. } | ServerObservation::Unavailable { address, .. } => address,
        }
    }
}

/// The last contact of this process with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRead {
    pub at: Timestamp,
    /// The port of the last accepted login, if only the SQL Server Browser has the port of the instance.
    pub port: Option<u16>,
}

/// The state of an instance and of its databases, read in a single batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// `SERVERPROPERTY('ServerName')`: the only name that both partners use for the server. It is never an alias.
    pub name: String,
    /// `@@SERVERNAME`: the name that the server had at its installation or got by `sp_addserver`. It differs from `name`
    /// after a rename of the host.
    pub local_name: Option<String>,
    /// `SERVERPROPERTY('ProductVersion')`, e.g. `11.0.7001.0`.
    pub version: String,
    pub edition: String,
    pub login: String,
    /// Without sysadmin, `sys.database_mirroring` returns NULL for a mirror database.
    pub sysadmin: bool,
    pub view_server_state: bool,
    pub view_any_database: bool,
    pub endpoint: Option<MirroringEndpoint>,
    pub databases: BTreeMap<DatabaseName, Database>,
    /// The sessions for which this instance is the witness.
    pub witnessed: Vec<Witnessed>,
    /// Why the last additional login failed, although the session of the polls is open. None: it was accepted, or none was
    /// due.
    pub stale_login: Option<Unavailable>,
    pub memory: MemoryShare,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroringEndpoint {
    pub name: String,
    /// The state is STARTED. Mirroring needs a started endpoint.
    pub started: bool,
    /// The role is PARTNER or ALL.
    pub partner: bool,
    pub port: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    pub state: DatabaseState,
    /// None: not mirrored, or not visible to this login. `Server::sysadmin` distinguishes the two cases.
    pub mirroring: Option<Mirroring>,
    /// Log not yet redone on a mirror, in KB. None without VIEW SERVER STATE.
    pub redo_queue_kb: Option<i64>,
    /// Log not yet sent by a principal, in KB.
    pub send_queue_kb: Option<i64>,
    /// Bytes of log that this instance has redone for the database since its start.
    pub redone_bytes: Option<i64>,
    /// The last observed redo rate of a mirror with a backlog, in KB/s.
    pub redo_rate_kb: Option<i64>,
}

/// The number of these bounds in KB that a queue reaches: 1 MB, 10 MB, 100 MB, 1 GB. A change within a range is no news.
pub fn queue_class(kb: i64) -> usize {
    [1_024, 10_240, 102_400, 1_048_576].into_iter().filter(|bound| kb >= *bound).count()
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
    /// A value that the documentation does not list.
    Unknown,
}

/// A row of `sys.database_mirroring`.
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
    /// `mirroring_witness_name`, e.g. `TCP://sql-w.contoso.com:5022`. Empty without a witness.
    pub witness_name: String,
}

/// `mirroring_guid`: the identity of a mirroring session. The text is in upper case, as in SQL Server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(Uuid);

impl Guid {
    /// The bytes in the order of the text form.
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

/// `mirroring_state`. The values 5 and 6 have opposite meanings in two catalog views, so both are `Unknown` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum MirroringState {
    Suspended,
    Disconnected,
    Synchronizing,
    PendingFailover,
    Synchronized,
    /// With the number that the server reports.
    Unknown(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Safety {
    Full,
    Off,
    Unknown,
}

/// The connection to the witness of a session, as reported by a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum WitnessLink {
    /// The session has no witness: NULL or an empty name.
    None,
    Connected,
    Disconnected,
    Unknown,
}

/// A row of `sys.database_mirroring_witnesses`. It shows the principal from the view of the witness.
#[derive(Debug, Clone, PartialEq)]
pub struct Witnessed {
    pub database: DatabaseName,
    pub guid: Guid,
    pub principal: String,
    pub mirror: String,
    pub role_sequence: i32,
}

/// The state of a statement that this process sent.
#[derive(Debug, Clone, PartialEq)]
pub enum StatementState {
    /// No answer yet.
    Sent,
    Answered(Answer),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The server answered without an error. Only a later poll confirms the failover.
    Accepted,
    /// The guard in the batch found another state than the planned one and prevented the statement.
    GuardRefused { detail: String },
    /// The server rejected the statement with an error.
    Refused { number: u32, detail: String },
    /// The statement was not sent, because there was no connection or no lease.
    NotSent {
        detail: String,
        /// The operator itself had no share or no resource for the connection.
        limited: bool,
    },
    /// The statement was sent and no answer arrived. The outcome is unknown.
    Lost { detail: String },
}

/// The durations of the phases of a move in milliseconds. A phase that this process did not execute is None.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseTimings {
    /// From the decision to open connections.
    pub connect: Option<i64>,
    /// From the first statement sent to the last answer.
    pub statement: Option<i64>,
    /// From the last answer to the observation that confirmed the outcome.
    pub verify: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_name_of_a_server_has_its_first_label_and_its_instance() {
        let away = |address: &str| {
            let unavailable = Unavailable { cause: UnavailableCause::TimedOut, detail: "does not answer".to_owned() };
            let view = ServerObservation::Unavailable { address: address.to_owned(), unavailable };
            Pair { primary: view.clone(), mirror: view, witness: None }.short(Seat::Mirror)
        };
        for (address, expected) in [
            ("sql-a.contoso.com\\RTC", "sql-a\\RTC"),
            ("sql-a.contoso.com,1433", "sql-a"),
            ("sql-a", "sql-a"),
            ("192.0.2.7,1433", "192.0.2.7"),
            ("2001:db8::7,1433", "2001:db8::7"),
        ] {
            assert_eq!(away(address), expected);
        }
    }

    #[test]
    fn is_polled_is_false_before_the_first_poll_only() {
        for (cause, polled) in [(UnavailableCause::NotYetPolled, false), (UnavailableCause::ConnectionRefused, true)] {
            let unavailable = Unavailable { cause, detail: String::new() };
            let observation = ServerObservation::Unavailable { address: String::new(), unavailable };
            assert_eq!(observation.is_polled(), polled, "{cause:?}");
        }
    }
}
