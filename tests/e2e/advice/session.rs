//! Pages about the mirroring session: witness, endpoints, safety, pauses, versions.

use serde_json::json;

use super::reader::{Reader, USER, can_run};

/// The query of most pages.
pub const ROWS: &str = "mirroring_safety_level_desc";

pub const WITNESS: &[&str] = &[
    "reasons/WitnessDisconnected",
    "reasons/WitnessMismatch",
    "reasons/WitnessUnreachable",
    "reasons/RunningExposed",
    "reasons/Exposed",
];

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_the_witness_lead_back_to_a_quorum() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-witness", true, WITNESS).await;
    disconnected_witness(&mut reader);
    wrong_witness(&mut reader);
    unreachable_witness(&mut reader);
    lost_mirror(&mut reader);
    reader.finish();
}

fn disconnected_witness(reader: &mut Reader) {
    reader.world(json!({"do": "kill", "server": "w"}));
    reader.until_condition("QuorumAtRisk", ("True", "WitnessDisconnected"));
    reader.until_user("Exposed", |user| user["service"] == "Exposed");
    let rows = reader.sql("a", "WitnessDisconnected", ROWS);
    rows.has("TCP://sql-w.contoso.com:7022\tDISCONNECTED");

    reader.sql_each("a", "WitnessDisconnected", "WITNESS OFF");
    reader.until_condition("QuorumAtRisk", ("True", "WitnessMismatch"));
    // The loss of the mirror no longer stops the database.
    reader.world(json!({"do": "kill", "server": "b"}));
    reader.until_condition("PartnersReachable", ("False", "ConnectionRefused"));
    reader.batch("a", "USE rtcxds").lacks("Msg 955");
    for server in ["b", "w"] {
        reader.world(json!({"do": "start", "server": server}));
    }
    reader.until_condition("Synchronized", ("True", "AllSynchronized"));
    reader.sql_each("a", "WitnessDisconnected", "SET WITNESS = ");
    reader.until_condition("QuorumAtRisk", ("False", "QuorumHealthy"));
    reader.aligned();
}

fn wrong_witness(reader: &mut Reader) {
    reader.world(json!({"do": "setWitness", "pair": "pool01", "witness": null}));
    reader.until_condition("QuorumAtRisk", ("True", "WitnessMismatch"));
    reader.sql("a", "WitnessMismatch", "mirroring_witness_name").has("rtcxds\tNULL\tNULL");
    reader.sql_each("a", "WitnessMismatch", "SET WITNESS");
    reader.until_condition("QuorumAtRisk", ("False", "QuorumHealthy"));
    // The session has none, and there shall be none.
    reader.world(json!({"do": "setWitness", "pair": "pool01", "witness": null}));
    reader.until_condition("QuorumAtRisk", ("True", "WitnessMismatch"));
    reader.sh("WitnessMismatch", "spec/sql/witness");
    reader.until_condition("QuorumAtRisk", ("False", "NoWitness"));
    reader.world(json!({"do": "setWitness", "pair": "pool01", "witness": "w"}));
    reader.apply(true, super::reader::user("Primary"));
    reader.until_condition("QuorumAtRisk", ("False", "QuorumHealthy"));
}

fn unreachable_witness(reader: &mut Reader) {
    reader.world(json!({"do": "refuseLogins", "server": "w", "number": 18456, "login": "lync_mirror"}));
    let sessions = "SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = N'lync_mirror'";
    for session in reader.batch("w", sessions).text.split_whitespace().filter(|word| word.parse::<u64>().is_ok()) {
        reader.batch("w", &format!("KILL {session}"));
    }
    reader.until_condition("QuorumAtRisk", ("False", "WitnessUnreachable"));
    reader.sh("WitnessUnreachable", "spec/sql/witness");
    reader.until_condition("QuorumAtRisk", ("False", "QuorumHealthy"));
    reader.world(json!({"do": "acceptLogins", "server": "w"}));
    reader.apply(true, super::reader::user("Primary"));
    reader.aligned();
}

fn lost_mirror(reader: &mut Reader) {
    reader.world(json!({"do": "kill", "server": "b"}));
    reader.until_condition("QuorumAtRisk", ("True", "RunningExposed"));
    reader.until_condition("Serving", ("True", "Exposed"));
    let printed = reader.sh("Exposed", "{.service}");
    assert!(printed.starts_with("User\tExposed\t"), "{printed}");
    reader.sql("a", "RunningExposed", ROWS).has("DISCONNECTED");
    reader.world(json!({"do": "start", "server": "b"}));
    reader.sql("b", "RunningExposed", "sp_readerrorlog").has("Starting up database 'rtcxds'");
    reader.until_condition("QuorumAtRisk", ("False", "QuorumHealthy"));
    reader.aligned();
}

