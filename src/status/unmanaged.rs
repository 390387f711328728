//! The databases that are mirrored on the servers of the spec and that the spec does not name. They are no obstacle. Pure.

use std::collections::BTreeSet;

use crate::api::{ParsedSpec, UnmanagedDatabase};
use crate::model::{DatabaseName, DatabaseType, Observation, Pair, Seat, Server};
use crate::plan::same_name;

/// The largest number of these databases in the status.
const MOST: usize = 50;

/// In the order of their names. `observation` shows the databases of all servers, also those of other applications.
pub(super) fn databases(spec: &ParsedSpec, observation: &Observation) -> Vec<UnmanagedDatabase> {
    let desired = &spec.desired;
    let mut found: BTreeSet<&DatabaseName> = BTreeSet::new();
    for server in observation.pairs.iter().flat_map(servers) {
        let named = |name: &DatabaseName| {
            desired.types.iter().any(|desired_type| {
                let mut servers = servers(observation.pair(desired_type.store));
                servers.any(|other| same_name(&other.name, &server.name)) && desired_type.databases.contains(name)
            })
        };
        // The databases of an unusable type are not known. It has at least those of Lync, and is named elsewhere.
        let unusable = |name| desired.unusable.keys().any(|ty| is_default(*ty, name));
        let mirrored = server.databases.iter().filter(|(_, database)| database.mirroring.is_some());
        found.extend(mirrored.map(|(name, _)| name).filter(|name| !named(name) && !unusable(name)));
    }
    found
        .into_iter()
        .take(MOST)
        .map(|name| UnmanagedDatabase { name: name.to_string(), hint: hint(spec, name) })
        .collect()
}

fn servers(pair: &Pair) -> impl Iterator<Item = &Server> {
    Seat::BOTH.into_iter().filter_map(|seat| pair.view(seat).available())
}

fn is_default(ty: DatabaseType, name: &DatabaseName) -> bool {
    ty.databases().iter().any(|default| DatabaseName::new(*default) == *name)
}

fn hint(spec: &ParsedSpec, name: &DatabaseName) -> String {
    let ty = DatabaseType::ALL.into_iter().find(|ty| is_default(*ty, name));
    match ty {
        Some(ty) if spec.desired.types.iter().any(|desired_type| desired_type.ty == ty) => format!(
            "A default name of type {ty}, whose entry names other databases. To manage it here: add it to databases of {ty}."
        ),
        Some(ty) => format!("A default name of type {ty}. To manage it here: add type {ty} to spec.databaseTypes."),
        None => "No database type has this name. To fail it over with a type: add it to databases of this type. Otherwise do nothing.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerObservation;
    use crate::status::fixtures::{observed, spec};
    use serde_json::json;
    use std::sync::Arc;

    /// The pair of the tables with further databases, each a copy of LcsLog or of a database without a session.
    fn with(mirrored: &[&str], plain: &[&str]) -> Observation {
        let mut observation = observed("P/4/C", "M/4/C");
        for pair in observation.pairs.iter_mut() {
            let ServerObservation::Available { server, .. } = &mut pair.primary else { continue };
            let server = Arc::make_mut(server);
            let database = server.databases[&DatabaseName::new("LcsLog")].clone();
            for name in mirrored {
                server.databases.insert(DatabaseName::new(*name), database.clone());
            }
            for name in plain {
                let plain = crate::model::Database { mirroring: None, ..database.clone() };
                server.databases.insert(DatabaseName::new(*name), plain);
            }
        }
        observation
    }

    #[test]
    fn databases_that_no_type_names_are_listed_with_a_hint() {
        let names = |spec: &ParsedSpec, observation: &Observation| -> Vec<String> {
            databases(spec, observation).into_iter().map(|database| database.name).collect()
        };
        let archiving = spec(|_| {});
        assert_eq!(names(&archiving, &with(&[], &["master", "msdb"])), Vec::<String>::new());
        assert_eq!(names(&archiving, &with(&["lcslog", "rtcxds", "crm"], &["rtcab"])), ["crm", "rtcxds"]);
        let other = spec(|spec| spec["databaseTypes"][0]["databases"] = json!(["crm"]));
        assert_eq!(names(&other, &with(&["crm"], &[])), ["LcsLog"]);
        let unusable = spec(|spec| spec["databaseTypes"][0]["databases"] = json!([]));
        assert_eq!(names(&unusable, &with(&["crm"], &[])), ["crm"]);
        assert_eq!(names(&archiving, &observed("away", "away")), Vec::<String>::new());

        let hints = |spec: &ParsedSpec, name: &str| databases(spec, &with(&[name], &[])).remove(0).hint;
        assert!(hints(&archiving, "rtcxds").contains("add type User to spec.databaseTypes"));
        assert!(hints(&archiving, "crm").contains("Otherwise do nothing"));
        let elsewhere = hints(&spec(|spec| spec["databaseTypes"][0]["databases"] = json!(["x"])), "x2");
        assert!(elsewhere.contains("type Archiving, whose entry names other databases"), "{elsewhere}");
    }

    #[test]
    fn databases_without_end_are_listed_up_to_a_limit() {
        let names: Vec<String> = (0..200).map(|number| format!("crm{number:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(databases(&spec(|_| {}), &with(&names, &[])).len(), MOST);
    }
}
