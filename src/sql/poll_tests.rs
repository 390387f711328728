//! Tests `read` with rows as SQL Server sends them, including NULL and alternative types.

use tiberius::{ColumnData, ColumnType, Row};

use super::*;
use crate::model::Guid;

type Cells = Vec<(&'static str, ColumnData<'static>)>;

fn row(cells: Cells) -> Row {
    cells.into_iter().fold(Row::builder(), |row, (name, data)| row.column(name, ColumnType::Null, data)).build()
}

fn nvarchar(text: &'static str) -> ColumnData<'static> {
    ColumnData::String(Some(text.into()))
}

fn tiny(number: u8) -> ColumnData<'static> {
    ColumnData::U8(Some(number))
}

fn int(number: i32) -> ColumnData<'static> {
    ColumnData::I32(Some(number))
}

const GUID: [u8; 16] = [0x5f; 16];

fn properties() -> Cells {
    vec![
        ("server_name", nvarchar("SQL-A\\RTC")),
        ("local_name", nvarchar("SQL-A\\RTC")),
        ("product_version", nvarchar("11.0.7001.0")),
        ("edition", nvarchar("Standard Edition (64-bit)")),
        ("login_name", nvarchar("lync")),
        ("database_name", nvarchar("master")),
        ("is_sysadmin", int(1)),
        ("can_view_server_state", int(0)),
        ("can_view_any_database", ColumnData::I32(None)),
    ]
}

fn mirrored() -> Cells {
    vec![
        ("name", nvarchar("rtcxds")),
        ("state", tiny(0)),
        ("mirroring_guid", ColumnData::Guid(Some(tiberius::Uuid::from_bytes(GUID)))),
        ("mirroring_state", tiny(4)),
        ("mirroring_role", tiny(1)),
        ("mirroring_role_sequence", int(7)),
        ("mirroring_safety_level", tiny(2)),
        ("mirroring_partner_name", nvarchar("TCP://sql-b:5022")),
        ("mirroring_partner_instance", nvarchar("SQL-B\\RTC")),
        ("mirroring_witness_name", nvarchar("TCP://sql-w:5022")),
        ("mirroring_witness_state", tiny(1)),
    ]
}

fn with(mut cells: Cells, column: &str, data: ColumnData<'static>) -> Cells {
    cells.iter_mut().filter(|(name, _)| *name == column).for_each(|cell| cell.1 = data.clone());
    cells
}

fn server(database: Cells) -> Result<Server, String> {
    read(&[vec![row(properties())], vec![row(database)], vec![], vec![], vec![]])
}

fn only(database: Cells) -> Database {
    server(database).unwrap().databases.into_values().next().unwrap()
}

#[test]
fn read_returns_a_mirrored_database() {
    let server = server(mirrored()).unwrap();
    assert_eq!(server.name, "SQL-A\\RTC");
    assert!(server.sysadmin && !server.view_server_state && !server.view_any_database);
    let database = &server.databases[&DatabaseName::new("RTCXDS")];
    assert_eq!(database.state, DatabaseState::Online);
    let expected = Mirroring {
        guid: Guid::from_bytes(GUID),
        state: MirroringState::Synchronized,
        role: Role::Principal,
        role_sequence: 7,
        safety: Safety::Full,
        partner_name: "TCP://sql-b:5022".into(),
        partner_instance: "SQL-B\\RTC".into(),
        witness: WitnessLink::Connected,
        witness_name: "TCP://sql-w:5022".into(),
    };
    assert_eq!(database.mirroring, Some(expected));
}

#[test]
fn read_of_names_that_differ_in_case_keeps_the_mirrored_database() {
    let plain = || with(with(mirrored(), "name", nvarchar("rtcxds")), "mirroring_role", ColumnData::U8(None));
    let session = || with(mirrored(), "name", nvarchar("RtcXds"));
    for rows in [[plain(), session()], [session(), plain()]] {
        let rows = rows.map(row).into();
        let server = read(&[vec![row(properties())], rows, vec![], vec![], vec![]]).unwrap();
        let databases: Vec<_> = server.databases.iter().collect();
        let [(name, database)] = databases.as_slice() else { panic!("{databases:?}") };
        assert_eq!((name.as_str(), database.mirroring.is_some()), ("RtcXds", true));
    }
}

#[test]
fn read_with_null_columns_has_no_mirroring() {
    let null = |column| with(mirrored(), column, ColumnData::U8(None));
    assert_eq!(only(null("mirroring_role")).mirroring, None);
    assert_eq!(only(with(mirrored(), "mirroring_guid", ColumnData::Guid(None))).mirroring, None);
    assert_eq!(only(with(mirrored(), "mirroring_guid", ColumnData::I32(None))).mirroring, None);
    assert_eq!(only(null("mirroring_role_sequence")).mirroring, None);
}

