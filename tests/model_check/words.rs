//! What a plan may claim of the servers, written down a second time: service, principal, and the reasons that speak of a loss.

use lync_mirror::model::*;
use lync_mirror::plan::TypePlan;
use lync_mirror::status::Summary;

use crate::product::row;

/// Nothing answers on the port of the instance.
pub fn is_silent(view: &ServerObservation) -> bool {
    matches!(view, ServerObservation::Unavailable { unavailable, .. }
        if matches!(unavailable.cause, UnavailableCause::ConnectionRefused | UnavailableCause::TimedOut | UnavailableCause::HostUnreachable))
}

fn is_isolated(row: &Mirroring) -> bool {
    row.state == MirroringState::Disconnected && !matches!(row.witness, WitnessLink::None | WitnessLink::Connected)
}

/// This server holds the database open for clients, as far as its own row proves it.
fn is_open(view: &ServerObservation) -> bool {
    let Some(server) = view.available() else { return false };
    server.databases.values().any(|database| {
        database.state == DatabaseState::Online
            && match &database.mirroring {
                None => server.sysadmin,
                Some(row) => {
                    row.role == Role::Principal
                        && !is_isolated(row)
                        && !matches!(row.state, MirroringState::PendingFailover | MirroringState::Unknown(_))
                }
            }
    })
}

/// This server was read, and does not hold the database open.
fn is_closed(view: &ServerObservation) -> bool {
    let Some(server) = view.available() else { return false };
    server.databases.values().all(|database| match (&database.mirroring, database.state) {
        (Some(row), state) => row.role == Role::Mirror || state != DatabaseState::Online,
        (None, state) => state != DatabaseState::Online,
    })
}

fn is_connected_mirror(view: &ServerObservation) -> bool {
    use MirroringState::{PendingFailover, Synchronized, Synchronizing};
    row(view).is_some_and(|(.., row)| {
        row.role == Role::Mirror && matches!(row.state, Synchronized | Synchronizing | PendingFailover)
    })
}

/// `Err`: what the plan claims and the observation does not show.
pub fn words_hold(pair: &Pair, of: &TypePlan, desired_type: &DesiredType) -> Result<(), &'static str> {
    let views = [&pair.primary, &pair.mirror];
    let must = |kept: bool, broken| if kept { Ok(()) } else { Err(broken) };
    let open = views.iter().filter(|view| is_open(view)).count();
    match of.service {
        Service::Protected | Service::Exposed => must(open > 0, "served, and no server shows it open")?,
        Service::NotServed => must(views.into_iter().all(is_closed), "not served, and a server may serve it")?,
        Service::Unknown => {}
    }
    let healthy = |view: &&ServerObservation| {
        row(view).is_some_and(|(_, database, row)| {
            row.role == Role::Principal
                && row.state == MirroringState::Synchronized
                && row.safety == Safety::Full
                && database.state == DatabaseState::Online
                && matches!(row.witness, WitnessLink::None | WitnessLink::Connected)
        })
    };
    if of.service == Service::Protected {
        must(views.iter().any(healthy), "protected, and no principal is synchronized with its witness")?;
        must(!views.into_iter().any(is_silent), "protected, and a server does not answer")?;
        let blind = |view: &ServerObservation| {
            row(view).is_some_and(|(.., row)| {
                row.role == Role::Mirror && !matches!(row.witness, WitnessLink::None | WitnessLink::Connected)
            })
        };
        must(!views.into_iter().any(blind), "protected, and the mirror has lost its witness")?;
        let suspect =
            |view: &ServerObservation| row(view).is_some_and(|(_, one, _)| one.state == DatabaseState::Suspect);
        must(!views.into_iter().any(suspect), "protected, and a copy is SUSPECT")?;
    }
    for seat in Seat::BOTH {
        let claimed = of.observed == ObservedPrincipal::from(seat);
        let holds = row(pair.view(seat)).is_some_and(|(.., row)| row.role == Role::Principal);
        let vouched = pair.view(seat).available().is_none() && is_connected_mirror(pair.view(seat.other()));
        must(!claimed || holds || vouched, "a principal that no row shows")?;
    }
    reasons_hold(pair, of)?;
    summary_holds(pair, of)?;
    let message = &of.verdict.message;
    must(message.starts_with(&of.service.to_string()), "a message without its service")?;
    must(of.service == Service::NotServed || !message.contains("no server serves the database"), "a false outage")?;
    must(
        desired_type.ty == DatabaseType::User || !message.contains("30 minutes after the loss"),
        "the limit of the user store for another type",
    )
}

