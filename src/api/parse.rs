//! From what was written to what is wanted: the only place where a spec is refused that the API server let through.

use crate::api::askers::askers;
use crate::api::{AuthMethod, LyncPoolMirror, PolicySpec, SqlServer, SqlStore, TlsMode};
use crate::model::{DatabaseName, Desired, Epoch, ForceService, Policy, Suspend, Window, Wish};

/// A parsed spec: the wishes for the planner, and the stores to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub desired: Desired,
    pub stores: Vec<Store>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub sql: SqlStore,
    /// Empty for the store of the pool, else the type that has a store of its own.
    pub label: String,
}

/// What is wrong with a spec, with the field, the value and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SpecError {
    pub field: String,
    pub problem: String,
}

fn wrong(field: impl Into<String>, problem: impl Into<String>) -> SpecError {
    SpecError { field: field.into(), problem: problem.into() }
}

/// Parses a resource. The CRD's rules already hold for whatever came through an API server with today's CRD; the checks
/// here are for the rest (an older CRD, a file given to the CLI).
pub fn parse(resource: &LyncPoolMirror) -> Result<Asked, SpecError> {
    let spec = &resource.spec;
    let mut stores = Vec::new();
    if let Some(sql) = &spec.sql {
        check(sql, "spec.sql")?;
        stores.push(Store { sql: sql.clone(), label: String::new() });
    }
    let mut wishes: Vec<Wish> = Vec::new();
    for (index, item) in spec.database_types.iter().enumerate() {
        let field = format!("spec.databaseTypes[{index}]");
        if wishes.iter().any(|wish| wish.ty == item.type_) {
            return Err(wrong(field, format!("type {} is listed twice", item.type_)));
        }
        let store = match (&item.sql, &spec.sql) {
            (Some(sql), _) => {
                check(sql, &format!("{field}.sql"))?;
                stores.push(Store { sql: sql.clone(), label: item.type_.to_string() });
                stores.len() - 1
            }
            (None, Some(_)) => 0,
            (None, None) => {
                return Err(wrong(field, format!("type {} has no store: set spec.sql or sql here", item.type_)));
            }
        };
        let databases: Vec<DatabaseName> = match &item.databases {
            Some(names) => names.iter().map(DatabaseName::new).collect(),
            None => item.type_.databases().iter().copied().map(DatabaseName::new).collect(),
        };
        for (index, name) in databases.iter().enumerate() {
            if name.as_str().trim().is_empty()
                || name.as_str().contains('\0')
                || name.as_str().encode_utf16().count() > 128
            {
                return Err(wrong(
                    format!("{field}.databases[{index}]"),
                    format!("{:?} is not a database name", name.as_str()),
                ));
            }
            if databases[..index].contains(name) {
                return Err(wrong(format!("{field}.databases[{index}]"), format!("{name} is listed twice")));
            }
        }
        if databases.is_empty() {
            return Err(wrong(
                format!("{field}.databases"),
                "is empty: remove it for Lync's defaults, or name the databases",
            ));
        }
        let approve = item.approve.as_ref().map(|approve| Epoch::new(approve.epoch.clone()));
        let asked_by = askers(resource.metadata.managed_fields.as_deref().unwrap_or_default(), item.type_);
        let force = match &item.force_service {
            Some(consent) if !consent.accept_data_loss => {
                return Err(wrong(
                    format!("{field}.forceService.acceptDataLoss"),
                    "must be true, or remove forceService",
                ));
            }
            Some(consent) => Some(ForceService { epoch: Epoch::new(consent.epoch.clone()), until: consent.until }),
            None => None,
        };
        wishes.push(Wish { ty: item.type_, principal: item.principal, databases, store, approve, force, asked_by });
    }
    wishes.sort_by_key(|wish| wish.ty);
    let suspend = spec.suspend.as_ref().map(|suspend| Suspend { reason: suspend.reason.clone(), until: suspend.until });
    Ok(Asked {
        desired: Desired {
            pool: spec.pool_fqdn.clone(),
            generation: resource.metadata.generation.unwrap_or_default(),
            wishes,
            suspend,
            policy: policy(&spec.policy)?,
        },
        stores,
    })
}

