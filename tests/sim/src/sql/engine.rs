//! What the interpreter asks of the world behind it, and nothing else: catalog views, rights, and role changes.

use crate::value::{Column, Message, Value};

/// A system view as one session sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartnerAction {
    Failover,
    ForceService,
    Suspend,
    Resume,
    Off,
    SafetyFull,
    SafetyOff,
    WitnessOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Altered {
    Done,
    /// Ask `outcome` with this id until it is known.
    Pending(u64),
}

pub trait Engine {
    /// None: no such object (error 208). Err: no right to it.
    fn table(&self, session: u64, name: &str) -> Option<Result<Table, Message>>;
    fn database(&self, session: u64) -> String;
    /// # Errors
    /// 911, 954, 955 and their relatives.
    fn use_database(&mut self, session: u64, name: &str) -> Result<(), Message>;
    fn login(&self, session: u64) -> String;
    fn server_property(&self, session: u64, name: &str) -> Value;
    fn is_server_role(&self, session: u64, role: &str) -> Option<bool>;
    fn has_permission(&self, session: u64, permission: &str) -> Option<bool>;
    fn version_text(&self, session: u64) -> String;
    /// # Errors
    /// The messages in the order in which a server sends them, 5069 last.
    fn alter_partner(&mut self, session: u64, database: &str, action: PartnerAction) -> Result<Altered, Vec<Message>>;
    fn outcome(&self, id: u64) -> Option<Result<(), Vec<Message>>>;
    fn now_millis(&self) -> i64;
    fn set_timer_millis(&mut self, at: i64);
    /// Records SQL that this interpreter does not know: a test that leaves any has failed.
    fn record_failure(&mut self, what: String);
}
