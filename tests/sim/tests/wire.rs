//! Examples of MS-TDS section 4, and the tokens on whose exact bytes clients depend.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

use bytes::BytesMut;
use mirror_sim::config::TlsMode;
use mirror_sim::value::{Column, Event, Message, SqlType, Value};
use mirror_sim::wire::answer::Answer;
use mirror_sim::wire::login7::Login7;
use mirror_sim::wire::packet::{kind, read_message, split};
use mirror_sim::wire::prelogin::{Encrypt, EncryptionScope, Prelogin, agree, answer};
use mirror_sim::wire::request::{Transaction, batch, transaction};
use mirror_sim::wire::rpc::{Call, Parameter, declared_names, named, parse};
use mirror_sim::wire::tokens::{self, Change, DoneKind, TransactionChange};
use mirror_sim::wire::{TdsVersion, WireError};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The payload of a client's packets, and the kind of its message.
async fn message(packets: &str) -> (u8, Vec<u8>) {
    let bytes = hex(packets);
    let message = read_message(&mut bytes.as_slice()).await.unwrap().unwrap();
    (message.kind, message.payload)
}

fn put(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

const PRELOGIN: &str = "12 01 00 2F 00 00 01 00 00 00 1A 00 06 01 00 20 00 01 02 00 21 00 01 03 00 22 00 04 04 00 26 00
    01 FF 09 00 00 00 00 00 01 00 B8 0D 00 00 01";

#[tokio::test]
async fn prelogin_parse_example_4_1_returns_options() {
    let (kind, payload) = message(PRELOGIN).await;
    assert_eq!(kind, kind::PRELOGIN);
    let parsed = Prelogin::parse(&payload).unwrap();
    assert_eq!(parsed, Prelogin { encrypt: Encrypt::On, instance: String::new() });
}

#[test]
fn prelogin_answer_matches_layout_of_sql_server_2012() {
    let expected = "00 00 1A 00 06 01 00 20 00 01 02 00 21 00 01 03 00 22 00 00 04 00 22 00 01 FF
        0B 00 0B B8 00 00 01 00 00";
    assert_eq!(answer([11, 0, 0x0B, 0xB8], Encrypt::On, true).to_vec(), hex(expected));
}

#[test]
fn prelogin_agree_follows_encryption_table() {
    use Encrypt::{NotSupported, Off, On, Required};
    let table = [
        (Off, TlsMode::Off, NotSupported, EncryptionScope::Nothing),
        (NotSupported, TlsMode::Off, NotSupported, EncryptionScope::Nothing),
        (On, TlsMode::Off, NotSupported, EncryptionScope::Refused),
        (Required, TlsMode::Off, NotSupported, EncryptionScope::Refused),
        (Off, TlsMode::LoginOnly, Off, EncryptionScope::Login),
        (NotSupported, TlsMode::LoginOnly, NotSupported, EncryptionScope::Nothing),
        (On, TlsMode::LoginOnly, On, EncryptionScope::Everything),
        (Required, TlsMode::LoginOnly, On, EncryptionScope::Everything),
        (Off, TlsMode::Required, Required, EncryptionScope::Everything),
        (NotSupported, TlsMode::Required, Required, EncryptionScope::Refused),
        (On, TlsMode::Required, On, EncryptionScope::Everything),
        (Required, TlsMode::Required, On, EncryptionScope::Everything),
    ];
    for (client, server, byte, cover) in table {
        assert_eq!(agree(client, server), (byte, cover), "client {client:?}, server {server:?}");
    }
}

const LOGIN: &str = "10 01 00 90 00 00 01 00 88 00 00 00 02 00 09 72 00 10 00 00 00 00 00 07 00 01 00 00 00 00 00 00
    E0 03 00 00 00 00 00 00 09 04 00 00 5E 00 08 00 6E 00 02 00 72 00 00 00 72 00 07 00 80 00 00 00
    80 00 00 00 80 00 04 00 88 00 00 00 88 00 00 00 00 50 8B E2 B7 8F 88 00 00 00 88 00 00 00 88 00
    00 00 00 00 00 00 73 00 6B 00 6F 00 73 00 74 00 6F 00 76 00 31 00 73 00 61 00 4F 00 53 00 51 00
    4C 00 2D 00 33 00 32 00 4F 00 44 00 42 00 43 00";

#[tokio::test]
async fn login7_parse_example_4_2_returns_fields() {
    let (kind, payload) = message(LOGIN).await;
    assert_eq!(kind, kind::LOGIN7);
    let login = Login7::parse(&payload).unwrap();
    assert_eq!((login.host.as_str(), login.user.as_str(), login.app.as_str()), ("skostov1", "sa", "OSQL-32"));
    assert_eq!((login.password.as_str(), login.database.as_str(), login.features.as_deref()), ("", "", None));
    assert_eq!((login.tds_version, login.agreed_packet_size(), login.sspi), (0x7209_0002, 4096, None));
}

#[tokio::test]
async fn login7_parse_example_4_16_returns_features() {
    let packets = "10 01 01 0D 00 00 01 00 05 01 00 00 04 00 00 74 00 10 00 00 00 00 00 07 00 01 00 00 00 00 00 00
        E0 03 00 10 00 00 00 00 09 04 00 00 5E 00 00 00 5E 00 02 00 62 00 08 00 72 00 07 00 80 00 00 00
        80 00 04 00 84 00 04 00 8C 00 00 00 8C 00 06 00 00 50 8B E2 B7 8F 98 00 00 00 98 00 00 00 98 00
        00 00 00 00 00 00 73 00 61 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 4F 00 53 00 51 00
        4C 00 2D 00 33 00 32 00 98 00 00 00 4F 00 44 00 42 00 43 00 74 00 65 00 6D 00 70 00 64 00 62 00
        01 67 00 00 00 56 00 00 00 06 6D 00 61 00 73 00 74 00 65 00 72 00 05 09 04 D0 00 34 0A 75 00 73
        00 5F 00 65 00 6E 00 67 00 6C 00 69 00 73 00 68 00 00 09 00 60 81 14 FF E7 FF FF 00 02 02 07 01
        04 01 00 05 04 FF FF FF FF 06 01 00 07 01 02 08 08 00 00 00 00 00 00 00 00 09 04 FF FF FF FF 09
        00 00 00 00 00 00 09 04 28 23 00 00 FF";
    let login = Login7::parse(&message(packets).await.1).unwrap();
    assert_eq!((login.user.as_str(), login.database.as_str()), ("sa", "tempdb"));
    assert_eq!(login.features, Some(vec![1]));
    assert_eq!(TdsVersion::agree(11, login.tds_version).unwrap(), TdsVersion::V7_4);
}

#[test]
fn tds_version_agree_returns_older_version() {
    assert_eq!(TdsVersion::agree(10, 0x7400_0004).unwrap(), TdsVersion::V7_3B);
    assert_eq!(TdsVersion::agree(12, 0x730A_0003).unwrap(), TdsVersion::V7_3A);
    assert_eq!(TdsVersion::agree(12, 0x7209_0002).unwrap(), TdsVersion::V7_2);
    assert!(matches!(TdsVersion::agree(12, 0x7100_0001), Err(WireError::Version(0x7100_0001))));
}

#[test]
fn tokens_login_response_matches_example_4_4() {
    let info = |number, state, text: &str| Message { number, state, class: 0, text: text.to_owned(), line: 0 };
    let bytes = put(|out| {
        tokens::put_change(out, Change::Database, "master", "master");
        tokens::put_message(out, &info(5701, 2, "Changed database context to 'master'."), "");
        tokens::put_collation_change(out);
        tokens::put_change(out, Change::Language, "us_english", "");
        tokens::put_change(out, Change::PacketSize, "4096", "4096");
        tokens::put_message(out, &info(5703, 1, "Changed language setting to us_english."), "");
        tokens::put_login_ack(out, TdsVersion::V7_2, [0, 0, 0, 0]);
        tokens::put_done(out, DoneKind::Done, 0, None);
    });
    let expected = [
        hex("E3 1B 00 01 06"),
        wide("master"),
        hex("06"),
        wide("master"),
        hex("AB 58 00 45 16 00 00 02 00 25 00"),
        wide("Changed database context to 'master'."),
        hex("00 00 00 00 00 00 E3 08 00 07 05 09 04 D0 00 34 00 E3 17 00 02 0A"),
        wide("us_english"),
        hex("00 E3 13 00 04 04"),
        wide("4096"),
        hex("04"),
        wide("4096"),
        hex("AB 5C 00 47 16 00 00 01 00 27 00"),
        wide("Changed language setting to us_english."),
        hex("00 00 00 00 00 00 AD 36 00 01 72 09 00 02 16"),
        wide("Microsoft SQL Server\0\0"),
        hex("00 00 00 00 FD 00 00 00 00 00 00 00 00 00 00 00 00"),
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(bytes.len() + 8, 0x161, "the length in the packet header of the example");
}

#[test]
fn env_change_13_contains_partner_name() {
    let bytes = put(|out| tokens::put_change(out, Change::Partner, "B", ""));
    assert_eq!(bytes, hex("E3 05 00 0D 01 42 00 00"));
}

#[tokio::test]
async fn batch_example_4_6_returns_text() {
    let packets = "01 01 00 5C 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 0A 00
        73 00 65 00 6C 00 65 00 63 00 74 00 20 00 27 00 66 00 6F 00 6F 00 27 00 20 00 61 00 73 00 20 00
        27 00 62 00 61 00 72 00 27 00 0A 00 20 00 20 00 20 00 20 00 20 00 20 00 20 00 20 00";
    let (kind, payload) = message(packets).await;
    assert_eq!(kind, kind::BATCH);
    assert_eq!(batch(&payload).unwrap(), "\nselect 'foo' as 'bar'\n        ");
}

#[tokio::test]
async fn rpc_parse_example_4_8_returns_call() {
    let packets = "03 01 00 2F 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 04 00
        66 00 6F 00 6F 00 33 00 00 00 00 02 26 02 00";
    let parameters = vec![Parameter { name: String::new(), value: Value::Null, is_varchar: false }];
    let calls = parse(&message(packets).await.1).unwrap();
    assert_eq!(calls, [Call { procedure: "foo3".to_owned(), parameters }]);
}

#[test]
fn rpc_parse_several_calls_returns_all() {
    let prepared = |handle: &str| hex(&format!("FF FF 0F 00 00 00 00 00 26 04 04 {handle} 00 00 00"));
    let payload = [hex("04 00 00 00"), prepared("01"), hex("FF"), prepared("02")].concat();
    let calls = parse(&payload).unwrap();
    let handles: Vec<_> = calls.iter().map(|call| (call.procedure.as_str(), &call.parameters[0].value)).collect();
    assert_eq!(handles, [("sp_unprepare", &Value::Int(1)), ("sp_unprepare", &Value::Int(2))]);
}

#[test]
fn rpc_unnamed_parameters_get_declared_names() {
    let declared = declared_names("@P1 nvarchar(4000),@P2 numeric(25,0), @P3 int");
    assert_eq!(declared, ["@P1", "@P2", "@P3"]);
    let given = [(String::new(), 1), ("@other".to_owned(), 2)];
    let parameters = given.map(|(name, value)| Parameter { name, value: Value::Int(value), is_varchar: false });
    let named = named(&parameters, &declared);
    let named: Vec<_> = named.iter().map(|each| (each.name.as_str(), &each.value)).collect();
    assert_eq!(named, [("@P1", &Value::Int(1)), ("@other", &Value::Int(2))]);
}

/// A `sp_executesql` parameter without a name, of a type with these bytes.
fn parameter(type_and_value: &str) -> Value {
    sent(type_and_value).value
}

fn sent(type_and_value: &str) -> Parameter {
    let payload = [hex("04 00 00 00 FF FF 0A 00 00 00 00 00"), hex(type_and_value)].concat();
    let mut calls = parse(&payload).unwrap();
    assert_eq!(calls[0].procedure, "sp_executesql");
    calls.remove(0).parameters.remove(0)
}

#[test]
fn rpc_parameter_of_varchar_is_text_of_code_page_1252() {
    let varchar = |bytes: &str| parameter(&format!("A7 0A 00 09 04 D0 00 34 {bytes}"));
    assert_eq!(varchar("03 00 80 E9 9F"), Value::NVarChar("\u{20AC}\u{E9}\u{178}".into()));
    assert_eq!(varchar("00 00"), Value::NVarChar(String::new()));
    assert_eq!(varchar("FF FF"), Value::Null);
    assert!(sent("A7 0A 00 09 04 D0 00 34 FF FF").is_varchar && !sent("E7 0A 00 09 04 D0 00 34 FF FF").is_varchar);
    assert_eq!(parameter("26 04 04 07 00 00 00"), Value::Int(7));
    assert_eq!(parameter("E7 0A 00 09 04 D0 00 34 02 00 AC 20"), Value::NVarChar("\u{20AC}".into()));
}

#[tokio::test]
async fn transaction_requests_are_parsed_and_answered() {
    let promote = "0E 01 00 20 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 16 00";
    assert!(
        transaction(&message(promote).await.1).is_err(),
        "example 4.13 requests a promotion, which needs a coordinator"
    );
    let headers = hex("04 00 00 00");
    let parse = |rest: &str| transaction(&[headers.clone(), hex(rest)].concat()).unwrap();
    assert_eq!(parse("05 00 00 00"), Transaction::Begin);
    assert_eq!(parse("07 00 00 00"), Transaction::Commit { then_begin: false });
    assert_eq!(parse("08 00 00 01 00 00"), Transaction::Rollback { then_begin: true });
    let began = put(|out| tokens::put_transaction_change(out, TransactionChange::Began(7)));
    assert_eq!(began, hex("E3 0B 00 08 08 07 00 00 00 00 00 00 00 00"));
    let ended = put(|out| tokens::put_transaction_change(out, TransactionChange::Committed(7)));
    assert_eq!(ended, hex("E3 0B 00 09 00 08 07 00 00 00 00 00 00 00"));
}

#[tokio::test]
async fn split_any_packet_size_is_read_back_unchanged() {
    let payload: Vec<u8> = (0..10_000u32).map(|index| index as u8).collect();
    for size in [512, 4096, 32767] {
        let bytes = split(kind::BATCH, 51, size, &payload);
        assert!(bytes.len() >= payload.len() + 8 * payload.len().div_ceil(usize::from(size) - 8));
        let message = read_message(&mut bytes.as_slice()).await.unwrap().unwrap();
        assert_eq!(message.payload, payload);
    }
    assert_eq!(split(kind::ANSWER, 0x0102, 4096, &[]), hex("04 01 00 08 01 02 01 00"));
}

fn column(name: &str, ty: SqlType, nullable: bool) -> Column {
    Column { name: name.to_owned(), ty, nullable }
}

/// Type bytes and value bytes of one column.
fn cell(ty: SqlType, nullable: bool, value: Value) -> (Vec<u8>, Vec<u8>) {
    let columns = [column("", ty, nullable)];
    let head = put(|out| tokens::put_columns(out, &columns));
    let row = put(|out| tokens::put_row(out, TdsVersion::V7_2, &columns, &[value]).unwrap());
    (head[9..head.len() - 1].to_vec(), row[1..].to_vec())
}

#[test]
fn put_value_writes_documented_bytes() {
    let check = |ty, nullable, value, info: &str, bytes: &str| {
        assert_eq!(cell(ty, nullable, value), (hex(info), hex(bytes)), "{ty:?}, nullable {nullable}");
    };
    check(SqlType::TinyInt, false, Value::TinyInt(4), "30", "04");
    check(SqlType::TinyInt, true, Value::TinyInt(4), "26 01", "01 04");
    check(SqlType::TinyInt, true, Value::Null, "26 01", "00");
    check(SqlType::Bit, false, Value::Bit(true), "32", "01");
    check(SqlType::Bit, true, Value::Bit(true), "68 01", "01 01");
    check(SqlType::SmallInt, false, Value::SmallInt(-2), "34", "FE FF");
    check(SqlType::Int, false, Value::Int(5), "38", "05 00 00 00");
    check(SqlType::Int, true, Value::Int(5), "26 04", "04 05 00 00 00");
    check(SqlType::BigInt, false, Value::Int(-1), "7F", "FF FF FF FF FF FF FF FF");
    check(SqlType::NVarChar(128), true, Value::NVarChar("a".into()), "E7 00 01 09 04 D0 00 34", "02 00 61 00");
    check(SqlType::NVarChar(128), true, Value::Null, "E7 00 01 09 04 D0 00 34", "FF FF");
    let plp = "02 00 00 00 00 00 00 00 02 00 00 00 61 00 00 00 00 00";
    check(SqlType::NVarChar(0), true, Value::NVarChar("a".into()), "E7 FF FF 09 04 D0 00 34", plp);
    let text = || Value::NVarChar("a\u{E9}".into());
    check(SqlType::VarChar(10), true, text(), "A7 0A 00 09 04 D0 00 34", "02 00 61 E9");
    check(SqlType::VarChar(0), true, text(), "A7 FF FF 09 04 D0 00 34", &plp.replace("61 00 00", "61 E9 00"));
    check(SqlType::NVarChar(0), true, Value::Null, "E7 FF FF 09 04 D0 00 34", "FF FF FF FF FF FF FF FF");
    let guid = Value::Guid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    check(SqlType::Guid, true, guid, "24 10", "10 04 03 02 01 06 05 08 07 09 0A 0B 0C 0D 0E 0F 10");
    let numeric = |value| Value::Numeric { value, precision: 25, scale: 0 };
    let info = "6C 0D 19 00";
    check(
        SqlType::Numeric { precision: 25, scale: 0 },
        true,
        numeric(-258),
        info,
        "0D 00 02 01 00 00 00 00 00 00 00 00 00 00",
    );
    check(SqlType::DateTime, false, Value::DateTime(86_400_000 + 10), "3D", "01 00 00 00 03 00 00 00");
    check(SqlType::DateTime, true, Value::DateTime(-86_400_000), "6F 08", "08 FF FF FF FF 00 00 00 00");
    check(SqlType::Binary(16), true, Value::Binary(vec![1, 2]), "A5 10 00", "02 00 01 02");
    let variant = Value::Variant(Box::new(Value::Int(1)));
    check(SqlType::Variant, true, variant, "62 49 1F 00 00", "06 00 00 00 38 00 01 00 00 00");
}

#[test]
fn put_row_value_that_does_not_fit_returns_error() {
    let refused = |ty, nullable, value| {
        let columns = [column("c", ty, nullable)];
        assert!(tokens::put_row(&mut BytesMut::new(), TdsVersion::V7_4, &columns, &[value]).is_err());
    };
    refused(SqlType::Int, false, Value::Null);
    refused(SqlType::TinyInt, true, Value::Int(256));
    refused(SqlType::NVarChar(1), true, Value::NVarChar("ab".into()));
    for text in ["ab", "\u{3A9}"] {
        refused(SqlType::VarChar(1), true, Value::NVarChar(text.into()));
    }
    refused(SqlType::Guid, true, Value::Int(1));
    assert!(tokens::put_row(&mut BytesMut::new(), TdsVersion::V7_4, &[], &[Value::Null]).is_err());
}

#[test]
fn put_row_mostly_null_uses_nbcrow_from_7_3b() {
    let columns = [
        column("a", SqlType::Int, false),
        column("b", SqlType::Int, true),
        column("c", SqlType::Int, true),
        column("d", SqlType::TinyInt, true),
    ];
    let row = [Value::Int(1), Value::Null, Value::Null, Value::TinyInt(2)];
    let bytes = |version| put(|out| tokens::put_row(out, version, &columns, &row).unwrap());
    assert_eq!(bytes(TdsVersion::V7_3A), hex("D1 01 00 00 00 00 00 01 02"));
    assert_eq!(bytes(TdsVersion::V7_3B), hex("D2 06 01 00 00 00 01 02"));
}

/// The DONE tokens of an answer: token and status.
fn dones(answer: Answer) -> Vec<(u8, u8)> {
    answer.finish().chunks_exact(13).map(|done| (done[0], done[1])).collect()
}

#[test]
fn answer_only_last_done_has_no_more_flag() {
    let mut answer = Answer::new(TdsVersion::V7_4, "S");
    answer.event(&Event::Done { rows: Some(1) }).unwrap();
    answer.event(&Event::Done { rows: None }).unwrap();
    assert_eq!(dones(answer), [(0xFD, 0x11), (0xFD, 0x00)]);
    assert_eq!(dones(Answer::new(TdsVersion::V7_4, "S")), [(0xFD, 0x00)]);
}

#[test]
fn answer_procedure_ends_with_status_and_doneproc() {
    let mut answer = Answer::new(TdsVersion::V7_4, "S");
    answer.begin_procedure();
    answer.event(&Event::Done { rows: Some(1) }).unwrap();
    answer.end_procedure(None).unwrap();
    let expected = "FF 11 00 C1 00 01 00 00 00 00 00 00 00 79 00 00 00 00 FE 00 00 00 00 00 00 00 00 00 00 00 00";
    assert_eq!(answer.finish().to_vec(), hex(expected));
}

#[test]
fn answer_error_sets_error_flag_of_done() {
    let mut answer = Answer::new(TdsVersion::V7_4, "");
    let error = Message { number: 1416, state: 31, class: 16, text: String::new(), line: 1 };
    answer.event(&Event::Message(error)).unwrap();
    answer.event(&Event::Done { rows: None }).unwrap();
    assert_eq!(answer.summary(), (Some(1416), None));
    let bytes = answer.finish().to_vec();
    assert_eq!(bytes[..9], hex("AA 0E 00 88 05 00 00 1F 10"));
    assert_eq!(bytes[bytes.len() - 13..][..3], hex("FD 02 00"));
}

#[test]
fn answer_given_up_ends_with_error_and_attention_is_a_message_of_its_own() {
    let bytes = Answer::new(TdsVersion::V7_4, "").give_up().to_vec();
    assert_eq!(bytes, hex("FD 02 00 00 00 00 00 00 00 00 00 00 00"));
    assert_eq!(Answer::acknowledge_attention().to_vec(), hex("FD 20 00 00 00 00 00 00 00 00 00 00 00"));
}

#[tokio::test]
async fn read_message_given_up_by_the_client_is_marked_as_ignored() {
    let bytes = hex("01 00 00 0A 00 00 01 00 41 00 01 03 00 08 00 00 02 00");
    let message = read_message(&mut bytes.as_slice()).await.unwrap().unwrap();
    assert!(message.ignored);
    assert!(!read_message(&mut hex("01 11 00 08 00 00 01 00").as_slice()).await.unwrap().unwrap().ignored);
}

#[tokio::test]
async fn read_message_resets_session_with_or_without_its_transaction() {
    for (status, keeps) in [("09", false), ("11", true)] {
        let bytes = hex(&format!("01 {status} 00 08 00 00 01 00"));
        let message = read_message(&mut bytes.as_slice()).await.unwrap().unwrap();
        assert_eq!((message.reset, message.keeps_transaction), (true, keeps));
    }
}

#[test]
fn char_column_has_bytes_of_code_page_1252() {
    let info = "AF 03 00 09 04 D0 00 34";
    let expected = (hex(info), hex("03 00 80 61 20"));
    assert_eq!(cell(SqlType::Char(3), true, Value::NVarChar("\u{20AC}a".into())), expected);
}
