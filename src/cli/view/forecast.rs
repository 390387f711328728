//! A forecast and the difference of two specs as text.

use serde_json::Value;

use crate::cli::clean;
use crate::cli::forecast::decision::{Decision, Forecast, Step, TypeForecast};
use crate::cli::view::text;

/// The decision for each type.
pub fn render(forecast: &Forecast, width: Option<usize>) -> String {
    let mut lines = Vec::new();
    for problem in &forecast.problems {
        lines.push(text::paragraph(&format!("REFUSED: {problem} No type moves while this stands."), 0, width));
    }
    for TypeForecast { ty, decision } in &forecast.types {
        let (line, steps) = match decision {
            Decision::Move { steps } => (format!("{ty}: would MOVE now."), &steps[..]),
            Decision::Hold { reason, message, steps } => {
                (format!("{ty}: would not move ({reason}). {message}"), &steps[..])
            }
            Decision::Nothing { reason } => (format!("{ty}: would not move ({reason})."), &[][..]),
            Decision::Unknown { why } => (format!("{ty}: not known. {why}"), &[][..]),
        };
        lines.push(text::paragraph(&line, 0, width));
        let waits = if matches!(decision, Decision::Move { .. }) { "" } else { "waits: " };
        lines.extend(steps.iter().map(|step| text::paragraph(&sentence(step, waits), 2, width)));
    }
    for (ty, databases) in &forecast.removed {
        let line = format!("{ty}: the operator would no longer watch {}.", databases.join(", "));
        lines.push(text::paragraph(&line, 0, width));
    }
    lines.concat()
}

fn sentence(step: &Step, waits: &str) -> String {
    let predicted = step.predicted.as_ref().map(|predicted| format!("  (interruption about {predicted})"));
    format!("{waits}{}  {}{}", step.server, step.statement, predicted.unwrap_or_default())
}

/// One line for each field that differs: `~ databaseTypes[User].principal  Primary -> Mirror`.
pub fn difference(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", before, after, &mut lines);
    lines
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                compare(&below, &of(a), &of(b), lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if keyed(a) && keyed(b) => {
            let key = |item: &Value| item["type"].as_str().unwrap_or_default().to_owned();
            let names: std::collections::BTreeSet<String> = a.iter().chain(b).map(key).collect();
            for name in names {
                let of = |items: &[Value]| items.iter().find(|item| key(item) == name).cloned().unwrap_or(Value::Null);
                compare(&format!("{path}[{name}]"), &of(a), &of(b), lines);
            }
        }
        (a, b) if a == b => {}
        (Value::Null, b) => lines.push(format!("+ {path}  {}", short(b))),
        (a, Value::Null) => lines.push(format!("- {path}  {}", short(a))),
        (a, b) => lines.push(format!("~ {path}  {} -> {}", short(a), short(b))),
    }
}

fn keyed(items: &[Value]) -> bool {
    items.iter().all(|item| item["type"].is_string())
}

fn short(value: &Value) -> String {
    clean::line(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn difference_names_each_changed_field_by_its_type() {
        let before = json!({"policy": {"cooldown": "10m"}, "databaseTypes": [
            {"type": "User", "principal": "Primary"}, {"type": "CentralMgmt", "principal": "Primary"},
        ]});
        let after = json!({"policy": {"cooldown": "10m"}, "suspend": {"reason": "x"}, "databaseTypes": [
            {"type": "User", "principal": "Mirror"},
        ]});
        assert_eq!(
            difference(&before, &after),
            [
                "- databaseTypes[CentralMgmt]  {\"principal\":\"Primary\",\"type\":\"CentralMgmt\"}",
                "~ databaseTypes[User].principal  Primary -> Mirror",
                "+ suspend  {\"reason\":\"x\"}",
            ]
        );
        assert_eq!(difference(&before, &before), [""; 0]);
    }
}
