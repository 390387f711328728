//! Names and texts on a server with a case-sensitive collation.

use serde_json::json;

use super::Client;
use crate::config::Config;
use crate::value::Value;
use crate::world::World;

fn case_sensitive() -> Client {
    let mut config = Config::sample();
    config.servers[0].settings.case_sensitive = true;
    config.pairs[0].databases = vec!["RtcXds".to_owned()];
    Client::with(&config, "a")
}

#[test]
fn case_sensitive_server_compares_names_and_texts_with_case() {
    let mut client = case_sensitive();
    let named = |name: &str| format!("SELECT COUNT(*) FROM sys.databases WHERE name = N'{name}'");
    let counted = |client: &mut Client, name: &str| client.value(&named(name));
    assert_eq!((counted(&mut client, "rtcxds"), counted(&mut client, "RtcXds")), (Value::Int(0), Value::Int(1)));
    assert_eq!(client.value("SELECT DB_ID(N'rtcxds')"), Value::Null);
    assert_eq!(client.value("SELECT DB_ID(N'RtcXds')"), Value::Int(5));
    assert_eq!(client.errors("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER"), [5011, 5069]);
    assert!(client.errors("ALTER DATABASE [RtcXds] SET PARTNER FAILOVER").is_empty());
    assert_eq!(client.errors("USE [MASTER]"), [911]);
    assert_eq!(client.errors("SELECT Name FROM sys.databases"), [207]);
    assert_eq!(client.errors("SELECT name FROM sys.Databases"), [208]);
    assert_eq!(client.errors("DECLARE @a int = 1; SELECT @A"), [137]);
    assert_eq!(client.text("SELECT SERVERPROPERTY('Collation')"), "Latin1_General_CS_AS");
    client.log_in("b");
    assert_eq!(counted(&mut client, "rtcxds"), Value::Int(1), "the other server keeps its own collation");
}

#[test]
fn case_sensitive_texts_sort_match_and_are_refused_in_sets() {
    let mut client = case_sensitive();
    for (condition, truth) in [
        ("N'a' = N'A'", "no"),
        ("N'a' < N'A'", "yes"),
        ("N'A' < N'b'", "yes"),
        ("N'a ' = N'a'", "yes"),
        ("N'a' IN (N'A')", "no"),
        ("N'abc' LIKE N'A%'", "no"),
        ("N'Abc' LIKE N'A%'", "yes"),
        ("REPLACE(N'aA', N'a', N'x') = N'xA'", "yes"),
    ] {
        assert_eq!(
            client.text(&format!("SELECT CASE WHEN {condition} THEN 'yes' ELSE 'no' END")),
            truth,
            "{condition}"
        );
    }
    assert!(client.world.failures.is_empty());
    assert_eq!(client.errors("SELECT name FROM sys.databases WHERE name LIKE N'[a-z]%'"), [102]);
    assert_eq!(client.world.failures.len(), 1);
}

#[test]
fn case_sensitive_setting_changes_at_run_time() {
    let mut client = Client::new("a");
    let text = "SELECT CASE WHEN N'a' = N'A' THEN 1 ELSE 0 END";
    assert_eq!(client.value(text), Value::Int(1));
    client.apply(&json!({"do": "setServerSettings", "server": "a", "settings": {"caseSensitive": true}}));
    assert_eq!(client.value(text), Value::Int(0));
}

#[test]
fn names_that_differ_only_in_case_are_refused_on_a_case_sensitive_server() {
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| server.settings.case_sensitive = true);
    let refused = |config: &Config| World::new(config).err().map(|error| error.0).unwrap_or_default();
    let mut pairs = config.clone();
    pairs.pairs[0].databases = vec!["rtcxds".to_owned(), "RtcXds".to_owned()];
    assert!(refused(&pairs).contains(r#"SQL-A\RTC: databases "rtcxds" and "RtcXds""#), "{}", refused(&pairs));
    let mut plain = config.clone();
    plain.servers[1].plain_databases = vec!["RTCAB".to_owned()];
    assert!(refused(&plain).contains(r#"SQL-B\RTC: databases "RTCAB" and "rtcab""#), "{}", refused(&plain));

    config.servers[0].plain_databases = vec!["archive".to_owned(), "old".to_owned()];
    let mut client = Client::with(&config, "a");
    assert_eq!(client.errors("ALTER DATABASE [archive] MODIFY NAME = [Archive]"), Vec::<u32>::new(), "its own name");
    assert!(client.world.failures.is_empty());
    assert_eq!(client.errors("ALTER DATABASE [old] MODIFY NAME = [ARCHIVE]"), [102]);
    assert_eq!(client.world.failures.len(), 1);
}
