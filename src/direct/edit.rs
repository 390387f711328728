//! Edits of a spec file that keep its comments and its order. Each edit is checked: the result must decode to exactly the
//! wanted spec, so that an unusual layout is refused and never written wrongly.

use serde_json::{Map, Value};

use crate::direct::spec_file::document;

/// A field of the spec, or of the entry of a database type. The value is a scalar or an object of scalars.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The type of the entry in `spec.databaseTypes`. None: a field of `spec`.
    pub ty: Option<String>,
    pub field: &'static str,
    /// None: the field is removed.
    pub value: Option<Value>,
}

/// The text with the edits. None: its layout is not that of a block for each entry, or the result would differ from `wanted`.
pub fn edited(text: &str, edits: &[Edit], wanted: &Value) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for edit in edits {
        apply(&mut lines, edit)?;
    }
    let mut result = lines.join("\n");
    if text.ends_with('\n') {
        result.push('\n');
    }
    (document(&result).ok()?["spec"] == *wanted).then_some(result)
}

/// Lines with the indentation of their keys.
struct Block {
    first: usize,
    /// Behind the last line.
    end: usize,
    indent: usize,
}

fn apply(lines: &mut Vec<String>, edit: &Edit) -> Option<()> {
    let spec = spec(lines)?;
    if let Some((at, item)) = edit.ty.as_ref().and_then(|ty| flow_entry(lines, &spec, ty)) {
        lines[at] = with_flow(&lines[at], item, edit)?;
        return Some(());
    }
    let block = match &edit.ty {
        None => spec,
        Some(ty) => entry(lines, &spec, ty)?,
    };
    let prefix = " ".repeat(block.indent);
    let found = key(lines, &block, edit.field);
    let is_first = found.is_some_and(|(at, _)| at == block.first && indent(&lines[at]) < block.indent);
    match (found, &edit.value) {
        (None, None) => {}
        (None, Some(value)) => {
            let new = rendered(edit.field, value, &prefix)?;
            lines.splice(block.end..block.end, new);
        }
        // The key stands behind the dash of its entry: only a scalar is replaced there.
        (Some((at, _)), Some(value)) if is_first || (!value.is_object() && is_scalar(&lines[at])) => {
            let line = replaced(&lines[at], edit.field, value)?;
            lines[at] = line;
        }
        (Some(_), None) if is_first => return None,
        (Some((at, end)), Some(value)) => {
            let new = rendered(edit.field, value, &prefix)?;
            lines.splice(at..end, new);
        }
        (Some((at, end)), None) => _ = lines.drain(at..end),
    }
    Some(())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// A line without content does not end a block.
fn is_blank(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// The end of a block whose lines are indented by more than `outer`, without the blank lines behind it.
fn end(lines: &[String], from: usize, outer: usize) -> usize {
    let mut end = from;
    for (at, line) in lines.iter().enumerate().skip(from) {
        if is_blank(line) {
            continue;
        }
        if indent(line) <= outer {
            break;
        }
        end = at + 1;
    }
    end
}

/// The block of `spec`.
fn spec(lines: &[String]) -> Option<Block> {
    let opens = |line: &String| {
        let rest = line.strip_prefix("spec:").map(str::trim_start);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
    };
    let mut at = lines.iter().enumerate().filter(|(_, line)| opens(line));
    let (at, None) = (at.next()?.0, at.next()) else { return None };
    let first = (at + 1..lines.len()).find(|at| !is_blank(&lines[*at]))?;
    Some(Block { first, end: end(lines, at + 1, 0), indent: indent(&lines[first]) })
}

/// The entry of a type that is written as `- {type: User, principal: Primary}` on one line.
fn flow_entry(lines: &[String], spec: &Block, ty: &str) -> Option<(usize, Map<String, Value>)> {
    let (list, end) = key(lines, spec, "databaseTypes")?;
    (list + 1..end).find_map(|at| {
        let text = lines[at].trim_start().strip_prefix("- ")?.trim_start();
        let item: Value = text.starts_with('{').then(|| serde_saphyr::from_str(text).ok())??;
        (item["type"] == *ty).then(|| item.as_object().cloned()).flatten().map(|item| (at, item))
    })
}

/// The line of such an entry with the edit; a comment behind it stays.
fn with_flow(line: &str, mut item: Map<String, Value>, edit: &Edit) -> Option<String> {
    match &edit.value {
        Some(value) => _ = item.insert(edit.field.to_owned(), value.clone()),
        None => _ = item.remove(edit.field),
    }
    let before = &line[..line.find('{')?];
    let behind = &line[line.rfind('}')? + 1..];
    Some(format!("{before}{}{behind}", flow(&Value::Object(item))?))
}

/// In one line, with the keys of an entry in the order in which administrators write them.
fn flow(value: &Value) -> Option<String> {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(name, _)| match name.as_str() {
                "type" => 0,
                "principal" => 1,
                _ => 2,
            });
            let texts: Option<Vec<String>> =
                members.into_iter().map(|(name, value)| Some(format!("{name}: {}", flow(value)?))).collect();
            Some(format!("{{{}}}", list(texts?)))
        }
        Value::Array(items) => Some(format!("[{}]", list(items.iter().map(flow).collect::<Option<Vec<String>>>()?))),
        scalar => text(scalar),
    }
}

