//! The checks that an API server makes before it stores a resource: fields that the CRD does not know, missing fields, and
//! values of another type. The bounds of the values are checked by `api::parse`, for a cluster too.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde_json::Value;

use crate::api::LyncPoolMirror;

/// The schema of `spec` in the CRD.
static SPEC: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(LyncPoolMirror::crd()).unwrap_or_default();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
});

/// A field with its value, and what is wrong with the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub field: String,
    pub value: String,
    pub problem: String,
}

/// The characters of a value that a problem shows.
const LONGEST_VALUE: usize = 100;

/// The first problem of a spec.
pub fn first_problem(spec: &Value) -> Option<Broken> {
    check(&SPEC, "spec", spec)
}

fn check(schema: &Value, field: &str, value: &Value) -> Option<Broken> {
    let broken = |problem: String| {
        let value: String = value.to_string().chars().take(LONGEST_VALUE).collect();
        Some(Broken { field: field.to_owned(), value, problem })
    };
    if value.is_null() && schema["nullable"] == true {
        return None;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        let wanted = schema["type"].as_str().unwrap_or_default();
        return broken(format!("The field needs a value of type {wanted}. To fix: write such a value."));
    }
    if let Some(values) = schema["enum"].as_array().filter(|values| !values.contains(value)) {
        let known: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return broken(format!("The value is unknown. To fix: write one of {}.", known.join(", ")));
    }
    if let Some(items) = value.as_array() {
        let mut items = items.iter().enumerate();
        return items.find_map(|(index, item)| check(&schema["items"], &format!("{field}[{index}]"), item));
    }
    let members = value.as_object()?;
    let known = schema["properties"].as_object()?;
    if let Some((name, value)) = members.iter().find(|(name, _)| !known.contains_key(*name)) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let problem = format!("The field is unknown. To fix: remove it, or write one of {}.", names.join(", "));
        return Some(Broken {
            field: format!("{field}.{name}"),
            value: value.to_string().chars().take(LONGEST_VALUE).collect(),
            problem,
        });
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !members.contains_key(*name)) {
        return Some(Broken {
            field: format!("{field}.{missing}"),
            value: "is missing".to_owned(),
            problem: "The field is required. To fix: add it.".to_owned(),
        });
    }
    members.iter().find_map(|(name, value)| check(&known[name], &format!("{field}.{name}"), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> Value {
        json!({
            "poolFqdn": "pool01.contoso.com",
            "sql": {
                "primary": {"host": "a", "port": 1433}, "mirror": {"host": "b", "instance": null},
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
            },
            "databaseTypes": [{"type": "User", "principal": "Primary", "databases": ["rtcxds"]}],
            "policy": {"cooldown": "0s"},
        })
    }

    #[test]
    fn spec_as_the_crd_wants_it_has_no_problem() {
        assert_eq!(first_problem(&spec()), None);
    }

    #[test]
    fn spec_that_the_crd_refuses_names_field_value_and_fix() {
        let broken = |edit: fn(&mut Value)| {
            let mut spec = spec();
            edit(&mut spec);
            let Broken { field, value, problem } = first_problem(&spec).unwrap();
            assert!(problem.contains("To fix: "), "{problem}");
            format!("{field} {value}")
        };
        assert_eq!(broken(|spec| spec["polcy"] = json!({"cooldown": "0s"})), r#"spec.polcy {"cooldown":"0s"}"#);
        assert_eq!(
            broken(|spec| spec["databaseTypes"][0]["principal"] = json!("Left")),
            r#"spec.databaseTypes[0].principal "Left""#
        );
        assert_eq!(broken(|spec| spec["sql"]["mirror"] = json!({})), "spec.sql.mirror.host is missing");
        assert_eq!(broken(|spec| spec["sql"]["primary"]["port"] = json!("x")), r#"spec.sql.primary.port "x""#);
        assert_eq!(broken(|spec| *spec = json!([])), "spec []");
    }
}
