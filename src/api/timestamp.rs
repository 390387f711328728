//! A point in time that the user writes as an end time.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};

/// [`Timestamp`] ends 26 hours before the year 9999 of RFC 3339 does, and users write `9999-12-31T23:59:59Z` for "no end".
fn read<E: Error>(text: &str) -> Result<Timestamp, E> {
    match text.parse() {
        Ok(time) => Ok(time),
        Err(_) if text.starts_with("9999-12-3") => Ok(Timestamp::MAX),
        Err(problem) => Err(E::custom(format!("{text:?} is not an RFC 3339 time: {problem}"))),
    }
}

pub fn required<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    read(&String::deserialize(from)?)
}

pub fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| read(&text)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_last_day_of_9999_is_the_maximum() {
        let read = |text| read::<serde_json::Error>(text);
        assert_eq!(read("9999-12-31T23:59:59Z").unwrap(), Timestamp::MAX);
        assert_eq!(read("2026-11-24T10:00:00+01:00").unwrap().to_string(), "2026-11-24T09:00:00Z");
        assert!(read("tomorrow").unwrap_err().to_string().contains("tomorrow"));
    }
}