/// The entry of a type in `databaseTypes`. Its first key stands behind the dash.
fn entry(lines: &[String], spec: &Block, ty: &str) -> Option<Block> {
    let (list, _) = key(lines, spec, "databaseTypes")?;
    let first = (list + 1..lines.len()).find(|at| !is_blank(&lines[*at]))?;
    let dash = indent(&lines[first]);
    let mut at = first;
    while at < lines.len() {
        if is_blank(&lines[at]) {
            at += 1;
            continue;
        }
        let item = lines[at][indent(&lines[at])..].strip_prefix("- ").filter(|_| indent(&lines[at]) == dash)?;
        let own = dash + 2 + indent(item);
        let block = Block { first: at, end: end(lines, at + 1, dash), indent: own };
        let is_wanted = key(lines, &block, "type").is_some_and(|(at, _)| scalar(&lines[at], "type") == Some(ty));
        if is_wanted {
            return Some(block);
        }
        at = block.end.max(at + 1);
    }
    None
}

/// The lines of a key of a block with its value.
fn key(lines: &[String], block: &Block, name: &str) -> Option<(usize, usize)> {
    let names = |at: usize| {
        let line = &lines[at];
        // The first line of an entry has a dash before its key.
        let is_key = indent(line) == block.indent || (at == block.first && indent(line) < block.indent);
        let text = line.get(block.indent..).filter(|_| is_key && !is_blank(line))?;
        text.strip_prefix(name)?.strip_prefix(':')
    };
    let at = (block.first..block.end.max(block.first + 1)).find(|at| names(*at).is_some())?;
    let mut behind = end(lines, at + 1, block.indent);
    // The items of a list can have the indentation of its key.
    let is_item = |at: usize| lines[at].get(block.indent..).is_some_and(|text| text.starts_with("- "));
    while let Some(next) = (behind..block.end).find(|at| !is_blank(&lines[*at])).filter(|at| is_item(*at)) {
        behind = end(lines, next + 1, block.indent);
    }
    Some((at, behind.max(at + 1)))
}

/// The scalar of a key on one line.
fn scalar<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line.split_once(&format!("{name}:"))?.1.trim_start();
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim_end();
    Some(value.trim_matches(['"', '\'']))
}

fn is_scalar(line: &str) -> bool {
    let value = line.split_once(':').map_or("", |(_, value)| value).trim();
    !(value.is_empty() || value.starts_with(['#', '{', '[', '|', '>', '&', '*', '!']))
}

/// The line with another scalar; a comment stays.
fn replaced(line: &str, name: &str, value: &Value) -> Option<String> {
    let (before, behind) = line.split_once(&format!("{name}:"))?;
    let value_end = behind.find(" #").unwrap_or(behind.len());
    let comment = &behind[behind[..value_end].trim_end().len()..];
    let spaces = behind.len() - behind.trim_start().len();
    Some(format!("{before}{name}:{}{}{comment}", " ".repeat(spaces.max(1)), text(value)?))
}

