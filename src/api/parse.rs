//! Spec -> validated desired state. Only this module rejects a spec that the API server accepted.

use crate::api::field_managers::field_managers;
use crate::api::{AuthMethod, DatabaseTypeSpec, ForceServiceSpec, LyncPoolMirror, PolicySpec, SqlStore, TlsMode};
use crate::model::{
    Approval, DatabaseName, Desired, DesiredType, Epoch, ForceService, Policy, StoreId, Stores, Suspend, Window,
};

/// A parsed spec: the desired state for the planner, and the stores to poll.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedSpec {
    pub desired: Desired,
    pub stores: Stores<Store>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub sql: SqlStore,
    /// Empty for the store of the pool, else the type that has a store of its own.
    pub label: String,
}

/// A problem of a spec: the field, the value and the fix.
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
///
/// # Errors
/// The first field that cannot be used.
pub fn parse(resource: &LyncPoolMirror) -> Result<ParsedSpec, SpecError> {
    let spec = &resource.spec;
    let mut stores = Stores::default();
    let default_store = match &spec.sql {
        Some(sql) => {
            check(sql, "spec.sql")?;
            Some(stores.push(Store { sql: sql.clone(), label: String::new() }))
        }
        None => None,
    };
    let managed = resource.metadata.managed_fields.as_deref().unwrap_or_default();
    let mut types: Vec<DesiredType> = Vec::new();
    for (index, item) in spec.database_types.iter().enumerate() {
        let field = format!("spec.databaseTypes[{index}]");
        if types.iter().any(|desired_type| desired_type.ty == item.type_) {
            return Err(wrong(field, format!("type {} is listed twice", item.type_)));
        }
        let store = store(item, &field, default_store, &mut stores)?;
        types.push(DesiredType {
            ty: item.type_,
            principal: item.principal,
            databases: databases(item, &field)?,
            store,
            approve: item
                .approve
                .as_ref()
                .map(|approve| Approval { epoch: Epoch::new(approve.epoch.clone()), until: approve.until }),
            force: item.force_service.as_ref().map(|consent| force(consent, &field)).transpose()?,
            requested_by: field_managers(managed, item.type_),
        });
    }
    types.sort_by_key(|desired_type| desired_type.ty);
    let suspend = spec.suspend.as_ref().map(|suspend| Suspend { reason: suspend.reason.clone(), until: suspend.until });
    // The API server sets the generation on every write. A file has none and counts as generation 0.
    let generation = resource.metadata.generation.unwrap_or(0);
    let pool = spec.pool_fqdn.clone();
    Ok(ParsedSpec { desired: Desired { pool, generation, types, suspend, policy: policy(&spec.policy)? }, stores })
}

/// The store of a type: its own, else that of the pool.
fn store(
    item: &DatabaseTypeSpec,
    field: &str,
    default_store: Option<StoreId>,
    stores: &mut Stores<Store>,
) -> Result<StoreId, SpecError> {
    match (&item.sql, default_store) {
        (Some(sql), _) => {
            check(sql, &format!("{field}.sql"))?;
            Ok(stores.push(Store { sql: sql.clone(), label: item.type_.to_string() }))
        }
        (None, Some(default)) => Ok(default),
        (None, None) => Err(wrong(field, format!("type {} has no store: set spec.sql or sql here", item.type_))),
    }
}

fn databases(item: &DatabaseTypeSpec, field: &str) -> Result<Vec<DatabaseName>, SpecError> {
    let databases: Vec<DatabaseName> = match &item.databases {
        Some(names) => names.iter().map(DatabaseName::new).collect(),
        None => item.type_.databases().iter().copied().map(DatabaseName::new).collect(),
    };
    for (index, name) in databases.iter().enumerate() {
        let field = format!("{field}.databases[{index}]");
        let text = name.as_str();
        if text.trim().is_empty() || text.contains('\0') || text.encode_utf16().count() > 128 {
            return Err(wrong(field, format!("{text:?} is not a database name")));
        }
        if databases[..index].contains(name) {
            return Err(wrong(field, format!("{name} is listed twice")));
        }
    }
    if databases.is_empty() {
        let problem = "is empty: remove it for Lync's defaults, or name the databases";
        return Err(wrong(format!("{field}.databases"), problem));
    }
    Ok(databases)
}

fn force(consent: &ForceServiceSpec, field: &str) -> Result<ForceService, SpecError> {
    if !consent.accept_data_loss {
        return Err(wrong(format!("{field}.forceService.acceptDataLoss"), "must be true, or remove forceService"));
    }
    Ok(ForceService {
        epoch: Epoch::new(consent.epoch.clone()),
        until: consent.until,
        fenced: consent.old_principal_fenced,
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
        settle_after: spec.settle_after.0,
        switch_deadline: spec.switch_deadline.0,
        order: spec.order.clone(),
    })
}

fn check(sql: &SqlStore, field: &str) -> Result<(), SpecError> {
    if sql.primary.comparable_address() == sql.mirror.comparable_address() {
        return Err(wrong(
            field,
            format!("primary and mirror are both {}: a server cannot mirror itself", sql.primary.host),
        ));
    }
    let kerberos = sql.auth.method == AuthMethod::Kerberos;
    if sql.tls.mode == TlsMode::Disabled && !kerberos {
        let problem = "mode Disabled needs auth.method Kerberos: a password must not cross the network unencrypted";
        return Err(wrong(format!("{field}.tls.mode"), problem));
    }
    if sql.auth.kdcs.is_some() && !kerberos {
        return Err(wrong(format!("{field}.auth.kdcs"), "kdcs are only used with method Kerberos"));
    }
    // The KDCs are written into krb5.conf, where a line break would start another setting.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '[' | ']');
    if let Some(kdc) = sql.auth.kdcs.iter().flatten().find(|kdc| kdc.is_empty() || !kdc.chars().all(plain)) {
        return Err(wrong(format!("{field}.auth.kdcs"), format!("{kdc:?} is no HOST or HOST:PORT")));
    }
    // Dropping an unreadable pin could leave none, and then any certificate would be accepted.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The error of a store, without the CEL rules of the API server (an older CRD).
    fn refusal(sql: Value) -> Option<String> {
        let mut store = json!({
            "primary": {"host": "sql-a"}, "mirror": {"host": "sql-b"},
            "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
        });
        store.as_object_mut().unwrap().extend(sql.as_object().unwrap().clone());
        check(&serde_json::from_value(store).unwrap(), "spec.sql").err().map(|error| error.to_string())
    }

    #[test]
    fn check_unencrypted_password_or_unsafe_kdc_is_refused() {
        let kerberos =
            |kdcs: Value| json!({"auth": {"method": "Kerberos", "secretRef": {"name": "sql"}, "kdcs": kdcs}});
        assert_eq!(refusal(json!({})), None);
        assert_eq!(refusal(kerberos(json!(["dc1", "dc2.contoso.com:88", "[::1]:88"]))), None);
        let error = refusal(json!({"tls": {"mode": "Disabled"}})).unwrap();
        assert!(error.starts_with("spec.sql.tls.mode: mode Disabled needs auth.method Kerberos"), "{error}");
        let with_kdcs = json!({"auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}, "kdcs": ["dc1"]}});
        assert!(refusal(with_kdcs).unwrap().starts_with("spec.sql.auth.kdcs"));
        for wrong in ["", "dc1\n[plugins]", "dc1 }", "dc1#"] {
            let error = refusal(kerberos(json!([wrong]))).unwrap();
            assert!(error.contains("spec.sql.auth.kdcs") && error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
