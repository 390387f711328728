//! Every combination of observations of two servers, specs and memories, through `plan`: no panic, and no step unless design
//! rule 1 is fulfilled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::disabled::plan;
use crate::observations::{known, only_store, scattered};
use crate::time::is_complete;
use crate::words::{is_silent, words_hold};
use jiff::Timestamp;
use lync_mirror::model::*;

pub const TY: DatabaseType = DatabaseType::Archiving;
const STATES: [MirroringState; 6] = [
    MirroringState::Suspended,
    MirroringState::Disconnected,
    MirroringState::Synchronizing,
    MirroringState::PendingFailover,
    MirroringState::Synchronized,
    MirroringState::Unknown(5),
];

/// What varies on one side besides role and state.
#[derive(Debug, Clone, Copy)]
pub struct Odd {
    pub safety: Safety,
    pub witness: WitnessLink,
    pub sequence: i32,
    pub guid: u8,
    pub partner: bool,
    pub online: bool,
    /// The copy of a mirror is in the state RESTORING.
    pub restoring: bool,
    pub endpoint: bool,
    pub sysadmin: bool,
}

pub const HEALTHY: Odd = Odd {
    safety: Safety::Full,
    witness: WitnessLink::Connected,
    sequence: 7,
    guid: 1,
    partner: true,
    online: true,
    restoring: true,
    endpoint: true,
    sysadmin: true,
};

/// Healthy, and each single thing that may be wrong.
fn oddities() -> Vec<Odd> {
    vec![
        HEALTHY,
        Odd { witness: WitnessLink::None, ..HEALTHY },
        Odd { witness: WitnessLink::Disconnected, ..HEALTHY },
        Odd { witness: WitnessLink::Disconnected, online: false, ..HEALTHY },
        Odd { witness: WitnessLink::Disconnected, sequence: 6, ..HEALTHY },
        Odd { safety: Safety::Off, ..HEALTHY },
        Odd { safety: Safety::Unknown, ..HEALTHY },
        Odd { sequence: 8, ..HEALTHY },
        Odd { guid: 2, ..HEALTHY },
        Odd { partner: false, ..HEALTHY },
        Odd { online: false, ..HEALTHY },
        Odd { restoring: false, ..HEALTHY },
        Odd { endpoint: false, ..HEALTHY },
        Odd { sysadmin: false, ..HEALTHY },
    ]
}

pub fn available(seat: usize, row: Option<(Role, MirroringState)>, odd: Odd) -> ServerObservation {
    let mirroring = row.map(|(role, state)| Mirroring {
        witness_name: String::new(),
        guid: Guid::from_bytes([odd.guid; 16]),
        state,
        role,
        role_sequence: odd.sequence,
        safety: odd.safety,
        partner_name: String::new(),
        partner_instance: if odd.partner { format!("SQL-{}", 1 - seat) } else { "ELSEWHERE".to_owned() },
        witness: odd.witness,
    });
    let state = match row {
        Some((Role::Principal, _)) if !odd.online => DatabaseState::Suspect,
        Some((Role::Mirror, _)) if !odd.restoring => DatabaseState::Suspect,
        Some((Role::Mirror, _)) => DatabaseState::Restoring,
        None if !odd.online => DatabaseState::Recovering,
        _ => DatabaseState::Online,
    };
    let database = Database {
        state,
        mirroring,
        redo_queue_kb: Some(0),
        send_queue_kb: None,
        redone_bytes: None,
        redo_rate_kb: None,
    };
    let server = Server {
        name: format!("SQL-{seat}"),
        local_name: None,
        version: "11.0".to_owned(),
        edition: String::new(),
        login: "lync".to_owned(),
        sysadmin: odd.sysadmin,
        view_server_state: true,
        view_any_database: true,
        endpoint: odd.endpoint.then(|| MirroringEndpoint {
            name: "m".to_owned(),
            started: true,
            partner: true,
            port: None,
        }),
        databases: BTreeMap::from([(DatabaseName::new("LcsLog"), database)]),
        witnessed: Vec::new(),
        stale_login: None,
        memory: MemoryShare::default(),
    };
    ServerObservation::Available { address: format!("sql-{seat}"), server: Arc::new(server) }
}

