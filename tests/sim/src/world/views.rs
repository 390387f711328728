//! The catalog views as one session sees them: its permissions decide which rows and columns are visible.
//! Sources: the pages of the views under <https://learn.microsoft.com/sql/relational-databases/system-catalog-views/>.

use super::inventory;
use super::server::SYSTEM_DATABASES;
use super::set_partner::message;
use super::state::state_desc;
use super::{MirrorRow, Session, SessionId, World, endpoints, same_name, sessions_view};
use crate::config::LoginConfig;
use crate::settings::WitnessNames;
use crate::sql::engine::Table;
use crate::value::{Column, Message, SqlType, Value};

pub(super) const NAME: SqlType = SqlType::NVarChar(128);
const LSN: SqlType = SqlType::Numeric { precision: 25, scale: 0 };

pub(super) fn build_table(columns: &[(&str, SqlType, bool)], rows: Vec<Vec<Value>>) -> Table {
    let columns =
        columns.iter().map(|(name, ty, nullable)| Column { name: (*name).to_owned(), ty: *ty, nullable: *nullable });
    Table { columns: columns.collect(), rows }
}

pub(super) fn nvarchar(text: impl Into<String>) -> Value {
    Value::NVarChar(text.into())
}

impl World {
    pub(super) fn login_rights(&self, session: SessionId) -> Option<&LoginConfig> {
        let session = self.sessions.get(&session)?;
        self.servers[session.server].find_login(&session.login)
    }

    pub(super) fn view(&self, session: &Session, name: &str) -> Option<Result<Table, Message>> {
        let server = &self.servers[session.server];
        let login = server.find_login(&session.login)?;
        Some(Ok(match name {
            "sys.databases" => self.databases_view(session.server, login),
            "sys.database_mirroring" => self.mirroring_view(session.server, login),
            "sys.database_mirroring_witnesses" => self.witnesses_view(session.server, login),
            "sys.database_mirroring_endpoints" => endpoints::mirroring(server),
            "sys.tcp_endpoints" => endpoints::tcp(server),
            "sys.endpoints" => endpoints::all(server),
            "sys.dm_os_performance_counters" | "sys.dm_exec_sessions" | "sys.sysprocesses"
                if !(login.sysadmin || login.view_server_state) =>
            {
                return Some(Err(message(
                    300,
                    14,
                    "VIEW SERVER STATE permission was denied on object 'server', database 'master'.",
                )));
            }
            "sys.dm_os_performance_counters" => self.counters_view(session.server),
            "sys.dm_exec_sessions" => self.exec_sessions_view(session.server),
            "sys.sysprocesses" => self.processes_view(session.server),
            "sys.configurations" => sessions_view::configurations(),
            "sys.server_triggers" => sessions_view::triggers(server),
            "sys.server_permissions" => sessions_view::permissions(server),
            "sys.server_principals" => inventory::principals(server),
            "sys.server_role_members" => inventory::role_members(server),
            "sys.sql_logins" => inventory::sql_logins(server),
            "sys.dm_os_cluster_nodes" => {
                let rows = server.nodes().into_iter().map(|node| vec![nvarchar(node)]);
                build_table(&[("nodename", NAME, false)], rows.collect())
            }
            "sys.servers" => inventory::servers(server),
            "msdb.dbo.sysjobs" if server.inventory.jobs_forbidden || !login.sysadmin => {
                let denied = "The SELECT permission was denied on the object 'sysjobs', database 'msdb', schema 'dbo'.";
                return Some(Err(message(229, 14, denied)));
            }
            "msdb.dbo.sysjobs" => inventory::jobs(server),
            _ => return None,
        }))
    }

    fn visible_databases(&self, server: usize, login: &LoginConfig) -> Vec<(i32, String)> {
        let sees_all = login.sysadmin || login.view_any_database || login.alter_any_database;
        let names = self.servers[server].databases.iter().zip(1..);
        names
            .filter(|(name, _)| sees_all || SYSTEM_DATABASES[..2].iter().any(|system| same_name(system, name)))
            .map(|(name, id)| (id, name.clone()))
            .collect()
    }

