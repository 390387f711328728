//! The rules that the API server evaluates (CEL), and their messages. The parser repeats each rule with the same message,
//! because an API server can have an older CRD. Every message ends with the way out.

pub const LONG_NAME: &str =
    "metadata.name must not be longer than 200 characters: events append to it. To fix: choose a shorter name.";
pub const NO_STORE: &str =
    "Every database type needs a store. To fix: set spec.sql for the pool, or sql on each of spec.databaseTypes.";
pub const POOL_IS_IMMUTABLE: &str = "poolFqdn cannot change: a resource belongs to one pool. To fix: restore the former value, or create another resource for the other pool.";

pub const SAME_SERVER: &str = "primary and mirror are the same SQL Server: a server cannot mirror itself. To fix: correct host, port or instance of one of them.";
pub const WITNESS_IS_PARTNER: &str = "The witness is also a partner: a witness must be a third SQL Server. To fix: correct host, port or instance of the witness, or remove witness.";
pub const PORT_AND_INSTANCE: &str = "port and instance are both set. To fix: keep port, which reaches the instance directly, or instance, for which the operator asks the SQL Server Browser.";
pub const PROTOCOL_IN_HOST: &str =
    "host contains a protocol. To fix: remove the protocol, because the operator always uses TCP.";
pub const INSTANCE_IN_HOST: &str =
    "host contains an instance. To fix: keep the host name in host, and write the name of the instance into instance.";
pub const PORT_IN_HOST: &str =
    "host contains a port. To fix: keep the host name in host, and write the port into port.";
pub const HOST: &str = "host is neither a DNS name nor an IP address. To fix: write a host name such as sql-a.contoso.com, or an IP address.";

pub const SECRET_NAME: &str = "This is not the name of a Secret: Kubernetes allows lower case letters, digits, - and . only. To fix: write the name as kubectl get secrets prints it.";
pub const CONFIG_MAP_NAME: &str = "This is not the name of a ConfigMap: Kubernetes allows lower case letters, digits, - and . only. To fix: write the name as kubectl get configmaps prints it.";
pub const CONFIG_MAP_KEY: &str = "This is not a key of a ConfigMap: Kubernetes allows letters, digits, -, _ and ., and no key that is . or begins with two dots. To fix: write the key of the PEM text, e.g. ca.crt.";
pub const KDCS_UNUSED: &str =
    "kdcs are only used with method Kerberos. To fix: remove kdcs, or set method to Kerberos.";
pub const UNENCRYPTED_PASSWORD: &str = "tls.mode Disabled needs auth.method Kerberos, because a password must not cross the network unencrypted. To fix: set tls.mode to Verify, Pin or Legacy, or auth.method to Kerberos.";
pub const CA_UNUSED: &str = "caBundle is only used with mode Verify. To fix: remove caBundle, or set mode to Verify.";
pub const PINS: &str = "mode Pin needs pins, and pins are only used with mode Pin or Legacy. To fix: set mode to Pin and pins to the SHA-256 fingerprints of the servers, or remove pins.";

pub const DATABASE_TWICE: &str =
    "A database is listed twice: SQL Server compares names without case. To fix: remove one of the two.";
pub const EPOCH: &str =
    "This is not an epoch. To fix: copy the epoch of the type from status.databaseTypes, e.g. 14-5f3a.";
pub const DATA_LOSS: &str = "acceptDataLoss must be true: forced service loses what the lost principal had not sent. To fix: set it to true, or remove forceService.";
pub const FENCED: &str = "oldPrincipalFenced must be true: the operator cannot see whether the old principal still serves clients. To fix: switch it off or cut it off as docs/how-to/force-service.md describes and set it to true, or remove forceService.";

pub const SETTLE_AFTER: &str =
    "settleAfter must be at most 720h. To fix: set a shorter time, e.g. 2m, or use spec.suspend to stop all moves.";
pub const SWITCH_DEADLINE: &str =
    "switchDeadline must be at least 10s and at most 24h. To fix: set a value in this range, e.g. 5m.";
pub const MAX_INTERRUPTION: &str = "maxInterruption must be at least 3s, which a switch takes with nothing to redo, and at most 24h. To fix: set a value in this range, e.g. 30s, or remove it.";
pub const FAIL_BACK_AFTER: &str = "failBackAfter must be at most 720h. To fix: set a shorter time, e.g. 30m, or set unrequestedSwitch to Hold if the pool must never fail back.";
pub const COOLDOWN: &str =
    "cooldown must be at most 720h. To fix: set a shorter time, e.g. 10m, or use spec.suspend to stop all moves.";
pub const WINDOW_DURATION: &str =
    "The duration of a window must be at least 1m and at most 168h. To fix: set a value in this range, e.g. 4h.";
pub const WINDOWS_UNUSED: &str = "maintenanceWindows are only used with unrequestedSwitch FailBack, as a changed principal is acted on at once. To fix: remove maintenanceWindows, or set unrequestedSwitch to FailBack.";
pub const ORDER_TWICE: &str = "policy.order lists a type twice. To fix: remove one of the two.";

pub const FIVE_FIELDS: &str =
    "A schedule has the five fields of cron. To fix: write minute, hour, day, month and weekday, e.g. 0 2 * * SAT.";
