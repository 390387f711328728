//! The spec of a resource. Doc comments here print in `kubectl explain`; the CEL rules run in the API server.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{LyncPoolMirrorStatus, Span, TlsSpec, rules, timestamp};
use crate::model::{DatabaseType, Seat, UnrequestedSwitch};

/// Which SQL Server is to be principal for each database type of one pool.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "lyncmirror.io",
    version = "v1alpha1",
    kind = "LyncPoolMirror",
    namespaced,
    status = "LyncPoolMirrorStatus",
    derive = "PartialEq",
    shortname = "lpm",
    category = "lync",
    doc = "Declares which SQL Server (the primary or the mirror of the topology) is to be principal for each database type of one Lync Server 2013 or Skype for Business 2015 pool. Deleting it never touches SQL Server.",
    selectable = ".spec.poolFqdn",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(
        name = "Service",
        type_ = "string",
        json_path = ".status.service",
        description = "Protected, Exposed, Unknown or NotServed: the worst of all database types"
    ),
    printcolumn(
        name = "Principals",
        type_ = "string",
        json_path = ".status.principals",
        description = "The observed principal of each database type; ! marks one that is not where the spec wants it"
    ),
    printcolumn(name = "Suspended", type_ = "string", json_path = r#".status.conditions[?(@.type=="Suspended")].status"#),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "What is going on and what to do, in one line; status.databaseTypes[].message has the whole text"
    ),
    printcolumn(name = "Last Move", type_ = "date", json_path = ".status.lastMoveTime", priority = 1),
    printcolumn(name = "Redo Queue", type_ = "string", json_path = ".status.redoQueue", priority = 1),
    printcolumn(
        name = "Observed",
        type_ = "date",
        json_path = ".status.observedTime",
        description = "How long ago the operator last confirmed this status: more than 10 minutes show that it does not run, or cannot decode the spec"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 200").message(rules::LONG_NAME),
    validation = Rule::new("has(self.spec.sql) || self.spec.databaseTypes.all(t, has(t.sql))").message(rules::NO_STORE),
)]
#[serde(rename_all = "camelCase")]
pub struct LyncPoolMirrorSpec {
    /// The FQDN of the pool, as `Get-CsPool` prints it. The field is immutable.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message(rules::POOL_IS_IMMUTABLE))]
    pub pool_fqdn: String,

    /// The SQL store of the pool: the two mirrored SQL Servers and, if configured, their witness. Required unless every database type has a store of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlStore>,

    /// The desired principal of each database type, 1 to 7 entries. The operator does not move a type that is not listed.
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub database_types: Vec<DatabaseTypeSpec>,

    /// Suspends every move of this resource while set. The operator continues to poll and to update the status and the plan, unless stopPolls is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<SuspendSpec>,

    /// Policy for the time and the preconditions of a move.
    #[serde(default)]
    pub policy: PolicySpec,
}

/// Two mirrored SQL Servers and how to reach them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(
    validation = Rule::new(rules::different("primary", "mirror")).message(rules::SAME_SERVER),
    validation = Rule::new(rules::third("primary")).message(rules::WITNESS_IS_PARTNER),
    validation = Rule::new(rules::third("mirror")).message(rules::WITNESS_IS_PARTNER),
    validation = Rule::new("!has(self.tls) || !has(self.tls.mode) || self.tls.mode != 'Disabled' || self.auth.method == 'Kerberos'").message(rules::UNENCRYPTED_PASSWORD)
)]
pub struct SqlStore {
    /// The SQL Server at the primary position of the topology (a seat, not a role: it never changes at a failover).
    pub primary: SqlServer,
    /// The SQL Server at the mirror position of the topology.
    pub mirror: SqlServer,
    /// The witness, if the mirroring sessions have one. The operator only reads its state and sends it no failover statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<SqlServer>,
    /// The credentials. The operator uses the same login on all servers of the store.
    pub auth: Auth,
    /// The encryption of the connection and the verification of the server certificate.
    #[serde(default)]
    pub tls: TlsSpec,
}

