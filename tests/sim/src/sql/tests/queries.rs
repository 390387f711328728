//! Queries that administrators type, and features that must be exact or refused.

use serde_json::json;

use super::Client;
use crate::config::Config;
use crate::value::Value;

fn sorted_by_guid(count: usize) -> Client {
    let mut config = Config::sample();
    config.servers[0].plain_databases = (0..count).map(|number| format!("plain{number:04}")).collect();
    Client::with(&config, "a")
}

#[test]
fn order_by_with_nulls_sorts_nulls_first_and_never_panics() {
    for count in [0, 25, 60, 300] {
        let mut client = sorted_by_guid(count);
        let answer = client.run(
            "SELECT m.mirroring_guid, d.name FROM sys.databases d JOIN sys.database_mirroring m \
             ON m.database_id = d.database_id ORDER BY m.mirroring_guid, d.name DESC",
        );
        assert_eq!(answer.rows.len(), count + 7);
        let nulls = answer.rows.iter().take_while(|row| row[0] == Value::Null).count();
        assert_eq!(nulls, count + 4);
        let names: Vec<&Value> = answer.rows[..nulls].iter().map(|row| &row[1]).collect();
        assert!(
            names.is_sorted_by(|a, b| crate::sql::values::compare(a, b, crate::sql::Collation::IgnoresCase).unwrap()
                == Some(std::cmp::Ordering::Greater))
        );
        assert!(client.world.failures.is_empty());
    }
}

#[test]
fn join_of_3000_databases_compares_each_row_once() {
    let mut client = sorted_by_guid(3000);
    let text = "SELECT d.name FROM sys.databases AS d LEFT JOIN sys.database_mirroring AS m \
                ON m.database_id = d.database_id ORDER BY d.name";
    let mut batch = crate::sql::Batch::new(text, Vec::new());
    batch.step(&mut client.world, client.session);
    assert_eq!(batch.comparisons(), 3007);
}

#[test]
fn case_and_coalesce_have_the_type_of_all_results() {
    let mut client = Client::new("a");
    let text = "SELECT CASE mirroring_state WHEN 0 THEN 'Suspended' WHEN 4 THEN 'Synchronized' END \
                FROM sys.database_mirroring WHERE DB_NAME(database_id) = N'rtcxds'";
    assert_eq!(client.text(text), "Synchronized");
    assert_eq!(client.text("SELECT COALESCE(NULL, 'a', 'longer')"), "a");
    assert_eq!(client.value("SELECT CASE WHEN 1 = 0 THEN 1 ELSE 3000000000 END"), Value::BigInt(3_000_000_000));
    assert_eq!(client.text("SELECT CASE WHEN 1 = 0 THEN N'' ELSE N'\u{1F512} locked' END"), "\u{1F512} locked");
    assert!(client.world.failures.is_empty());
}

