//! Encodes the tokens of a response, one function per token (MS-TDS 2.2.7). The callers decide about the order.

use super::bytes::PutTds;
use super::types::{COLLATION, put_type_info, put_value};
use super::{TdsVersion, WireError};
use crate::value::{Column, Message, SqlType, Value};
use bytes::{BufMut, BytesMut};

pub mod done {
    pub const MORE: u16 = 0x01;
    pub const ERROR: u16 = 0x02;
    pub const COUNT: u16 = 0x10;
    pub const ATTENTION: u16 = 0x20;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneKind {
    Done = 0xFD,
    Proc = 0xFE,
    InProc = 0xFF,
}

const SELECT: u16 = 0xC1;

pub fn put_done(out: &mut BytesMut, kind: DoneKind, status: u16, rows: Option<u64>) {
    out.put_u8(kind as u8);
    out.put_u16_le(status | if rows.is_some() { done::COUNT } else { 0 });
    out.put_u16_le(if rows.is_some() { SELECT } else { 0 });
    out.put_u64_le(rows.unwrap_or_default());
}

/// ERROR for class 11 and above, INFO below.
pub fn put_message(out: &mut BytesMut, message: &Message, server: &str) {
    let mut body = BytesMut::new();
    body.put_u32_le(message.number);
    body.put_slice(&[message.state, message.class]);
    body.put_us_varchar(&message.text);
    body.put_b_varchar(server);
    body.put_b_varchar("");
    body.put_u32_le(message.line);
    put_sized(out, if message.class > 10 { 0xAA } else { 0xAB }, &body);
}

fn put_sized(out: &mut BytesMut, token: u8, body: &[u8]) {
    out.put_u8(token);
    out.put_u16_le(body.len() as u16);
    out.put_slice(body);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Database = 1,
    Language = 2,
    PacketSize = 4,
    Partner = 13,
}

pub fn put_change(out: &mut BytesMut, change: Change, new: &str, old: &str) {
    let mut body = BytesMut::new();
    body.put_u8(change as u8);
    body.put_b_varchar(new);
    body.put_b_varchar(old);
    put_sized(out, 0xE3, &body);
}

pub fn put_collation_change(out: &mut BytesMut) {
    let mut body = BytesMut::new();
    body.put_slice(&[7, COLLATION.len() as u8]);
    body.put_slice(&COLLATION);
    body.put_u8(0);
    put_sized(out, 0xE3, &body);
}

/// ENVCHANGE 8 (began), 9 (committed), 10 (rolled back).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionChange {
    Began(u64),
    Committed(u64),
    RolledBack(u64),
}

pub fn put_transaction_change(out: &mut BytesMut, change: TransactionChange) {
    let mut body = BytesMut::new();
    match change {
        TransactionChange::Began(id) => {
            body.put_slice(&[8, 8]);
            body.put_u64_le(id);
            body.put_u8(0);
        }
        TransactionChange::Committed(id) => {
            body.put_slice(&[9, 0, 8]);
            body.put_u64_le(id);
        }
        TransactionChange::RolledBack(id) => {
            body.put_slice(&[10, 0, 8]);
            body.put_u64_le(id);
        }
    }
    put_sized(out, 0xE3, &body);
}

/// ENVCHANGE 18: the session was reset on request of a packet header.
pub fn put_reset_change(out: &mut BytesMut) {
    put_sized(out, 0xE3, &[18, 0, 0]);
}

pub fn put_login_ack(out: &mut BytesMut, version: TdsVersion, build: [u8; 4]) {
    let mut body = BytesMut::new();
    body.put_u8(1);
    body.put_u32(version.code());
    // SQL Server sends the product name with two trailing NULs, which the length includes.
    body.put_b_varchar("Microsoft SQL Server\0\0");
    body.put_slice(&build);
    put_sized(out, 0xAD, &body);
}

/// SSPI: the reply of the server to the client's token (MS-TDS 2.2.7.22).
pub fn put_sspi(out: &mut BytesMut, token: &[u8]) {
    put_sized(out, 0xED, token);
}

/// FEATUREEXTACK that acknowledges nothing.
pub fn put_feature_ack(out: &mut BytesMut) {
    out.put_slice(&[0xAE, 0xFF]);
}

pub fn put_columns(out: &mut BytesMut, columns: &[Column]) {
    out.put_u8(0x81);
    out.put_u16_le(columns.len() as u16);
    for column in columns {
        out.put_u32_le(0);
        out.put_u16_le(0x0008 | u16::from(column.nullable));
        put_type_info(out, column.ty, column.nullable);
        out.put_b_varchar(&column.name);
    }
}

/// ROW, or NBCROW if more than half of the nullable cells are NULL.
///
/// # Errors
/// A value that does not fit its column.
pub fn put_row(out: &mut BytesMut, version: TdsVersion, columns: &[Column], row: &[Value]) -> Result<(), WireError> {
    if row.len() != columns.len() {
        return Err(WireError::Misfit { value: format!("{row:?}"), column: format!("{} columns", columns.len()) });
    }
    let cells = || columns.iter().zip(row);
    let nullable = columns.iter().filter(|column| column.nullable).count();
    let nulls = cells().filter(|(column, value)| column.nullable && **value == Value::Null).count();
    if version < TdsVersion::V7_3B || nulls * 2 <= nullable {
        out.put_u8(0xD1);
        return cells().try_for_each(|(column, value)| put_value(out, column, value));
    }
    let mut bitmap = vec![0u8; columns.len().div_ceil(8)];
    for (index, (column, value)) in cells().enumerate() {
        if column.nullable && *value == Value::Null {
            bitmap[index / 8] |= 1 << (index % 8);
        }
    }
    out.put_u8(0xD2);
    out.put_slice(&bitmap);
    cells()
        .filter(|(column, value)| !(column.nullable && **value == Value::Null))
        .try_for_each(|(column, value)| put_value(out, column, value))
}

pub fn put_return_status(out: &mut BytesMut, status: i32) {
    out.put_u8(0x79);
    out.put_i32_le(status);
}

/// RETURNVALUE of an int output parameter: the handle of a prepared statement.
pub fn put_return_handle(out: &mut BytesMut, name: &str, handle: i32) -> Result<(), WireError> {
    let column = Column { name: name.to_owned(), ty: SqlType::Int, nullable: true };
    out.put_u8(0xAC);
    out.put_u16_le(0);
    out.put_b_varchar(name);
    out.put_u8(1);
    out.put_u32_le(0);
    out.put_u16_le(1);
    put_type_info(out, column.ty, column.nullable);
    put_value(out, &column, &Value::Int(handle))
}
