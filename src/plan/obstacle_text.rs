//! The message of each obstacle: what is observed and its cause, then how to fix it.

use crate::model::{DatabaseState, MirroringState, Pair, Role, Seat, ServerObservation, Unavailable, WitnessLink};
use crate::plan::obstacle::{Obstacle, Shown};

impl Obstacle {
    /// What is observed and its cause, then how to fix it: two sentences. `names`: the databases concerned.
    pub fn message(&self, names: &str, pair: &Pair) -> String {
        let problem = format!("{names}: {}", self.problem(pair));
        let suspended = match self {
            Obstacle::Unavailable { shown: Some(Shown { state: MirroringState::Suspended, .. }), .. } => {
                " Run no RESUME before you have read docs/reasons/MirroringSuspended.md."
            }
            _ => "",
        };
        match (self, self.fix(pair)) {
            // The detail of an unavailable server ends with its own fix.
            (Obstacle::Unavailable { seat, unavailable, .. }, _) => {
                let detail = unavailable.detail.trim_end_matches('.');
                let both = pair.label(seat.other());
                match pair.view(seat.other()) {
                    // The cause is of the resource, and not of one server.
                    ServerObservation::Unavailable { unavailable: other, .. } if other == unavailable => {
                        format!("{problem} and the {both}. {detail}.{suspended}")
                    }
                    _ => format!("{problem}. {detail}{}.{suspended}", other_unseen(". It", *seat, pair)),
                }
            }
            (_, Some(fix)) => format!("{problem}. To fix: {fix}."),
            (_, None) => format!("{problem}."),
        }
    }

    /// What is observed and its cause, without a period.
    pub(crate) fn problem(&self, pair: &Pair) -> String {
        let on = |seat: &Seat| format!("the {}", pair.label(*seat));
        match self {
            Obstacle::TwoPrincipals { sessions: None } => {
                "both servers hold the principal role of one session (split brain), so that the copies can differ"
                    .to_owned()
            }
            Obstacle::TwoPrincipals { sessions: Some((primary, mirror)) } => {
                format!("both servers hold the principal role, in different sessions: {}", both(primary, mirror, pair))
            }
            Obstacle::NoPrincipal => "both servers hold the mirror role".to_owned(),
            Obstacle::SameServer { name } => format!("primary and mirror are the same SQL Server {name}"),
            Obstacle::GuidDiffers { primary, mirror } => {
                format!("the servers belong to different mirroring sessions: {}", both(primary, mirror, pair))
            }
            Obstacle::PartnerOutside { seat, names, expected } => {
                let names = if names.is_empty() { "no server" } else { names };
                format!("{} names {names} as its partner, and the other server is {expected}", on(seat))
            }
            Obstacle::ThirdPartner { seat, shown, expected } => third_partner(*seat, shown, expected, pair),
            Obstacle::Hidden { seat, login } => format!("login {login} cannot see the mirroring state on {}", on(seat)),
            Obstacle::Missing { seat } => format!("the database does not exist on {}", on(seat)),
            Obstacle::NotMirrored { seat, other_has_session } => not_mirrored(*seat, *other_has_session, pair),
            Obstacle::SafetyOff => "transaction safety is OFF, and Lync supports synchronous mirroring only".to_owned(),
            Obstacle::NoQuorum { seat, .. } => no_quorum(*seat, pair),
            Obstacle::ApartWithoutQuorum { newer } => apart_without_quorum(*newer, pair),
            Obstacle::PrincipalLost { seat, unavailable, witness, suspended } => {
                lost(&pair.label(seat.other()), &on(seat), unavailable, *witness, *suspended)
            }
            Obstacle::Unavailable { seat, shown: Some(other), .. } => {
                format!("the operator does not see {}, and {}", on(seat), shown(seat.other(), other, pair))
            }
            Obstacle::Unavailable { seat, shown: None, .. } => format!("the operator does not see {}", on(seat)),
            Obstacle::OlderPrincipal { seat } => older(&on(seat), seat.other(), pair),
            Obstacle::IsolatedPrincipal { seat, .. } => isolated(&on(seat), &on(&seat.other())),
            Obstacle::Suspended { principal: seat, versions: Some((principal, mirror)) } => format!(
                "mirroring is SUSPENDED, and the principal {} is newer ({principal}) than {} ({mirror}), which may be the cause",
                pair.short(*seat),
                pair.short(seat.other())
            ),
            Obstacle::Suspended { versions: None, .. } => {
                "mirroring is SUSPENDED, e.g. by an administrator, by an error or after a forced service".to_owned()
            }
            Obstacle::Disconnected => "the partners are both alive and do not reach each other".to_owned(),
            Obstacle::NotOnline { seat, state } => format!("the copy on {} is {state}", on(seat)),
            Obstacle::Recovering { seat, state } => recovering(&on(seat), *state),
            Obstacle::EndpointStopped { seat, endpoint: Some(endpoint) } => {
                let wrong = if endpoint.started { "does not have the role PARTNER or ALL" } else { "is not STARTED" };
                format!("endpoint {} on {} {wrong}", endpoint.name, on(seat))
            }
            Obstacle::EndpointStopped { seat, endpoint: None } => format!("{} has no mirroring endpoint", on(seat)),
            Obstacle::FailoverInProgress => "a failover is in progress on the servers".to_owned(),
            Obstacle::Unsettled => "the servers are in a transition, and the operator polls them again".to_owned(),
            Obstacle::UndocumentedState { seat, number } => {
                format!("mirroring_state on {} is {number}, which SQL Server does not document", on(seat))
            }
            Obstacle::SequencesDiffer { principal, mirror } => format!(
                "the role sequences of principal and mirror differ ({principal} and {mirror}), as during a switch"
            ),
            Obstacle::Synchronizing => "SYNCHRONIZING, the mirror is catching up".to_owned(),
        }
    }
}

