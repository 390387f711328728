//! The differences between server-level objects that a role switch does not synchronize (docs/design/rules.md, R22),
//! each with the statement that removes the difference. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DatabaseCopy, DatabaseName, Seat, ServerInventory};
use crate::sql::{hex, quote};

/// One message per difference, in a stable order. `databases` limits the comparison of the database properties.
pub fn differences(primary: &ServerInventory, mirror: &ServerInventory, databases: &[DatabaseName]) -> Vec<String> {
    let mut messages = servers(primary, mirror);
    messages.extend(logins(primary, mirror));
    messages.extend(jobs(primary, mirror));
    messages.extend(linked(primary, mirror));
    for name in databases {
        if let (Some(a), Some(b)) = (primary.copies.get(name), mirror.copies.get(name)) {
            messages.extend(copies(name, a, b));
        }
    }
    // Messages are joined: without a period the SQL of one would run into the next.
    messages.iter().map(|message| format!("{}.", message.trim_end_matches('.'))).collect()
}

fn servers(a: &ServerInventory, b: &ServerInventory) -> Vec<String> {
    let mut messages = Vec::new();
    for (what, ours, theirs) in [("version", &a.version, &b.version), ("edition", &a.edition, &b.edition)] {
        if ours != theirs {
            messages.push(format!("{what}: the primary is {ours}, the mirror {theirs}; bring both to the same"));
        }
    }
    messages
}

/// The names that only one server has, with the seat that lacks them.
fn missing<'a>(
    a: impl Fn(&str) -> bool,
    b: impl Fn(&str) -> bool,
    names: impl Iterator<Item = &'a String>,
) -> Vec<(&'a String, Seat)> {
    let names: BTreeSet<&String> = names.collect();
    let lacks = |name: &&'a String| match (a(name), b(name)) {
        (true, false) => Some(Seat::Mirror),
        (false, true) => Some(Seat::Primary),
        (true, true) | (false, false) => None,
    };
    names.into_iter().filter_map(|name| Some((name, lacks(&name)?))).collect()
}

fn logins(a: &ServerInventory, b: &ServerInventory) -> Vec<String> {
    let has = |inventory: &ServerInventory, name: &str| inventory.logins.contains_key(name);
    let names = a.logins.keys().chain(b.logins.keys());
    let mut messages: Vec<String> = missing(|name| has(a, name), |name| has(b, name), names)
        .into_iter()
        .map(|(name, seat)| {
            let login = a.logins.get(name).or_else(|| b.logins.get(name));
            let how = match login {
                Some(login) if login.is_sql => {
                    format!("CREATE LOGIN {} WITH PASSWORD = '...', SID = {}", bracket(name), hex(&login.sid))
                }
                _ => format!("CREATE LOGIN {} FROM WINDOWS", bracket(name)),
            };
            format!("login {name} is missing on the {}; there: {how}", seat.word())
        })
        .collect();
    for (name, ours) in &a.logins {
        let Some(theirs) = b.logins.get(name) else { continue };
        if ours.sid != theirs.sid {
            messages.push(format!(
                "login {name} has another SID on the mirror: its users are orphaned after a switch; there, where no database needs the old one: DROP LOGIN, then CREATE LOGIN {} WITH PASSWORD = '...', SID = {}",
                bracket(name),
                hex(&ours.sid)
            ));
        } else if ours.disabled != theirs.disabled {
            let seat = if ours.disabled { Seat::Primary } else { Seat::Mirror };
            messages.push(format!("login {name} is disabled on the {} only", seat.word()));
        }
    }
    messages
}

fn jobs(a: &ServerInventory, b: &ServerInventory) -> Vec<String> {
    let runs = |inventory: &BTreeMap<String, bool>, name: &str| inventory.get(name) == Some(&true);
    let names = a.jobs.keys().chain(b.jobs.keys());
    missing(|name| runs(&a.jobs, name), |name| runs(&b.jobs, name), names)
        .into_iter()
        .map(|(name, seat)| {
            let seat = seat.word();
            format!("Agent job {name} is missing or disabled on the {seat}; script it there, with a step that tests the role first")
        })
        .collect()
}

fn linked(a: &ServerInventory, b: &ServerInventory) -> Vec<String> {
    let has = |inventory: &ServerInventory, name: &str| inventory.linked_servers.contains(name);
    missing(|name| has(a, name), |name| has(b, name), a.linked_servers.iter().chain(&b.linked_servers))
        .into_iter()
        .map(|(name, seat)| format!("linked server {name} is missing on the {}; sp_addlinkedserver there", seat.word()))
        .collect()
}

