//! The rules of `rules` for the parser: each check returns the message of the rule that a value breaks. Pure.

use std::time::Duration;

use crate::api::{AuthMethod, ConfigMapRef, PolicySpec, SqlServer, SqlStore, TlsMode, bounds, rules};

/// A field, its value and the message of the rule that the value breaks.
pub(super) type Broken = (String, String, String);

fn broken(field: impl Into<String>, value: impl std::fmt::Debug, message: &str) -> Broken {
    (field.into(), format!("{value:?}"), message.to_owned())
}

pub(super) fn host(host: &str) -> Option<&'static str> {
    let starts_with = |protocol: &&str| {
        host.get(..protocol.len()).is_some_and(|start| start.eq_ignore_ascii_case(protocol))
            && host[protocol.len()..].starts_with(':')
    };
    if ["tcp", "np", "lpc", "admin"].iter().any(starts_with) {
        return Some(rules::PROTOCOL_IN_HOST);
    }
    if host.contains('\\') {
        return Some(rules::INSTANCE_IN_HOST);
    }
    let colons = host.matches(':').count();
    if host.contains(',') || colons == 1 || (host.starts_with('[') && host.contains("]:")) {
        return Some(rules::PORT_IN_HOST);
    }
    let is_address = colons > 1 && host.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':'));
    (!is_address && !is_name(host.strip_suffix('.').unwrap_or(host), is_host_label)).then_some(rules::HOST)
}

fn is_name(name: &str, is_label: impl Fn(&str) -> bool) -> bool {
    name.split('.').all(is_label)
}

fn is_host_label(label: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !label.is_empty() && label.chars().all(plain) && !label.starts_with('-') && !label.ends_with('-')
}

/// The name of a Secret or ConfigMap: a DNS-1123 subdomain.
pub fn is_object_name(name: &str) -> bool {
    name.len() <= 253
        && is_name(name, |label| is_host_label(label) && !label.contains(|c: char| c == '_' || c.is_ascii_uppercase()))
}

/// The key of a ConfigMap.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 253
        && key != "."
        && !key.starts_with("..")
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// The format of `Epoch`.
pub(super) fn is_epoch(text: &str) -> bool {
    let digest =
        |digest: &str| digest.len() == 4 && digest.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'a'..=b'f'));
    let sum = |sum: &str| !sum.is_empty() && sum.bytes().all(|c| c.is_ascii_digit());
    text.split_once('-').is_some_and(|(before, after)| sum(before) && digest(after))
}

pub(super) fn is_time_zone(zone: &str) -> bool {
    let parts: Vec<&str> = zone.split('/').collect();
    let [area, city @ ..] = parts.as_slice() else { return false };
    let letters = area.starts_with(|c: char| c.is_ascii_alphabetic())
        && area.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let plain = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-'))
    };
    zone.eq_ignore_ascii_case("UTC") || (letters && matches!(city.len(), 1 | 2) && city.iter().all(plain))
}

/// A field of cron: its bounds, its names from the lower bound, its further items, and the message.
struct CronField {
    low: u8,
    high: u8,
    names: &'static str,
    suffixes: &'static [&'static str],
    message: &'static str,
}

const CRON: [CronField; 5] = [
    CronField { low: 0, high: 59, names: "", suffixes: &[], message: rules::MINUTE },
    CronField { low: 0, high: 23, names: "", suffixes: &[], message: rules::HOUR },
    CronField { low: 1, high: 31, names: "", suffixes: &["W"], message: rules::DAY },
    CronField {
        low: 1,
        high: 12,
        names: "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC",
        suffixes: &[],
        message: rules::MONTH,
    },
    CronField {
        low: 0,
        high: 7,
        names: "SUN MON TUE WED THU FRI SAT",
        suffixes: &["L", "#1", "#2", "#3", "#4", "#5"],
        message: rules::WEEKDAY,
    },
];