/// One SQL Server instance: by port, or by instance name through the SQL Server Browser; without either, port 1433.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new("!(has(self.port) && has(self.instance))").message(rules::PORT_AND_INSTANCE))]
pub struct SqlServer {
    /// Host name (FQDN) or IP address, without protocol, instance or port. A final dot of a host name is not compared.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(rules::NO_PROTOCOL).message(rules::PROTOCOL_IN_HOST),
        validation = Rule::new(rules::NO_INSTANCE).message(rules::INSTANCE_IN_HOST),
        validation = Rule::new(rules::NO_PORT).message(rules::PORT_IN_HOST),
        validation = Rule::new(rules::IS_HOST).message(rules::HOST)
    )]
    pub host: String,
    /// Instance name, e.g. `RTC`. The operator resolves its port through the SQL Server Browser (UDP 1434) of the host. `MSSQLSERVER` is the default instance. Cannot be combined with port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[A-Za-z_#][A-Za-z0-9_#$]*$"))]
    pub instance: Option<String>,
    /// TCP port of the instance, 1 to 65535. The default is 1433 when instance is not set either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 65535))]
    pub port: Option<i64>,
}

impl SqlServer {
    /// The port of a server whose spec names neither a port nor an instance.
    pub const DEFAULT_PORT: u16 = 1433;
    /// The name of the instance without a name, as services and SERVERPROPERTY write it.
    pub const DEFAULT_INSTANCE: &str = "MSSQLSERVER";

    /// The port, if it is one. The type of the field is wider, so that another number costs this server and not the whole spec.
    pub fn tcp_port(&self) -> Option<u16> {
        u16::try_from(self.port?).ok()
    }

    /// `host,port`, or `host\instance` where the SQL Server Browser resolves the port.
    pub fn address(&self) -> String {
        match (self.port, &self.instance) {
            (Some(port), _) => format!("{},{port}", self.host),
            (None, Some(instance)) => format!("{}\\{instance}", self.host),
            (None, None) => format!("{},{}", self.host, Self::DEFAULT_PORT),
        }
    }

    /// The address for comparisons: without case, final dot of the host and name of the default instance.
    pub fn comparable_address(&self) -> String {
        let host = self.host.trim_end_matches('.').to_owned();
        let instance = self.instance.clone().filter(|name| !name.eq_ignore_ascii_case(Self::DEFAULT_INSTANCE));
        Self { host, instance, port: self.port }.address().to_lowercase()
    }
}

/// How to log on to the servers of a store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.kdcs) || self.method == 'Kerberos'").message(rules::KDCS_UNUSED))]
pub struct Auth {
    /// SqlLogin: a SQL Server login with a password. Kerberos: a Windows account with a keytab; each host must be named as in its SPN, MSSQLSvc/HOST:PORT.
    pub method: AuthMethod,
    /// A Secret in the namespace of this resource with the keys `username` and `password`, or with method Kerberos `username` (such as svc-lync@CONTOSO.COM) and `keytab`. The operator uses a changed Secret without a restart.
    pub secret_ref: SecretRef,
    /// With method Kerberos: the KDCs (domain controllers) of the account's realm, each as HOST or HOST:PORT. By default the operator finds them through DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 260), regex(pattern = r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"))
    )]
    pub kdcs: Option<Vec<String>>,
}

/// The authentication method: SqlLogin or Kerberos.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum AuthMethod {
    SqlLogin,
    Kerberos,
}

/// A reference to a Secret in the namespace of this resource.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(test, x_kube(cel))]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::IS_OBJECT_NAME).message(rules::SECRET_NAME))]
    pub name: String,
}

