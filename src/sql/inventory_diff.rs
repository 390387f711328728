//! The differences between server-level objects that a role switch does not synchronize (docs/design/rules.md, R22),
//! each with the statement that removes the difference. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DatabaseCopy, DatabaseName, Differences, Seat, ServerInventory, ServerLogin};
use crate::sql::logins_by_sid::{NamedLogin, first_by_sid};
use crate::sql::{cleaned, hex, quote};

/// The differences by their weight.
#[derive(Debug, Default)]
pub struct Found {
    risks: Differences,
    notes: Differences,
}

impl Found {
    /// Adds the differences of other servers.
    pub fn append(&mut self, other: Found) {
        self.risks.append(other.risks);
        self.notes.append(other.notes);
    }

    /// All of them, risks first.
    pub fn into_differences(self) -> Differences {
        let Found { risks: mut all, notes } = self;
        all.append(notes);
        all
    }

    /// A difference that stops an application after a switch.
    fn risk(&mut self, text: impl FnOnce() -> String) {
        self.risks.add(|| message("Risk", &text()));
    }

    /// A difference that an administrator may want.
    fn note(&mut self, text: impl FnOnce() -> String) {
        self.notes.add(|| message("Note", &text()));
    }
}

/// The message within its limit, because a login can have many roles or a long SID.
fn message(weight: &str, text: &str) -> String {
    let mut message = format!("{weight}: {text}");
    cleaned::cut(&mut message, Differences::LONGEST);
    message
}

/// One message per difference. `databases` limits the comparison of the database properties. `principal`: the
/// seat that serves the databases, whose SIDs count.
pub fn differences(
    primary: &ServerInventory,
    mirror: &ServerInventory,
    databases: &[DatabaseName],
    principal: Seat,
) -> Found {
    let mut found = Found::default();
    logins(&mut found, primary, mirror, principal);
    jobs(&mut found, primary, mirror);
    linked(&mut found, primary, mirror);
    for name in databases {
        if let (Some(a), Some(b)) = (primary.copies.get(name), mirror.copies.get(name)) {
            copies(&mut found, name, a, b);
        }
    }
    servers(&mut found, primary, mirror);
    found
}

fn servers(found: &mut Found, a: &ServerInventory, b: &ServerInventory) {
    for (what, ours, theirs) in [("version", &a.version, &b.version), ("edition", &a.edition, &b.edition)] {
        if ours != theirs {
            found.note(|| {
                format!(
                    "The {what} is {ours} on the primary and {theirs} on the mirror. To fix: bring both to the same."
                )
            });
        }
    }
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

/// `sa` under any name.
const SA: [u8; 1] = [1];

/// The logins to compare by folded name, because Windows and most collations compare without case. The logins of the
/// operator itself and `sa` are excluded: following an advice about them can lock out the operator.
fn comparable<'a>(inventory: &'a ServerInventory, own: [&str; 2]) -> BTreeMap<String, NamedLogin<'a>> {
    let own = own.map(str::to_lowercase);
    let logins = inventory.logins.iter().map(|(name, login)| (name.to_lowercase(), (name, login)));
    logins.filter(|(folded, (_, login))| !own.contains(folded) && login.sid != SA).collect()
}

fn logins(found: &mut Found, a: &ServerInventory, b: &ServerInventory, principal: Seat) {
    let own = [a.own_login.as_str(), b.own_login.as_str()];
    let (on_primary, on_mirror) = (comparable(a, own), comparable(b, own));
    for (seat, here, there) in [(Seat::Mirror, &on_primary, &on_mirror), (Seat::Primary, &on_mirror, &on_primary)] {
        let by_sid = first_by_sid(there.values().copied());
        for (folded, (name, login)) in here {
            if there.contains_key(folded) {
                continue;
            }
            match by_sid.get(login.sid.as_slice()) {
                // Each pair of names once.
                Some((other, _)) if seat == Seat::Mirror => found.note(|| format!(
                    "Login {name} of the primary has the name {other} on the mirror, with the same SID. To fix: run there ALTER LOGIN {} WITH NAME = {}.",
                    bracket(other),
                    bracket(name)
                )),
                Some(_) => {}
                None => found.risk(|| format!(
                    "Login {name} is missing on the {}. To fix: run there {}",
                    seat.word(),
                    create(name, login, seat.other())
                )),
            }
        }
    }
    for (folded, ours) in &on_primary {
        if let Some(theirs) = on_mirror.get(folded) {
            login(found, *ours, *theirs, principal);
        }
    }
}

