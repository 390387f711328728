//! The statements of the reason pages.

use serde_json::json;

use super::Client;
use crate::config::Config;
use crate::value::Value;

fn pair() -> Config {
    let mut config = Config::sample();
    config.pairs[0].witness = None;
    config
}

#[test]
fn login_created_with_sid_is_equal_on_both_servers() {
    let sid = "SELECT sid FROM sys.server_principals WHERE name = N'app'";
    let mut client = Client::new("a");
    client.errors("CREATE LOGIN [app] WITH PASSWORD = N'Secret-1', CHECK_POLICY = OFF");
    let on_a = client.value(sid);
    client.log_in("b");
    client.errors("CREATE LOGIN [app] WITH PASSWORD = N'Secret-1'");
    assert_ne!(client.value(sid), on_a, "every server makes its own SID");
    let Value::Binary(bytes) = &on_a else { panic!("{on_a:?}") };
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let again =
        format!("DROP LOGIN [app]; CREATE LOGIN [app] WITH PASSWORD = 'Secret-1', SID = 0x{hex}, CHECK_POLICY = ON");
    assert_eq!(client.errors(&again), [0; 0]);
    assert_eq!(client.value(sid), on_a);
    assert_eq!(client.errors(&format!("CREATE LOGIN [other] WITH PASSWORD = '', SID = 0x{hex}")), [15433]);
    assert_eq!(client.errors("CREATE LOGIN [other] WITH PASSWORD = '', SID = 0x01"), [15433]);
    assert_eq!(client.errors("CREATE LOGIN [APP] WITH PASSWORD = ''"), [15025]);
    assert_eq!(client.errors("DROP LOGIN [operator]"), [15434]);
    assert_eq!(client.errors("DROP LOGIN [unknown]"), [15151]);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn login_rights_and_state_are_changed() {
    let mut client = Client::new("a");
    client.errors("CREATE LOGIN [app] WITH PASSWORD = N'p'; ALTER LOGIN [app] DISABLE");
    let login = |client: &mut Client, password: &str| {
        client.world.login(client.now, "a", "app", Some(password), "").map(|login| login.session)
    };
    assert_eq!(login(&mut client, "p").unwrap_err().number, 18470);
    client.errors("ALTER LOGIN [app] ENABLE; ALTER LOGIN [app] WITH PASSWORD = N'q' UNLOCK");
    let app = login(&mut client, "q").unwrap();
    let operator = client.session;
    let rights = "SELECT IS_SRVROLEMEMBER('sysadmin') + HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')";
    client.session = app;
    assert_eq!(client.value(rights), Value::Int(0));
    assert_eq!(client.errors("CREATE LOGIN [x] WITH PASSWORD = ''"), [15247]);
    client.session = operator;
    client.errors("GRANT VIEW SERVER STATE TO [app]");
    client.session = app;
    assert_eq!(client.value(rights), Value::Int(1));
    client.session = operator;
    assert_eq!(client.errors("EXEC sp_addsrvrolemember N'app', N'sysadmin'"), [0; 0]);
    client.session = app;
    assert_eq!(client.value(rights), Value::Int(2));
    client.session = operator;
    assert_eq!(client.errors("ALTER SERVER ROLE [sysadmin] DROP MEMBER [app]"), [0; 0]);
    assert_eq!(client.errors("EXEC master..sp_addsrvrolemember @loginame = N'app', @rolename = N'sysadmin'"), [0; 0]);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
    assert_eq!(client.errors("ALTER SERVER ROLE [dbcreator] ADD MEMBER [app]"), [0; 0]);
    let roles = "SELECT p.name FROM sys.server_role_members AS m \
        JOIN sys.server_principals AS p ON p.principal_id = m.role_principal_id \
        JOIN sys.server_principals AS l ON l.principal_id = m.member_principal_id WHERE l.name = N'app' ORDER BY p.name";
    assert_eq!(client.run(roles).rows.len(), 2);
    assert_eq!(client.errors("ALTER SERVER ROLE [own_role] ADD MEMBER [app]"), [102]);
    assert_eq!(client.world.failures.len(), 1);
}

#[test]
fn copy_is_recovered_after_mirroring_was_removed() {
    let mut client = Client::with(&pair(), "b");
    assert_eq!(client.errors("RESTORE DATABASE [rtcxds] WITH RECOVERY"), [3104, 3013]);
    client.apply(&json!({"do": "kill", "server": "a"}));
    client.advance(11_000);
    assert_eq!(client.errors("ALTER DATABASE [rtcxds] SET PARTNER OFF"), [0; 0]);
    assert_eq!(client.errors("USE [rtcxds]"), [927]);
    assert_eq!(client.errors("RESTORE DATABASE [rtcxds] WITH RECOVERY; USE [rtcxds]"), [0; 0]);
    assert_eq!(client.errors("USE master; RESTORE DATABASE [rtcxds] WITH RECOVERY"), [3153, 3013]);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn tail_of_the_log_is_backed_up_where_sql_server_allows_it() {
    let backup = |options: &str| format!(r"BACKUP LOG [rtcxds] TO DISK = N'D:\tail.trn' WITH {options}");
    let mut client = Client::with(&pair(), "b");
    assert_eq!(client.errors(&backup("NORECOVERY, NO_TRUNCATE")), [954, 3013]);
    client.log_in("a");
    assert_eq!(client.errors(&backup("COPY_ONLY")), [0; 0]);
    client.apply(&json!({"do": "setDatabaseState", "server": "a", "database": "rtcxds", "state": 4}));
    assert_eq!(client.errors(&backup("INIT")), [3049, 3013]);
    assert_eq!(client.errors(&backup("NO_TRUNCATE")), [0; 0]);
    client.errors("ALTER DATABASE [rtcxds] SET PARTNER OFF");
    assert_eq!(client.errors(&backup("NORECOVERY, NO_TRUNCATE")), [0; 0]);
    assert_eq!(client.text("SELECT state_desc FROM sys.databases WHERE name = 'rtcxds'"), "RESTORING");
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn endpoint_and_owner_are_changed() {
    let mut client = Client::new("a");
    client.errors("ALTER ENDPOINT [mirroring_endpoint] STATE = STOPPED");
    let state = "SELECT state_desc FROM sys.database_mirroring_endpoints";
    assert_eq!(client.text(state), "STOPPED");
    client.errors("ALTER ENDPOINT [mirroring_endpoint] STATE = STARTED");
    assert_eq!(client.text(state), "STARTED");
    assert_eq!(client.errors("ALTER ENDPOINT [other] STATE = STARTED"), [15151]);
    assert_eq!(client.errors("ALTER AUTHORIZATION ON DATABASE::[rtcxds] TO [operator]"), [0; 0]);
    assert_eq!(client.text("SELECT SUSER_SNAME(owner_sid) FROM sys.databases WHERE name = 'rtcxds'"), "operator");
    client.log_in("b");
    assert_eq!(client.errors("ALTER AUTHORIZATION ON DATABASE::[rtcxds] TO [operator]"), [15151]);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn partner_statements_of_the_pages_work() {
    let mut client = Client::with(&pair(), "a");
    for action in ["SUSPEND", "RESUME", "SAFETY OFF", "SAFETY FULL", "TIMEOUT 20", "OFF"] {
        assert_eq!(client.errors(&format!("ALTER DATABASE [rtcab] SET PARTNER {action}")), [0; 0], "{action}");
    }
    client.apply(&json!({"do": "setPairSettings", "pair": "user", "settings": {"pausedLogIsFull": true}}));
    client.errors("USE rtcxds; ALTER DATABASE [rtcxds] SET PARTNER SUSPEND");
    assert_eq!(client.errors("CHECKPOINT"), [9002]);
    client.errors("ALTER DATABASE [rtcxds] SET PARTNER RESUME");
    assert_eq!(client.errors("CHECKPOINT"), [0; 0]);
}

#[test]
fn principals_are_renamed_windows_logins_and_char() {
    let mut config = pair();
    for (server, login) in config.servers.iter_mut().zip([r"Contoso\x", r"CONTOSO\x"]) {
        server.inventory.sa_name = Some("root".to_owned());
        let mut windows = server.logins[0].clone();
        (windows.name, windows.password) = (login.to_owned(), None);
        server.logins.push(windows);
    }
    let mut client = Client::with(&config, "a");
    let principals = "SELECT type, sid FROM sys.server_principals WHERE name = N'contoso\\x'";
    let on_a = client.run(principals).rows;
    assert_eq!(on_a[0][0], Value::NVarChar("U".to_owned()));
    assert_eq!(client.text("SELECT SUSER_SNAME(0x01)"), "root");
    client.log_in("b");
    assert_eq!(client.run(principals).rows, on_a, "the domain assigns the SID");
}