/// The desired state of one database type.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.databases) || self.databases.all(d, self.databases.filter(e, e.lowerAscii() == d.lowerAscii()).size() == 1)").message(rules::DATABASE_TWICE))]
pub struct DatabaseTypeSpec {
    /// The type, as `Invoke-CsDatabaseFailover -DatabaseType` names it.
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    /// The seat that should hold the principal role. After a change of this field the operator fails the type over as soon as the preconditions of a failover hold.
    pub principal: Seat,
    /// A separate store for this type, e.g. for Archiving or Monitoring. The default is spec.sql.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlStore>,
    /// The database names of the type, 1 to 16. The default is the names that Lync uses for the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 128)))]
    pub databases: Option<Vec<String>>,
    /// Approves a held move of this type once, only for the state that the epoch names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
    /// Consent to FORCE_SERVICE_ALLOW_DATA_LOSS, once, when the principal is lost for good and the sessions have no witness. The surviving mirror serves the databases again, without what the old principal had not sent. `principal` need not be changed for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_service: Option<ForceServiceSpec>,
}

/// Consent to data loss: for exactly one state of the type, and only until a given time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.acceptDataLoss").message(rules::DATA_LOSS))]
#[x_kube(validation = Rule::new("self.oldPrincipalFenced").message(rules::FENCED))]
pub struct ForceServiceSpec {
    /// The epoch as the status of the type shows it while the principal is lost. A consent for another epoch does nothing.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(rules::IS_EPOCH).message(rules::EPOCH))]
    pub epoch: String,
    /// Must be true.
    pub accept_data_loss: bool,
    /// Must be true for the consent to apply: you vouch that no client and no partner reaches the old principal any more, because it is switched off or cut off. The operator and the mirror cannot see that. If the old principal still serves, both servers accept different data.
    #[serde(default)]
    pub old_principal_fenced: bool,
    /// The consent ends at this time (RFC 3339), used or not.
    #[serde(deserialize_with = "timestamp::required")]
    #[schemars(with = "k8s_openapi::apimachinery::pkg::apis::meta::v1::Time")]
    pub until: jiff::Timestamp,
}

/// Approval of a held move, for exactly one state of the type.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[cfg_attr(test, x_kube(cel))]
pub struct Approve {
    /// The approval ends at this time (RFC 3339), used or not. The default is 30 minutes after the operator first observed it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "timestamp::optional")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub until: Option<jiff::Timestamp>,
    /// The epoch as the status of the type shows it, e.g. `14-5f3a`. An approval for another epoch does nothing.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(rules::IS_EPOCH).message(rules::EPOCH))]
    pub epoch: String,
}

/// Suspension of every move of the resource.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuspendSpec {
    /// The reason of the suspension, 1 to 256 characters. It is shown in the status.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// The end of the suspension (RFC 3339). Without it the suspension lasts until spec.suspend is removed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "timestamp::optional")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub until: Option<jiff::Timestamp>,
    /// True: the operator also ends its connections to the servers of this resource and polls them no more, e.g. before SQL Server starts in single-user mode. A move in flight is still followed to its end, and other resources may poll the same servers. The default is false: the operator polls and shows the status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_polls: bool,
}

