//! A point in time that a person writes as the end of something.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};

/// RFC 3339 knows 26 hours more of the year 9999 than [`Timestamp`] does, and `9999-12-31T23:59:59Z` is how people write "for ever".
fn read<E: Error>(text: &str) -> Result<Timestamp, E> {
    match text.parse() {
        Ok(time) => Ok(time),
        Err(_) if text.starts_with("9999-12-3") => Ok(Timestamp::MAX),
        Err(problem) => Err(E::custom(format!("{text:?} is not a time as RFC 3339 writes it: {problem}"))),
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
    fn the_last_day_of_9999_is_for_ever() {
        let read = |text| read::<serde_json::Error>(text);
        assert_eq!(read("9999-12-31T23:59:59Z").unwrap(), Timestamp::MAX);
        assert_eq!(read("2026-11-24T10:00:00+01:00").unwrap().to_string(), "2026-11-24T09:00:00Z");
        assert!(read("tomorrow").unwrap_err().to_string().contains("tomorrow"));
    }
}