/// What a poll may show of one server, and whether more than its role and its state is special.
fn views(seat: usize) -> Vec<(ServerObservation, bool)> {
    let mut plain: Vec<ServerObservation> = [
        UnavailableCause::ConnectionRefused,
        UnavailableCause::TimedOut,
        UnavailableCause::Unresponsive,
        UnavailableCause::BrowserSilent,
        UnavailableCause::LoginFailed,
        UnavailableCause::TlsFailed,
        UnavailableCause::SecretNotFound,
        UnavailableCause::NotYetPolled,
    ]
    .map(|cause| ServerObservation::Unavailable {
        address: format!("sql-{seat}"),
        unavailable: Unavailable { cause, detail: "unavailable".to_owned() },
    })
    .to_vec();
    plain.push(available(seat, None, HEALTHY));
    plain.push(available(seat, None, Odd { sysadmin: false, ..HEALTHY }));
    plain.push(available(seat, None, Odd { online: false, ..HEALTHY }));
    let mut all: Vec<(ServerObservation, bool)> = plain.into_iter().map(|view| (view, false)).collect();
    for role in [Role::Principal, Role::Mirror] {
        for state in STATES {
            let row = |odd| available(seat, Some((role, state)), odd);
            all.extend(oddities().into_iter().enumerate().map(|(number, odd)| (row(odd), number > 0)));
        }
    }
    all
}

/// Both servers were seen together before. The second one: a move has just ended.
fn memory(principal: Seat, pending: bool, now: Timestamp) -> (PersistedState, PersistedState) {
    let request = Request { principal, generation: 2, pending };
    let persisted = PersistedState {
        requests: [(TY, request)].into(),
        tracking: [(TY, known())].into(),
        ..PersistedState::default()
    };
    let last = Attempt::new(now, Cause::Intent, Outcome::Succeeded);
    let mut hot = persisted.clone();
    hot.last.insert(TY, last);
    (persisted, hot)
}

/// What the spec and the memory may be; `epoch`: the one of the present state.
fn spec_variations(epoch: Option<&Epoch>, now: Timestamp, plain: bool) -> Vec<(Desired, PersistedState)> {
    let mut all = Vec::new();
    let right = epoch.cloned().unwrap_or_else(|| Epoch::new("none"));
    let wrong = Epoch::new("99-dead");
    for principal in Seat::BOTH {
        for policy in [UnrequestedSwitch::Hold, UnrequestedSwitch::FailBack] {
            for (approve, pending, force, suspended) in [
                (None, false, None, false),
                (None, true, None, false),
                (None, true, None, true),
                (Some(&right), false, None, false),
                (Some(&wrong), false, None, false),
                (None, true, Some(&right), false),
                (None, true, Some(&wrong), false),
            ] {
                let requested = pending || policy == UnrequestedSwitch::FailBack;
                if plain && !(requested && approve.is_none() && force.is_none() && !suspended) {
                    continue;
                }
                let desired_type = DesiredType {
                    ty: TY,
                    principal,
                    databases: vec![DatabaseName::new("LcsLog")],
                    store: only_store(),
                    approve: approve.cloned().map(|epoch| Approval { epoch, until: None }),
                    force: force.map(|epoch| ForceService {
                        epoch: epoch.clone(),
                        until: Timestamp::MAX,
                        fenced: true,
                    }),
                    requested_by: FieldManagers::default(),
                };
                let desired = Desired {
                    pool: "pool".to_owned(),
                    generation: 2,
                    types: vec![desired_type],
                    suspend: suspended.then(|| Suspend { reason: "x".to_owned(), until: None }),
                    policy: Policy {
                        unrequested_switch: policy,
                        fail_back_after: std::time::Duration::ZERO,
                        ..Policy::default()
                    },
                    problems: Vec::new(),
                    unusable: BTreeMap::new(),
                };
                let (persisted, hot) = memory(principal, pending, now);
                all.push((desired.clone(), persisted));
                if !plain {
                    all.push((desired, hot));
                }
            }
        }
    }
    all
}