/// Policy for the time and the preconditions of a move.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(
    validation = Rule::new(rules::between("self.switchDeadline", "10s", "24h")).message(rules::SWITCH_DEADLINE),
    validation = Rule::new(format!("!has(self.maxInterruption) || {}", rules::between("self.maxInterruption", "3s", "24h"))).message(rules::MAX_INTERRUPTION),
    validation = Rule::new(rules::between("self.failBackAfter", "0s", "720h")).message(rules::FAIL_BACK_AFTER),
    validation = Rule::new(rules::between("self.cooldown", "0s", "720h")).message(rules::COOLDOWN),
    validation = Rule::new(rules::between("self.settleAfter", "0s", "720h")).message(rules::SETTLE_AFTER),
    validation = Rule::new("!has(self.maintenanceWindows) || self.unrequestedSwitch == 'FailBack'").message(rules::WINDOWS_UNUSED)
)]
pub struct PolicySpec {
    /// The reaction to a principal that moved without a change of the spec, e.g. by an automatic failover or by a DBA. Hold (default): report UnexpectedPrincipal and wait for `approve`. FailBack: fail over to the desired seat after failBackAfter, inside a maintenance window.
    #[serde(default)]
    pub unrequested_switch: UnrequestedSwitch,
    /// With FailBack: how long all databases of the type must have been synchronized, with a connected witness, before they fail back, at most `720h`. The default is `30m`.
    #[serde(default = "default_fail_back_after")]
    pub fail_back_after: Span,
    /// With FailBack: the times at which a fail-back may start. Empty: at any time. The windows do not apply to a changed `principal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// The longest acceptable predicted interruption of the clients, `3s` to `24h`. A move with a longer prediction (3 s plus the redo queue divided by the redo rate) waits until the queue is shorter. There is no limit by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interruption: Option<Span>,
    /// The database types that fail over first, in this order. The others follow in Lync's order, CentralMgmt last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new("self.all(t, self.filter(u, u == t).size() == 1)").message(rules::ORDER_TWICE))]
    pub order: Vec<DatabaseType>,
    /// The least time between the end of one move of a type and the start of the next. `0s` disables it, `720h` is the most. The default is `10m`.
    #[serde(default = "default_cooldown")]
    pub cooldown: Span,
    /// A server that was away must be back, with all databases of the type synchronized, for this long before a move, at most `720h`. `0s` disables it. The default is `2m`.
    #[serde(default = "default_settle_after")]
    pub settle_after: Span,
    /// How long a move may take before it is reported as overdue, `10s` to `24h`. The operator keeps monitoring an overdue move and does not retry it. The default is `5m`.
    #[serde(default = "default_switch_deadline")]
    pub switch_deadline: Span,
}

/// A recurring time window in which a fail-back may start.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, x_kube(cel))]
#[x_kube(validation = Rule::new(rules::between("self.duration", "1m", "168h")).message(rules::WINDOW_DURATION))]
pub struct MaintenanceWindow {
    /// When the window opens: five fields of cron (minute hour day month weekday), e.g. `0 2 * * SAT`. It must open at least every two years.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(
        validation = Rule::new(rules::FIVE_FIELDS_RULE).message(rules::FIVE_FIELDS),
        validation = Rule::new(rules::cron_field(0)).message(rules::MINUTE),
        validation = Rule::new(rules::cron_field(1)).message(rules::HOUR),
        validation = Rule::new(rules::cron_field(2)).message(rules::DAY),
        validation = Rule::new(rules::cron_field(3)).message(rules::MONTH),
        validation = Rule::new(rules::cron_field(4)).message(rules::WEEKDAY)
    )]
    pub schedule: String,
    /// How long the window stays open, `1m` to `168h`, e.g. `4h`.
    pub duration: Span,
    /// IANA name of the time zone of the schedule: Area/City, e.g. `Europe/Paris`, or `UTC`. The default is `UTC`.
    #[serde(default = "default_zone")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(rules::IS_TIME_ZONE).message(rules::TIME_ZONE))]
    pub time_zone: String,
}

fn default_zone() -> String {
    "UTC".to_owned()
}

fn default_fail_back_after() -> Span {
    Span::seconds(1800)
}

fn default_cooldown() -> Span {
    Span::seconds(600)
}

fn default_settle_after() -> Span {
    Span::seconds(120)
}

fn default_switch_deadline() -> Span {
    Span::seconds(300)
}

impl Default for PolicySpec {
    fn default() -> Self {
        Self {
            unrequested_switch: UnrequestedSwitch::Hold,
            fail_back_after: default_fail_back_after(),
            maintenance_windows: Vec::new(),
            max_interruption: None,
            order: Vec::new(),
            cooldown: default_cooldown(),
            settle_after: default_settle_after(),
            switch_deadline: default_switch_deadline(),
        }
    }
}