/// Compares database properties, which each server stores for its own copy. They can change only on the principal.
fn copies(name: &DatabaseName, a: &DatabaseCopy, b: &DatabaseCopy) -> Vec<String> {
    let mut messages = Vec::new();
    if a.owner_sid != b.owner_sid {
        let owner = |copy: &DatabaseCopy| copy.owner.clone().unwrap_or_else(|| hex(&copy.owner_sid));
        messages.push(format!(
            "{name}: the owner is {} on the primary and {} on the mirror; on the principal: ALTER AUTHORIZATION ON DATABASE::{} TO [login]",
            owner(a),
            owner(b),
            bracket(name.as_str())
        ));
    }
    for (option, ours, theirs) in
        [("TRUSTWORTHY", a.trustworthy, b.trustworthy), ("DB_CHAINING", a.chaining, b.chaining)]
    {
        if ours != theirs {
            let seat = if ours { Seat::Mirror } else { Seat::Primary };
            messages.push(format!(
                "{name}: {option} is OFF on the {}; once that is principal: ALTER DATABASE {} SET {option} ON",
                seat.word(),
                bracket(name.as_str())
            ));
        }
    }
    if a.compatibility != b.compatibility {
        messages.push(format!(
            "{name}: the compatibility level is {} on the primary and {} on the mirror",
            a.compatibility, b.compatibility
        ));
    }
    messages
}

/// The name in brackets, also when no server can have it: an administrator may copy the text.
fn bracket(name: &str) -> String {
    quote::identifier(name).unwrap_or_else(|_| format!("[{}]", name.replace(']', "]]")))
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::upper(bytes, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerLogin;

    fn login(sid: u8) -> ServerLogin {
        ServerLogin { sid: vec![sid, 1], is_sql: true, disabled: false }
    }

    fn copy() -> DatabaseCopy {
        DatabaseCopy {
            owner_sid: vec![1],
            owner: Some("sa".to_owned()),
            trustworthy: false,
            chaining: false,
            compatibility: 110,
        }
    }

    fn both() -> ServerInventory {
        ServerInventory {
            version: "11.0.7001.0".to_owned(),
            logins: [("backup".to_owned(), login(7))].into(),
            jobs: [("nightly".to_owned(), true)].into(),
            copies: [(DatabaseName::new("rtcxds"), copy())].into(),
            ..ServerInventory::default()
        }
    }

    #[test]
    fn differences_has_one_message_per_difference() {
        let databases = [DatabaseName::new("rtcxds")];
        let found = |change: fn(&mut ServerInventory)| {
            let mut mirror = both();
            change(&mut mirror);
            differences(&both(), &mirror, &databases)
        };
        assert_eq!(found(|_| {}), Vec::<String>::new());
        type Row = (fn(&mut ServerInventory), &'static [&'static str]);
        let rows: [Row; 10] = [
            (
                |inventory| inventory.logins.clear(),
                &["login backup is missing on the mirror", "CREATE LOGIN [backup]", "SID = 0x0701"],
            ),
            (
                |inventory| _ = inventory.logins.insert("x]y".to_owned(), login(2)),
                &["x]y is missing on the primary", "[x]]y]"],
            ),
            (
                |inventory| _ = inventory.logins.insert("backup".to_owned(), login(8)),
                &["another SID on the mirror", "SID = 0x0701"],
            ),
            (
                |inventory| inventory.logins.values_mut().for_each(|value| value.disabled = true),
                &["disabled on the mirror only"],
            ),
            (|inventory| inventory.jobs.clear(), &["Agent job nightly is missing or disabled on the mirror"]),
            (
                |inventory| _ = inventory.linked_servers.insert("DW".to_owned()),
                &["linked server DW is missing on the primary"],
            ),
            (|inventory| inventory.version = "11.0.6020.0".to_owned(), &["11.0.7001.0", "the mirror 11.0.6020.0"]),
            (
                |inventory| {
                    inventory.copies.values_mut().for_each(|value| (value.owner_sid, value.owner) = (vec![9], None))
                },
                &["rtcxds: the owner is sa on the primary and 0x09 on the mirror", "ALTER AUTHORIZATION"],
            ),
            (
                |inventory| inventory.copies.values_mut().for_each(|value| value.trustworthy = true),
                &["TRUSTWORTHY is OFF on the primary"],
            ),
            (
                |inventory| inventory.copies.values_mut().for_each(|value| value.compatibility = 100),
                &["110 on the primary and 100"],
            ),
        ];
        for (change, parts) in rows {
            let messages = found(change);
            assert_eq!(messages.len(), 1, "{messages:?}");
            parts.iter().for_each(|part| assert!(messages[0].contains(part), "{} lacks {part:?}", messages[0]));
        }
    }

    #[test]
    fn differences_ignores_databases_outside_the_list() {
        let mut mirror = both();
        mirror.copies.values_mut().for_each(|value| value.trustworthy = true);
        assert!(differences(&both(), &mirror, &[DatabaseName::new("other")]).is_empty());
    }

    #[test]
    fn differences_of_two_logins_are_separate_sentences_with_quoted_names() {
        let mut mirror = both();
        mirror.logins.clear();
        let mut primary = both();
        primary.logins.insert("x".repeat(200), login(9));
        let all = differences(&primary, &mirror, &[]);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all.iter().all(|message| message.ends_with('.') && message.contains(" [")), "{all:?}");
    }
}