impl CronField {
    fn is_value(&self, text: &str) -> bool {
        let number = text.len() <= 2 && text.bytes().all(|c| c.is_ascii_digit());
        let in_range = number && text.parse().is_ok_and(|value: u8| (self.low..=self.high).contains(&value));
        in_range || self.names.split_whitespace().any(|name| name.eq_ignore_ascii_case(text))
    }

    /// `*`, a value, a range, a step, or an item that only this field has.
    fn is_item(&self, item: &str) -> bool {
        let upper = item.to_ascii_uppercase();
        if self.suffixes.iter().any(|suffix| upper.strip_suffix(suffix).is_some_and(|value| self.is_value(value))) {
            return true;
        }
        let last_day = self.suffixes.contains(&"W") && upper == "L";
        let (range, step) = upper.split_once('/').map_or((upper.as_str(), None), |(range, step)| (range, Some(step)));
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let in_range = range == "*" || (self.is_value(low) && self.is_value(high));
        let steps = |step: &str| matches!(step.len(), 1 | 2) && step.bytes().all(|c| c.is_ascii_digit());
        last_day || (in_range && step.is_none_or(steps))
    }
}

/// The first field of cron that is out of range.
pub(super) fn schedule(schedule: &str) -> Option<&'static str> {
    let fields: Vec<&str> = schedule.split(' ').filter(|field| !field.is_empty()).collect();
    if fields.len() != CRON.len() {
        return Some(rules::FIVE_FIELDS);
    }
    let out_of_range =
        |(field, text): (&CronField, &str)| (!text.split(',').all(|item| field.is_item(item))).then_some(field.message);
    CRON.iter().zip(fields).find_map(out_of_range)
}

const HOUR: u64 = 3600;

/// Whether a duration of the policy is within its bounds, in seconds.
fn within(duration: Duration, low: u64, high: u64) -> bool {
    (Duration::from_secs(low)..=Duration::from_secs(high)).contains(&duration)
}

pub(super) fn is_window_duration(duration: Duration) -> bool {
    within(duration, 60, 168 * HOUR)
}

/// The durations of the policy that are out of bounds.
pub(super) fn durations(policy: &PolicySpec) -> Vec<Broken> {
    let longest = policy.max_interruption.unwrap_or(crate::api::Span::seconds(3));
    [
        ("switchDeadline", policy.switch_deadline, (10, 24 * HOUR), rules::SWITCH_DEADLINE),
        ("maxInterruption", longest, (3, 24 * HOUR), rules::MAX_INTERRUPTION),
        ("failBackAfter", policy.fail_back_after, (0, 720 * HOUR), rules::FAIL_BACK_AFTER),
        ("cooldown", policy.cooldown, (0, 720 * HOUR), rules::COOLDOWN),
        ("settleAfter", policy.settle_after, (0, 720 * HOUR), rules::SETTLE_AFTER),
    ]
    .into_iter()
    .filter(|(_, span, (low, high), _)| !within(span.0, *low, *high))
    .map(|(field, span, _, message)| broken(format!("spec.policy.{field}"), span.to_string(), message))
    .collect()
}

/// The problem of one server.
pub(super) fn server(server: &SqlServer, field: &str) -> Option<Broken> {
    if let Some(message) = host(&server.host) {
        return Some(broken(format!("{field}.host"), &server.host, message));
    }
    if let Some(message) = bounds::name_length(&server.host) {
        return Some(broken(format!("{field}.host"), &server.host, &message));
    }
    if let Some((port, message)) = server.port.and_then(|port| Some((port, bounds::port(port)?))) {
        return Some(broken(format!("{field}.port"), port, message));
    }
    if let Some((name, message)) = server.instance.as_deref().and_then(|name| Some((name, bounds::instance(name)?))) {
        return Some(broken(format!("{field}.instance"), name, message));
    }
    (server.port.is_some() && server.instance.is_some())
        .then(|| broken(field, server.address(), rules::PORT_AND_INSTANCE))
}