pub const LINK: &[&str] = &[
    "reasons/SafetyOff",
    "reasons/EndpointStopped",
    "reasons/PartnersDisconnected",
    "reasons/MirroringSuspended",
    "reasons/OneWayMove",
    "reasons/VersionMismatch",
];

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_the_session_lead_back_to_a_synchronized_pair() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-session", true, LINK).await;
    reader.world(json!({"do": "setSafety", "pair": "pool01", "safety": "off"}));
    reader.until_reason("SafetyOff");
    reader.sql_each("a", "SafetyOff", "SAFETY FULL");
    reader.aligned();

    reader.world(json!({"do": "setEndpoint", "server": "b", "state": "stopped"}));
    reader.until_reason("EndpointStopped");
    reader.sql("b", "EndpointStopped", "SELECT").has("mirroring_endpoint\tSTOPPED\tALL");
    reader.sql("b", "EndpointStopped", "STATE = STARTED");
    reader.aligned();

    disconnected_partners(&mut reader);
    paused_session(&mut reader);
    newer_partner(&mut reader);
    reader.finish();
}

fn disconnected_partners(reader: &mut Reader) {
    reader.world(json!({"do": "cut", "a": "a", "b": "b"}));
    reader.until_reason("PartnersDisconnected");
    for server in ["a", "b"] {
        let page = "PartnersDisconnected";
        reader.sql(server, page, "AS owner").has("mirroring_endpoint\tSTARTED\tALL\tsa\t5022");
        reader.sql(server, page, "permission_name").has("mirroring_endpoint\tCONTOSO\\svc-sql\tCONNECT\tGRANT");
        reader.sql(server, page, "sp_readerrorlog").has("The mirroring connection to");
    }
    reader.world(json!({"do": "reconnect", "a": "a", "b": "b"}));
    reader.aligned();
}

fn paused_session(reader: &mut Reader) {
    let page = "MirroringSuspended";
    reader.world(json!({"do": "suspend", "pair": "pool01"}));
    reader.until_reason(page);
    for server in ["a", "b"] {
        reader.sql(server, page, "sp_readerrorlog").lacks("Force Service");
    }
    reader.sql("a", page, "LOGSPACE").has("rtcxds\tDATABASE_MIRRORING");
    // On the mirror the statement is refused and changes nothing.
    assert_eq!(reader.try_sql("b", page, "RESUME", &[]).errors, [1470, 5069]);
    reader.sql_each("a", page, "RESUME");
    reader.aligned();
}

fn newer_partner(reader: &mut Reader) {
    let page = "OneWayMove";
    reader.world(json!({"do": "setVersion", "server": "b", "version": "12.0.6024.0"}));
    reader.restart("b");
    reader.until_condition("Synchronized", ("True", "AllSynchronized"));
    reader.apply(true, super::reader::user("Mirror"));
    reader.until_reason(page);
    reader.sh_with(page, r#""value":"Mirror""#, &[(r#""value":"Mirror""#, r#""value":"Primary""#)]).unwrap();
    reader.aligned();
    assert_eq!(reader.pool.failovers(), Vec::<String>::new(), "nothing moves");

    reader.apply(true, super::reader::user("Mirror"));
    reader.until_reason(page);
    reader.sql("a", page, "CHECKDB");
    reader.sql_each("a", page, "WITNESS OFF");
    reader.with_epoch(page, "approve");
    let page = "VersionMismatch";
    reader.until_reason(page);
    assert_eq!(reader.pool.failovers().len(), USER.len());
    for server in ["a", "b"] {
        reader.sql(server, page, "sp_readerrorlog").lacks("Force Service");
    }
    reader.sql("a", page, "ProductVersion").has("11.0.7001.0");
    reader.sql("b", page, "ProductVersion").has("12.0.6024.0");
    // Before the upgrade the session does not stay resumed.
    reader.sql_each("b", page, "RESUME");
    let states = "SELECT mirroring_state_desc FROM sys.database_mirroring WHERE mirroring_guid IS NOT NULL";
    reader.batch("b", states).has("SUSPENDED").lacks("SYNCHRON");
    reader.until_reason(page);
    reader.world(json!({"do": "setVersion", "server": "a", "version": "12.0.6024.0"}));
    reader.restart("a");
    reader.until_condition("PartnersReachable", ("True", "PartnersReachable"));
    reader.sql_each("b", page, "RESUME");
    reader.until_reason("Aligned");
}
