//! Which resources conflict, and which wait for others.

use serde_json::json;

use super::*;
use crate::api::parse;
use crate::controller::proven_pair::ProvenPair;
use crate::model::Unavailable;
use crate::plan::tests::pair;

/// A resource that names LcsLog on these two hosts.
fn spec(primary: &str, mirror: &str) -> ParsedSpec {
    let resource = json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror", "metadata": {"name": "pool01"},
        "spec": {
            "poolFqdn": "pool01.contoso.com",
            "sql": {
                "primary": {"host": primary}, "mirror": {"host": mirror},
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
            },
            "databaseTypes": [{"type": "Archiving", "principal": "Primary"}],
        },
    });
    parse(&serde_json::from_value(resource).unwrap())
}

fn victim() -> ParsedSpec {
    spec("sql-a", "sql-b")
}

fn pairs(primary: &str, mirror: &str) -> Stores<Pair> {
    Stores::single(pair(primary, mirror)).0
}

fn healthy() -> Stores<Pair> {
    pairs("P/4/C", "M/4/C")
}

/// The same names and databases as in `healthy`, and another session.
fn healthy_elsewhere() -> Stores<Pair> {
    let mut pairs = healthy();
    for view in pairs.iter_mut().flat_map(|pair| [&mut pair.primary, &mut pair.mirror]) {
        let ServerObservation::Available { server, .. } = view else { panic!("{view:?}") };
        let server = std::sync::Arc::make_mut(server);
        let rows = server.databases.values_mut().filter_map(|database| database.mirroring.as_mut());
        rows.for_each(|row| row.guid = Guid::from_bytes([7; 16]));
    }
    pairs
}

fn registry(resources: &[(&str, &ParsedSpec, &Stores<Pair>)]) -> OwnershipRegistry {
    let registry = OwnershipRegistry::default();
    for (name, spec, pairs) in resources {
        registry.begin(name, spec);
        registry.register(name, spec, pairs, false);
    }
    registry
}

fn conflicts(registry: &OwnershipRegistry, resource: &str) -> Vec<String> {
    registry.conflicts(resource, |_| true).into_values().flat_map(|rivals| rivals.named).collect()
}

fn awaited(registry: &OwnershipRegistry, resource: &str, existing: &[&str]) -> Vec<String> {
    registry.awaited(resource, existing.iter().map(ToString::to_string)).into_iter().collect()
}

#[test]
fn conflicts_of_two_resources_with_accepted_logins_stop_both() {
    for spec in [victim(), spec("SQL-B.", "SQL-A."), spec("10.0.0.1", "10.0.0.2")] {
        let registry = registry(&[("lync/one", &victim(), &healthy()), ("lync/two", &spec, &healthy())]);
        assert_eq!(conflicts(&registry, "lync/one"), ["lync/two"]);
        assert_eq!(conflicts(&registry, "lync/two"), ["lync/one"]);
        registry.release("lync/two");
        assert_eq!(conflicts(&registry, "lync/one"), Vec::<String>::new());
    }
}

#[test]
fn conflicts_with_a_resource_without_an_accepted_login_are_none_on_both_sides() {
    for squat in [pairs("away", "away"), pairs("refused", "refused"), pairs("P/4/C", "refused"), pairs("away", "M/4/C")]
    {
        let registry = registry(&[("lync/pool01", &victim(), &healthy()), ("evil/squat", &victim(), &squat)]);
        assert_eq!(conflicts(&registry, "lync/pool01"), Vec::<String>::new(), "{squat:?}");
        assert_eq!(conflicts(&registry, "evil/squat"), Vec::<String>::new(), "{squat:?}");
    }
}

#[test]
fn conflicts_with_servers_that_only_report_the_same_names_are_none() {
    let (elsewhere, hostile) = (spec("sql.evil", "sql2.evil"), healthy_elsewhere());
    let registry = registry(&[("lync/pool01", &victim(), &healthy()), ("evil/squat", &elsewhere, &hostile)]);
    assert_eq!(conflicts(&registry, "lync/pool01"), Vec::<String>::new());
    let identity = |spec: &ParsedSpec, pairs: &Stores<Pair>| {
        let (store, pair) = pairs.with_ids().next().unwrap();
        ProvenPair::of(&spec.stores[store].sql, pair).unwrap()
    };
    let own = identity(&victim(), &healthy());
    assert!(!own.is_same(&identity(&elsewhere, &hostile)), "a move there delays no move here");
    assert!(own.is_same(&identity(&elsewhere, &healthy())), "the same session by other addresses");
    assert!(own.is_same(&identity(&victim(), &hostile)), "the same addresses");
}

