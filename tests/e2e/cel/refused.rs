//! Refused servers, encryption, policies and windows, each with the parts of its answer.

use serde_json::json;

use super::{Refused, policy, with};

pub fn refused_servers() -> Vec<Refused> {
    vec![
        (
            "a server that mirrors itself",
            with("/spec/sql/mirror", json!({"host": "SQL-A.contoso.com", "instance": "rtc"})),
            vec!["primary and mirror are the same SQL Server: a server cannot mirror itself. To fix: correct"],
        ),
        (
            "a server that mirrors itself, with a dot",
            with("/spec/sql/mirror", json!({"host": "sql-a.contoso.com.", "instance": "RTC"})),
            vec!["primary and mirror are the same SQL Server"],
        ),
        (
            "a primary as witness",
            with("/spec/sql/witness", json!({"host": "SQL-A.contoso.com.", "instance": "rtc"})),
            vec!["The witness is also a partner: a witness must be a third SQL Server. To fix: correct"],
        ),
        (
            "a mirror as witness",
            with("/spec/sql/witness", json!({"host": "sql-b.contoso.com", "instance": "RTC"})),
            vec!["The witness is also a partner"],
        ),
        (
            "port and instance",
            with("/spec/sql/primary", json!({"host": "sql-a", "instance": "RTC", "port": 1433})),
            vec!["port and instance are both set. To fix: keep port"],
        ),
        (
            "port 0",
            with("/spec/sql/primary", json!({"host": "sql-a", "port": 0})),
            vec!["primary.port", "greater than or equal to 1"],
        ),
        (
            "an instance with a space",
            with("/spec/sql/primary/instance", json!("R TC")),
            vec!["primary.instance", "should match"],
        ),
        ("no login", with("/spec/sql/auth", json!({"method": "SqlLogin"})), vec!["auth.secretRef", "Required value"]),
        ("an unknown login", with("/spec/sql/auth/method", json!("Magic")), vec!["auth.method", "Magic", "SqlLogin"]),
    ]
}

pub fn refused_hosts() -> Vec<Refused> {
    vec![
        (
            "a host with an instance",
            with("/spec/sql/primary/host", json!("sql-a\\RTC")),
            vec![
                "primary.host",
                "host contains an instance. To fix: keep the host name in host, and write the name of the instance into instance.",
            ],
        ),
        (
            "a host with a port",
            with("/spec/sql/primary/host", json!("sql-a:1433")),
            vec![
                "primary.host",
                "host contains a port. To fix: keep the host name in host, and write the port into port.",
            ],
        ),
        (
            "a host with a comma",
            with("/spec/sql/witness", json!({"host": "sql-w,1433"})),
            vec!["witness.host", "host contains a port."],
        ),
        (
            "a host with a protocol",
            with("/spec/sql/mirror/host", json!("tcp:sql-b")),
            vec!["mirror.host", "host contains a protocol. To fix: remove the protocol"],
        ),
        (
            "a host with a space",
            with("/spec/sql/mirror/host", json!("sql b")),
            vec!["mirror.host", "host is neither a DNS name nor an IP address. To fix: write"],
        ),
        (
            "a Secret with a capital",
            with("/spec/sql/auth/secretRef/name", json!("Sql")),
            vec!["secretRef.name", "This is not the name of a Secret", "To fix: write the name as kubectl"],
        ),
        (
            "a Secret of another namespace",
            with("/spec/sql/auth/secretRef/name", json!("../../victim/secrets/treasure")),
            vec!["secretRef.name", "This is not the name of a Secret"],
        ),
    ]
}

pub fn refused_encryption() -> Vec<Refused> {
    vec![
        (
            "a CA for nothing",
            with(
                "/spec/sql/tls",
                json!({"mode": "TrustServerCertificate", "caBundle": {"configMapRef": {"name": "ca"}}}),
            ),
            vec!["caBundle is only used with mode Verify. To fix: remove caBundle"],
        ),
        (
            "a CA with a capital",
            with("/spec/sql/tls", json!({"caBundle": {"configMapRef": {"name": "CA"}}})),
            vec!["configMapRef.name", "This is not the name of a ConfigMap"],
        ),
        (
            "a CA in a key with a space",
            with("/spec/sql/tls", json!({"caBundle": {"configMapRef": {"name": "ca", "key": "ca crt"}}})),
            vec!["configMapRef.key", "This is not a key of a ConfigMap"],
        ),
        (
            "a CA in a key that begins with two dots",
            with("/spec/sql/tls", json!({"caBundle": {"configMapRef": {"name": "ca", "key": "..data"}}})),
            vec!["configMapRef.key", "This is not a key of a ConfigMap"],
        ),
        (
            "a password in the clear",
            with("/spec/sql/tls", json!({"mode": "Disabled"})),
            vec!["tls.mode Disabled needs auth.method Kerberos"],
        ),
        (
            "KDCs for a password",
            with("/spec/sql/auth", json!({"method": "SqlLogin", "secretRef": {"name": "sql"}, "kdcs": ["dc1"]})),
            vec!["kdcs are only used with method Kerberos. To fix: remove kdcs"],
        ),
        (
            "a KDC with a line more",
            with(
                "/spec/sql/auth",
                json!({"method": "Kerberos", "secretRef": {"name": "sql"}, "kdcs": ["dc1\n[plugins]"]}),
            ),
            vec!["auth.kdcs", "should match"],
        ),
        ("a pin mode without pins", with("/spec/sql/tls", json!({"mode": "Pin"})), vec!["mode Pin needs pins"]),
        (
            "pins without a use",
            with("/spec/sql/tls", json!({"mode": "Verify", "pins": ["ab".repeat(32)]})),
            vec!["pins are only used with mode Pin or Legacy"],
        ),
        (
            "a short pin",
            with("/spec/sql/tls", json!({"mode": "Pin", "pins": ["ab".repeat(31)]})),
            vec!["tls.pins", "should match"],
        ),
    ]
}