/// The problem of a witness, without which the store is still usable.
pub(super) fn witness(sql: &SqlStore, field: &str) -> Option<Broken> {
    let witness = sql.witness.as_ref()?;
    let field = format!("{field}.witness");
    let same = |partner: &SqlServer| partner.comparable_address() == witness.comparable_address();
    server(witness, &field).or_else(|| {
        (same(&sql.primary) || same(&sql.mirror)).then(|| broken(field, witness.address(), rules::WITNESS_IS_PARTNER))
    })
}

/// The problems with which a store cannot be used.
pub(super) fn store(sql: &SqlStore, field: &str) -> Vec<Broken> {
    let mut found: Vec<Broken> =
        [server(&sql.primary, &format!("{field}.primary")), server(&sql.mirror, &format!("{field}.mirror"))]
            .into_iter()
            .flatten()
            .collect();
    if sql.primary.comparable_address() == sql.mirror.comparable_address() {
        found.push(broken(field, sql.mirror.address(), rules::SAME_SERVER));
    }
    let secret = &sql.auth.secret_ref.name;
    if !is_object_name(secret) || bounds::name_length(secret).is_some() {
        found.push(broken(format!("{field}.auth.secretRef.name"), secret, rules::SECRET_NAME));
    }
    if let Some(kdcs) = &sql.auth.kdcs {
        let field = format!("{field}.auth.kdcs");
        if kdcs.is_empty() {
            found.push(broken(&*field, kdcs, "The list is empty. To fix: remove it, or name the KDCs."));
        }
        found.extend(bounds::more_than(kdcs, 16).map(|message| broken(&*field, kdcs.len(), &message)));
        found.extend(kdcs.iter().filter_map(|kdc| Some(broken(&*field, kdc, bounds::kdc(kdc)?))));
    }
    found.extend(tls(sql, &format!("{field}.tls")));
    found
}

fn tls(sql: &SqlStore, field: &str) -> Vec<Broken> {
    let (spec, mode) = (&sql.tls, sql.tls.mode);
    let mut found = Vec::new();
    if mode == TlsMode::Disabled && sql.auth.method != AuthMethod::Kerberos {
        found.push(broken(format!("{field}.mode"), mode, rules::UNENCRYPTED_PASSWORD));
    }
    if let Some(bundle) = &spec.ca_bundle {
        let ConfigMapRef { name, key } = &bundle.config_map_ref;
        if mode != TlsMode::Verify {
            found.push(broken(format!("{field}.caBundle"), name, rules::CA_UNUSED));
        }
        if !is_object_name(name) || bounds::name_length(name).is_some() {
            found.push(broken(format!("{field}.caBundle.configMapRef.name"), name, rules::CONFIG_MAP_NAME));
        }
        if !is_key(key) || bounds::name_length(key).is_some() {
            found.push(broken(format!("{field}.caBundle.configMapRef.key"), key, rules::CONFIG_MAP_KEY));
        }
    }
    if let Some((pins, message)) = spec.pins.as_ref().and_then(|pins| Some((pins, bounds::more_than(pins, 16)?))) {
        found.push(broken(format!("{field}.pins"), pins.len(), &message));
    }
    // Dropping an unreadable pin could leave none, and then any certificate would be accepted.
    match spec.fingerprints() {
        Err(pin) => {
            let message =
                "This is not a SHA-256 fingerprint. To fix: write 64 hexadecimal digits, with or without colons.";
            found.push(broken(format!("{field}.pins"), pin, message));
        }
        Ok(pins) => {
            let uses_pins = matches!(mode, TlsMode::Pin | TlsMode::Legacy);
            let consistent = if spec.pins.is_some() { uses_pins && !pins.is_empty() } else { mode != TlsMode::Pin };
            if !consistent {
                found.push(broken(format!("{field}.pins"), spec.pins.as_deref().unwrap_or_default(), rules::PINS));
            }
        }
    }
    found
}