#[test]
fn conflicts_outlast_a_lost_partner_but_no_refused_login() {
    let registry = registry(&[("lync/one", &victim(), &healthy()), ("lync/two", &victim(), &healthy())]);
    registry.register("lync/two", &victim(), &pairs("away", "M/1/C"), false);
    assert_eq!(conflicts(&registry, "lync/one"), ["lync/two"]);
    registry.register("lync/two", &victim(), &pairs("refused", "M/1/C"), false);
    assert_eq!(conflicts(&registry, "lync/one"), Vec::<String>::new());
    registry.register("lync/two", &victim(), &healthy(), false);
    registry.register("lync/two", &spec("sql-c", "sql-d"), &pairs("away", "away"), false);
    assert_eq!(conflicts(&registry, "lync/one"), Vec::<String>::new(), "other servers are not proven");
}

#[test]
fn awaited_at_the_start_of_a_term_are_unknown_resources_and_unobserved_rivals() {
    let registry = OwnershipRegistry::default();
    let existing = ["lync/one", "lync/two", "evil/other"];
    registry.begin("lync/one", &victim());
    assert_eq!(awaited(&registry, "lync/one", &existing), ["evil/other", "lync/two"]);
    registry.begin("lync/two", &victim());
    registry.begin("evil/other", &spec("sql-c", "sql-d"));
    assert_eq!(awaited(&registry, "lync/one", &existing), ["lync/two"], "other servers are no conflict");
    registry.register("lync/two", &victim(), &pairs("away", "away"), false);
    assert_eq!(awaited(&registry, "lync/one", &existing), Vec::<String>::new(), "polled, though without success");
}

#[test]
fn awaited_after_the_bound_is_none_whatever_is_created() {
    let registry = OwnershipRegistry::default();
    let existing = ["lync/one", "evil/late"];
    registry.begin("lync/one", &victim());
    assert!(registry.may_wait());
    registry.0.lock().began = Instant::now().checked_sub(LONGEST_WAIT);
    registry.begin("evil/late", &victim());
    assert_eq!(awaited(&registry, "lync/one", &existing), Vec::<String>::new());
    assert!(!registry.may_wait(), "a namespace whose list never arrives holds no move");
    registry.release_all();
    registry.begin("lync/one", &victim());
    assert_eq!(awaited(&registry, "lync/one", &existing), ["evil/late"], "the next term begins with a wait");
}

#[test]
fn other_central_stores_are_those_of_the_namespace_with_an_accepted_login() {
    let central = |a: &str, b: &str| {
        let mut spec = spec(a, b);
        spec.desired.types[0].ty = DatabaseType::CentralMgmt;
        spec
    };
    let (own, theirs) = (central("sql-a", "sql-b"), central("sql-c", "sql-d"));
    let registry = registry(&[
        ("lync/one", &own, &healthy()),
        ("lync/two", &theirs, &healthy_elsewhere()),
        ("lync/away", &theirs, &pairs("away", "away")),
        ("other/three", &theirs, &healthy_elsewhere()),
    ]);
    assert_eq!(registry.other_central_stores("lync/one", |_| true), ["lync/two"]);
    assert_eq!(registry.other_central_stores("other/three", |_| true), Vec::<String>::new());
}

#[test]
fn resource_with_one_server_in_both_seats_conflicts_with_none() {
    let mut same = healthy();
    for pair in same.iter_mut() {
        let name = pair.primary.available().map(|server| server.name.clone()).unwrap_or_default();
        let ServerObservation::Available { server, .. } = &mut pair.mirror else { panic!() };
        std::sync::Arc::make_mut(server).name = name;
    }
    let (victim, mistaken, healthy) = (victim(), spec("sql-a", "sql-a.contoso.com"), healthy());
    let registry = registry(&[("a/victim", &victim, &healthy), ("b/mistaken", &mistaken, &same)]);
    assert_eq!((conflicts(&registry, "a/victim"), conflicts(&registry, "b/mistaken")), (vec![], vec![]));
}

/// A tenant must not be able to keep a claim while it prevents the check of its login.
#[test]
fn claim_ends_with_every_cause_that_the_resource_can_bring_about_itself() {
    use UnavailableCause::*;
    for (cause, holds) in [
        (ConnectionRefused, true),
        (TimedOut, true),
        (ServerStarting, true),
        (LoginFailed, false),
        (SecretNotFound, false),
        (CredentialsUnreadable, false),
        (CaBundleInvalid, false),
        (TlsFailed, false),
        (PollsStopped, false),
    ] {
        let (victim, healthy) = (victim(), healthy());
        let registry = registry(&[("a/one", &victim, &healthy), ("b/two", &victim, &healthy)]);
        let mut away = healthy.clone();
        for pair in away.iter_mut() {
            let unavailable = Unavailable { cause, detail: String::new() };
            pair.primary = ServerObservation::Unavailable { address: "sql-a".to_owned(), unavailable };
        }
        registry.register("b/two", &victim, &away, false);
        assert_eq!(conflicts(&registry, "a/one"), if holds { vec!["b/two"] } else { vec![] }, "{cause:?}");
    }
}