pub fn refused_policies() -> Vec<Refused> {
    vec![
        ("suspended without a reason", with("/spec/suspend", json!({})), vec!["suspend.reason", "Required value"]),
        (
            "suspended until some time",
            with("/spec/suspend", json!({"reason": "x", "until": "soon"})),
            vec!["suspend.until", "soon"],
        ),
        (
            "a short deadline",
            policy(json!({"switchDeadline": "9s"})),
            vec!["switchDeadline must be at least 10s and at most 24h. To fix: set"],
        ),
        (
            "a long deadline",
            policy(json!({"switchDeadline": "25h"})),
            vec!["switchDeadline must be at least 10s and at most"],
        ),
        (
            "a long time to settle",
            policy(json!({"settleAfter": "721h"})),
            vec!["settleAfter must be at most 720h. To fix: set"],
        ),
        ("a long cooldown", policy(json!({"cooldown": "721h"})), vec!["cooldown must be at most 720h. To fix: set"]),
        (
            "a late fail-back",
            policy(json!({"failBackAfter": "721h"})),
            vec!["failBackAfter must be at most 720h. To fix: set"],
        ),
        (
            "a long interruption",
            policy(json!({"maxInterruption": "25h"})),
            vec!["maxInterruption must be at least 3s", "at most 24h. To fix"],
        ),
        ("a deadline in days", policy(json!({"switchDeadline": "1d"})), vec!["policy.switchDeadline", "should match"]),
        ("a short interruption", policy(json!({"maxInterruption": "2s"})), vec!["maxInterruption must be at least 3s"]),
        (
            "an unknown policy",
            policy(json!({"unrequestedSwitch": "Fight"})),
            vec!["unrequestedSwitch", "Fight", "Hold"],
        ),
        (
            "a type twice in the order",
            policy(json!({"order": ["User", "User"]})),
            vec!["policy.order lists a type twice. To fix: remove"],
        ),
        (
            "windows for nothing",
            policy(json!({"maintenanceWindows": [{"schedule": "0 2 * * SAT", "duration": "4h"}]})),
            vec![
                "maintenanceWindows are only used with unrequestedSwitch FailBack",
                "To fix: remove maintenanceWindows",
            ],
        ),
    ]
}

pub fn refused_windows() -> Vec<Refused> {
    let window = |schedule: &str, duration: &str, zone: &str| {
        let window = json!({"schedule": schedule, "duration": duration, "timeZone": zone});
        policy(json!({"unrequestedSwitch": "FailBack", "maintenanceWindows": [window]}))
    };
    vec![
        (
            "a schedule of four fields",
            window("0 2 * *", "4h", "UTC"),
            vec!["A schedule has the five fields of cron. To fix"],
        ),
        ("minute 60", window("60 2 * * SAT", "4h", "UTC"), vec!["schedule", "the minute, 0 to 59. To fix"]),
        ("hour 25", window("0 25 * * SAT", "4h", "UTC"), vec!["schedule", "the hour, 0 to 23. To fix"]),
        ("day 32", window("0 2 1,32 * *", "4h", "UTC"), vec!["schedule", "the day of the month, 1 to 31"]),
        ("month 13", window("0 2 * 1-13 *", "4h", "UTC"), vec!["schedule", "the month, 1 to 12"]),
        ("weekday 8", window("0 2 * * 8", "4h", "UTC"), vec!["schedule", "the weekday, 0 to 7"]),
        ("a weekday in full", window("0 2 * * Saturday", "4h", "UTC"), vec!["schedule", "the weekday, 0 to 7"]),
        (
            "a window of seconds",
            window("0 2 * * SAT", "59s", "UTC"),
            vec!["The duration of a window must be at least 1m"],
        ),
        (
            "a window of a month",
            window("0 2 1 * *", "169h", "UTC"),
            vec!["must be at least 1m and at most 168h. To fix"],
        ),
        (
            "a zone with spaces",
            window("0 2 * * SAT", "4h", "Central Europe"),
            vec!["timeZone", "This is not the IANA name of a time zone. To fix"],
        ),
        (
            "a zone with an offset",
            window("0 2 * * SAT", "4h", "CET+1"),
            vec!["timeZone", "This is not the IANA name of a time zone. To fix"],
        ),
    ]
}
