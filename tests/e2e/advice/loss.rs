//! Pages about lost servers, forced service and copies that need a decision.

use serde_json::{Value, json};

use super::reader::{Reader, USER, can_run, user};
use super::session::ROWS;

/// The clients of each copy.
const CLIENTS: &str = "sys.sysprocesses";

pub const FORCED: &[&str] = &["reasons/PrincipalLost", "reasons/ServiceForced", "reasons/ServiceUnknown"];

fn backup_old(reader: &mut Reader) {
    reader.sql_each("a", "ServiceForced", "rtcxds-old.bak");
}

/// The principal is lost, and a consent forces service on the mirror.
fn consent(reader: &mut Reader) {
    reader.world(json!({"do": "kill", "server": "a"}));
    reader.until_user("planned", |user| {
        user["reason"] == "PrincipalLost" && user["message"].as_str().unwrap_or_default().contains("epoch")
    });
    let printed = reader.sh("PrincipalLost", ".epoch");
    let (epoch, plan) = printed.split_once('\n').unwrap();
    for database in USER {
        let statement = format!("SQL-B\\RTC: ALTER DATABASE [{database}] SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS");
        assert!(plan.contains(&statement), "{printed}");
    }
    reader.consent("PrincipalLost", epoch);
    reader.until_user("forced", |user| user["reason"] == "ServiceForced" && user["observed"] == "Mirror");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_forced_service_lead_to_one_live_copy() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-forced", false, FORCED).await;
    consent(&mut reader);
    reader.sql("b", "ServiceForced", ROWS).has("PRINCIPAL");
    reader.sql_each("b", "ServiceForced", "rtcxds-survivor.bak");

    // The old principal is read before it reconnects: it serves its copy again, as the page warns.
    reader.world(json!({"do": "cut", "a": "a", "b": "b"}));
    reader.world(json!({"do": "start", "server": "a"}));
    reader.until_reason("TwoPrincipals");
    backup_old(&mut reader);
    reader.sql_each("a", "ServiceForced", "rtcxds-old-tail.trn");

    reader.world(json!({"do": "reconnect", "a": "a", "b": "b"}));
    reader.until_user("back", |user| {
        user["reason"] == "ServiceForced" && user["message"].as_str().unwrap_or_default().contains("SUSPENDED")
    });
    let rows = reader.sql("a", "ServiceForced", ROWS);
    rows.has("MIRROR\tSUSPENDED");
    let tail = reader.try_sql("a", "ServiceForced", "keep\\rtcxds-tail.trn", &[]);
    assert_eq!(tail.errors, [954, 3013], "a refusal changes nothing");
    reader.sql("a", "ServiceForced", ROWS).has("MIRROR\tSUSPENDED");
    let refused = reader.try_sql("a", "ServiceForced", "RESUME", &[]);
    assert_eq!(refused.errors, [1470, 5069], "RESUME runs on the survivor");
    reader.sql_each("b", "ServiceForced", "RESUME");
    // The principal is still on the survivor.
    reader.until_user("synchronized", |user| user["reason"] == "UnexpectedPrincipal" && user["service"] == "Protected");
    reader.sh("ServiceForced", "remove");
    keep_both_copies(&mut reader);
    let with_witness = force_with_a_witness().await;
    reader.join(with_witness);
    reader.finish();
}

/// With a witness only an administrator forces service, on the mirror that reaches the witness.
async fn force_with_a_witness() -> Reader {
    let mut reader = Reader::start("advice-forced-w", true, FORCED).await;
    // A copy that was not synchronized: the witness does not fail over.
    reader.world(json!({"do": "desync", "pair": "pool01", "millis": 600_000}));
    reader.world(json!({"do": "kill", "server": "a"}));
    let status = reader.until_reason("PrincipalLost");
    assert!(Reader::message(&status).contains("witness"), "{status}");
    let words = "FORCE_SERVICE_ALLOW_DATA_LOSS";
    reader.sql_each("b", "PrincipalLost", words);
    reader.until_user("served", |user| user["observed"] == "Mirror" && user["service"] == "Exposed");
    reader.sql("b", "ServiceForced", ROWS).has("PRINCIPAL");
    // Without the witness it would be refused, as the page warns.
    reader.world(json!({"do": "start", "server": "a"}));
    reader.until_copies("MirroringSuspended");
    let refused = reader.try_sql("a", "PrincipalLost", words, &[]);
    assert_eq!(refused.errors, [1455, 5069], "beside a connected principal");
    reader
}