#[test]
fn administrators_first_queries_are_answered() {
    let mut client = Client::new("a");
    for (text, count) in [
        ("SELECT DB_NAME(database_id) FROM sys.database_mirroring WHERE mirroring_guid IS NOT NULL", 3),
        ("SELECT m.* FROM sys.database_mirroring m WITH (NOLOCK) WHERE m.mirroring_role BETWEEN 1 AND 2", 3),
        (
            "SELECT name FROM sys.databases WHERE database_id IN (SELECT database_id FROM sys.database_mirroring WHERE mirroring_role = 1)",
            3,
        ),
        (
            "SELECT d.name FROM sys.databases d WHERE EXISTS (SELECT * FROM sys.database_mirroring m WHERE m.database_id = d.database_id AND m.mirroring_role = 1)",
            3,
        ),
        ("SELECT name FROM sys.databases WHERE name LIKE 'rtc[a-s]%' ORDER BY 1 DESC", 2),
        ("SELECT connection_auth_desc, encryption_algorithm_desc FROM sys.database_mirroring_endpoints", 1),
        ("SELECT DISTINCT mirroring_partner_instance FROM sys.database_mirroring WHERE mirroring_role = 1", 1),
        (
            "SELECT mirroring_redo_queue_type, mirroring_end_of_log_lsn FROM sys.database_mirroring WHERE mirroring_role = 1",
            3,
        ),
        ("SELECT TOP 1 COUNT(*) FROM sys.databases", 1),
        ("SELECT name AS n FROM sys.databases ORDER BY n", 7),
        ("SELECT name FROM sys.databases WHERE owner_sid = 0x01", 7),
    ] {
        let answer = client.run(text);
        assert_eq!((answer.errors.as_slice(), answer.rows.len()), ([].as_slice(), count), "{text}");
    }
    assert_eq!(client.value("SELECT TOP 1 COUNT(*) FROM sys.databases"), Value::Int(7));
    assert_eq!(client.value("SELECT SUM(port) FROM sys.tcp_endpoints WHERE 1 = 0"), Value::Null);
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn unsupported_sql_is_refused_and_recorded() {
    for text in [
        "SET ROWCOUNT 1; SELECT 1",
        "SET FMTONLY ON; ALTER DATABASE [rtcxds] SET PARTNER FAILOVER",
        "SELECT d.name FROM sys.databases d RIGHT JOIN sys.database_mirroring m ON m.database_id = d.database_id",
        "SELECT d.name FROM sys.databases d FULL OUTER JOIN sys.servers s ON s.name = d.name",
        "SELECT name, COUNT(*) FROM sys.databases GROUP BY name HAVING COUNT(*) > 1",
        "SELECT name, COUNT(*) FROM sys.databases",
        "SELECT name FROM sys.databases UNION SELECT name FROM sys.servers",
        "SELECT CONVERT(varchar(30), GETDATE(), 121)",
        "PRINT GETDATE()",
        "SELECT LEN(0x01)",
        "EXEC msdb.dbo.sp_dbmmonitorresults rtcxds",
    ] {
        let mut client = Client::new("a");
        let answer = client.run(text);
        assert!(answer.rows.is_empty() && !answer.errors.is_empty(), "{text}: {answer:?}");
        assert_eq!(client.world.failures.len(), 1, "{text}");
        assert!(client.world.failovers().is_empty());
    }
}

#[test]
fn errors_have_the_numbers_of_sql_server() {
    let mut client = Client::new("a");
    for (text, number) in [
        ("SELECT name FROM sys.databases d JOIN sys.servers s ON s.server_id = d.database_id", 209),
        ("SELECT 1 WHERE 'x' = 1", 245),
        ("SELECT CAST('x' AS int)", 245),
        ("SELECT CAST(300 AS tinyint)", 220),
        ("SELECT CAST(3000000000 AS int)", 8115),
        ("SELECT 2147483647 + 1", 8115),
        ("SELECT 1 / 0", 8134),
        ("SELECT name FROM sys.databases ORDER BY 2", 108),
        ("SELECT CAST(mirroring_guid AS nvarchar(5)) FROM sys.database_mirroring WHERE mirroring_role = 1", 8170),
        ("COMMIT", 3902),
    ] {
        assert_eq!(client.errors(text), [number], "{text}");
    }
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn functions_return_exact_values() {
    let mut client = Client::new("a");
    client.world.set_client(client.session, "workstation", "program");
    assert_eq!(client.text("SELECT SUBSTRING(N'abcdef', 0, 3)"), "ab");
    assert_eq!(client.text("SELECT SUSER_SNAME(0x01)"), "sa");
    assert_eq!(client.value("SELECT SUSER_SNAME(0x02)"), Value::Null);
    assert_eq!(client.text("SELECT USER_NAME()"), "dbo");
    assert_eq!(client.text("SELECT HOST_NAME() + N'/' + APP_NAME()"), "workstation/program");
    assert_eq!(client.text("SELECT CAST(CAST(5 AS decimal(10, 2)) AS nvarchar(10))"), "5.00");
    assert!(matches!(client.value("SELECT GETDATE()"), Value::DateTime(_)));
    assert_eq!(client.text("SELECT REPLACE(N'aXbx', N'x', N'-')"), "a-b-");
    assert_eq!(client.value("SELECT LEN(N'\u{1F512}')"), Value::Int(2));
    let model = "SELECT recovery_model_desc FROM sys.databases WHERE name = ";
    assert_eq!(client.text(&format!("{model}'master'")), "SIMPLE");
    assert_eq!(client.text("SELECT compatibility_level FROM sys.databases WHERE name = 'master'"), "110");
    assert!(client.world.failures.is_empty(), "{:?}", client.world.failures);
}

#[test]
fn error_has_the_line_of_its_statement() {
    use crate::value::{Event, Step};
    let line = |text: &str| {
        let mut client = Client::new("a");
        let Step::Finished(events) = crate::sql::Batch::new(text, Vec::new()).step(&mut client.world, client.session)
        else {
            panic!("{text}")
        };
        events.iter().find_map(|event| match event {
            Event::Message(message) => Some((message.number, message.line)),
            _ => None,
        })
    };
    assert_eq!(line("SELECT 1\nSELECT 2\n\nSELECT 1 / 0"), Some((8134, 4)));
    assert_eq!(line("SELECT 1\nSELEC 2"), Some((102, 2)));
    assert_eq!(line("IF 1 = 1\n RAISERROR (N'a\nb', 16, 1)"), Some((50000, 2)));
}

#[test]
fn alter_database_inside_a_transaction_returns_226() {
    let mut client = Client::new("a");
    assert_eq!(client.errors("BEGIN TRAN; ALTER DATABASE [rtcxds] SET PARTNER FAILOVER"), [226]);
    assert_eq!(client.errors("ALTER DATABASE [rtcxds] SET PARTNER FAILOVER"), [226], "the next batch");
    assert_eq!(client.value("SELECT @@TRANCOUNT"), Value::Int(1));
    assert_eq!(client.errors("ROLLBACK; ALTER DATABASE [rtcxds] SET PARTNER FAILOVER"), [0; 0]);
    client.errors("SET IMPLICIT_TRANSACTIONS ON");
    assert_eq!(client.errors("ALTER DATABASE [rtcab] SET PARTNER FAILOVER"), [226]);
}

#[test]
fn catalog_lock_ends_with_1222_after_lock_timeout() {
    let mut client = Client::new("a");
    client.apply(&json!({"do": "lockCatalog", "server": "a"}));
    assert_eq!(client.errors("SET LOCK_TIMEOUT 5000; SELECT name FROM sys.databases"), [1222]);
    assert_eq!(client.now.as_millis(), 5000);
    assert_eq!(client.errors("SET LOCK_TIMEOUT 0; SELECT name FROM sys.databases; SELECT 1"), [1222]);
    assert_eq!(client.errors("SELECT name FROM sys.servers"), [0; 0], "another view");
    client.apply(&json!({"do": "unlockCatalog", "server": "a"}));
    assert_eq!(client.run("SELECT name FROM sys.databases").rows.len(), 7);
}

#[test]
fn batch_with_extreme_input_is_refused_without_a_panic() {
    let deep = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(50_000), close.repeat(50_000));
    for text in [
        format!("SELECT {}", deep("(", "1", ")")),
        format!("SELECT {}1", "- ".repeat(50_000)),
        format!("SELECT 1{}", " + 1".repeat(50_000)),
        format!("SELECT 1 WHERE {}1 = 1", "NOT ".repeat(50_000)),
        format!("SELECT 1 WHERE 1 = 1{}", " OR 1 = 1".repeat(50_000)),
        format!("SELECT CASE {}", "CASE ".repeat(50_000)),
        deep("BEGIN ", "SELECT 1", " END "),
        format!("{}SELECT 1", "IF 1 = 1 ".repeat(50_000)),
        "WAITFOR DELAY '99999999999:00'".to_owned(),
        "WAITFOR DELAY '00:00:inf'".to_owned(),
        "SELECT CAST(1 AS decimal(255, 254))".to_owned(),
        "SELECT -(-9223372036854775807 - 1)".to_owned(),
        "SELECT 0x, N'".to_owned(),
    ] {
        let answer = Client::new("a").run(&text);
        assert_eq!(answer.errors.len(), 1, "{}: {answer:?}", text.get(..40).unwrap_or(&text));
    }
}

#[test]
fn renamed_and_clustered_server_reports_both_names() {
    let mut client = Client::new("a");
    client.apply(&json!({"do": "rename", "server": "a", "name": r"SQL-NEW\RTC"}));
    client.apply(&json!({"do": "setServerSettings", "server": "a", "settings": {"clustered": true}}));
    assert_eq!(client.text("SELECT SERVERPROPERTY('ServerName')"), r"SQL-NEW\RTC");
    assert_eq!(client.text("SELECT @@SERVERNAME"), r"SQL-A\RTC");
    assert_eq!(client.text("SELECT SERVERPROPERTY('IsClustered')"), "1");
    assert_eq!(client.text("SELECT SERVERPROPERTY('ComputerNamePhysicalNetBIOS')"), "SQL-NEW-N1");
    let nodes = client.run("SELECT NodeName FROM sys.dm_os_cluster_nodes ORDER BY NodeName").rows;
    assert_eq!(nodes.iter().flatten().map(shown).collect::<Vec<_>>(), ["SQL-NEW-N1", "SQL-NEW-N2"]);
    client.log_in("b");
    assert_eq!(client.value("SELECT COUNT(*) FROM sys.dm_os_cluster_nodes"), Value::Int(0));
}

/// The session of a login on the witness, with these permissions beside VIEW ANY DATABASE.
fn on_witness(permissions: serde_json::Value) -> Client {
    let mut login = json!({"name": "reader", "password": "secret", "sysadmin": false, "viewAnyDatabase": true});
    login.as_object_mut().unwrap().extend(permissions.as_object().unwrap().clone());
    let mut config = Config::sample();
    config.servers[2].logins.push(serde_json::from_value(login).unwrap());
    let mut client = Client::with(&config, "w");
    client.session = client.world.login(client.now, "w", "reader", Some("secret"), "").unwrap().session;
    client
}

#[test]
fn witness_rows_are_visible_to_sysadmin_and_view_any_definition_only() {
    let count = "SELECT COUNT(*) FROM sys.database_mirroring_witnesses";
    for (permissions, rows) in [
        (json!({}), 0),
        (json!({"viewServerState": true, "alterAnyDatabase": true}), 0),
        (json!({"viewAnyDefinition": true}), 3),
        (json!({"sysadmin": true}), 3),
    ] {
        assert_eq!(on_witness(permissions.clone()).value(count), Value::Int(rows), "{permissions}");
    }
}

#[test]
fn witness_names_of_partners_are_instances_or_addresses() {
    let text = "SELECT principal_server_name, mirror_server_name FROM sys.database_mirroring_witnesses \
                WHERE database_name = N'rtcxds'";
    let mut client = Client::new("w");
    let names = |client: &mut Client| client.run(text).rows[0].iter().map(shown).collect::<Vec<_>>();
    assert_eq!(names(&mut client), [r"SQL-A\RTC", r"SQL-B\RTC"]);
    client.apply(&json!({"do": "setServerSettings", "server": "w", "settings": {"witnessNames": "addresses"}}));
    let addresses = names(&mut client);
    assert!(addresses[0].starts_with("TCP://sql-a") && addresses[1].starts_with("TCP://sql-b"), "{addresses:?}");
    assert!(client.world.failures.is_empty());
}

fn shown(value: &Value) -> String {
    crate::sql::values::as_text(value).unwrap()
}

#[test]
fn varchar_parameter_is_varchar_in_the_result() {
    use crate::value::{Event, Parameter, SqlType, Step};
    let mut client = Client::new("a");
    let mut type_of = |expression: &str, text: &str| {
        let parameter = |name: &str, is_varchar| Parameter {
            name: name.to_owned(),
            value: Value::NVarChar(text.to_owned()),
            is_varchar,
        };
        let parameters = vec![parameter("@v", true), parameter("n", false)];
        let mut batch = crate::sql::Batch::new(&format!("SELECT {expression} AS c"), parameters);
        let Step::Finished(events) = batch.step(&mut client.world, client.session) else { panic!("{expression}") };
        let Some(Event::Columns(columns)) = events.first() else { panic!("{events:?}") };
        columns[0].ty
    };
    for (expression, ty) in [
        ("@v", SqlType::VarChar(8000)),
        ("@n", SqlType::NVarChar(4000)),
        ("@v + @v", SqlType::VarChar(8000)),
        ("@v + @n", SqlType::NVarChar(4000)),
        ("COALESCE(@v, N'x')", SqlType::NVarChar(4000)),
        ("UPPER(@v)", SqlType::VarChar(8000)),
    ] {
        assert_eq!(type_of(expression, "a"), ty, "{expression}");
    }
    assert_eq!(type_of("@v", &"a".repeat(8001)), SqlType::VarChar(0));
    assert!(client.world.failures.is_empty());
}
