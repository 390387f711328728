//! The reference of the resource in Markdown, generated from the CustomResourceDefinition and the reasons.

use std::fmt::Write;

use serde_json::Value;

use strum::IntoEnumIterator;

use lync_mirror::api::{ConditionType, definition};
use lync_mirror::model::{Effect, Reason};

/// The content of docs/reference/lyncpoolmirror.md.
pub fn reference() -> anyhow::Result<String> {
    let crd = serde_json::to_value(definition())?;
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut page = format!(
        "# LyncPoolMirror\n\n{}\n\nWritten by `make generate` from the CustomResourceDefinition.\n",
        description(schema)
    );
    for (part, title) in [("spec", "Spec"), ("status", "Status")] {
        let schema = &schema["properties"][part];
        writeln!(page, "\n## {title}\n\n{}\n", description(schema))?;
        page.push_str("| Field | Type | Meaning |\n|---|---|---|\n");
        let mut rules = Vec::new();
        fields(&mut page, &mut rules, schema, part)?;
        if !rules.is_empty() {
            page.push_str("\nThe API server rejects a resource that violates these rules:\n\n");
            for (path, message) in rules {
                writeln!(page, "- `{path}`: {message}")?;
            }
        }
    }
    page.push_str("\n## Conditions\n\n");
    for kind in ConditionType::iter() {
        writeln!(page, "- `{}`", <&str>::from(kind))?;
    }
    page.push_str("\n## Reasons\n\n| Reason | Effect |\n|---|---|\n");
    for reason in Reason::iter() {
        let effect = match reason.effect() {
            Effect::Ready => "Ready",
            Effect::Reconciling => "Reconciling",
            Effect::Stalled => "Stalled",
        };
        writeln!(page, "| [{0}](../reasons/{0}.md) | {effect} |", reason.name())?;
    }
    page.push_str("\nThe metrics have a [page of their own](metrics.md).\n");
    Ok(page)
}

fn fields(
    page: &mut String,
    rules: &mut Vec<(String, String)>,
    schema: &Value,
    path: &str,
) -> Result<(), std::fmt::Error> {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        rules.push((path.to_owned(), rule["message"].as_str().unwrap_or_default().to_owned()));
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let inner = if field["type"] == "array" { &field["items"] } else { field };
        let mark = if required.contains(&name.as_str()) { " (required)" } else { "" };
        let path = format!("{path}.{name}");
        writeln!(page, "| `{path}`{mark} | {} | {} |", kind(field), description(field).replace('|', "\\|"))?;
        let path = if field["type"] == "array" { format!("{path}[]") } else { path };
        fields(page, rules, inner, &path)?;
    }
    Ok(())
}

fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    match &schema["default"] {
        Value::Null | Value::Object(_) | Value::Array(_) => text,
        Value::String(default) => format!("{text} Default: `{default}`."),
        default => format!("{text} Default: `{default}`."),
    }
}

fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => format!("list of {}", kind(&schema["items"])),
        (Some("string"), Some("date-time")) => "time (RFC 3339)".to_owned(),
        (Some(kind), _) => kind.to_owned(),
        (None, _) => String::new(),
    }
}
