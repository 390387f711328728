//! Durations in the notation of Kubernetes: `90s`, `10m`, `1h30m`.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::duration_text;

/// A duration in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration; write it as 30s, 10m or 1h30m");
        // The library also parses signs, fractions, spaces, milliseconds and ISO 8601. The CRD does not.
        let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'h' | 'm' | 's')) && !text.contains("ms");
        let signed: SignedDuration = text.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        Duration::try_from(signed).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration_text(self.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "string", "pattern": "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$", "minLength": 2, "maxLength": 24})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_in_the_schema_is_a_text_with_a_pattern() {
        let schema = serde_json::to_value(Span::json_schema(&mut SchemaGenerator::default())).unwrap();
        assert_eq!(schema["type"], "string");
        assert!(schema["pattern"].is_string() && Span::inline_schema(), "{schema}");
    }

    #[test]
    fn span_from_str_and_display_use_go_notation() {
        for (text, seconds, printed) in
            [("90s", 90, "1m30s"), ("10m", 600, "10m"), ("1h30m", 5400, "1h30m"), ("0s", 0, "0s")]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_secs(), seconds, "{text}");
            assert_eq!(span.to_string(), printed);
        }
        for text in [
            "",
            "10",
            "m",
            "ten minutes",
            "1d",
            "10m5",
            "99999999999999999999h",
            "5000ms",
            "PT1H",
            "1.5h",
            "-1h",
            "1h-5m",
            "1h 5m",
            "2H",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