#[test]
fn read_maps_the_numbers_of_the_catalog() {
    let state = |number| only(with(mirrored(), "mirroring_state", tiny(number))).mirroring.unwrap().state;
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6].map(state),
        [
            MirroringState::Suspended,
            MirroringState::Disconnected,
            MirroringState::Synchronizing,
            MirroringState::PendingFailover,
            MirroringState::Synchronized,
            MirroringState::Unknown(5),
            MirroringState::Unknown(6),
        ]
    );
    let state = |number| only(with(mirrored(), "state", tiny(number))).state;
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 7].map(state),
        [
            DatabaseState::Online,
            DatabaseState::Restoring,
            DatabaseState::Recovering,
            DatabaseState::RecoveryPending,
            DatabaseState::Suspect,
            DatabaseState::Emergency,
            DatabaseState::Offline,
            DatabaseState::Unknown,
        ]
    );
    let safety = |number| only(with(mirrored(), "mirroring_safety_level", tiny(number))).mirroring.unwrap().safety;
    assert_eq!([0, 1, 2].map(safety), [Safety::Unknown, Safety::Off, Safety::Full]);
}

#[test]
fn read_without_a_witness_accepts_both_encodings() {
    let witness = |name| only(with(mirrored(), "mirroring_witness_name", name)).mirroring.unwrap().witness;
    assert_eq!(witness(ColumnData::String(None)), WitnessLink::None);
    assert_eq!(witness(nvarchar("")), WitnessLink::None);
    let state = |data| only(with(mirrored(), "mirroring_witness_state", data)).mirroring.unwrap().witness;
    assert_eq!(state(tiny(2)), WitnessLink::Disconnected);
    assert_eq!(state(tiny(0)), WitnessLink::Unknown);
    assert_eq!(state(ColumnData::U8(None)), WitnessLink::Unknown);
}

#[test]
fn read_accepts_int_for_tinyint() {
    assert_eq!(only(with(mirrored(), "mirroring_role", int(2))).mirroring.unwrap().role, Role::Mirror);
    assert_eq!(only(with(mirrored(), "state", ColumnData::I16(Some(1)))).state, DatabaseState::Restoring);
}

#[test]
fn read_returns_endpoint_witnessed_and_counters() {
    let endpoint =
        row(vec![("name", nvarchar("Mirroring")), ("state", tiny(0)), ("role", tiny(3)), ("port", int(5022))]);
    let witnessed = row(vec![
        ("database_name", nvarchar("rtcab")),
        ("principal_server_name", nvarchar("TCP://sql-a:5022")),
        ("mirror_server_name", ColumnData::String(None)),
        ("role_sequence_number", int(3)),
        ("mirroring_guid", ColumnData::Guid(Some(tiberius::Uuid::from_bytes(GUID)))),
    ]);
    let unknown = row(vec![
        ("database_name", nvarchar("rtcxds")),
        ("principal_server_name", ColumnData::String(None)),
        ("mirror_server_name", ColumnData::String(None)),
        ("role_sequence_number", ColumnData::I32(None)),
        ("mirroring_guid", ColumnData::Guid(None)),
    ]);
    let counter = |name, database, value| {
        row(vec![
            ("counter_name", nvarchar(name)),
            ("database_name", nvarchar(database)),
            ("cntr_value", ColumnData::I64(Some(value))),
        ])
    };
    let counters = vec![
        counter("Redo Queue KB", "RtcXds", 12),
        counter("Log Send Queue KB", "rtcxds", 34),
        counter("Redo Bytes/sec", "rtcxds", 56),
        counter("Redo Queue KB", "_Total", 78),
    ];
    let results = [vec![row(properties())], vec![row(mirrored())], vec![endpoint], vec![witnessed, unknown], counters];
    let server = read(&results).unwrap();
    assert_eq!(server.witnessed.len(), 1, "a row with NULL is skipped");
    assert_eq!(server.local_name.as_deref(), Some("SQL-A\\RTC"));
    let expected = MirroringEndpoint { name: "Mirroring".into(), started: true, partner: true, port: Some(5022) };
    assert_eq!(server.endpoint, Some(expected));
    assert_eq!((server.witnessed[0].role_sequence, server.witnessed[0].mirror.as_str()), (3, ""));
    let database = &server.databases[&DatabaseName::new("rtcxds")];
    assert_eq!((database.redo_queue_kb, database.send_queue_kb), (Some(12), Some(34)));
}

#[test]
fn read_with_missing_columns_names_them() {
    let error = read(&[vec![], vec![]]).unwrap_err();
    assert!(error.contains("2 result sets"), "{error}");
    let mut cells = mirrored();
    cells.retain(|(name, _)| *name != "mirroring_guid");
    assert_eq!(server(cells).unwrap_err(), "the column mirroring_guid is missing");
    let error = server(with(mirrored(), "mirroring_state", nvarchar("SYNCHRONIZED"))).unwrap_err();
    assert_eq!(error, "the column mirroring_state is of an unexpected type");
    assert!(server(with(mirrored(), "mirroring_role", tiny(9))).is_err());
    assert!(server(with(mirrored(), "name", ColumnData::String(None))).is_err());
}
