//! One server, and which of its databases a session can open.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{CatalogOverride, Seat, World, same_name};
use crate::config::{EndpointState, LoginConfig, ServerInventory};
use crate::settings::{MirrorAlone, NullColumns, Quorumless, ServerSettings};

/// Values of `sys.databases.state`.
const ONLINE: u8 = 0;
const RESTORING: u8 = 1;
const RECOVERING: u8 = 2;
const RECOVERY_PENDING: u8 = 3;
pub(crate) const SUSPECT: u8 = 4;
const EMERGENCY: u8 = 5;
const OFFLINE: u8 = 6;

/// The states in which a session can open a database.
pub(crate) const OPEN_STATES: [u8; 2] = [ONLINE, EMERGENCY];

pub(crate) const SYSTEM_DATABASES: [&str; 4] = ["master", "tempdb", "model", "msdb"];

/// Whether a server answers at its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    Up,
    Down,
    /// Accepts TCP connections and answers nothing.
    Paused,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub id: String,
    /// `SERVERPROPERTY('ServerName')`.
    pub name: String,
    /// `@@SERVERNAME`.
    pub registered_name: String,
    pub version: String,
    pub edition: String,
    pub logins: Vec<LoginConfig>,
    pub endpoint_name: String,
    pub endpoint_address: String,
    pub endpoint_port: u16,
    pub endpoint_state: EndpointState,
    pub reach: Reach,
    pub settings: ServerSettings,
    /// How often the server was started again.
    pub starts: u64,
    /// Until then every login is rejected with 17187.
    pub ready_at: Duration,
    /// When a database leaves RECOVERING, by lower-case name.
    pub recovered_at: BTreeMap<String, Duration>,
    pub login_refusals: Vec<LoginRefusal>,
    /// Another session holds locks on the catalog.
    pub catalog_locked: bool,
    /// In the order of `database_id`, which starts at 1.
    pub databases: Vec<String>,
    /// Overridden values of `sys.databases.state`, by lower-case name.
    pub states: BTreeMap<String, u8>,
    /// By lower-case database name.
    pub catalog_overrides: BTreeMap<String, CatalogOverride>,
    pub inventory: ServerInventory,
    pub slow_millis: u64,
    pub error_log: Vec<super::error_log::LogLine>,
    /// Returned by the next ALTER DATABASE statements, which change nothing.
    pub injected_error: Option<InjectedError>,
    /// Returned by the next ALTER DATABASE statements after their execution.
    pub injected_error_after: Option<InjectedError>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct InjectedError {
    pub number: u32,
    pub class: u8,
    /// How many statements still get the error.
    pub left: u32,
}

/// An error that logins get instead of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoginRefusal {
    pub number: u32,
    pub class: Option<u8>,
    /// The only login that gets it; `None` for all.
    pub login: Option<String>,
    /// How many logins still get the error; `None` until the command `acceptLogins`.
    pub left: Option<u32>,
}

/// Why a session cannot open a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    Missing,
    Mirror,
    NoQuorum,
    Transition,
    Forbidden,
    Offline,
    Restoring,
    Recovering,
    Suspect,
    Inaccessible,
}

impl Server {
    pub fn machine(&self) -> &str {
        self.name.split('\\').next().unwrap_or(&self.name)
    }

    /// The nodes of a failover cluster, the present owner first; none for other servers.
    pub fn nodes(&self) -> Vec<String> {
        let count = if self.settings.clustered { 2 } else { 0 };
        (1..=count).map(|node| format!("{}-N{node}", self.machine())).collect()
    }

    pub fn instance(&self) -> Option<&str> {
        self.name.split_once('\\').map(|(_, instance)| instance)
    }

    /// The parts of the product version, the major version first.
    pub fn version_parts(&self) -> Vec<u32> {
        self.version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    }

    pub fn major(&self) -> u32 {
        self.version_parts().first().copied().unwrap_or(0)
    }

    /// The compatibility level of new databases.
    pub fn compatibility_level(&self) -> u8 {
        u8::try_from(self.major().saturating_mul(10)).unwrap_or(100)
    }

    /// Compares names by the collation of the server.
    pub fn is_same(&self, a: &str, b: &str) -> bool {
        super::is_same(self.settings.case_sensitive, a, b)
    }

    pub fn find_login(&self, name: &str) -> Option<&LoginConfig> {
        self.logins.iter().find(|login| self.is_same(&login.name, name))
    }

    pub fn database_id(&self, name: &str) -> Option<i32> {
        let at = self.databases.iter().position(|database| self.is_same(database, name))?;
        i32::try_from(at + 1).ok()
    }

    /// The name in the spelling of the server.
    pub fn database_name(&self, name: &str) -> Option<&str> {
        self.databases.iter().find(|database| self.is_same(database, name)).map(String::as_str)
    }
}

