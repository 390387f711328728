//! Pages about logins, Secrets and permissions.

use serde_json::json;

use super::reader::{PASSWORD, Reader, can_run, user};

pub const FILES: &[&str] = &[
    "reasons/SecretNotFound",
    "reasons/SecretKeyMissing",
    "reasons/CaBundleNotFound",
    "reasons/CaBundleInvalid",
    "reasons/CredentialsForbidden",
    "reasons/CredentialsUnreadable",
];

/// What a page writes for the password, and for the name of the Secret.
const SECRET: [(&str, &str); 2] = [("generic SECRET", "generic sql"), ("password=...", "password=Passw0rd")];

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_missing_objects_create_them() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::bare("advice-files", false, FILES).await;
    reader.apply(false, user("Primary"));
    reader.until_reason("SecretNotFound");
    reader.sh_with("SecretNotFound", "create secret", &SECRET).unwrap();
    reader.until_reason("CaBundleNotFound");
    reader.sh("CaBundleNotFound", "create configmap");
    reader.aligned();

    reader.pool.cluster.kubectl(&["delete", "secret", "sql", "-n", &reader.pool.namespace]);
    let only_name = ["create", "secret", "generic", "sql", "-n", &reader.pool.namespace, "--from-literal=username=x"];
    reader.pool.cluster.kubectl(&only_name);
    reader.until_reason("SecretKeyMissing");
    reader.sh_with("SecretKeyMissing", "create secret", &SECRET).unwrap();
    reader.aligned();

    reader.pool.ca_bundle("no certificate");
    reader.until_reason("CaBundleInvalid");
    reader.sh("CaBundleInvalid", "create configmap");
    reader.aligned();
    // The API server of this test returns every object, so that the command has no error to show.
    let objects = reader.sh("CredentialsUnreadable", "get secrets");
    assert!(objects.contains("secret/sql") && objects.contains("configmap/"), "{objects}");
    forbidden_secret(&mut reader);
    reader.finish();
}

fn forbidden_secret(reader: &mut Reader) {
    let (page, namespace) = ("CredentialsForbidden", reader.pool.namespace.clone());
    let role = format!("lync-mirror-{namespace}");
    let cluster = reader.pool.cluster;
    let granted = cluster.get_json(&["role", &role, "-n", &namespace]).unwrap();
    let mut reduced = granted.clone();
    let rules = reduced["rules"].as_array_mut().unwrap();
    rules.retain(|rule| !rule["resources"].to_string().contains("secrets"));
    reduced["metadata"]["resourceVersion"] = serde_json::Value::Null;
    cluster.apply(&reduced);
    reader.until_reason(page);
    // The operator of this test has a ServiceAccount of its own.
    let account = format!("{namespace}:lync-mirror-{namespace}");
    let own = [("secret/SECRET", "secret/sql"), ("lync-mirror-system:lync-mirror", account.as_str())];
    let answer = reader.sh_with(page, "auth can-i", &own).unwrap_err();
    assert_eq!(answer.trim(), "no");
    let mut again = granted;
    again["metadata"]["resourceVersion"] = serde_json::Value::Null;
    cluster.apply(&again);
    assert_eq!(reader.sh_with(page, "auth can-i", &own).unwrap().trim(), "yes");
    reader.aligned();
}

pub const LOGINS: &[&str] = &[
    "reasons/LoginFailed",
    "reasons/CredentialsStale",
    "reasons/LoginLocked",
    "reasons/PasswordExpired",
    "reasons/PermissionMissing",
    "reasons/LogonTriggerFailed",
    "reasons/ConnectionLimit",
    "reasons/SingleUser",
    "reasons/LoginError",
    "reasons/ConnectionLost",
    "reasons/QueryFailed",
    "reasons/ServerTooOld",
    "how-to/sql-permissions",
    "how-to/kerberos",
];

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_refused_logins_let_the_operator_in() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-logins", false, LOGINS).await;
    stale_and_failed(&mut reader);
    locked_and_expired(&mut reader);
    triggers_and_limits(&mut reader);
    single_user(&mut reader);
    rights_of_the_login(&mut reader);
    broken_connections(&mut reader);
    grants_of_the_how_to_pages(&mut reader);
    reader.finish();
}