/// The statement that creates a login as it is on the server in seat `like`, and its server roles.
fn create(name: &str, login: &ServerLogin, like: Seat) -> String {
    let name = bracket(name);
    let roles = match login.server_roles.iter().cloned().collect::<Vec<_>>().join(", ") {
        roles if roles.is_empty() => String::new(),
        roles => format!(" Then add it to the server roles {roles}."),
    };
    if login.is_sql {
        let (sid, like) = (hex(&login.sid), like.word());
        format!(
            "CREATE LOGIN {name} WITH PASSWORD = <hash> HASHED, SID = {sid}, with the hash that sp_help_revlogin prints on the {like}.{roles}"
        )
    } else {
        format!("CREATE LOGIN {name} FROM WINDOWS.{roles}")
    }
}

/// The differences of a login that both servers have.
fn login(found: &mut Found, (name, ours): NamedLogin, (_, theirs): NamedLogin, principal: Seat) {
    if !ours.sid.is_empty() && !theirs.sid.is_empty() && ours.sid != theirs.sid {
        let right = if principal == Seat::Primary { ours } else { theirs };
        let (wrong, drop) = (principal.other().word(), bracket(name));
        found.risk(|| format!(
            "Login {name} has another SID on the {wrong}, so that its users are orphaned after a switch. To fix: where no database needs the old SID, run there DROP LOGIN {drop} and {}",
            create(name, right, principal)
        ));
        return;
    }
    if ours.disabled != theirs.disabled {
        let seat = if ours.disabled { Seat::Primary } else { Seat::Mirror };
        found.risk(|| {
            format!(
                "Login {name} is disabled on the {} only. To fix: run there ALTER LOGIN {} ENABLE.",
                seat.word(),
                bracket(name)
            )
        });
    }
    for (seat, here, there) in [(Seat::Primary, ours, theirs), (Seat::Mirror, theirs, ours)] {
        if there.server_roles.is_subset(&here.server_roles) {
            continue;
        }
        found.risk(|| {
            let roles: Vec<String> = there.server_roles.difference(&here.server_roles).cloned().collect();
            let (word, roles, member) = (seat.word(), roles.join(", "), bracket(name));
            format!("Login {name} lacks the server roles {roles} on the {word}. To fix: run there ALTER SERVER ROLE ... ADD MEMBER {member}, or on 2008 R2 sp_addsrvrolemember.")
        });
    }
    let folded = |login: &ServerLogin| login.default_database.as_ref().map(|name| name.to_lowercase());
    if folded(ours) != folded(theirs) {
        let of = |login: &ServerLogin| login.default_database.clone().unwrap_or_else(|| "none".to_owned());
        found.note(|| format!(
            "The default database of login {name} is {} on the primary and {} on the mirror. To fix: run ALTER LOGIN {} WITH DEFAULT_DATABASE = [master] on both.",
            of(ours),
            of(theirs),
            bracket(name)
        ));
    }
    if ours.policy_checked != theirs.policy_checked {
        let on = |login: &ServerLogin| if login.policy_checked == Some(true) { "ON" } else { "OFF" };
        found.note(|| format!(
            "CHECK_POLICY of login {name} is {} on the primary and {} on the mirror. To fix: set it alike with ALTER LOGIN.",
            on(ours),
            on(theirs)
        ));
    }
}