/// The summary is one short line, and offers no step that the whole text does not offer.
fn summary_holds(pair: &Pair, of: &TypePlan) -> Result<(), &'static str> {
    let must = |kept: bool, broken| if kept { Ok(()) } else { Err(broken) };
    let summary = Summary { planned: of, pair, operation: None, unreachable_since: [None; 2] }.text(0);
    let message = &of.verdict.message;
    must(summary.chars().count() <= 160 && !summary.ends_with(".."), "a summary that is too long")?;
    must(summary.starts_with(&format!("{}. ", of.service)), "a summary without its service")?;
    must(!summary.contains("approve") || message.contains("approve: {epoch"), "an approval that is not possible")?;
    must(!summary.contains("forceService"), "a summary that offers forced service")?;
    let orders =
        |text: &str| text.contains("RESUME") && !text.contains("no RESUME before") && !text.contains("destroys");
    must(!orders(&summary) && !message.contains("SET PARTNER RESUME"), "a text that advises RESUME")?;
    let sessions = Seat::BOTH.map(|seat| row(pair.view(seat)).map(|(.., row)| (row.guid, row.role)));
    let agree = matches!(sessions, [Some((a, role)), Some((b, other))] if a == b && role != other);
    let cuts = message.contains("cut all clients") || message.contains("cut the clients");
    must(!agree || !cuts, "clients are cut off a copy that both servers agree on")
}

fn reasons_hold(pair: &Pair, of: &TypePlan) -> Result<(), &'static str> {
    let must = |kept: bool, broken| if kept { Ok(()) } else { Err(broken) };
    let rows = || Seat::BOTH.into_iter().filter_map(|seat| Some((seat, row(pair.view(seat))?)));
    let apart = |row: &Mirroring| row.role == Role::Mirror && row.state == MirroringState::Disconnected;
    match of.verdict.reason {
        Reason::PrincipalLost => must(
            rows().any(|(seat, (.., row))| apart(row) && is_silent(pair.view(seat.other()))),
            "a lost principal that may only be unseen, or that only a SUSPENDED row suggests",
        ),
        Reason::NoQuorum => must(
            rows().any(|(_, (_, database, row))| {
                is_isolated(row) && (row.role == Role::Mirror || database.state != DatabaseState::Online)
            }) || (rows().count() == 2 && rows().all(|(_, (.., row))| is_isolated(row) && row.role == Role::Principal)),
            "no quorum, and no row shows it",
        ),
        Reason::TwoPrincipals => {
            let guids: Vec<Guid> = rows().map(|(_, (.., row))| row.guid).collect();
            let apart = guids.iter().all(|guid| *guid == guids[0]) && rows().all(|(_, (.., row))| is_isolated(row));
            must(
                rows().filter(|(_, (.., row))| row.role == Role::Principal).count() == 2 && !apart,
                "two principals, and none of one session has quorum",
            )
        }
        Reason::MirroringRemoved | Reason::NotMirrored => must(
            [&pair.primary, &pair.mirror].into_iter().filter_map(|view| view.available()).any(|server| {
                server.sysadmin
                    && server
                        .databases
                        .values()
                        .any(|database| database.mirroring.is_none() && database.state == DatabaseState::Online)
            }),
            "mirroring removed, and the columns may only be NULL",
        ),
        Reason::VersionMismatch => Err("a version mismatch between equal versions"),
        _ => Ok(()),
    }
}
