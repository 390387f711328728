//! The views of sessions, of the settings of the server, of its logon triggers and of the rights on endpoints, and the use
//! of the logs.

use super::views::{NAME, build_table, nvarchar};
use super::{Server, Session, SessionId, World, inventory};
use crate::sql::engine::Table;
use crate::value::{SqlType, Value};

const DESC: SqlType = SqlType::NVarChar(60);

impl World {
    fn sessions_of(&self, server: usize) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter().filter(move |(_, session)| session.server == server && !session.killed)
    }

    /// `sys.dm_exec_sessions`.
    pub(super) fn exec_sessions_view(&self, server: usize) -> Table {
        let rows = self.sessions_of(server).map(|(id, session)| {
            vec![
                Value::SmallInt(i16::try_from(*id).unwrap_or(i16::MAX)),
                nvarchar(&session.client.0),
                nvarchar(&session.client.1),
                nvarchar(&session.login),
                Value::Bit(true),
            ]
        });
        build_table(
            &[
                ("session_id", SqlType::SmallInt, false),
                ("host_name", NAME, true),
                ("program_name", NAME, true),
                ("login_name", NAME, false),
                ("is_user_process", SqlType::Bit, false),
            ],
            rows.collect(),
        )
    }

    /// `sys.sysprocesses`. SQL Server pads the names with blanks.
    pub(super) fn processes_view(&self, server: usize) -> Table {
        let rows = self.sessions_of(server).map(|(id, session)| {
            let database = self.servers[server].database_id(&session.database).unwrap_or_default();
            vec![
                Value::SmallInt(i16::try_from(*id).unwrap_or(i16::MAX)),
                Value::SmallInt(i16::try_from(database).unwrap_or(i16::MAX)),
                nvarchar(format!("{:128}", session.client.0)),
                nvarchar(format!("{:128}", session.client.1)),
                nvarchar(format!("{:128}", session.login)),
            ]
        });
        build_table(
            &[
                ("spid", SqlType::SmallInt, false),
                ("dbid", SqlType::SmallInt, false),
                ("hostname", NAME, false),
                ("program_name", NAME, false),
                ("loginame", NAME, false),
            ],
            rows.collect(),
        )
    }

    /// `DBCC SQLPERF(LOGSPACE)`. The log of a database that is not SYNCHRONIZED cannot be truncated, so it is shown as
    /// nearly full.
    pub(super) fn log_space(&self, server: usize) -> Table {
        let rows = self.servers[server].databases.iter().map(|name| {
            let waits = self.row_at(server, name).is_some_and(|row| row.state != 4);
            vec![nvarchar(name), Value::Real(1023.99), Value::Real(if waits { 97.5 } else { 1.5 }), Value::Int(0)]
        });
        build_table(
            &[
                ("Database Name", NAME, false),
                ("Log Size (MB)", SqlType::Real, false),
                ("Log Space Used (%)", SqlType::Real, false),
                ("Status", SqlType::Int, false),
            ],
            rows.collect(),
        )
    }
}

/// `sys.configurations`: the limit of user connections, without a limit.
pub(super) fn configurations() -> Table {
    let number = |number| Value::Variant(Box::new(Value::Int(number)));
    let row = vec![
        Value::Int(103),
        nvarchar("user connections"),
        number(0),
        number(0),
        number(32767),
        number(0),
        Value::Bit(false),
        Value::Bit(true),
    ];
    build_table(
        &[
            ("configuration_id", SqlType::Int, false),
            ("name", SqlType::NVarChar(35), false),
            ("value", SqlType::Variant, true),
            ("minimum", SqlType::Variant, true),
            ("maximum", SqlType::Variant, true),
            ("value_in_use", SqlType::Variant, true),
            ("is_dynamic", SqlType::Bit, false),
            ("is_advanced", SqlType::Bit, false),
        ],
        vec![row],
    )
}

/// `sys.server_triggers`.
pub(super) fn triggers(server: &Server) -> Table {
    let rows = server.inventory.logon_triggers.iter().zip(1_000_001..).map(|((name, trigger), id)| {
        vec![nvarchar(name), Value::Int(id), nvarchar("SERVER"), Value::Bit(trigger.disabled)]
    });
    build_table(
        &[
            ("name", NAME, false),
            ("object_id", SqlType::Int, false),
            ("parent_class_desc", DESC, true),
            ("is_disabled", SqlType::Bit, false),
        ],
        rows.collect(),
    )
}

/// `sys.server_permissions` on the mirroring endpoint: CONNECT for each Windows login, such as the account of the partner.
pub(super) fn permissions(server: &Server) -> Table {
    let rows = inventory::windows_logins(server).into_iter().map(|id| {
        vec![
            Value::TinyInt(105),
            nvarchar("ENDPOINT"),
            Value::Int(65537),
            Value::Int(id),
            nvarchar("CONNECT"),
            nvarchar("GRANT"),
        ]
    });
    build_table(
        &[
            ("class", SqlType::TinyInt, false),
            ("class_desc", DESC, true),
            ("major_id", SqlType::Int, false),
            ("grantee_principal_id", SqlType::Int, false),
            ("permission_name", NAME, true),
            ("state_desc", DESC, true),
        ],
        rows.collect(),
    )
}