fn policy(spec: &PolicySpec) -> Result<Policy, SpecError> {
    let windows = spec.maintenance_windows.iter().enumerate().map(|(index, window)| {
        Window::new(&window.schedule, &window.time_zone, window.duration.0)
            .map_err(|problem| wrong(format!("spec.policy.maintenanceWindows[{index}]"), problem))
    });
    Ok(Policy {
        unrequested_switch: spec.unrequested_switch,
        fail_back_after: spec.fail_back_after.0,
        windows: windows.collect::<Result<_, _>>()?,
        max_interruption: spec.max_interruption.map(|span| span.0),
        cooldown: spec.cooldown.0,
        switch_deadline: spec.switch_deadline.0,
        order: spec.order.clone(),
    })
}

fn check(sql: &SqlStore, field: &str) -> Result<(), SpecError> {
    if same(&sql.primary, &sql.mirror) {
        return Err(wrong(
            field,
            format!("primary and mirror are both {}: a server cannot mirror itself", sql.primary.host),
        ));
    }
    let kerberos = sql.auth.method == AuthMethod::Kerberos;
    if sql.tls.mode == TlsMode::Off && !kerberos {
        let problem = "mode Off needs auth.method Kerberos: a password must not cross the network unencrypted";
        return Err(wrong(format!("{field}.tls.mode"), problem));
    }
    if sql.auth.kdcs.is_some() && !kerberos {
        return Err(wrong(format!("{field}.auth.kdcs"), "kdcs are only used with method Kerberos"));
    }
    // They are written into a file of the Kerberos library, where a line more could mean anything.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '[' | ']');
    if let Some(kdc) = sql.auth.kdcs.iter().flatten().find(|kdc| kdc.is_empty() || !kdc.chars().all(plain)) {
        return Err(wrong(format!("{field}.auth.kdcs"), format!("{kdc:?} is no HOST or HOST:PORT")));
    }
    // A pin that is dropped could mean that any certificate will do.
    let pins = sql.tls.fingerprints().map_err(|pin| {
        wrong(
            format!("{field}.tls.pins"),
            format!("{pin:?} is no SHA-256 fingerprint: 64 hexadecimal digits, with or without colons"),
        )
    })?;
    if pins.is_empty() && (sql.tls.mode == TlsMode::Pin || sql.tls.pins.is_some()) {
        return Err(wrong(format!("{field}.tls.pins"), "mode Pin needs the fingerprint of at least one certificate"));
    }
    Ok(())
}

fn same(a: &SqlServer, b: &SqlServer) -> bool {
    let key = |server: &SqlServer| {
        (server.host.to_lowercase(), server.port, server.instance.as_ref().map(|instance| instance.to_lowercase()))
    };
    key(a) == key(b)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As it would be without the API server's own rules: an older CRD, or none of them.
    fn refusal(sql: Value) -> Option<String> {
        let mut store = json!({
            "primary": {"host": "sql-a"}, "mirror": {"host": "sql-b"},
            "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
        });
        store.as_object_mut().unwrap().extend(sql.as_object().unwrap().clone());
        check(&serde_json::from_value(store).unwrap(), "spec.sql").err().map(|error| error.to_string())
    }

    #[test]
    fn no_password_goes_unencrypted_and_no_line_into_krb5_conf() {
        let kerberos =
            |kdcs: Value| json!({"auth": {"method": "Kerberos", "secretRef": {"name": "sql"}, "kdcs": kdcs}});
        assert_eq!(refusal(json!({})), None);
        assert_eq!(refusal(kerberos(json!(["dc1", "dc2.contoso.com:88", "[::1]:88"]))), None);
        let said = refusal(json!({"tls": {"mode": "Off"}})).unwrap();
        assert!(said.starts_with("spec.sql.tls.mode: mode Off needs auth.method Kerberos"), "{said}");
        let with_kdcs = json!({"auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}, "kdcs": ["dc1"]}});
        assert!(refusal(with_kdcs).unwrap().starts_with("spec.sql.auth.kdcs"));
        for wrong in ["", "dc1\n[plugins]", "dc1 }", "dc1#"] {
            let said = refusal(kerberos(json!([wrong]))).unwrap();
            assert!(said.contains("spec.sql.auth.kdcs") && said.contains(&format!("{wrong:?}")), "{said}");
        }
    }
}