    fn databases_view(&self, server: usize, login: &LoginConfig) -> Table {
        let states = ["ONLINE", "RESTORING", "RECOVERING", "RECOVERY_PENDING", "SUSPECT", "EMERGENCY", "OFFLINE"];
        let rows = self.visible_databases(server, login).into_iter().map(|(id, name)| {
            let state = self.database_state(server, &name);
            let is_system = SYSTEM_DATABASES.iter().any(|system| same_name(system, &name));
            let simple = is_system && !same_name(&name, "model");
            let level = if is_system { self.servers[server].compatibility_level() } else { 100 };
            let log_waits = self.row_at(server, &name).is_some_and(|row| row.state != 4);
            vec![
                nvarchar(&name),
                Value::Int(id),
                Value::TinyInt(state),
                states.get(usize::from(state)).map_or(Value::Null, |state| nvarchar(*state)),
                Value::TinyInt(if simple { 3 } else { 1 }),
                nvarchar(if simple { "SIMPLE" } else { "FULL" }),
                Value::TinyInt(if log_waits { 5 } else { 0 }),
                nvarchar(if log_waits { "DATABASE_MIRRORING" } else { "NOTHING" }),
                Value::Binary(inventory::owner_sid(&self.servers[server], &name)),
                Value::Bit(inventory::is_trustworthy(&self.servers[server], &name)),
                Value::Bit(false),
                Value::Bit(false),
                Value::TinyInt(level),
            ]
        });
        build_table(
            &[
                ("name", NAME, false),
                ("database_id", SqlType::Int, false),
                ("state", SqlType::TinyInt, true),
                ("state_desc", SqlType::NVarChar(60), true),
                ("recovery_model", SqlType::TinyInt, true),
                ("recovery_model_desc", SqlType::NVarChar(60), true),
                ("log_reuse_wait", SqlType::TinyInt, true),
                ("log_reuse_wait_desc", SqlType::NVarChar(60), true),
                ("owner_sid", SqlType::Binary(85), true),
                ("is_trustworthy_on", SqlType::Bit, true),
                ("is_broker_enabled", SqlType::Bit, false),
                ("is_db_chaining_on", SqlType::Bit, true),
                ("compatibility_level", SqlType::TinyInt, false),
            ],
            rows.collect(),
        )
    }

    fn mirroring_view(&self, server: usize, login: &LoginConfig) -> Table {
        let rows = self.visible_databases(server, login).into_iter().map(|(id, name)| {
            // Only a sysadmin sees the row of a mirror, which is not ONLINE (sys.database_mirroring, Remarks).
            let row = self.row_at(server, &name).filter(|row| login.sysadmin || row.database_state == 0);
            let row = row.filter(|_| !self.hides_mirroring(server, &name));
            let mut cells = vec![Value::Int(id)];
            cells.extend(row.map_or_else(|| vec![Value::Null; MIRRORING.len() - 1], mirroring_cells));
            cells
        });
        build_table(&MIRRORING, rows.collect())
    }

