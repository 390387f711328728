//! Logins by SID, so that each search costs the same on a server with many logins. Pure.

use std::collections::HashMap;

use crate::model::ServerLogin;

/// A login and its name.
pub type NamedLogin<'a> = (&'a String, &'a ServerLogin);

/// The first of the logins with each SID. A login without a SID is none of them.
pub fn first_by_sid<'a>(logins: impl Iterator<Item = NamedLogin<'a>>) -> HashMap<&'a [u8], NamedLogin<'a>> {
    let mut first = HashMap::new();
    for (name, login) in logins.filter(|(_, login)| !login.sid.is_empty()) {
        first.entry(login.sid.as_slice()).or_insert((name, login));
    }
    first
}