fn jobs(found: &mut Found, a: &ServerInventory, b: &ServerInventory) {
    let runs = |inventory: &BTreeMap<String, bool>, name: &str| inventory.get(name) == Some(&true);
    let names = a.jobs.keys().chain(b.jobs.keys());
    for (name, seat) in missing(|name| runs(&a.jobs, name), |name| runs(&b.jobs, name), names) {
        let seat = seat.word();
        found.risk(|| {
            format!("Agent job {name} is missing or disabled on the {seat}. To fix: script it there, with a first step that checks the role.")
        });
    }
}

fn linked(found: &mut Found, a: &ServerInventory, b: &ServerInventory) {
    let has = |inventory: &ServerInventory, name: &str| inventory.linked_servers.contains(name);
    let names = a.linked_servers.iter().chain(&b.linked_servers);
    for (name, seat) in missing(|name| has(a, name), |name| has(b, name), names) {
        let seat = seat.word();
        found.risk(|| format!("Linked server {name} is missing on the {seat}. To fix: run there sp_addlinkedserver."));
    }
}

/// Compares database properties, which each server stores for its own copy. They can change only on the principal.
fn copies(found: &mut Found, name: &DatabaseName, a: &DatabaseCopy, b: &DatabaseCopy) {
    if !a.owner_sid.is_empty() && !b.owner_sid.is_empty() && a.owner_sid != b.owner_sid {
        found.risk(|| owner(name, a, b));
    }
    for (option, ours, theirs) in
        [("TRUSTWORTHY", a.trustworthy, b.trustworthy), ("DB_CHAINING", a.chaining, b.chaining)]
    {
        if ours != theirs {
            let seat = if ours { Seat::Mirror } else { Seat::Primary };
            found.note(|| format!(
                "{option} of {name} is OFF on the {}. To fix: once that copy is the principal, run ALTER DATABASE {} SET {option} ON.",
                seat.word(),
                bracket(name.as_str())
            ));
        }
    }
    if a.compatibility != b.compatibility {
        found.note(|| format!(
            "The compatibility level of {name} is {} on the primary and {} on the mirror. To fix: on the principal, run ALTER DATABASE {} SET COMPATIBILITY_LEVEL = {}.",
            a.compatibility,
            b.compatibility,
            bracket(name.as_str()),
            a.compatibility.max(b.compatibility)
        ));
    }
}

/// Which copy is wrong: one whose owner has no login, else one that is not owned by `sa` while the other is, else unknown.
fn owner(name: &DatabaseName, a: &DatabaseCopy, b: &DatabaseCopy) -> String {
    let owner =
        |copy: &DatabaseCopy| copy.owner.clone().unwrap_or_else(|| format!("{} (no login)", hex(&copy.owner_sid)));
    let wrong = match (a.owner.is_some(), b.owner.is_some(), a.owner_sid == SA, b.owner_sid == SA) {
        (false, true, ..) | (true, true, false, true) => Some(Seat::Primary),
        (true, false, ..) | (true, true, true, false) => Some(Seat::Mirror),
        (false, false, ..) | (true, true, true, true) | (true, true, false, false) => None,
    };
    let database = bracket(name.as_str());
    let Some(seat) = wrong else {
        return format!(
            "The owner of {name} is {} on the primary and {} on the mirror. To fix: on the copy with the wrong owner, once it is the principal, run ALTER AUTHORIZATION ON DATABASE::{database} TO the right login.",
            owner(a),
            owner(b)
        );
    };
    let (bad, good) = if seat == Seat::Primary { (a, b) } else { (b, a) };
    let (word, to) = (seat.word(), good.owner.as_deref().map(bracket).unwrap_or_default());
    format!(
        "The copy of {name} on the {word} is owned by {}, the other by {}. To fix: once the copy on the {word} is the principal, run there ALTER AUTHORIZATION ON DATABASE::{database} TO {to}.",
        owner(bad),
        owner(good)
    )
}

/// The name in brackets, also when no server can have it: an administrator may copy the text.
fn bracket(name: &str) -> String {
    quote::identifier(name).unwrap_or_else(|_| format!("[{}]", name.replace(']', "]]")))
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::upper(bytes, ""))
}

#[cfg(test)]
#[path = "inventory_diff_tests.rs"]
mod tests;
