//! One server of the world, and which of its databases can be entered.
//! What the mirroring of a database does lives in `mirroring`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Lie, Seat, World, same_name};
use crate::config::{Belongings, EndpointState, LoginConfig};

pub(crate) const SYSTEM_DATABASES: [&str; 4] = ["master", "tempdb", "model", "msdb"];

/// What a client finds at the address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    Up,
    Down,
    /// Accepts TCP and answers nothing.
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
    /// In the order of their `database_id`, which begins at 1.
    pub databases: Vec<String>,
    /// `sys.databases.state` by lower-case name, where a test has set one.
    pub states: BTreeMap<String, u8>,
    pub lies: BTreeMap<String, Lie>,
    pub belongings: Belongings,
    pub slow_millis: u64,
    /// Errors that the next ALTER DATABASE statements answer instead of acting.
    pub fail: Option<Counter>,
    /// Errors that the next ALTER DATABASE statements answer although they have acted.
    pub fail_after: Option<Counter>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter {
    pub number: u32,
    pub class: u8,
    pub left: u32,
}

/// Why a database cannot be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
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

    /// The name as the server spells it.
    pub fn database_name(&self, name: &str) -> Option<&str> {
        self.databases.iter().find(|database| same_name(database, name)).map(String::as_str)
    }
}

impl World {
    pub fn reach(&self, server: &str) -> Reach {
        self.find_server(server).map_or(Reach::Down, |index| self.servers[index].reach)
    }

    /// `sys.databases.state` without lies.
    pub(crate) fn database_state(&self, server: usize, database: &str) -> u8 {
        if let Some(state) = self.servers[server].states.get(&database.to_lowercase()) {
            return *state;
        }
        self.find_mirroring(server, database)
            .map_or(0, |(index, seat)| u8::from(self.mirrorings[index].is_restoring(seat)))
    }

    /// Whether a session may make this its current database; the name as the server spells it.
    pub(crate) fn open(&self, server: usize, database: &str, login: &str) -> Result<String, Closed> {
        let at = &self.servers[server];
        let name = at.database_name(database).ok_or(Closed::Missing)?.to_owned();
        let rights = at.find_login(login).ok_or(Closed::Forbidden)?;
        if !rights.sysadmin && !SYSTEM_DATABASES.iter().any(|system| same_name(system, &name)) {
            return Err(Closed::Forbidden);
        }
        if let Some((index, seat)) = self.find_mirroring(server, &name) {
            self.mirrored_open(index, seat)?;
        }
        match self.database_state(server, &name) {
            0 | 5 => Ok(name),
            1 => Err(Closed::Restoring),
            2 => Err(Closed::Recovering),
            3 => Err(Closed::Inaccessible),
            4 => Err(Closed::Suspect),
            _ => Err(Closed::Offline),
        }
    }

    fn mirrored_open(&self, index: usize, seat: Seat) -> Result<(), Closed> {
        let mirroring = &self.mirrorings[index];
        if !mirroring.halves[seat].mirrored {
            Ok(())
        } else if mirroring.halves[seat].role == super::Role::Mirror {
            Err(Closed::Mirror)
        } else if self.serves(index, seat) {
            Ok(())
        } else if mirroring.running.is_some() {
            Err(Closed::Transition)
        } else {
            Err(Closed::NoQuorum)
        }
    }
}
