//! The catalog views of the mirroring endpoint. The endpoints for clients are not in them.
//! Source: <https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-database-mirroring-endpoints-transact-sql>.

use super::Server;
use super::views::{NAME, build_table, nvarchar};
use crate::config::EndpointState;
use crate::sql::engine::Table;
use crate::value::{SqlType, Value};

const DESC: SqlType = SqlType::NVarChar(60);
const COMMON: [(&str, SqlType, bool); 10] = [
    ("name", NAME, false),
    ("endpoint_id", SqlType::Int, false),
    ("principal_id", SqlType::Int, true),
    ("protocol", SqlType::TinyInt, false),
    ("protocol_desc", DESC, true),
    ("type", SqlType::TinyInt, false),
    ("type_desc", DESC, true),
    ("state", SqlType::TinyInt, true),
    ("state_desc", DESC, true),
    ("is_admin_endpoint", SqlType::Bit, false),
];

/// `sys.endpoints`.
pub(super) fn all(server: &Server) -> Table {
    build_table(&COMMON, vec![common(server)])
}

/// `sys.tcp_endpoints`.
pub(super) fn tcp(server: &Server) -> Table {
    let own = [
        ("port", SqlType::Int, false),
        ("is_dynamic_port", SqlType::Bit, false),
        ("ip_address", SqlType::NVarChar(45), true),
    ];
    let cells = [Value::Int(i32::from(server.endpoint_port)), Value::Bit(false), Value::Null];
    build_table(&[&COMMON[..], &own].concat(), vec![[common(server), cells.to_vec()].concat()])
}

/// `sys.database_mirroring_endpoints`.
pub(super) fn mirroring(server: &Server) -> Table {
    let own = [
        ("role", SqlType::TinyInt, true),
        ("role_desc", DESC, true),
        ("is_encryption_enabled", SqlType::Bit, false),
        ("connection_auth", SqlType::TinyInt, false),
        ("connection_auth_desc", DESC, true),
        ("certificate_id", SqlType::Int, false),
        ("encryption_algorithm", SqlType::TinyInt, false),
        ("encryption_algorithm_desc", DESC, true),
    ];
    // The default algorithm of CREATE ENDPOINT is AES since SQL Server 2016.
    let aes = server.major() >= 13;
    let cells = vec![
        Value::TinyInt(3),
        nvarchar("ALL"),
        Value::Bit(true),
        Value::TinyInt(3),
        nvarchar("NEGOTIATE"),
        Value::Int(0),
        Value::TinyInt(if aes { 2 } else { 1 }),
        nvarchar(if aes { "AES" } else { "RC4" }),
    ];
    build_table(&[&COMMON[..], &own].concat(), vec![[common(server), cells].concat()])
}

fn common(server: &Server) -> Vec<Value> {
    let (state, description) = match server.endpoint_state {
        EndpointState::Started => (0, "STARTED"),
        EndpointState::Stopped => (1, "STOPPED"),
        EndpointState::Disabled => (2, "DISABLED"),
    };
    vec![
        nvarchar(&server.endpoint_name),
        Value::Int(65537),
        Value::Int(1),
        Value::TinyInt(2),
        nvarchar("TCP"),
        Value::TinyInt(4),
        nvarchar("DATABASE_MIRRORING"),
        Value::TinyInt(state),
        nvarchar(description),
        Value::Bit(false),
    ]
}
