//! The bounds of the schema (lengths, ranges, patterns) for the parser: a spec that an older CRD or another version accepted
//! gets the same error, and the rest of it is still observed. Pure.

/// The longest DNS name.
const LONGEST_NAME: usize = 253;

/// The message for a text that is longer than the schema allows.
pub(super) fn longer_than(text: &str, most: usize) -> Option<String> {
    (text.chars().count() > most)
        .then(|| format!("The text is longer than {most} characters. To fix: write at most {most} characters."))
}

/// The message for a name of an object or of a host that is too long.
pub(super) fn name_length(name: &str) -> Option<String> {
    longer_than(name, LONGEST_NAME)
}

/// The message for a list with more entries than the schema allows.
pub(super) fn more_than<T>(list: &[T], most: usize) -> Option<String> {
    (list.len() > most).then(|| {
        format!(
            "The list has {} entries, and {most} are allowed. To fix: remove the entries that are not needed.",
            list.len()
        )
    })
}

pub(super) fn pool(fqdn: &str) -> Option<&'static str> {
    let is_label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    (fqdn.len() > LONGEST_NAME || !fqdn.split('.').all(is_label)).then_some(
        "This is not the FQDN of a pool. To fix: write the name as Get-CsPool prints it, e.g. pool01.contoso.com.",
    )
}

pub(super) fn instance(name: &str) -> Option<&'static str> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '#'));
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | '$'));
    (!starts || !plain || name.len() > 16).then_some(
        "This is not the name of an instance. To fix: write 1 to 16 letters, digits, _, # or $, e.g. RTC, without the host.",
    )
}

pub(super) fn port(port: i64) -> Option<&'static str> {
    (!(1..=65_535).contains(&port))
        .then_some("This is not a TCP port. To fix: write the port of the instance, 1 to 65535, or remove it.")
}

/// `HOST`, `HOST:PORT` or `[IPv6]:PORT`. The KDCs are written into krb5.conf, where a line break would start another setting.
pub(super) fn kdc(kdc: &str) -> Option<&'static str> {
    let (host, port) = match kdc.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or_default())),
        None => kdc.split_once(':').map_or((kdc, None), |(host, port)| (host, Some(port))),
    };
    let bracketed = kdc.starts_with('[');
    let plain = |c: char| match bracketed {
        true => c.is_ascii_hexdigit() || matches!(c, ':' | '.'),
        false => c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
    };
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|c| c.is_ascii_digit());
    let valid = !host.is_empty() && host.chars().all(plain) && port.is_none_or(is_port) && kdc.len() <= 260;
    (!valid).then_some("This is not a KDC. To fix: write HOST or HOST:PORT, e.g. dc1.contoso.com.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_pool_port_and_kdc_are_refused_as_by_the_schema() {
        for (name, valid) in [
            ("RTC", true),
            ("_a#$1", true),
            ("MSSQLSERVER", true),
            ("", false),
            ("1RTC", false),
            ("R TC", false),
            (r"sql-a\RTC", false),
            ("ABCDEFGHIJKLMNOP", true),
            ("ABCDEFGHIJKLMNOPQ", false),
        ] {
            assert_eq!(instance(name).is_none(), valid, "{name}");
        }
        for (name, valid) in [
            ("pool01.contoso.com", true),
            ("pool01", true),
            ("", false),
            ("pool01.", false),
            ("pool_01.contoso.com", false),
            ("-pool.contoso.com", false),
            ("pool01.contoso.com\n", false),
        ] {
            assert_eq!(pool(name).is_none(), valid, "{name}");
        }
        assert!(pool(&"a".repeat(253)).is_none() && pool(&"a".repeat(254)).is_some());
        for (text, valid) in [("", true), ("\u{e4}\u{e4}\u{e4}", true), ("abc", true), ("abcd", false)] {
            assert_eq!(longer_than(text, 3).is_none(), valid, "{text}");
        }
        for (number, valid) in [(0, false), (1, true), (65_535, true), (65_536, false), (-1, false)] {
            assert_eq!(port(number).is_none(), valid, "{number}");
        }
        for (name, valid) in [
            ("dc1", true),
            ("dc1.contoso.com:88", true),
            ("[::1]:88", true),
            ("[::1]", true),
            ("", false),
            ("dc1:", false),
            ("dc1:888888", false),
            ("dc1\n[plugins]", false),
            ("::1", false),
            ("[::1]88", false),
        ] {
            assert_eq!(kdc(name).is_none(), valid, "{name}");
        }
    }
}
