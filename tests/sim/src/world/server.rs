//! One server, and which of its databases a session can open.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{CatalogOverride, Seat, World, same_name};
use crate::config::{EndpointState, LoginConfig, ServerInventory};

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
    pub name: String,
    pub version: String,
    pub edition: String,
    pub logins: Vec<LoginConfig>,
    pub endpoint_name: String,
    pub endpoint_address: String,
    pub endpoint_port: u16,
    pub endpoint_state: EndpointState,
    pub reach: Reach,
    /// In the order of `database_id`, which starts at 1.
    pub databases: Vec<String>,
    /// Overridden values of `sys.databases.state`, by lower-case name.
    pub states: BTreeMap<String, u8>,
    /// By lower-case database name.
    pub catalog_overrides: BTreeMap<String, CatalogOverride>,
    pub inventory: ServerInventory,
    pub slow_millis: u64,
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

    pub fn instance(&self) -> Option<&str> {
        self.name.split_once('\\').map(|(_, instance)| instance)
    }

    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    pub fn find_login(&self, name: &str) -> Option<&LoginConfig> {
        self.logins.iter().find(|login| same_name(&login.name, name))
    }

    pub fn database_id(&self, name: &str) -> Option<i32> {
        let at = self.databases.iter().position(|database| same_name(database, name))?;
        i32::try_from(at + 1).ok()
    }

    /// The name in the spelling of the server.
    pub fn database_name(&self, name: &str) -> Option<&str> {
        self.databases.iter().find(|database| same_name(database, name)).map(String::as_str)
    }
}

impl World {
    /// The reach of the server with this id; `Down` if there is none.
    pub fn reach(&self, server: &str) -> Reach {
        self.find_server(server).map_or(Reach::Down, |index| self.servers[index].reach)
    }

    /// `sys.databases.state`: the override of `setDatabaseState`, or the state that follows from the role.
    pub(crate) fn database_state(&self, server: usize, database: &str) -> u8 {
        if let Some(state) = self.servers[server].states.get(&database.to_lowercase()) {
            return *state;
        }
        self.find_mirroring(server, database)
            .map_or(0, |(index, seat)| u8::from(self.mirrorings[index].is_restoring(seat)))
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
            0 | 5 => Ok(name),
            1 => Err(OpenError::Restoring),
            2 => Err(OpenError::Recovering),
            3 => Err(OpenError::Inaccessible),
            4 => Err(OpenError::Suspect),
            _ => Err(OpenError::Offline),
        }
    }

    fn check_mirrored_database(&self, index: usize, seat: Seat) -> Result<(), OpenError> {
        let mirroring = &self.mirrorings[index];
        if !mirroring.copies[seat].mirrored {
            Ok(())
        } else if mirroring.copies[seat].role == super::Role::Mirror {
            Err(OpenError::Mirror)
        } else if self.serves(index, seat) {
            Ok(())
        } else if mirroring.running_failover.is_some() {
            Err(OpenError::Transition)
        } else {
            Err(OpenError::NoQuorum)
        }
    }
}
