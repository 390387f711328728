//! Disables each precondition of the planner in turn; one of the searches must find a violation. A precondition whose absence
//! causes no violation is wrong, or not tested.

use std::sync::Mutex;
use std::time::Instant;

use strum::IntoEnumIterator;

use crate::journal::{journals, turns};
use lync_mirror::plan::Precondition;

use crate::disabled::without;
use crate::policies::policies;
use crate::product::{Counts, combinations, sample};
use crate::returns::returns;

/// Pairs that prevent the same move: only with both disabled there is a violation.
const DOUBLE: [[Precondition; 2]; 3] = [
    [Precondition::NoObstacle, Precondition::AllPassPreflight],
    // The copy of a second principal is not RESTORING.
    [Precondition::ComplementaryRoles, Precondition::MirrorRestoring],
    // Every other database of these searches belongs to the type.
    [Precondition::ForceAllAlike, Precondition::ForceNoneConnected],
];

/// The preconditions whose absence alone causes no violation.
const REDUNDANT: [Precondition; 5] = [
    Precondition::NoObstacle,
    Precondition::AllPassPreflight,
    Precondition::ComplementaryRoles,
    Precondition::ForceAllAlike,
    Precondition::ForceNoneConnected,
];

type Search = (&'static str, fn() -> Result<Counts, String>);

/// The cheap ones first.
const SEARCHES: [Search; 6] = [
    ("returns", returns),
    ("turns", turns),
    ("journals", journals),
    ("sample of views x specs", sample),
    ("policies", policies),
    ("views x specs", combinations),
];

fn violation(rules: &[Precondition]) -> Option<(&'static str, String)> {
    without(rules, || SEARCHES.iter().find_map(|(name, search)| Some((*name, search().err()?))))
}

#[test]
fn precondition_that_is_disabled_leads_to_a_violation() {
    let begun = Instant::now();
    let mut mutations: Vec<Vec<Precondition>> = DOUBLE.map(|both| both.to_vec()).to_vec();
    mutations.extend(Precondition::iter().filter(|rule| !REDUNDANT.contains(rule)).map(|rule| vec![rule]));
    let queue = Mutex::new(mutations.clone().into_iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                loop {
                    let Some(rules) = queue.lock().unwrap().next() else { return };
                    let found = violation(&rules);
                    results.lock().unwrap().push((rules, found));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(rules, _)| mutations.iter().position(|other| other == rules));
    for (rules, found) in &results {
        let text = found.as_ref().map_or("NOT CAUGHT".to_owned(), |(by, violation)| {
            let line = violation.lines().next().unwrap_or_default();
            format!("{by}: {}", line.chars().take(150).collect::<String>())
        });
        println!("without {rules:?}: {text}");
    }
    let caught = results.iter().filter(|(_, found)| found.is_some()).count();
    println!("rules taken away and missed: {caught} of {} in {:.0} s", results.len(), begun.elapsed().as_secs_f64());
    assert_eq!(caught, mutations.len());
}