/// The second choice of ServiceForced, with the seats exchanged back first.
fn keep_both_copies(reader: &mut Reader) {
    reader.world(json!({"do": "failover", "pair": "pool01"}));
    reader.until_reason("Aligned");
    consent(reader);
    let unknown = reader.sh("ServiceUnknown", ".status.servers");
    assert!(unknown.contains("Primary\tConnectionRefused\t"), "{unknown}");
    // Before the partners are connected, the statement ends the session on one side only: the page forbids it here.
    reader.world(json!({"do": "start", "server": "a"}));
    reader.until_user("back", |user| user["message"].as_str().unwrap_or_default().contains("SUSPENDED"));
    let page = "ServiceForced";
    let early = reader.try_sql("a", page, "MODIFY NAME", &[]);
    assert_eq!(early.errors[..1], [3104], "not before the session ended: {}", early.text);
    reader.sql_each("b", page, "PARTNER OFF");
    for server in ["a", "b"] {
        for database in USER {
            reader.batch(server, "SELECT name, mirroring_guid FROM sys.databases AS d JOIN sys.database_mirroring AS m ON m.database_id = d.database_id")
                .has(&format!("{database}\tNULL"));
        }
    }
    reader.sql_each("a", page, "MODIFY NAME");
    reader.batch("a", "USE [rtcxds_before_force]").lacks("Msg 9");
    reader.batch("b", "USE [rtcxds]").lacks("Msg 9");
    reader.until_reason("DatabaseMissing");
}

pub const WITH_WITNESS: &[&str] = &["reasons/NoQuorum", "reasons/NotServed", "reasons/IsolatedPrincipal"];

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_a_lost_quorum_lead_to_one_live_copy() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-quorum", true, WITH_WITNESS).await;
    // The old principal is cut off, and the witness has failed over.
    for other in ["b", "w"] {
        reader.world(json!({"do": "cut", "a": "a", "b": other}));
    }
    reader.until_copies("IsolatedPrincipal");
    reader.sql("a", "IsolatedPrincipal", ROWS).has("RECOVERING").has("DISCONNECTED");
    reader.world(json!({"do": "reconnectAll"}));
    reader.until_user("synchronized", |user| user["reason"] == "UnexpectedPrincipal" && user["service"] == "Protected");
    reader.world(json!({"do": "failover", "pair": "pool01"}));
    reader.until_reason("Aligned");

    // All three are apart: the principal runs without mirror and witness, and does not serve.
    // The mirror loses the witness first, so that it does not fail over.
    reader.world(json!({"do": "cut", "a": "b", "b": "w"}));
    reader.until_condition("QuorumAtRisk", ("True", "WitnessDisconnected"));
    for other in ["b", "w"] {
        reader.world(json!({"do": "cut", "a": "a", "b": other}));
    }
    reader.until_user("NotServed", |user| user["service"] == "NotServed");
    let printed = reader.sh("NotServed", "{.service}");
    assert!(printed.starts_with("User\tNotServed\tNoQuorum\t"), "{printed}");
    reader.batch("a", "USE [rtcxds]").has("Msg 955");
    // The witness is enough.
    reader.world(json!({"do": "reconnect", "a": "a", "b": "w"}));
    reader.until_user("served", |user| user["service"] == "Exposed");
    reader.world(json!({"do": "reconnectAll"}));
    reader.aligned();
    lost_principal_and_witness(&mut reader);
    reader.finish();
}

fn lost_principal_and_witness(reader: &mut Reader) {
    let page = "NoQuorum";
    for server in ["w", "a"] {
        reader.world(json!({"do": "kill", "server": server}));
    }
    reader.until_user("no quorum", |user| user["message"].as_str().unwrap_or_default().contains("quorum"));
    reader.sql("b", page, ROWS).has("MIRROR\tDISCONNECTED").has("DISCONNECTED");
    reader.sql_each("b", page, "PARTNER OFF");
    reader.batch("b", "USE [rtcxds]").has("Msg 927");
    reader.sql_each("b", page, "WITH RECOVERY");
    reader.batch("b", "USE [rtcxds]").lacks("Msg 9");
    // The page: after a further restart the old principal is a second live copy.
    for server in ["a", "w"] {
        reader.world(json!({"do": "start", "server": server}));
    }
    reader.restart("a");
    reader.until_reason("NotMirrored");
    reader.batch("a", "USE [rtcxds]").lacks("Msg 9");
}

