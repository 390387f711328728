//! Comparison of texts and names by the collation of the server: Latin1_General_CI_AS or Latin1_General_CS_AS.

use std::cmp::Ordering;

use super::values::{like, unsupported};
use crate::value::Message;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collation {
    IgnoresCase,
    CaseSensitive,
}

impl Collation {
    /// The text by which equal texts are equal: without trailing blanks.
    pub fn key(self, text: &str) -> String {
        let text = text.trim_end_matches(' ');
        match self {
            Collation::IgnoresCase => text.to_lowercase(),
            Collation::CaseSensitive => text.to_owned(),
        }
    }

    /// The order of two texts. Texts that differ in case only: a small letter comes before its capital.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        let folded = Collation::IgnoresCase;
        let order = folded.key(a).cmp(&folded.key(b));
        match self {
            Collation::IgnoresCase => order,
            Collation::CaseSensitive => {
                let capitals = |text: &str| text.trim_end_matches(' ').chars().map(char::is_uppercase).collect();
                order.then_with(|| Vec::<bool>::cmp(&capitals(a), &capitals(b)))
            }
        }
    }

    /// The form of a name that is compared with a name in lower case.
    pub fn name(self, name: &str) -> String {
        match self {
            Collation::IgnoresCase => name.to_lowercase(),
            Collation::CaseSensitive => name.to_owned(),
        }
    }

    /// Whether the text matches a LIKE pattern.
    ///
    /// # Errors
    /// 102 for a set in a case-sensitive pattern: its ranges have the order of the collation.
    pub fn like(self, text: &str, pattern: &str) -> Result<bool, Message> {
        match self {
            Collation::IgnoresCase => Ok(like(&text.to_lowercase(), &pattern.to_lowercase())),
            Collation::CaseSensitive if pattern.contains('[') => Err(unsupported("LIKE")),
            Collation::CaseSensitive => Ok(like(text, pattern)),
        }
    }
}
