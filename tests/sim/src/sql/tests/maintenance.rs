//! Statements with which an administrator maintains databases and sessions.

use serde_json::json;

use super::Client;
use crate::config::Config;
use crate::value::Value;

fn pair() -> Config {
    let mut config = Config::sample();
    config.pairs[0].witness = None;
    config
}

/// The texts of the error log that contain `text`.
fn log(client: &mut Client, text: &str) -> Vec<String> {
    let answer = client.run(&format!("EXEC sp_readerrorlog 0, 1, N'{}'", text.replace('\'', "''")));
    assert_eq!(answer.errors, [0; 0]);
    let text = |row: Vec<Value>| match row.into_iter().nth(2) {
        Some(Value::NVarChar(text)) => text,
        other => panic!("{other:?}"),
    };
    answer.rows.into_iter().map(text).collect()
}

#[test]
fn backups_of_databases_need_an_open_copy() {
    let backup = r"BACKUP DATABASE [rtcxds] TO DISK = N'E:\keep\rtcxds.bak' WITH COPY_ONLY, CHECKSUM";
    let mut client = Client::with(&pair(), "a");
    assert_eq!(client.errors(backup), [0; 0]);
    client.log_in("b");
    assert_eq!(client.errors(backup), [954, 3013]);
    assert_eq!(client.errors("DBCC CHECKDB (N'rtcxds') WITH NO_INFOMSGS"), [954]);
    client.log_in("a");
    assert_eq!(client.errors("DBCC CHECKDB (N'rtcxds') WITH NO_INFOMSGS"), [0; 0]);
    assert_eq!(client.errors("BACKUP DATABASE [unknown] TO DISK = 'x'"), [911, 3013]);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn tail_of_the_log_is_applied_to_a_copy_that_left_its_session() {
    let restore = r"RESTORE LOG [rtcxds] FROM DISK = N'E:\keep\tail.trn' WITH NORECOVERY";
    let mut client = Client::with(&pair(), "a");
    client.apply(&json!({"do": "setDatabaseState", "server": "a", "database": "rtcxds", "state": 4}));
    assert_eq!(client.errors(r"BACKUP LOG [rtcxds] TO DISK = N'E:\keep\tail.trn' WITH NO_TRUNCATE"), [0; 0]);
    client.log_in("b");
    assert_eq!(client.errors(restore), [3104, 3013]);
    client.errors("ALTER DATABASE [rtcxds] SET PARTNER OFF");
    assert_eq!(client.errors(r"RESTORE LOG [rtcxds] FROM DISK = N'E:\other.trn' WITH NORECOVERY"), [3201, 3013]);
    assert_eq!(client.errors(restore), [0; 0]);
    assert_eq!(client.errors("RESTORE DATABASE [rtcxds] WITH RECOVERY"), [0; 0]);
    assert_eq!(client.errors(restore), [3117, 3013]);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn database_is_renamed_only_outside_a_session_and_unused() {
    let rename = "ALTER DATABASE [rtcxds] MODIFY NAME = [old]";
    let mut client = Client::with(&pair(), "a");
    assert_eq!(client.errors(rename), [1468, 5069]);
    client.errors("ALTER DATABASE [rtcxds] SET PARTNER OFF; USE [rtcxds]");
    let user = client.session;
    client.log_in("a");
    assert_eq!(client.errors(rename), [5030]);
    assert_eq!(client.errors("ALTER DATABASE [rtcxds] MODIFY NAME = [rtcab]"), [1801]);
    assert_eq!(client.errors(&format!("KILL {user}")), [0; 0]);
    assert_eq!(client.errors(rename), [0; 0]);
    assert_eq!(client.text("SELECT name FROM sys.databases WHERE name IN (N'old', N'rtcxds')"), "old");
    assert_eq!(client.errors("USE [old]"), [0; 0]);
    assert_eq!(client.errors(&format!("KILL {user}")), [6106]);
    let own = client.session;
    assert_eq!(client.errors(&format!("KILL {own}")), [6104]);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn sessions_are_counted_in_groups() {
    let mut client = Client::with(&pair(), "a");
    client.log_in("a");
    client.errors("USE rtcxds");
    client.log_in("a");
    let count =
        "SELECT DB_NAME(dbid) AS name, COUNT(*) AS connections FROM sys.sysprocesses GROUP BY dbid ORDER BY 2 DESC";
    let rows = client.run(count).rows;
    assert_eq!(rows[0], [Value::NVarChar("master".to_owned()), Value::Int(2)]);
    assert_eq!(rows[1], [Value::NVarChar("rtcxds".to_owned()), Value::Int(1)]);
    let ungrouped = "SELECT program_name, COUNT(*) FROM sys.dm_exec_sessions GROUP BY session_id";
    assert_eq!(client.errors(ungrouped), [8120]);
    assert_eq!(client.errors("SELECT session_id FROM sys.dm_exec_sessions WHERE program_name = N'x'"), [0; 0]);
    assert_eq!(client.text("SELECT SUSER_NAME(principal_id) FROM sys.database_mirroring_endpoints"), "sa");
    let limit = "SELECT value_in_use FROM sys.configurations WHERE name = N'user connections'";
    assert_eq!(client.text(limit), "0");
    assert_eq!(client.run("DBCC SQLPERF(LOGSPACE)").rows.len(), 7);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn error_log_shows_starts_role_changes_and_refused_logins() {
    let mut client = Client::with(&pair(), "b");
    client.apply(&json!({"do": "kill", "server": "a"}));
    client.advance(11_000);
    client.errors("ALTER DATABASE [rtcxds] SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS");
    assert_eq!(log(&mut client, "Force Service").len(), 1);
    let setting = json!({"do": "setServerSettings", "server": "a", "settings": {"recoveryMillis": 100}});
    client.apply(&setting);
    client.apply(&json!({"do": "start", "server": "a"}));
    client.log_in("a");
    assert!(!log(&mut client, "Recovery of database 'rtcxds'").is_empty());
    client.advance(20_000);
    assert_eq!(log(&mut client, "Role Synchronization").len(), 1, "the old principal is the mirror of the survivor");
    let refused = client.world.login(client.now, "a", "operator", Some("wrong"), "").unwrap_err();
    assert_eq!(refused.number, 18456);
    assert_eq!(log(&mut client, "Login failed for user 'operator'").len(), 1);
    assert_eq!(log(&mut client, "Error: 18456, Severity: 14, State: 8.").len(), 1);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn refused_login_is_repaired_by_the_statement_for_its_cause() {
    let mut client = Client::new("a");
    client.errors("CREATE LOGIN [app] WITH PASSWORD = N'p'");
    let number = |client: &mut Client, password: &str| {
        client.world.login(client.now, "a", "app", Some(password), "").map_or_else(|error| error.number, |_| 0)
    };
    client.apply(&json!({"do": "setLogin", "server": "a", "login": "app", "locked": true}));
    assert_eq!(number(&mut client, "p"), 18486);
    client.errors("ALTER LOGIN [app] WITH PASSWORD = N'p' UNLOCK");
    client.apply(&json!({"do": "setLogin", "server": "a", "login": "app", "expired": true}));
    assert_eq!(number(&mut client, "p"), 18487);
    client.errors("ALTER LOGIN [app] WITH CHECK_EXPIRATION = OFF");
    assert_eq!(number(&mut client, "p"), 0);
    let triggers = json!({"logonTriggers": {"hours": {"refuses": "app"}}});
    client.apply(&json!({"do": "setInventory", "server": "a", "inventory": triggers}));
    assert_eq!(number(&mut client, "p"), 17892);
    assert_eq!(client.errors("DISABLE TRIGGER [other] ON ALL SERVER"), [15151]);
    client.errors("DISABLE TRIGGER [hours] ON ALL SERVER");
    assert_eq!(number(&mut client, "p"), 0);
    let hashed = "CREATE LOGIN [backup] WITH PASSWORD = 0x0200AB HASHED, SID = 0x0701";
    assert_eq!(client.errors(hashed), [15419]);
    client.apply(&json!({"do": "refuseLogins", "server": "a", "number": 17809, "login": "app"}));
    assert_eq!(number(&mut client, "p"), 17809);
    client.log_in("a");
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}