fn older(old: &str, new: Seat, pair: &Pair) -> String {
    let cause = match pair.view(new) {
        ServerObservation::Available { .. } => String::new(),
        ServerObservation::Unavailable { unavailable, .. } => {
            format!(". The operator does not see the latter now. {}", unavailable.problem())
        }
    };
    format!("{old} has the principal role, but the {} took it over later{cause}", pair.label(new))
}

fn isolated(old: &str, new: &str) -> String {
    format!("{old} still has the principal role without quorum and serves no client, and {new} has taken over")
}

fn not_mirrored(seat: Seat, other_has_session: bool, pair: &Pair) -> String {
    let other = match pair.view(seat.other()) {
        _ if other_has_session => ", while the other server has a session".to_owned(),
        ServerObservation::Available { .. } => String::new(),
        ServerObservation::Unavailable { unavailable, .. } => format!(
            ". The operator does not see the {}, which can have a live copy too. {}",
            pair.label(seat.other()),
            unavailable.problem()
        ),
    };
    format!("ONLINE and not mirrored on the {}{other}", pair.label(seat))
}

fn recovering(server: &str, state: DatabaseState) -> String {
    let why = match state {
        DatabaseState::RecoveryPending => ", because its recovery has not begun, or a file or resource is missing",
        _ => " yet",
    };
    format!("the copy on {server} is {state} and not open{why}")
}

fn no_failover(witness: WitnessLink) -> &'static str {
    match witness {
        WitnessLink::None => ". Without a witness there is no automatic failover",
        WitnessLink::Connected => ". There was no automatic failover",
        WitnessLink::Disconnected | WitnessLink::Unknown => "",
    }
}

fn no_quorum(seat: Seat, pair: &Pair) -> String {
    format!(
        "the {} sees neither its partner nor the witness, and a server without quorum does not serve a mirrored database{}",
        pair.label(seat),
        other_unseen(". The operator", seat, pair)
    )
}

fn apart_without_quorum(newer: Option<Seat>, pair: &Pair) -> String {
    let newest = newer.map_or(String::new(), |newer| {
        format!(". The {} is the newer principal, and the other one becomes its mirror by itself", pair.label(newer))
    });
    format!(
        "both servers hold the principal role, and each of them sees neither its partner nor the witness. A server without quorum does not serve a mirrored database{newest}"
    )
}

fn third_partner(seat: Seat, row: &Shown, expected: &str, pair: &Pair) -> String {
    let other = seat.other();
    let unseen = match pair.view(other) {
        ServerObservation::Available { .. } => String::new(),
        ServerObservation::Unavailable { unavailable, .. } => {
            format!(". The operator does not see the {}. {}", pair.label(other), unavailable.problem())
        }
    };
    format!("{}, and not with {expected}, the {} of the spec{unseen}", shown(seat, row, pair), other.word())
}

/// The other server, if the operator does not see it either: two lost servers are no typing error. Without a period.
fn other_unseen(subject: &str, seat: Seat, pair: &Pair) -> String {
    match pair.view(seat.other()) {
        ServerObservation::Available { .. } => String::new(),
        ServerObservation::Unavailable { unavailable, .. } => format!(
            "{subject} does not see the {} either. {}",
            pair.label(seat.other()),
            unavailable.detail.trim_end_matches('.')
        ),
    }
}

/// The loss as one side shows it. It does not prove that the principal serves no client.
fn lost(mirror: &str, principal: &str, unavailable: &Unavailable, witness: WitnessLink, suspended: bool) -> String {
    let state = if suspended { "has the mirror role and is SUSPENDED" } else { "is DISCONNECTED from its principal" };
    format!(
        "the {mirror} {state}, and the operator does not reach {principal} either: whether it still serves clients cannot be determined from here. {}{}",
        unavailable.detail.trim_end_matches('.'),
        no_failover(witness)
    )
}

fn both(primary: &Shown, mirror: &Shown, pair: &Pair) -> String {
    format!("{}, and {}", shown(Seat::Primary, primary, pair), shown(Seat::Mirror, mirror, pair))
}

/// The row of the server in this seat, in words.
fn shown(seat: Seat, row: &Shown, pair: &Pair) -> String {
    let server = pair.label(seat);
    let partner = if row.partner.is_empty() { "an unnamed partner" } else { &row.partner };
    let state = match row.state {
        MirroringState::Suspended => "SUSPENDED",
        MirroringState::Disconnected => "DISCONNECTED",
        MirroringState::Synchronizing => "SYNCHRONIZING",
        MirroringState::PendingFailover => "PENDING_FAILOVER",
        MirroringState::Synchronized => "SYNCHRONIZED",
        MirroringState::Unknown(_) => "in an undocumented state",
    };
    match row.role {
        Role::Principal => {
            let open = if row.online { "" } else { ", not ONLINE" };
            format!("the {server} is principal{open}, {state} with mirror {partner}")
        }
        Role::Mirror => format!("the {server} is mirror, {state} with principal {partner}"),
    }
}
