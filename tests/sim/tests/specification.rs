//! The worked examples of "[MS-TDS]: Tabular Data Stream Protocol", section 4: client messages are decoded and encoded again to the
//! same bytes; server messages are encoded to the documented bytes.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use bytes::BytesMut;
use mirror_sim::value::{Message, Value};
use mirror_sim::wire::login7::Login7;
use mirror_sim::wire::packet::{DEFAULT_SIZE, Message as Packed, kind, read_message, split};
use mirror_sim::wire::prelogin::{Encrypt, Prelogin};
use mirror_sim::wire::tokens::{self, Change, DoneKind};
use mirror_sim::wire::{TdsVersion, WireError, request, rpc};

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// The message of these packets. Splitting the message again gives the same bytes.
async fn message(hex: &str) -> Packed {
    let wire = bytes(hex);
    let message = read_message(&mut wire.as_slice()).await.unwrap().unwrap();
    assert_eq!(split(message.kind, 0, DEFAULT_SIZE, &message.payload), wire);
    message
}

#[tokio::test]
async fn prelogin_request_example_round_trips() {
    let message = message(
        "12 01 00 2F 00 00 01 00 00 00 1A 00 06 01 00 20 00 01 02 00 21 00 01 03 00 22 00 04 04 00 26 00 01 FF 09 00 00 00 00 00 01 \
         00 B8 0D 00 00 01",
    )
    .await;
    assert_eq!(message.kind, kind::PRELOGIN);
    let read = Prelogin::parse(&message.payload).unwrap();
    assert_eq!(read, Prelogin { encrypt: Encrypt::On, instance: String::new() });
}

#[tokio::test]
async fn login_request_example_round_trips() {
    let message = message(
        "10 01 00 90 00 00 01 00 88 00 00 00 02 00 09 72 00 10 00 00 00 00 00 07 00 01 00 00 00 00 00 00 E0 03 00 00 00 00 00 00 \
         09 04 00 00 5E 00 08 00 6E 00 02 00 72 00 00 00 72 00 07 00 80 00 00 00 80 00 00 00 80 00 04 00 88 00 00 00 88 00 00 00 \
         00 50 8B E2 B7 8F 88 00 00 00 88 00 00 00 88 00 00 00 00 00 00 00 73 00 6B 00 6F 00 73 00 74 00 6F 00 76 00 31 00 73 00 \
         61 00 4F 00 53 00 51 00 4C 00 2D 00 33 00 32 00 4F 00 44 00 42 00 43 00",
    )
    .await;
    assert_eq!(message.kind, kind::LOGIN7);
    let login = Login7::parse(&message.payload).unwrap();
    assert_eq!((login.tds_version, login.packet_size), (0x7209_0002, 4096));
    assert_eq!((login.host.as_str(), login.user.as_str(), login.password.as_str()), ("skostov1", "sa", ""));
    assert_eq!((login.app.as_str(), login.server.as_str(), login.database.as_str()), ("OSQL-32", "", ""));
    assert_eq!((login.sspi, login.features), (None, None));
    assert_eq!(TdsVersion::agree(11, login.tds_version).unwrap(), TdsVersion::V7_2);
}