/// A plain word as it is, and every other text in quotation marks.
fn text(value: &Value) -> Option<String> {
    // Words that YAML takes for another type.
    const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = |word: &str| {
        let letters = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
        letters && !RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
    };
    match value {
        Value::String(word) if is_plain(word) => Some(word.clone()),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn rendered(field: &str, value: &Value, prefix: &str) -> Option<Vec<String>> {
    let Some(members) = value.as_object() else { return Some(vec![format!("{prefix}{field}: {}", text(value)?)]) };
    let mut lines = vec![format!("{prefix}{field}:")];
    for (name, value) in members {
        lines.push(format!("{prefix}  {name}: {}", text(value)?));
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "\
apiVersion: lyncmirror.io/v1alpha1
kind: LyncPoolMirror
metadata:
  name: pool01
spec:  # of the pool in Berlin
  poolFqdn: pool01.contoso.com
  databaseTypes:
  # the users
  - type: User
    principal: Primary   # until the patches
    approve: {epoch: \"5-abcd\"}
  - principal: \"Mirror\"
    type: CentralMgmt
    databases:
    - xds
    - lis

  suspend:
    reason: patches
    until: \"2026-12-01T04:00:00Z\"
  policy:
    cooldown: 0s
";

    fn edit(ty: Option<&str>, field: &'static str, value: Value) -> Edit {
        Edit { ty: ty.map(str::to_owned), field, value: (!value.is_null()).then_some(value) }
    }

    /// The edited text, with the spec that results from the edits on the decoded file.
    fn run(text: &str, edits: &[Edit]) -> Option<String> {
        let mut wanted = document(text).unwrap()["spec"].clone();
        for edit in edits {
            let at = match &edit.ty {
                None => &mut wanted,
                Some(ty) => {
                    let items = wanted["databaseTypes"].as_array_mut().unwrap();
                    items.iter_mut().find(|item| item["type"] == json!(ty)).unwrap()
                }
            };
            match &edit.value {
                Some(value) => at[edit.field] = value.clone(),
                None => _ = at.as_object_mut().unwrap().remove(edit.field),
            }
        }
        edited(text, edits, &wanted)
    }

    #[test]
    fn scalar_is_replaced_and_everything_else_stays() {
        let after = run(FILE, &[edit(Some("User"), "principal", json!("Mirror"))]).unwrap();
        assert_eq!(after, FILE.replace("principal: Primary   #", "principal: Mirror   #"));
        let after = run(FILE, &[edit(Some("CentralMgmt"), "principal", json!("Primary"))]).unwrap();
        assert_eq!(after, FILE.replace("- principal: \"Mirror\"", "- principal: Primary"));
    }

    #[test]
    fn object_is_added_replaced_and_removed() {
        let epoch = json!({"epoch": "6-0000"});
        let after = run(FILE, &[edit(Some("User"), "approve", epoch.clone())]).unwrap();
        assert_eq!(after, FILE.replace("    approve: {epoch: \"5-abcd\"}", "    approve:\n      epoch: \"6-0000\""));
        let after = run(FILE, &[edit(Some("CentralMgmt"), "approve", epoch)]).unwrap();
        assert_eq!(after, FILE.replace("    - lis\n", "    - lis\n    approve:\n      epoch: \"6-0000\"\n"));
        let after = run(FILE, &[edit(Some("User"), "approve", Value::Null)]).unwrap();
        assert_eq!(after, FILE.replace("    approve: {epoch: \"5-abcd\"}\n", ""));
        let suspend = run(FILE, &[edit(None, "suspend", Value::Null)]).unwrap();
        assert_eq!(suspend, FILE.replace("  suspend:\n    reason: patches\n    until: \"2026-12-01T04:00:00Z\"\n", ""));
        let again = run(&suspend, &[edit(None, "suspend", json!({"reason": "it's: \"x\" # no comment"}))]).unwrap();
        assert!(again.ends_with("  suspend:\n    reason: \"it's: \\\"x\\\" # no comment\"\n"), "{again}");
        assert!(again.contains("# until the patches"), "{again}");
    }

    #[test]
    fn entry_on_one_line_stays_on_one_line() {
        let block = "  - type: User\n    principal: Primary   # until the patches\n    approve: {epoch: \"5-abcd\"}\n";
        let text = FILE.replace(block, "    - {type: User, principal: Primary, databases: [rtcxds]}  # the users\n");
        let text = text
            .replace("  - principal: \"Mirror\"\n    type: CentralMgmt\n    databases:\n    - xds\n    - lis\n", "");
        let after = run(&text, &[edit(Some("User"), "principal", json!("Mirror"))]).unwrap();
        assert_eq!(after, text.replace("principal: Primary", "principal: Mirror"));
        let approved = run(&text, &[edit(Some("User"), "approve", json!({"epoch": "5-abcd"}))]).unwrap();
        let item =
            "    - {type: User, principal: Primary, approve: {epoch: \"5-abcd\"}, databases: [rtcxds]}  # the users\n";
        assert!(approved.contains(item), "{approved}");
        assert_eq!(run(&approved, &[edit(Some("User"), "approve", Value::Null)]).unwrap(), text);
    }

    #[test]
    fn layout_that_is_not_understood_is_refused() {
        let principal = [edit(Some("User"), "principal", json!("Mirror"))];
        let text = FILE.replace("spec:  # of the pool in Berlin\n", "spec: &spec\n");
        assert_ne!(text, FILE);
        assert_eq!(run(&text, &principal), None);
        assert_eq!(run(FILE, &[edit(Some("CentralMgmt"), "principal", Value::Null)]), None, "its dash would be lost");
    }
}