fn stale_and_failed(reader: &mut Reader) {
    // The operator notices stale credentials by a login every five minutes, which is too long here
    // (`verify_login_shows_that_the_credentials_became_invalid`). The commands are the same once the login is refused.
    reader.pool.secret_of("lync_mirror", "wrong");
    reader.until_reason("LoginFailed");
    for server in ["a", "b"] {
        reader.sql(server, "CredentialsStale", "sp_readerrorlog").has("Login failed for user 'lync_mirror'");
    }
    reader.sh_with("CredentialsStale", "create secret", &SECRET).unwrap();
    reader.aligned();

    reader.pool.secret_of("lync_mirror", "wrong");
    reader.until_reason("LoginFailed");
    let log = reader.sql("b", "LoginFailed", "sp_readerrorlog");
    log.has("Login failed for user 'lync_mirror'").has("Password did not match");
    reader.sql("b", "LoginFailed", "FROM WINDOWS");
    reader.sh_with("LoginFailed", "create secret", &SECRET).unwrap();
    reader.aligned();
}

fn locked_and_expired(reader: &mut Reader) {
    reader.world(json!({"do": "setLogin", "server": "b", "login": "lync_mirror", "locked": true}));
    reader.restart("b");
    reader.until_reason("LoginLocked");
    reader.sql_with("b", "LoginLocked", "UNLOCK", &[("N'...'", "N'Passw0rd'")]);
    reader.aligned();

    let page = "PasswordExpired";
    reader.world(json!({"do": "setLogin", "server": "b", "login": "lync_mirror", "expired": true}));
    reader.restart("b");
    reader.until_reason(page);
    for server in ["a", "b"] {
        reader.sql_with(server, page, "WITH PASSWORD", &[("N'...'", "N'Fresh-1'")]);
    }
    reader.pool.secret_of("lync_mirror", "Fresh-1");
    reader.aligned();
    reader.world(json!({"do": "setLogin", "server": "b", "login": "lync_mirror", "expired": true}));
    reader.restart("b");
    reader.until_reason(page);
    reader.sql("b", page, "CHECK_EXPIRATION");
    reader.aligned();
    for server in ["a", "b"] {
        reader.batch(server, &format!("ALTER LOGIN [lync_mirror] WITH PASSWORD = N'{PASSWORD}'"));
    }
    reader.pool.secret_of("lync_mirror", PASSWORD);
    reader.aligned();
}

fn triggers_and_limits(reader: &mut Reader) {
    let page = "LogonTriggerFailed";
    let triggers = json!({"logonTriggers": {"office_hours": {"refuses": "lync_mirror"}}});
    reader.world(json!({"do": "setInventory", "server": "b", "inventory": triggers}));
    reader.restart("b");
    reader.until_reason(page);
    let answer = reader.sql_with("b", page, "DISABLE TRIGGER", &[("[NAME]", "[office_hours]")]);
    answer.has("office_hours\t0");
    reader.aligned();

    let page = "ConnectionLimit";
    let limit = json!({"do": "refuseLogins", "server": "b", "number": 18458, "login": "lync_mirror"});
    reader.world(limit);
    reader.restart("b");
    reader.until_reason(page);
    reader.sql("b", page, "dm_exec_sessions").has("user connections\t0");
    reader.world(json!({"do": "acceptLogins", "server": "b"}));
    reader.aligned();

    reader.world(json!({"do": "refuseLogins", "server": "b", "number": 18400, "login": "lync_mirror"}));
    reader.restart("b");
    reader.until_reason("LoginError");
    reader.sql("b", "LoginError", "sp_readerrorlog").has("Error: 18400,");
    reader.world(json!({"do": "acceptLogins", "server": "b"}));
    reader.aligned();
}