pub fn row(view: &ServerObservation) -> Option<(&Server, &Database, &Mirroring)> {
    let server = view.available()?;
    let database = server.databases.values().next()?;
    Some((server, database, database.mirroring.as_ref()?))
}

/// Design rule 1, written down a second time.
pub fn may_fail_over(from: &ServerObservation, to: &ServerObservation) -> bool {
    let (Some((a, d, p)), Some((b, copy, m))) = (row(from), row(to)) else { return false };
    let serves =
        |server: &Server| server.endpoint.as_ref().is_some_and(|endpoint| endpoint.started && endpoint.partner);
    (p.role, m.role) == (Role::Principal, Role::Mirror)
        && p.guid == m.guid
        && p.role_sequence == m.role_sequence
        && p.partner_instance == b.name
        && m.partner_instance == a.name
        && [p.safety, m.safety] == [Safety::Full; 2]
        && [p.state, m.state] == [MirroringState::Synchronized; 2]
        && d.state == DatabaseState::Online
        && copy.state == DatabaseState::Restoring
        && serves(a)
        && serves(b)
}

/// R2, for the disaster without a witness, written down a second time.
pub fn may_force(lost: &ServerObservation, survivor: &ServerObservation) -> bool {
    let Some((_, _, m)) = row(survivor) else { return false };
    is_silent(lost)
        && m.role == Role::Mirror
        && matches!(m.state, MirroringState::Disconnected | MirroringState::Suspended)
        && m.witness == WitnessLink::None
        && !m.partner_instance.is_empty()
}

/// How many plans were made, and in how many of them a move began.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub plans: u64,
    pub moves: u64,
    pub forced: u64,
}

/// Every pair of views with every mind. `Err`: the first combination that breaks a rule.
pub fn combinations() -> Result<Counts, String> {
    pairs(usize::MAX)
}

/// A tenth of the pairs, scattered over all: most violations are found here.
pub fn sample() -> Result<Counts, String> {
    pairs(views(0).len() * views(1).len() / 10)
}

/// The first `most` pairs of views in scattered order.
fn pairs(most: usize) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let deep = std::env::var_os("LYNC_MIRROR_PROVE").is_some();
    let (primaries, mirrors) = (views(0), views(1));
    let numbered = |number: usize| Some((primaries.get(number / mirrors.len())?, &mirrors[number % mirrors.len()]));
    for ((primary, odd), (mirror, other_odd)) in scattered(numbered).take(most) {
        // Two odd servers with every spec are two thirds of the time: that is left to the deep search.
        every_spec(primary, mirror, *odd && *other_odd && !deep, &mut counts)?;
    }
    Ok(counts)
}

fn every_spec(
    primary: &ServerObservation,
    mirror: &ServerObservation,
    plain: bool,
    counts: &mut Counts,
) -> Result<(), String> {
    let now = Timestamp::UNIX_EPOCH;
    let pair = Pair { primary: primary.clone(), mirror: mirror.clone(), witness: None };
    let observation = Observation {
        pairs: Stores::single(pair).0,
        conflicts: BTreeMap::new(),
        turns: BTreeMap::new(),
        statements: BTreeMap::new(),
    };
    let (first, _) = spec_variations(None, now, true).remove(0);
    let epoch = plan(&first, &observation, &PersistedState::default(), now).types[&TY].epoch.clone();
    for (desired, persisted) in spec_variations(epoch.as_ref(), now, plain) {
        counts.plans += 1;
        check(&observation, &desired, &persisted, epoch.as_ref(), now, counts)
            .map_err(|broken| format!("{broken}: {}; {}\n{desired:?}\n{persisted:?}", words(primary), words(mirror)))?;
    }
    Ok(())
}