pub const MINUTE: &str = "The first field of a schedule is the minute, 0 to 59. To fix: write minute, hour, day, month and weekday, e.g. 0 2 * * SAT.";
pub const HOUR: &str = "The second field of a schedule is the hour, 0 to 23. To fix: write minute, hour, day, month and weekday, e.g. 0 2 * * SAT.";
pub const DAY: &str = "The third field of a schedule is the day of the month, 1 to 31 or L for the last. To fix: write minute, hour, day, month and weekday, e.g. 0 2 * * SAT.";
pub const MONTH: &str = "The fourth field of a schedule is the month, 1 to 12 or JAN to DEC. To fix: write minute, hour, day, month and weekday, e.g. 0 2 * * SAT.";
pub const WEEKDAY: &str = "The fifth field of a schedule is the weekday, 0 to 7 or SUN to SAT, or 6#2 for the second Saturday. To fix: write minute, hour, day, month and weekday, e.g. 0 2 * * SAT.";
pub const TIME_ZONE: &str =
    "This is not the IANA name of a time zone. To fix: write Area/City such as Europe/Paris, or UTC.";

/// The rule for one of the five fields of cron, from 0. A schedule without five fields breaks [`FIVE_FIELDS`] only.
pub fn cron_field(index: usize) -> String {
    // The values of the field, and further items beside lists, ranges and steps.
    let (value, more) = match index {
        0 => ("[0-5]?[0-9]", ""),
        1 => ("[01]?[0-9]|2[0-3]", ""),
        2 => ("0?[1-9]|[12][0-9]|3[01]", "|[Ll]|(0?[1-9]|[12][0-9]|3[01])[Ww]"),
        3 => ("0?[1-9]|1[0-2]|(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)", ""),
        _ => ("0?[0-7]|(?i:SUN|MON|TUE|WED|THU|FRI|SAT)", "|(0?[0-7]|(?i:SUN|MON|TUE|WED|THU|FRI|SAT))([Ll]|#[1-5])"),
    };
    let item = format!("(([*]|({value})(-({value}))?)(/[0-9]{{1,2}})?{more})");
    let (before, after) = ("[^ ]+ +".repeat(index), " +[^ ]+".repeat(4_usize.saturating_sub(index)));
    format!("!({FIVE_FIELDS_RULE}) || self.matches('^{before}{item}(,{item})*{after}$')")
}

pub const FIVE_FIELDS_RULE: &str = "self.matches('^[^ ]+( +[^ ]+){4}$')";

/// The rule that two servers of a store differ: host without case and final dot, and port or instance. The instance
/// MSSQLSERVER is the default instance. `a` and `b` are fields of `self`.
pub fn different(a: &str, b: &str) -> String {
    let host = |server: &str| format!("self.{server}.host.lowerAscii()");
    let named =
        |server: &str| format!("has(self.{server}.instance) && self.{server}.instance.lowerAscii() != 'mssqlserver'");
    let port =
        |server: &str| format!("(has(self.{server}.port) ? self.{server}.port : ({} ? 0 : 1433))", named(server));
    let instance = |server: &str| format!("({} ? self.{server}.instance.lowerAscii() : '')", named(server));
    format!(
        "({0} != {1} && {0} + '.' != {1} && {0} != {1} + '.') || {2} != {3} || {4} != {5}",
        host(a),
        host(b),
        port(a),
        port(b),
        instance(a),
        instance(b)
    )
}

/// [`different`] for a witness, which is optional.
pub fn third(partner: &str) -> String {
    format!("!has(self.witness) || {}", different("witness", partner))
}

/// The rule for a duration between two bounds.
pub fn between(field: &str, low: &str, high: &str) -> String {
    format!("duration({field}) >= duration('{low}') && duration({field}) <= duration('{high}')")
}

/// A host with a protocol, such as `tcp:sql-a`.
pub const NO_PROTOCOL: &str = "!self.matches('^(?i:tcp|np|lpc|admin):')";
/// A host with an instance, such as `sql-a\RTC`.
pub const NO_INSTANCE: &str = r"!self.contains('\\')";
/// A host with a port, such as `sql-a:1433`, `sql-a,1433` or `[::1]:1433`. More than one colon is an IPv6 address.
pub const NO_PORT: &str = r"self.matches('^(?i:tcp|np|lpc|admin):') || !self.matches('^([^:]*|\\[.*\\])(:[^:]*|,.*)$')";
/// The forms that the other rules for a host refuse need no second message.
pub const IS_HOST: &str = r"self.matches('^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?([.][A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*[.]?$') || self.matches('^[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f.:]*$') || self.matches('^([^:]*|\\[.*\\])(:[^:]*|,.*)$') || self.matches('^(?i:tcp|np|lpc|admin):') || self.contains('\\')";

/// The name of a Secret or ConfigMap (DNS-1123 subdomain).
pub const IS_OBJECT_NAME: &str = "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')";
/// The key of a ConfigMap.
pub const IS_KEY: &str = "self.matches('^[A-Za-z0-9._-]+$') && self != '.' && !self.startsWith('..')";
/// The format of `Epoch`.
pub const IS_EPOCH: &str = "self.matches('^[0-9]+-[0-9a-f]{4}$')";
pub const IS_TIME_ZONE: &str = "self.matches('^((?i:UTC)|[A-Za-z][A-Za-z_]*(/[A-Za-z0-9_+-]+){1,2})$')";