pub const BY_HAND: &[&str] = &["reasons/TwoPrincipals", "reasons/NoPrincipal", "reasons/DatabaseRecovering"];

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_two_or_no_principals_lead_to_one() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-principals", false, BY_HAND).await;
    let page = "NoPrincipal";
    for database in USER {
        reader.world(json!({"do": "lie", "server": "a", "database": database, "role": 2}));
    }
    reader.until_reason(page);
    for server in ["a", "b"] {
        reader.sql(server, page, ROWS).has("MIRROR");
        reader.sql(server, page, "sp_readerrorlog").lacks("changing roles");
    }
    reader.world(json!({"do": "clearLies"}));
    reader.aligned();

    let page = "DatabaseRecovering";
    reader.world(json!({"do": "setServerSettings", "server": "a", "settings": {"recoveryMillis": 1500}}));
    reader.restart("a");
    reader.until_reason(page);
    reader.sql("a", page, "sp_readerrorlog").has("Recovery of database 'rtcxds'");
    reader.aligned();

    let page = "TwoPrincipals";
    reader.world(json!({"do": "cut", "a": "a", "b": "b"}));
    reader.until_reason("PartnersDisconnected");
    reader.world(json!({"do": "force", "pair": "pool01"}));
    reader.until_reason(page);
    for server in ["a", "b"] {
        reader.sql(server, page, ROWS).has("PRINCIPAL");
        reader.sql(server, page, CLIENTS);
        reader.sql_each(server, page, "BACKUP DATABASE");
    }
    // The copy with the higher role sequence is to serve.
    reader.world(json!({"do": "reconnect", "a": "a", "b": "b"}));
    reader.until_copies("MirroringSuspended");
    // The check that MirroringSuspended requires before RESUME.
    reader.batch("b", "EXEC sp_readerrorlog 0, 1, N'rtcxds'").has("Force Service");
    reader
        .batch("a", "SELECT mirroring_role_desc FROM sys.database_mirroring WHERE mirroring_guid IS NOT NULL")
        .has("MIRROR");
    reader.finish();
}

pub const COPIES: &[&str] = &[
    "reasons/DatabaseNotOnline",
    "reasons/DatabaseMissing",
    "reasons/NotMirrored",
    "reasons/MirroringRemoved",
    "reasons/SessionMismatch",
    "reasons/PartnerMismatch",
];

/// The type User with these databases only.
fn only(databases: &[&str]) -> Value {
    json!([{"type": "User", "principal": "Primary", "databases": databases}])
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_single_copies_lead_to_a_known_state() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-copies", false, COPIES).await;
    reader.apply(false, only(&["rtcxds", "rtcxdz"]));
    reader.until_reason("DatabaseMissing");
    reader.sql("a", "DatabaseMissing", "sys.databases").has("rtcxds\tONLINE");
    reader.edit("DatabaseMissing", "s|- rtcxdz|- rtcshared|");
    reader.aligned();

    wrong_servers(&mut reader);
    damaged_copies(&mut reader);
    removed_sessions(&mut reader);
    reader.finish();
}

