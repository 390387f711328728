//! Executes the commands that change settings, names, logins, locks and sessions.

use serde_json::{Map, Value};

use super::build::guid_from_name;
use super::mirroring::Link;
use super::server::LoginRefusal;
use super::{Command, Mirroring, Role, Sync, World};
use crate::settings::with_changes;

impl World {
    /// Executes the commands that `control` does not know.
    pub(super) fn execute_setting(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::SetServerSettings { server, settings } => {
                let server = self.server_mut(server)?;
                server.settings = with_changes(&server.settings, settings)?;
            }
            Command::SetPairSettings { pair, database, settings } => {
                self.set_pair_settings(pair, database, settings)?
            }
            Command::Rename { server, name } => self.server_mut(server)?.name.clone_from(name),
            Command::SetLogin { server, login, locked, expired } => {
                let login = self.login_mut(server, login)?;
                (login.locked, login.expired) = (*locked, *expired);
            }
            Command::RefuseLogins { server, number, class, times, login } => {
                let refusal = LoginRefusal { number: *number, class: *class, left: *times, login: login.clone() };
                self.server_mut(server)?.login_refusals.push(refusal);
            }
            Command::SetLogRate { pair, database, kb_per_s } => {
                self.for_each(pair, database, |session| session.log_rate_kb_per_s = *kb_per_s)?;
            }
            Command::AcceptLogins { server } => self.server_mut(server)?.login_refusals.clear(),
            Command::LockCatalog { server } => self.server_mut(server)?.catalog_locked = true,
            Command::UnlockCatalog { server } => self.server_mut(server)?.catalog_locked = false,
            Command::SetWitness { pair, database, witness } => {
                let witness = witness.as_deref().map(|id| self.require_server("witness", id)).transpose()?;
                for index in self.require_mirrorings(pair, database)? {
                    if witness.is_some_and(|witness| self.mirrorings[index].partners.contains(&witness)) {
                        return Err("witness: is a partner of this pair".to_owned());
                    }
                    self.connect_witness(index, witness);
                }
            }
            Command::MirrorElsewhere { server, database, partner, new_pair } => {
                self.mirror_elsewhere(server, database, partner, new_pair)?;
            }
            other => return Err(format!("{other:?}: not a setting")),
        }
        Ok(())
    }

    fn set_pair_settings(
        &mut self,
        pair: &str,
        database: &Option<String>,
        settings: &Map<String, Value>,
    ) -> Result<(), String> {
        for index in self.require_mirrorings(pair, database)? {
            let mirroring = &mut self.mirrorings[index];
            mirroring.settings = with_changes(&mirroring.settings, settings)?;
        }
        Ok(())
    }

    fn mirror_elsewhere(&mut self, server: &str, database: &str, partner: &str, pair: &str) -> Result<(), String> {
        let (at, partner) = (self.require_server("server", server)?, self.require_server("partner", partner)?);
        let (index, seat) = self
            .find_mirroring(at, database)
            .ok_or_else(|| format!("database {database:?}: not mirrored on {server}"))?;
        if self.mirrorings[index].partners.contains(&partner) {
            return Err("partner: is a partner of the present session".to_owned());
        }
        let old = &mut self.mirrorings[index];
        old.copies[seat].mirrored = false;
        let name = old.database.clone();
        let (role_sequence, timeout, settings) = (old.copies[seat].role_sequence, old.timeout, old.settings.clone());
        let (switch, resync) = (old.switch, old.resync);
        let copy = |role| super::mirroring::DatabaseCopy {
            mirrored: true,
            role,
            role_sequence,
            forced: false,
            serving: false,
            abandoned: false,
            open: false,
        };
        let link = Link { end_connected: [true; 2], lost_at: None };
        let partner_names = [at, partner].map(|server| self.servers[server].name.clone());
        let session = Mirroring {
            pair: pair.to_owned(),
            database: name.clone(),
            guid: guid_from_name(&format!("{pair}/{name}")),
            partners: [at, partner],
            partner_names,
            witness: None,
            witness_dropped: false,
            connection_timeout: 10,
            settings,
            empty_witness_name: false,
            copies: [copy(Role::Principal), copy(Role::Mirror)],
            witness_sequence: role_sequence,
            witness_principal: 0,
            links: [link.clone(), link.clone(), link],
            safety: crate::config::Safety::Full,
            safety_sequence: 1,
            sync: Sync::Synchronized,
            suspended: false,
            automatic_failover_ready: false,
            disconnected_until: std::time::Duration::ZERO,
            running_failover: None,
            redo_queue_kb: 0,
            redo_rate_kb_per_s: 10_000,
            log_rate_kb_per_s: 0,
            log: Default::default(),
            switch,
            timeout,
            resync,
        };
        self.mirrorings.push(session);
        if self.servers[partner].database_id(&name).is_none() {
            self.servers[partner].databases.push(name);
        }
        Ok(())
    }
}