/// Another type on the same pair has to take turns with a move that a former leader began.
#[test]
fn resource_with_a_move_in_flight_is_awaited_until_its_movement_is_recorded() {
    let (mover, healthy) = (victim(), healthy());
    let mut other = victim();
    other.desired.types[0].databases = vec![DatabaseName::new("xds")];
    let registry = OwnershipRegistry::default();
    for (name, spec, moving) in [("a/mover", &mover, true), ("b/other", &other, false)] {
        registry.begin(name, spec);
        registry.register(name, spec, &healthy, moving);
    }
    let all = ["a/mover", "b/other"];
    assert_eq!(awaited(&registry, "b/other", &all), ["a/mover"]);
    assert_eq!(awaited(&registry, "a/mover", &all), Vec::<String>::new());
    registry.reserved("a/mover");
    assert_eq!(awaited(&registry, "b/other", &all), Vec::<String>::new());
}

/// A pass costs the same, whatever the number of resources on other pairs: their names are never read.
#[test]
fn conflicts_and_central_stores_are_found_without_the_resources_of_other_pairs() {
    let registry = registry(&[("lync/one", &victim(), &healthy()), ("lync/two", &victim(), &healthy())]);
    for index in 0..500 {
        let (name, spec) = (format!("lync/other{index}"), spec(&format!("a{index}"), &format!("b{index}")));
        registry.begin(&name, &spec);
        registry.register(&name, &spec, &pairs("away", "away"), false);
    }
    let read = std::cell::Cell::new(0);
    let exists = |_: &str| {
        read.set(read.get() + 1);
        true
    };
    let rivals = registry.conflicts("lync/one", exists);
    assert_eq!(rivals.into_values().flat_map(|rivals| rivals.named).collect::<Vec<_>>(), ["lync/two"]);
    registry.other_central_stores("lync/one", exists);
    assert_eq!(read.get(), 1);
}

#[test]
fn register_names_the_resources_whose_conflict_begins_or_ends() {
    let registry = registry(&[("a/one", &victim(), &healthy())]);
    let names = |changed: BTreeSet<Arc<str>>| changed.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(registry.register("b/two", &victim(), &healthy(), false)), ["a/one"], "it begins");
    assert_eq!(names(registry.register("b/two", &victim(), &healthy(), false)), Vec::<String>::new());
    assert_eq!(names(registry.register("b/two", &victim(), &pairs("refused", "M/4/C"), false)), ["a/one"], "it ends");
    registry.register("b/two", &victim(), &healthy(), false);
    assert_eq!(names(registry.release("b/two")), ["a/one"], "the resource is deleted");
    assert_eq!(conflicts(&registry, "a/one"), Vec::<String>::new());
}

/// A tenant with many resources on one pair must not slow down the passes of others, or fill the log.
#[test]
fn conflict_of_a_thousand_resources_costs_as_much_as_one_of_twenty() {
    let registry = registry(&[("a/0000", &victim(), &healthy())]);
    let cost = || {
        let read = std::cell::Cell::new(0);
        let rivals = registry.conflicts("a/0000", |_| {
            read.set(read.get() + 1);
            true
        });
        let rivals = rivals.into_values().next().unwrap();
        (read.get(), rivals.named.len(), rivals.notice(), rivals.count)
    };
    let mut costs = Vec::new();
    let mut triggered = 0;
    for index in 1..1000 {
        let name = format!("a/{index:04}");
        registry.begin(&name, &victim());
        triggered += registry.register(&name, &victim(), &healthy(), false).len();
        if index == 20 || index == 999 {
            costs.push(cost());
        }
    }
    let (few, many) = (&costs[0], &costs[1]);
    assert_eq!((few.0, few.1, &few.2), (many.0, many.1, &many.2), "the log is silent about each further one");
    assert_eq!((many.0, many.1, few.3, many.3), (NAMED, NAMED, 20, 999));
    assert_eq!(triggered, (1..=NAMED).sum::<usize>(), "no pass of all at each change");
    let state = registry.0.lock();
    let kept = state.conflicts("a/0500").into_values().map(|(some, _)| some.len()).sum::<usize>();
    assert!(kept <= 2 * NAMED + 1, "{kept}");
}

/// The deletion of many resources at once ends a conflict late, but an existing resource beyond those that were read counts.
#[test]
fn conflict_with_a_resource_beyond_many_deleted_ones_still_stops() {
    let registry = registry(&[("z/victim", &victim(), &healthy()), ("y/rival", &victim(), &healthy())]);
    let deleted: Vec<String> = (0..50).map(|index| format!("a/{index:02}")).collect();
    for name in &deleted {
        registry.begin(name, &victim());
        registry.register(name, &victim(), &healthy(), false);
    }
    let rivals = || registry.conflicts("z/victim", |other| other == "y/rival").into_values().next();
    assert!(rivals().is_some_and(|rivals| rivals.named.is_empty() && rivals.has_more()));
    let triggered: BTreeSet<Arc<str>> = deleted.iter().flat_map(|name| registry.release(name)).collect();
    assert!(triggered.contains("z/victim"), "once the deleted ones are few");
    assert_eq!(rivals().map(|rivals| rivals.named), Some(vec!["y/rival".to_owned()]));
}