fn wrong_servers(reader: &mut Reader) {
    let port = |id: &str| reader.pool.server(id)["port"].to_string();
    let host = |id: &str| reader.pool.server(id)["host"].as_str().unwrap().to_owned();
    // The mirror of the spec is the server of another pair.
    let (wrong, right) = ((host("d"), port("d")), (host("b"), port("b")));
    let mut pool = reader.resource(false, user("Primary"));
    pool["spec"]["sql"]["mirror"] = reader.pool.server("d");
    reader.pool.cluster.apply(&pool);
    let page = "SessionMismatch";
    reader.until_reason(page);
    reader.sql("a", page, ROWS).has("SQL-B\\RTC");
    reader.sql("d", page, ROWS).has("SQL-C\\RTC");
    let script = format!("s|host: {}|host: {}|; s|port: {}|port: {}|", wrong.0, right.0, wrong.1, right.1);
    reader.edit(page, &script);
    reader.aligned();

    // The session of the principal has a name that the mirror had before.
    let page = "PartnerMismatch";
    for database in USER {
        let lie = json!({"do": "lie", "server": "a", "database": database, "partnerInstance": "SQL-OLD\\RTC"});
        reader.world(lie);
    }
    reader.until_reason(page);
    reader.sql("a", page, ROWS).has("SQL-OLD\\RTC");
    reader.sql("b", page, "stored_name").has("SQL-B\\RTC\tSQL-B\\RTC\tSQL-B");
    reader.world(json!({"do": "clearLies"}));
    reader.aligned();
    // Whether the spec or the name is wrong, the edit is the same command.
    reader.edit(page, "s|switchDeadline: 1m|switchDeadline: 2m|");
}

fn damaged_copies(reader: &mut Reader) {
    let page = "DatabaseNotOnline";
    reader.world(json!({"do": "setServerSettings", "server": "b", "settings": {"nullColumns": "never"}}));
    reader.world(json!({"do": "setDatabaseState", "server": "b", "database": "rtcab", "state": 4}));
    reader.until_reason(page);
    reader.sh(page, "kubectl patch");
    reader.until_condition("Suspended", ("True", "Suspended"));
    reader.sql("a", page, "BACKUP DATABASE");
    reader.sql("b", page, ROWS).has("rtcab\tSUSPECT");
    reader.world(json!({"do": "setDatabaseState", "server": "b", "database": "rtcab", "state": 1}));
    reader.apply(false, user("Primary"));
    reader.pool.patch("pool01", &json!({"spec": {"suspend": null}}));
    reader.aligned();

    reader.world(json!({"do": "setDatabaseState", "server": "a", "database": "rtcxds", "state": 4}));
    reader.until_reason(page);
    reader.sql("a", page, ROWS).has("rtcxds\tSUSPECT");
    reader.sql("a", page, "sp_readerrorlog");
    reader.sql("a", page, "NO_TRUNCATE");
    reader.sql("b", page, "PARTNER OFF");
    reader.batch("b", "USE [rtcxds]").has("Msg 927");
    reader.sql("b", page, "RESTORE LOG");
    reader.batch("b", "USE [rtcxds]").lacks("Msg 9");
    reader.until_reason("NotMirrored");
    // The damaged copy was deleted, and mirroring set up again: here, the type goes on without the database.
    reader.apply(false, only(&["rtcshared", "rtcab"]));
    reader.aligned();
}

fn removed_sessions(reader: &mut Reader) {
    let page = "NotMirrored";
    reader.world(json!({"do": "removeMirroring", "pair": "pool01", "database": "rtcab", "server": "a"}));
    reader.until_reason(page);
    reader.sql_with("a", page, "BACKUP DATABASE", &[("[rtcxds]", "[rtcab]")]);
    reader.edit(page, "/- rtcab/d");
    reader.aligned();

    let page = "MirroringRemoved";
    reader.world(json!({"do": "cut", "a": "a", "b": "b"}));
    reader.until_reason("PartnersDisconnected");
    reader.world(json!({"do": "removeMirroring", "pair": "pool01", "database": "rtcshared", "server": "a"}));
    reader.until_reason(page);
    reader.sql("a", page, ROWS).has("rtcshared\tONLINE\tNULL");
    reader.sql("b", page, ROWS).has("rtcshared\tRESTORING").has("MIRROR\tDISCONNECTED");
    for server in ["a", "b"] {
        reader.sql(server, page, CLIENTS);
    }
    reader.sql_with("a", page, "BACKUP DATABASE", &[("[rtcxds]", "[rtcshared]")]);
    let refused = reader.try_sql("b", page, "BACKUP DATABASE", &[("[rtcxds]", "[rtcshared]")]);
    assert_eq!(refused.errors, [954, 3013], "only a copy that is ONLINE");
    reader.sh(page, "kubectl patch");
    reader.until_condition("Suspended", ("True", "Suspended"));
}