    /// No other permission makes the metadata of these sessions visible.
    fn witnesses_view(&self, server: usize, login: &LoginConfig) -> Table {
        let visible = login.sysadmin || login.view_any_definition;
        let names = self.servers[server].settings.witness_names;
        let rows = self
            .mirrorings
            .iter()
            .filter(|mirroring| {
                visible && mirroring.witness == Some(server) && mirroring.is_mirrored() && !mirroring.witness_dropped
            })
            .map(|mirroring| {
                let name = |seat: usize| {
                    let partner = &self.servers[mirroring.partners[seat]];
                    nvarchar(match names {
                        WitnessNames::Instances => &partner.name,
                        WitnessNames::Addresses => &partner.endpoint_address,
                    })
                };
                let principal = mirroring.witness_principal;
                let full = mirroring.safety == crate::config::Safety::Full;
                let synchronized = mirroring.sync == super::Sync::Synchronized && !mirroring.suspended;
                vec![
                    nvarchar(&mirroring.database),
                    name(principal),
                    name(super::other(principal)),
                    Value::TinyInt(if full { 2 } else { 1 }),
                    nvarchar(if full { "FULL" } else { "OFF" }),
                    Value::Int(mirroring.safety_sequence),
                    Value::Int(mirroring.witness_sequence),
                    Value::Guid(mirroring.guid),
                    Value::Bit(mirroring.suspended),
                    Value::TinyInt(if synchronized { 5 } else { 6 }),
                    nvarchar(if synchronized { "SYNCHRONIZED" } else { "UNSYNCHRONIZED" }),
                ]
            });
        build_table(
            &[
                ("database_name", NAME, false),
                ("principal_server_name", NAME, true),
                ("mirror_server_name", NAME, true),
                ("safety_level", SqlType::TinyInt, false),
                ("safety_level_desc", SqlType::NVarChar(60), true),
                ("safety_sequence_number", SqlType::Int, false),
                ("role_sequence_number", SqlType::Int, false),
                ("mirroring_guid", SqlType::Guid, false),
                ("is_suspended", SqlType::Bit, false),
                ("partner_sync_state", SqlType::TinyInt, true),
                ("partner_sync_state_desc", SqlType::NVarChar(60), true),
            ],
            rows.collect(),
        )
    }
}

const MIRRORING: [(&str, SqlType, bool); 21] = [
    ("database_id", SqlType::Int, false),
    ("mirroring_guid", SqlType::Guid, true),
    ("mirroring_state", SqlType::TinyInt, true),
    ("mirroring_state_desc", SqlType::NVarChar(60), true),
    ("mirroring_role", SqlType::TinyInt, true),
    ("mirroring_role_desc", SqlType::NVarChar(60), true),
    ("mirroring_role_sequence", SqlType::Int, true),
    ("mirroring_safety_level", SqlType::TinyInt, true),
    ("mirroring_safety_level_desc", SqlType::NVarChar(60), true),
    ("mirroring_safety_sequence", SqlType::Int, true),
    ("mirroring_partner_name", NAME, true),
    ("mirroring_partner_instance", NAME, true),
    ("mirroring_witness_name", NAME, true),
    ("mirroring_witness_state", SqlType::TinyInt, true),
    ("mirroring_witness_state_desc", SqlType::NVarChar(60), true),
    ("mirroring_failover_lsn", LSN, true),
    ("mirroring_connection_timeout", SqlType::Int, true),
    ("mirroring_redo_queue", SqlType::Int, true),
    ("mirroring_redo_queue_type", SqlType::NVarChar(60), true),
    ("mirroring_end_of_log_lsn", LSN, true),
    ("mirroring_replication_lsn", LSN, true),
];

/// The log does not grow in the simulation except at a role change.
fn lsn(role_sequence: i32) -> Value {
    Value::Numeric { value: 1000 + i128::from(role_sequence), precision: 25, scale: 0 }
}

fn mirroring_cells(row: MirrorRow) -> Vec<Value> {
    let witness = row.witness_state.map(|state| match state {
        1 => "CONNECTED",
        2 => "DISCONNECTED",
        _ => "UNKNOWN",
    });
    vec![
        Value::Guid(row.guid),
        Value::TinyInt(row.state),
        nvarchar(state_desc(row.state)),
        Value::TinyInt(row.role),
        nvarchar(if row.role == 1 { "PRINCIPAL" } else { "MIRROR" }),
        Value::Int(row.role_sequence),
        Value::TinyInt(row.safety),
        nvarchar(if row.safety == 2 { "FULL" } else { "OFF" }),
        Value::Int(row.safety_sequence),
        nvarchar(row.partner_name),
        nvarchar(row.partner_instance),
        row.witness_name.map_or(Value::Null, nvarchar),
        row.witness_state.map_or(Value::Null, Value::TinyInt),
        witness.map_or(Value::Null, nvarchar),
        lsn(row.role_sequence),
        Value::Int(row.connection_timeout),
        Value::Null,
        nvarchar("UNLIMITED"),
        lsn(row.role_sequence),
        lsn(row.role_sequence),
    ]
}