#[test]
fn login_response_example_matches_bytes() {
    let info = |number, state, text: &str| Message { number, state, class: 0, text: text.to_owned(), line: 0 };
    let mut out = BytesMut::new();
    tokens::put_change(&mut out, Change::Database, "master", "master");
    tokens::put_message(&mut out, &info(5701, 2, "Changed database context to 'master'."), "");
    tokens::put_collation_change(&mut out);
    tokens::put_change(&mut out, Change::Language, "us_english", "");
    tokens::put_change(&mut out, Change::PacketSize, "4096", "4096");
    tokens::put_message(&mut out, &info(5703, 1, "Changed language setting to us_english."), "");
    tokens::put_login_ack(&mut out, TdsVersion::V7_2, [0; 4]);
    tokens::put_done(&mut out, DoneKind::Done, 0, None);
    let wire = bytes(
        "04 01 01 61 00 00 01 00 E3 1B 00 01 06 6D 00 61 00 73 00 74 00 65 00 72 00 06 6D 00 61 00 73 00 74 00 65 00 72 00 AB 58 \
         00 45 16 00 00 02 00 25 00 43 00 68 00 61 00 6E 00 67 00 65 00 64 00 20 00 64 00 61 00 74 00 61 00 62 00 61 00 73 00 65 \
         00 20 00 63 00 6F 00 6E 00 74 00 65 00 78 00 74 00 20 00 74 00 6F 00 20 00 27 00 6D 00 61 00 73 00 74 00 65 00 72 00 27 \
         00 2E 00 00 00 00 00 00 00 E3 08 00 07 05 09 04 D0 00 34 00 E3 17 00 02 0A 75 00 73 00 5F 00 65 00 6E 00 67 00 6C 00 69 \
         00 73 00 68 00 00 E3 13 00 04 04 34 00 30 00 39 00 36 00 04 34 00 30 00 39 00 36 00 AB 5C 00 47 16 00 00 01 00 27 00 43 \
         00 68 00 61 00 6E 00 67 00 65 00 64 00 20 00 6C 00 61 00 6E 00 67 00 75 00 61 00 67 00 65 00 20 00 73 00 65 00 74 00 74 \
         00 69 00 6E 00 67 00 20 00 74 00 6F 00 20 00 75 00 73 00 5F 00 65 00 6E 00 67 00 6C 00 69 00 73 00 68 00 2E 00 00 00 00 \
         00 00 00 AD 36 00 01 72 09 00 02 16 4D 00 69 00 63 00 72 00 6F 00 73 00 6F 00 66 00 74 00 20 00 53 00 51 00 4C 00 20 00 \
         53 00 65 00 72 00 76 00 65 00 72 00 00 00 00 00 00 00 00 00 FD 00 00 00 00 00 00 00 00 00 00 00 00",
    );
    assert_eq!(split(kind::ANSWER, 0, DEFAULT_SIZE, &out), wire);
}

#[tokio::test]
async fn sql_batch_request_example_round_trips() {
    let message = message(
        "01 01 00 5C 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 0A 00 73 00 65 00 6C 00 65 00 \
         63 00 74 00 20 00 27 00 66 00 6F 00 6F 00 27 00 20 00 61 00 73 00 20 00 27 00 62 00 61 00 72 00 27 00 0A 00 20 00 20 00 \
         20 00 20 00 20 00 20 00 20 00 20 00",
    )
    .await;
    assert_eq!(message.kind, kind::BATCH);
    assert_eq!(request::batch(&message.payload).unwrap(), "\nselect 'foo' as 'bar'\n        ");
}

/// Its column is a varchar, which no answer of the pair holds: the end of it is ours.
#[test]
fn sql_batch_response_example_ends_with_row_count() {
    let mut out = BytesMut::new();
    tokens::put_done(&mut out, DoneKind::Done, 0, Some(1));
    assert_eq!(out, bytes("FD 10 00 C1 00 01 00 00 00 00 00 00 00"));
}

#[tokio::test]
async fn rpc_request_example_round_trips() {
    let message = message(
        "03 01 00 2F 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 04 00 66 00 6F 00 6F 00 33 00 \
         00 00 00 02 26 02 00",
    )
    .await;
    assert_eq!(message.kind, kind::RPC);
    let calls = rpc::parse(&message.payload).unwrap();
    let parameter = rpc::Parameter { name: String::new(), value: Value::Null, is_varchar: false };
    assert_eq!(calls, [rpc::Call { procedure: "foo3".into(), parameters: vec![parameter] }]);
}

#[tokio::test]
async fn attention_request_example_round_trips() {
    let message = message("06 01 00 08 00 00 01 00").await;
    assert_eq!((message.kind, message.payload.len()), (kind::ATTENTION, 0));
}

/// TM_PROMOTE_XACT belongs to distributed transactions, which the server rejects.
#[tokio::test]
async fn transaction_manager_request_example_is_rejected() {
    let message =
        message("0E 01 00 20 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 16 00")
            .await;
    assert_eq!(message.kind, kind::TRANSACTION);
    assert!(matches!(request::transaction(&message.payload), Err(WireError::Malformed("transaction manager request"))));
}