fn check(
    observation: &Observation,
    desired: &Desired,
    persisted: &PersistedState,
    epoch: Option<&Epoch>,
    now: Timestamp,
    counts: &mut Counts,
) -> Result<(), &'static str> {
    let must = |kept: bool, broken| if kept { Ok(()) } else { Err(broken) };
    let decided = plan(desired, observation, persisted, now);
    let (desired_type, of) = (&desired.types[0], &decided.types[&TY]);
    must(decided.steps.is_empty() == decided.persisted.operation.is_none(), "a statement without its journal")?;
    if of.verdict.reason.effect() == Effect::Ready {
        must(of.observed == ObservedPrincipal::from(desired_type.principal), "good, and not where it should be")?;
        must(of.findings.iter().all(|finding| finding.obstacle.is_none()), "good, and obstructed")?;
    }
    let pair = &observation.pairs[only_store()];
    words_hold(pair, of, desired_type)?;
    let (there, here) = (pair.view(desired_type.principal.other()), pair.view(desired_type.principal));
    for step in &decided.steps {
        let approved = desired_type.approve.as_ref().is_some_and(|approve| Some(&approve.epoch) == epoch);
        let fails_back = desired.policy.unrequested_switch == UnrequestedSwitch::FailBack;
        let requested = persisted.requests[&TY].pending || approved || fails_back;
        must(requested || step.act == Act::ForceService, "a move without a request")?;
        must(desired.suspend.is_none(), "a move of what is suspended")?;
        must(of.observed != ObservedPrincipal::from(desired_type.principal), "a move of what is aligned")?;
        match step.act {
            Act::Failover => {
                counts.moves += 1;
                must(may_fail_over(there, here), "a failover that design rule 1 forbids")?;
                // What was mirrored anew has no cooldown.
                let anew = row(there).is_some_and(|(.., row)| row.guid != Guid::from_bytes([1; 16]));
                must(persisted.last.is_empty() || anew, "a move in the cooldown of another")?;
                must(step.on == desired_type.principal.other(), "a failover on the wrong server")?;
                let cause = decided.persisted.operation.as_ref().map(|operation| operation.cause);
                let witnessed = [there, here]
                    .into_iter()
                    .all(|view| row(view).is_some_and(|(.., row)| row.witness == WitnessLink::Connected));
                must(cause != Some(Cause::FailBack) || witnessed, "a fail-back without a witness")?;
            }
            Act::ForceService => {
                counts.forced += 1;
                let consent = desired_type.force.as_ref().is_some_and(|force| Some(&force.epoch) == epoch);
                let allowed = may_force(pair.view(step.on.other()), pair.view(step.on));
                must(allowed, "a forced service that R2 forbids, or on the wrong server")?;
                must(consent, "a forced service without consent")?;
            }
        }
    }
    // What was begun is not begun again on the same sight.
    let again = plan(desired, observation, &decided.persisted, now);
    must(decided.steps.is_empty() || again.steps.is_empty(), "a move that begins twice")?;
    let same = again.persisted.operation == decided.persisted.operation;
    must(again.steps.is_empty() == same, "a journal that changes without a statement")?;
    must(
        is_complete(&again, desired, observation, now),
        "a plan that time changes before its own time of the next pass",
    )
}

pub fn words(view: &ServerObservation) -> String {
    let Some((_, database, row)) = row(view) else { return format!("{view:?}") };
    let Mirroring { guid, state, role, role_sequence, safety, partner_instance, witness, .. } = row;
    let guid = guid.to_bytes()[0];
    let online = database.state;
    format!(
        "{role:?} {state:?} {online:?} {safety:?} session {guid}#{role_sequence} of {partner_instance} witness {witness}"
    )
}

#[test]
fn plan_of_every_combination_keeps_the_rules() {
    let begun = Instant::now();
    let counts = combinations().unwrap_or_else(|broken| panic!("{broken}"));
    println!("views x specs: {counts:?}, {:.1} s", begun.elapsed().as_secs_f64());
    assert!(counts.moves > 0 && counts.forced > 0);
}
