//! Text of the cluster on a terminal: no character of it may move the cursor, change a colour or turn the direction. Pure.

use serde_json::Value;

use crate::sql::is_unsafe;

/// The text in one line, each unsafe character as a space.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

/// As [`line`], with the line breaks.
pub fn lines(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && is_unsafe(c) { ' ' } else { c }).collect()
}

/// Every text of a JSON value as [`line`].
pub fn value(value: &mut Value) {
    match value {
        Value::String(text) => *text = line(text),
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Object(fields) => fields.values_mut().for_each(self::value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixtures::Passes;
    use crate::cli::output;
    use crate::cli::pool::Pool;
    use crate::cli::view::{rows, text};

    /// Clears a terminal, sets its title, turns the direction, and begins another line.
    const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}b\u{9b}31m\r\nc";

    fn is_safe(text: &str) -> bool {
        !text.chars().any(|c| c != '\n' && c != ' ' && is_unsafe(c))
    }

    #[test]
    fn hostile_text_is_harmless_in_every_output() {
        assert!(is_safe(&line(HOSTILE)) && !line(HOSTILE).contains('\n'));
        assert_eq!(lines("a\n\u{1b}b"), "a\n b");
        for width in [None, Some(20), Some(200)] {
            let table = text::table(&["A", "B"], &[vec![HOSTILE.to_owned(), HOSTILE.to_owned()]], width);
            assert!(is_safe(&table), "{table:?}");
            assert!(is_safe(&text::paragraph(HOSTILE, 2, width)));
        }
        let mut object = Passes::new().pass("P/4/C", "M/4/C").pool().object;
        object["status"]["databaseTypes"][0]["message"] = json!(HOSTILE);
        object["status"]["databaseTypes"][0]["databases"][0]["name"] = json!(HOSTILE);
        let pool = Pool::of_value(object.clone());
        assert!(is_safe(&pool.status.database_types[0].message));
        let csv = output::csv(&rows::rows(&pool)).unwrap();
        assert!(is_safe(&csv), "{csv:?}");
        assert_eq!(csv.lines().count(), 4, "a cell adds no line: {csv:?}");
        assert_eq!(pool.object, object, "what a write repeats is not changed");
    }
}
