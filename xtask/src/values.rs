//! The values of the chart: the table in its README, and the defaults that replace null, from values.yaml and
//! values.schema.json.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

pub const README: &str = "charts/lync-mirror/README.md";
pub const DEFAULTS: &str = "charts/lync-mirror/files/defaults.yaml";

const BEGIN: &str = "<!-- The table is written by `make generate`. -->\n";
const END: &str = "<!-- End of the table. -->\n";

/// The content of [`README`]: the present text with a new table.
pub fn readme(root: &Path) -> anyhow::Result<String> {
    let text = read(root, README)?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{README} lacks {BEGIN:?}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{README} lacks {END:?}"))?;
    let schema: Value = serde_json::from_str(&read(root, "charts/lync-mirror/values.schema.json")?)?;
    let mut table = String::from("| Value | Default | Description |\n|---|---|---|\n");
    rows(&mut table, &schema, &schema, &values(root)?, "")?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// The content of [`DEFAULTS`]: templates cannot read values.yaml.
pub fn defaults(root: &Path) -> anyhow::Result<String> {
    let values = Value::Object(values(root)?);
    // JSON is YAML.
    Ok(format!(
        "# Written by `make generate` from values.yaml. Do not edit.\n{}\n",
        serde_json::to_string_pretty(&values)?
    ))
}

fn read(root: &Path, path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
}

fn values(root: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = read(root, "charts/lync-mirror/values.yaml")?;
    Ok(serde_saphyr::from_str(&text)?)
}

/// A row for each value, and for each part of one that the schema describes.
fn rows(
    table: &mut String,
    schema: &Value,
    parent: &Value,
    values: &Map<String, Value>,
    path: &str,
) -> anyhow::Result<()> {
    for (name, value) in values {
        let path = format!("{path}{name}");
        let own = &parent["properties"][name];
        let Some(description) = own["description"].as_str().filter(|text| !text.is_empty()) else {
            bail!("values.schema.json has no description of {path}");
        };
        let resolved = resolve(schema, own);
        match value.as_object().filter(|parts| !parts.is_empty() && resolved["properties"].is_object()) {
            Some(parts) => rows(table, schema, resolved, parts, &format!("{path}."))?,
            None => writeln!(table, "| `{path}` | `{value}` | {} |", description.replace('|', "\\|"))?,
        }
    }
    Ok(())
}

/// The definition that a reference names.
fn resolve<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    let reference = part["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| schema.pointer(pointer)).unwrap_or(part)
}
