//! `make prove`: every reachable interleaving of the world, the operator's steps, spec changes and one crash, within bounds,
//! with the real planner. It stops at the first violation with the shortest trace that leads to it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod disabled;
mod event;
mod journal;
mod mutate;
mod observations;
mod operator;
mod policies;
mod product;
mod returns;
mod settings;
mod state;
mod time;
mod words;
mod world;

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::time::Instant;

use event::{Event, Setting};
use settings::SETTINGS;
use state::{ALL, Rules, State};
use world::TYPE;

struct Found {
    states: usize,
    transitions: usize,
    settled: usize,
    /// States in which a statement has switched a database, and in which service was forced: the search is not idle.
    moved: usize,
    forced: usize,
    complete: bool,
    violation: Option<String>,
}

/// Breadth first, so that the first violation has the shortest trace.
fn search(setting: &Setting, rules: Rules, most: usize) -> Found {
    let first = State::first(setting);
    let mut parents: HashMap<u128, (u128, Event)> = HashMap::new();
    let mut queue = VecDeque::from([(first.key(), first.clone())]);
    let mut observation: HashMap<u128, ()> = HashMap::from([(first.key(), ())]);
    let mut found =
        Found { states: 0, transitions: 0, settled: 0, moved: 0, forced: 0, complete: true, violation: None };
    while let Some((key, state)) = queue.pop_front() {
        found.states += 1;
        if found.states > most {
            found.complete = false;
            break;
        }
        found.moved += usize::from(state.world.switches > 0);
        found.forced += usize::from(state.world.losses > 0);
        if found.states.is_multiple_of(7) {
            found.settled += 1;
            if let Err(violation) = state.clone().settle(rules) {
                found.violation = Some(trace(setting, rules, &parents, key, None, &violation));
                return found;
            }
        }
        for event in state.events(setting) {
            found.transitions += 1;
            let mut next = state.clone();
            if let Err(violation) = next.step(event, rules) {
                found.violation = Some(trace(setting, rules, &parents, key, Some(event), &violation));
                return found;
            }
            let child = next.key();
            if observation.insert(child, ()).is_none() {
                parents.insert(child, (key, event));
                queue.push_back((child, next));
            }
        }
    }
    found
}

fn trace(
    setting: &Setting,
    rules: Rules,
    parents: &HashMap<u128, (u128, Event)>,
    mut key: u128,
    last: Option<Event>,
    violation: &str,
) -> String {
    let mut events: Vec<Event> = last.into_iter().collect();
    while let Some((parent, event)) = parents.get(&key) {
        events.insert(0, *event);
        key = *parent;
    }
    let mut state = State::first(setting);
    let mut text = format!("{}: {violation}\n", setting.name);
    for event in events {
        let verdict = match state.step(event, rules) {
            Ok(plan) => plan.map(|plan| format!("-> {}", plan.types[&TYPE].verdict.message)).unwrap_or_default(),
            Err(violation) => format!("-> {violation}"),
        };
        let _ = writeln!(text, "  {event:?} {verdict}");
        let rows: Vec<String> = state
            .world
            .sessions
            .iter()
            .map(|one| format!("{:?}#{:?} {:?}", one.principal, one.sequence, one.copies))
            .collect();
        let _ = writeln!(text, "      up {:?} link {} {}", state.world.up, state.world.link, rows.join(" | "));
    }
    text
}

/// States per setting; `LYNC_MIRROR_PROVE` sets another bound.
fn bound() -> usize {
    std::env::var("LYNC_MIRROR_PROVE").ok().and_then(|text| text.parse().ok()).unwrap_or(60_000)
}

#[test]
fn interleaving_within_the_bounds_settles_without_violation() {
    for setting in &SETTINGS {
        let begun = Instant::now();
        let found = search(setting, ALL, bound());
        if let Some(violation) = found.violation {
            panic!("{violation}");
        }
        println!(
            "{:<32} {:>8} states ({}) {:>9} transitions; moved in {:>6}, forced in {:>5}; {:>6} settled; {:>5.1} s",
            setting.name,
            found.states,
            if found.complete { "all" } else { "bounded" },
            found.transitions,
            found.moved,
            found.forced,
            found.settled,
            begun.elapsed().as_secs_f64()
        );
        assert!(found.moved > 0, "{}: nothing ever moved", setting.name);
        assert_eq!(found.forced > 0, setting.consent, "{}", setting.name);
    }
}

#[test]
fn search_with_a_disabled_rule_finds_the_violation() {
    let mutations = [
        ("the guard", Rules { guard: false, ..ALL }),
        ("the journal", Rules { journal: false, ..ALL }),
        ("the knowledge of what is on its way", Rules { statements: false, ..ALL }),
    ];
    let mut caught = 0;
    for (name, rules) in mutations {
        let violation = SETTINGS.iter().find_map(|setting| search(setting, rules, bound()).violation);
        println!(
            "without {name}: {}",
            violation.as_deref().map_or("NOT CAUGHT", |violation| violation.lines().next().unwrap_or_default())
        );
        caught += usize::from(violation.is_some());
    }
    println!("mutations caught: {caught} of {}", mutations.len());
    assert_eq!(caught, mutations.len());
}
