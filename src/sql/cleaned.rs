//! Text from a server, made safe for a status and a terminal: one line of limited length without invisible characters.

/// The longest text of a server in a message, in characters.
const LONGEST: usize = 256;

/// The text in one line: control characters, line breaks and bidirectional marks become a single space, and a long text
/// ends with an ellipsis.
pub fn cleaned(text: &str) -> String {
    cleaned_to(text, LONGEST)
}

/// The text in one line of at most `longest` characters.
pub fn cleaned_to(text: &str, longest: usize) -> String {
    let mut cleaned = String::new();
    let mut length = 0;
    for c in text.chars() {
        let c = if is_unsafe(c) { ' ' } else { c };
        if c == ' ' && (cleaned.is_empty() || cleaned.ends_with(' ')) {
            continue;
        }
        if length == longest {
            cleaned.push('\u{2026}');
            break;
        }
        cleaned.push(c);
        length += 1;
    }
    cleaned.trim_end().to_owned()
}

/// Limits a text to one line of at most `longest` characters. A text within the limit is not changed.
pub fn cut(text: &mut String, longest: usize) {
    if text.chars().nth(longest).is_some() || text.contains(char::is_control) {
        *text = cleaned_to(text, longest);
    }
}

/// The cleaned text without its periods, so that a sentence can end with it; `None` without any text.
pub fn sentence(text: &str) -> Option<String> {
    let text = cleaned(text);
    let text = text.trim_end_matches(['.', ' ']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// True for line breaks, other control characters, every space and the characters that change the direction of a text.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(
            c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cleaned_text_has_one_line() {
        assert_eq!(cleaned("one\r\ntwo\u{2028}three\0four\u{202e}five \t six\n"), "one two three four five six");
        assert_eq!(cleaned("Anmeldung für é𝕏"), "Anmeldung für é𝕏");
        assert_eq!(cleaned("\r\n"), "");
    }

    #[test]
    fn cleaned_text_is_cut() {
        let long = cleaned(&"é".repeat(3000));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'), "{long}");
        assert_eq!(cleaned(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    #[test]
    fn sentence_without_text_is_none() {
        assert_eq!(sentence(" . "), None);
        assert_eq!(sentence("Not now..").as_deref(), Some("Not now"));
    }

    proptest! {
        #[test]
        fn cleaned_text_of_any_input_is_safe(text in any::<String>()) {
            let cleaned = cleaned(&text);
            prop_assert!(!cleaned.chars().any(|c| c != ' ' && is_unsafe(c)));
            prop_assert!(cleaned.chars().count() <= LONGEST + 1);
        }
    }
}
