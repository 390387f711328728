//! The interface between the interpreter and the simulated servers: catalog views, permissions and role changes.

use super::administration::Administration;
use super::collation::Collation;
use crate::value::{Column, Message, Value};

/// A system view as one session sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
}

/// The action of `ALTER DATABASE ... SET PARTNER` or `SET WITNESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartnerAction {
    Failover,
    ForceService,
    Suspend,
    Resume,
    Off,
    SafetyFull,
    SafetyOff,
    /// SET PARTNER TIMEOUT, in seconds.
    Timeout(i64),
    /// SET WITNESS, with the address of its endpoint.
    Witness(String),
    WitnessOff,
}

/// What a procedure or a DBCC command shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// `sp_readerrorlog`: the lines that contain each of these texts.
    ErrorLog(Vec<String>),
    /// `DBCC SQLPERF(LOGSPACE)`.
    LogSpace,
}

/// The SET options and the transaction of a session. They outlive a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// SET LOCK_TIMEOUT, in milliseconds; -1 waits without a limit.
    pub lock_timeout: i64,
    pub no_count: bool,
    pub implicit_transactions: bool,
    /// `@@TRANCOUNT`.
    pub transactions: i64,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { lock_timeout: -1, no_count: false, implicit_transactions: false, transactions: 0 }
    }
}

/// Whether an ALTER DATABASE has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOutcome {
    Done,
    /// The statement still runs. `alter_outcome` returns its result for this id.
    Pending(u64),
}

/// The servers as the interpreter sees them. `session` is the id of a client session.
pub trait Engine {
    /// A system view; `None` if there is no such object (error 208), `Err` without permission.
    fn table(&self, session: u64, name: &str) -> Option<Result<Table, Message>>;
    /// The name of the current database.
    fn database(&self, session: u64) -> String;
    /// Changes the current database.
    ///
    /// # Errors
    /// 911, 954, 955 or another error for a database that cannot be opened.
    fn use_database(&mut self, session: u64, name: &str) -> Result<(), Message>;
    fn login(&self, session: u64) -> String;
    /// The collation of the server.
    fn collation(&self, session: u64) -> Collation;
    fn options(&self, session: u64) -> SessionOptions;
    fn set_options(&mut self, session: u64, options: SessionOptions);
    /// `@@SERVERNAME`: the name that `sys.servers` has for the server itself.
    fn registered_name(&self, session: u64) -> String;
    /// `SERVERPROPERTY(name)`; NULL for an unknown property.
    fn server_property(&self, session: u64, name: &str) -> Value;
    /// Whether the login has a server role; `None` for an unknown role.
    fn is_server_role(&self, session: u64, role: &str) -> Option<bool>;
    /// Whether the login has a server permission; `None` for an unknown permission.
    fn has_permission(&self, session: u64, permission: &str) -> Option<bool>;
    fn version_text(&self, session: u64) -> String;
    /// Executes a statement of an administrator.
    ///
    /// # Errors
    /// The messages in the order in which a server sends them.
    fn administer(&mut self, session: u64, statement: &Administration) -> Result<(), Vec<Message>>;
    /// The result set of a procedure or a DBCC command.
    ///
    /// # Errors
    /// 15003 or 297 without permission.
    fn report(&self, session: u64, report: &Report) -> Result<Table, Message>;
    /// Executes CHECKPOINT in the current database.
    ///
    /// # Errors
    /// 9002 if the log is full.
    fn checkpoint(&mut self, session: u64) -> Result<(), Message>;
    /// The name of the login with a SID; `None` if there is none.
    fn login_of(&self, session: u64, sid: &[u8]) -> Option<String>;
    /// The names of the client's computer and program.
    fn client(&self, session: u64) -> (String, String);
    /// `DB_NAME(id)`; `None` for an unknown id.
    fn database_name(&self, session: u64, id: i64) -> Option<String>;
    /// `DB_ID(name)`; `None` for an unknown name.
    fn database_id(&self, session: u64, name: &str) -> Option<i32>;
    /// Executes ALTER DATABASE.
    ///
    /// # Errors
    /// The messages in the order in which a server sends them; 5069 is the last.
    fn alter_partner(
        &mut self,
        session: u64,
        database: &str,
        action: PartnerAction,
    ) -> Result<AlterOutcome, Vec<Message>>;
    /// The result of a pending ALTER DATABASE; `None` while it runs.
    fn alter_outcome(&self, id: u64) -> Option<Result<(), Vec<Message>>>;
    /// Milliseconds since the start of the simulation.
    fn now_millis(&self) -> i64;
    /// Requests that the waiting batch is resumed at this time, in milliseconds since the start.
    fn set_timer_millis(&mut self, at: i64);
    /// Records unsupported SQL. A test must end without such records.
    fn record_failure(&mut self, what: String);
    /// Whether a SELECT from this view must wait for the lock of another session.
    fn is_locked(&self, session: u64, view: &str) -> bool;
}