impl World {
    /// The settings of the server with this id; the defaults if there is none.
    pub fn server_settings(&self, server: &str) -> ServerSettings {
        self.find_server(server).map(|index| self.servers[index].settings.clone()).unwrap_or_default()
    }

    /// The reach of the server with this id; `Down` if there is none.
    pub fn reach(&self, server: &str) -> Reach {
        self.find_server(server).map_or(Reach::Down, |index| self.servers[index].reach)
    }

    /// `sys.databases.state`: the override of `setDatabaseState`, or the state that follows from the role.
    pub(crate) fn database_state(&self, server: usize, database: &str) -> u8 {
        if let Some(state) = self.servers[server].states.get(&database.to_lowercase()) {
            return *state;
        }
        if !self.is_recovered(server, database) {
            return RECOVERING;
        }
        match self.find_mirroring(server, database) {
            Some((index, seat)) if self.is_recovering_mirror(index, seat) => RECOVERING,
            Some((index, seat)) if self.mirrorings[index].is_restoring(seat) => RESTORING,
            Some((index, seat)) if self.lacks_quorum(index, seat) => match self.mirrorings[index].settings.quorumless {
                Quorumless::Recovering | Quorumless::RecoveringNull => RECOVERING,
                Quorumless::Online => ONLINE,
            },
            _ => ONLINE,
        }
    }

    /// Whether the instance accepts logins and the recovery of the database has ended.
    pub(crate) fn is_recovered(&self, server: usize, database: &str) -> bool {
        let server = &self.servers[server];
        let ended = server.recovered_at.get(&database.to_lowercase());
        self.now >= ended.copied().unwrap_or(server.ready_at)
    }

    /// Whether this is a mirrored principal whose witness and partner are both disconnected.
    fn lacks_quorum(&self, index: usize, seat: Seat) -> bool {
        let copy = &self.mirrorings[index].copies[seat];
        copy.mirrored && copy.role == super::Role::Principal && !self.has_quorum(index, seat)
    }

    /// Whether this is a mirror without its principal that shows RECOVERING by the setting of its pair.
    fn is_recovering_mirror(&self, index: usize, seat: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        mirroring.settings.mirror_alone == MirrorAlone::Recovering
            && mirroring.copies[seat].mirrored
            && mirroring.is_restoring(seat)
            && !mirroring.reports_connected(seat, super::other(seat))
    }

    /// Whether the mirroring columns of a mirrored database are NULL for every login.
    pub(crate) fn hides_mirroring(&self, server: usize, database: &str) -> bool {
        let state = self.database_state(server, database);
        let overridden = self.servers[server].states.contains_key(&database.to_lowercase());
        if let Some((index, seat)) = self.find_mirroring(server, database)
            && !overridden
            && self.is_recovered(server, database)
        {
            if self.is_recovering_mirror(index, seat) {
                return false;
            }
            if self.lacks_quorum(index, seat) {
                return self.mirrorings[index].settings.quorumless == Quorumless::RecoveringNull;
            }
        }
        match self.servers[server].settings.null_columns {
            NullColumns::Recovering => matches!(state, RECOVERING | RECOVERY_PENDING | SUSPECT | OFFLINE),
            NullColumns::Never => false,
        }
    }

    /// Checks whether a login can use a database. Returns the name in the spelling of the server.
    pub(crate) fn open_database(&self, server: usize, database: &str, login: &str) -> Result<String, OpenError> {
        let at = &self.servers[server];
        let name = at.database_name(database).ok_or(OpenError::Missing)?.to_owned();
        let rights = at.find_login(login).ok_or(OpenError::Forbidden)?;
        if !rights.sysadmin && !SYSTEM_DATABASES.iter().any(|system| same_name(system, &name)) {
            return Err(OpenError::Forbidden);
        }
        if let Some((index, seat)) = self.find_mirroring(server, &name) {
            self.check_mirrored_database(index, seat)?;
        }
        match self.database_state(server, &name) {
            ONLINE | EMERGENCY => Ok(name),
            RESTORING => Err(OpenError::Restoring),
            RECOVERING => Err(OpenError::Recovering),
            RECOVERY_PENDING => Err(OpenError::Inaccessible),
            SUSPECT => Err(OpenError::Suspect),
            _ => Err(OpenError::Offline),
        }
    }

    fn check_mirrored_database(&self, index: usize, seat: Seat) -> Result<(), OpenError> {
        let mirroring = &self.mirrorings[index];
        if !mirroring.copies[seat].mirrored {
            Ok(())
        } else if mirroring.copies[seat].role == super::Role::Mirror {
            Err(OpenError::Mirror)
        } else if !self.is_recovered(mirroring.partners[seat], &mirroring.database) {
            Err(OpenError::Recovering)
        } else if self.serves(index, seat) {
            Ok(())
        } else if mirroring.running_failover.is_some() {
            Err(OpenError::Transition)
        } else {
            Err(OpenError::NoQuorum)
        }
    }
}
