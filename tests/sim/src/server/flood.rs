//! A response without end: well-formed rows until the client disconnects.

use crate::value::{Column, SqlType, Value};
use crate::wire::packet::{DEFAULT_SIZE, HEADER, kind, split};
use crate::wire::{TdsVersion, WireError, tokens};
use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};

const WIDTH: u16 = 2000;

pub async fn flood(to: &mut (impl AsyncWrite + Unpin)) -> Result<(), WireError> {
    let columns = [Column { name: "name".to_owned(), ty: SqlType::NVarChar(WIDTH), nullable: false }];
    let row = [Value::NVarChar("x".repeat(WIDTH.into()))];
    let body = usize::from(DEFAULT_SIZE) - HEADER;
    let mut rows = BytesMut::new();
    tokens::put_columns(&mut rows, &columns);
    loop {
        while rows.len() < body {
            tokens::put_row(&mut rows, TdsVersion::V7_2, &columns, &row)?;
        }
        let mut packet = split(kind::ANSWER, 0, DEFAULT_SIZE, &rows.split_to(body));
        // Never the last packet of the message.
        packet[1] = 0;
        to.write_all(&packet).await?;
    }
}
