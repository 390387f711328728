//! The differences between two servers that a role switch does not carry along (R22), each with the statement that
//! removes it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DatabaseCopy, DatabaseName, Seat, ServerInventory};
use crate::sql::quote;

/// Each difference in a sentence, in a stable order.
pub fn differences(primary: &ServerInventory, mirror: &ServerInventory, databases: &[DatabaseName]) -> Vec<String> {
    let mut all = servers(primary, mirror);
    all.extend(logins(primary, mirror));
    all.extend(jobs(primary, mirror));
    all.extend(linked(primary, mirror));
    for name in databases {
        if let (Some(a), Some(b)) = (primary.copies.get(name), mirror.copies.get(name)) {
            all.extend(copies(name, a, b));
        }
    }
    all
}

fn servers(a: &ServerInventory, b: &ServerInventory) -> Vec<String> {
    let mut all = Vec::new();
    for (what, ours, theirs) in [("version", &a.version, &b.version), ("edition", &a.edition, &b.edition)] {
        if ours != theirs {
            all.push(format!("{what}: the primary is {ours}, the mirror {theirs}; bring both to the same"));
        }
    }
    all
}

/// Those that the other has not, by side.
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
    let has = |of: &ServerInventory, name: &str| of.logins.contains_key(name);
    let names = a.logins.keys().chain(b.logins.keys());
    let mut all: Vec<String> = missing(|name| has(a, name), |name| has(b, name), names)
        .into_iter()
        .map(|(name, seat)| {
            let known = a.logins.get(name).or_else(|| b.logins.get(name));
            let how = match known {
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
            all.push(format!(
                "login {name} has another SID on the mirror: its users are orphaned after a switch; there, where no database needs the old one: DROP LOGIN, then CREATE LOGIN {} WITH PASSWORD = '...', SID = {}",
                bracket(name),
                hex(&ours.sid)
            ));
        } else if ours.disabled != theirs.disabled {
            let seat = if ours.disabled { Seat::Primary } else { Seat::Mirror };
            all.push(format!("login {name} is disabled on the {} only", seat.word()));
        }
    }
    all
}

fn jobs(a: &ServerInventory, b: &ServerInventory) -> Vec<String> {
    let runs = |of: &BTreeMap<String, bool>, name: &str| of.get(name) == Some(&true);
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
    let has = |of: &ServerInventory, name: &str| of.linked_servers.contains(name);
    missing(|name| has(a, name), |name| has(b, name), a.linked_servers.iter().chain(&b.linked_servers))
        .into_iter()
        .map(|(name, seat)| format!("linked server {name} is missing on the {}; sp_addlinkedserver there", seat.word()))
        .collect()
}

/// The values of a mirror are those kept there; they can be changed only while that copy is principal.
fn copies(name: &DatabaseName, a: &DatabaseCopy, b: &DatabaseCopy) -> Vec<String> {
    let mut all = Vec::new();
    if a.owner_sid != b.owner_sid {
        let owner = |copy: &DatabaseCopy| copy.owner.clone().unwrap_or_else(|| hex(&copy.owner_sid));
        all.push(format!(
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
            all.push(format!(
                "{name}: {option} is OFF on the {}; once that is principal: ALTER DATABASE {} SET {option} ON",
                seat.word(),
                bracket(name.as_str())
            ));
        }
    }
    if a.compatibility != b.compatibility {
        all.push(format!(
            "{name}: the compatibility level is {} on the primary and {} on the mirror",
            a.compatibility, b.compatibility
        ));
    }
    all
}

/// The name between brackets. A name that no server can have is printed as it is, for it is advice and is never sent.
fn bracket(name: &str) -> String {
    quote::identifier(name).unwrap_or_else(|_| name.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02X}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Login;

    fn login(sid: u8) -> Login {
        Login { sid: vec![sid, 1], is_sql: true, disabled: false }
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
    fn each_difference_has_its_sentence() {
        let databases = [DatabaseName::new("rtcxds")];
        let told = |change: fn(&mut ServerInventory)| {
            let mut mirror = both();
            change(&mut mirror);
            differences(&both(), &mirror, &databases)
        };
        assert_eq!(told(|_| {}), Vec::<String>::new());
        type Row = (fn(&mut ServerInventory), &'static [&'static str]);
        let rows: [Row; 10] = [
            (
                |of| of.logins.clear(),
                &["login backup is missing on the mirror", "CREATE LOGIN [backup]", "SID = 0x0701"],
            ),
            (|of| _ = of.logins.insert("x]y".to_owned(), login(2)), &["x]y is missing on the primary", "[x]]y]"]),
            (|of| _ = of.logins.insert("backup".to_owned(), login(8)), &["another SID on the mirror", "SID = 0x0701"]),
            (|of| of.logins.values_mut().for_each(|one| one.disabled = true), &["disabled on the mirror only"]),
            (|of| of.jobs.clear(), &["Agent job nightly is missing or disabled on the mirror"]),
            (|of| _ = of.linked_servers.insert("DW".to_owned()), &["linked server DW is missing on the primary"]),
            (|of| of.version = "11.0.6020.0".to_owned(), &["11.0.7001.0", "the mirror 11.0.6020.0"]),
            (
                |of| of.copies.values_mut().for_each(|one| (one.owner_sid, one.owner) = (vec![9], None)),
                &["rtcxds: the owner is sa on the primary and 0x09 on the mirror", "ALTER AUTHORIZATION"],
            ),
            (
                |of| of.copies.values_mut().for_each(|one| one.trustworthy = true),
                &["TRUSTWORTHY is OFF on the primary"],
            ),
            (|of| of.copies.values_mut().for_each(|one| one.compatibility = 100), &["110 on the primary and 100"]),
        ];
        for (change, parts) in rows {
            let all = told(change);
            assert_eq!(all.len(), 1, "{all:?}");
            parts.iter().for_each(|part| assert!(all[0].contains(part), "{} lacks {part:?}", all[0]));
        }
    }

    #[test]
    fn databases_that_nobody_asked_for_are_not_compared() {
        let mut mirror = both();
        mirror.copies.values_mut().for_each(|one| one.trustworthy = true);
        assert!(differences(&both(), &mirror, &[DatabaseName::new("other")]).is_empty());
    }
}