fn single_user(reader: &mut Reader) {
    let page = "SingleUser";
    reader.world(json!({"do": "refuseLogins", "server": "b", "number": 18461, "login": "lync_mirror"}));
    reader.restart("b");
    reader.until_reason(page);
    reader.world(json!({"do": "acceptLogins", "server": "b"}));
    reader.aligned();
    // Before the maintenance, one way or the other.
    reader.sh(page, "stopPolls");
    reader.until_reason("Suspended");
    let open = own_sessions(reader);
    assert!(open.is_empty(), "the operator has ended its connections: {open:?}");
    reader.pool.patch("pool01", &json!({"spec": {"suspend": null}}));
    reader.aligned();
    reader.sql("b", page, "DISABLE");
    let own = own_sessions(reader);
    assert!(!own.is_empty(), "the operator has a session");
    for session in own {
        reader.sql_with("b", page, "KILL", &[("KILL 55", &format!("KILL {session}"))]);
    }
    reader.until_reason("LoginLocked");
    reader.sql("b", page, "ENABLE");
    reader.aligned();
}

/// The sessions that the page lists on the server.
fn own_sessions(reader: &mut Reader) -> Vec<String> {
    let sessions = reader.sql("b", "SingleUser", "dm_exec_sessions").text;
    let ids = sessions.split_whitespace().filter(|word| word.parse::<u64>().is_ok_and(|id| id > 50));
    ids.map(str::to_owned).collect()
}

fn rights_of_the_login(reader: &mut Reader) {
    reader.world(json!({"do": "setSysadmin", "server": "b", "login": "lync_mirror", "sysadmin": false}));
    reader.until_reason("PermissionMissing");
    reader.sql("b", "PermissionMissing", "ADD MEMBER");
    reader.aligned();
}

fn broken_connections(reader: &mut Reader) {
    reader.world(json!({"do": "cutBefore", "server": "b", "matching": "database_mirroring", "times": 8}));
    reader.until_reason("ConnectionLost");
    reader.sql("b", "ConnectionLost", "sp_readerrorlog").has("ready for client connections");
    reader.aligned();

    let fault = json!({"do": "refuse", "server": "b", "matching": "database_mirroring", "number": 1205, "class": 13, "times": 8});
    reader.world(fault);
    reader.until_reason("QueryFailed");
    let printed = reader.sh("QueryFailed", ".status.servers");
    assert!(printed.contains("Mirror: ") && printed.contains("1205"), "{printed}");
    reader.aligned();

    // The principal: a mirror that is older than its principal suspends the session.
    reader.world(json!({"do": "setVersion", "server": "a", "version": "9.0.5000.0"}));
    reader.restart("a");
    reader.until_reason("ServerTooOld");
    reader.sql("a", "ServerTooOld", "ProductVersion").has("9.0.5000.0");
    reader.world(json!({"do": "setVersion", "server": "a", "version": "11.0.7001.0"}));
    reader.restart("a");
    reader.aligned();
}

/// The login of the operator is created anew on both partners and on the witness, as the how-to page prints it.
fn grants_of_the_how_to_pages(reader: &mut Reader) {
    let page = "how-to/sql-permissions";
    for server in ["a", "b", "w"] {
        reader.batch(server, "ALTER LOGIN [lync_mirror] DISABLE");
        let sessions = "SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = N'lync_mirror'";
        for session in reader.batch(server, sessions).text.split_whitespace().filter(|word| word.parse::<u64>().is_ok())
        {
            reader.batch(server, &format!("KILL {session}"));
        }
        crate::support::until("the login is dropped", || {
            let answer = reader.batch(server, "DROP LOGIN [lync_mirror]");
            if answer.errors.is_empty() { Ok(()) } else { Err(answer.text) }
        });
    }
    reader.until_reason("LoginFailed");
    let password = ("N'...'", "N'Passw0rd'");
    reader.sql_with("a", page, "WITH PASSWORD = N'...', DEFAULT_DATABASE = [master];\nALTER SERVER ROLE", &[password]);
    let printed = reader.sql("a", page, "SELECT sid").text;
    let sid = printed.split_whitespace().find(|word| word.len() == 32).unwrap_or_else(|| panic!("{printed}"));
    reader.sql_with("b", page, "SID = 0x...", &[password, ("0x...", &format!("0x{sid}"))]);
    reader.aligned();
    reader.sql_with("w", page, "VIEW ANY DATABASE", &[password]);
    reader.sql("a", "how-to/kerberos", "FROM WINDOWS");
    let windows = reader.batch("a", "SELECT name, type FROM sys.server_principals WHERE type = N'U'");
    windows.has("CONTOSO\\svc-lync\tU");
}
