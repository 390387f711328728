//! The step of an administrator for each obstacle: in the message of the type, and short for the summary.

use crate::model::{DatabaseState, MirroringEndpoint, Pair, Reason, Role, Seat, ServerObservation, WitnessLink};
use crate::plan::obstacle::{Obstacle, Shown};
use crate::plan::row::is_witness_lost;

/// On every text about a suspended session: RESUME is the usual advice, and after a forced service it destroys data.
const RESUME_WARNING: &str = "RESUME after a forced service destroys what the old principal had not sent";
const READ_FIRST: &str = "run nothing before you have read ";

impl Obstacle {
    /// The most important step, where it is not the fixed one of the reason: an imperative without a period.
    pub(crate) fn step(&self, pair: &Pair) -> Option<String> {
        let short = |seat: &Seat| pair.short(*seat);
        match self {
            Obstacle::ThirdPartner { seat, shown: Shown { role: Role::Principal, .. }, .. } => {
                Some(format!("let no client reach {}, and read docs/reasons/PartnerMismatch.md", short(&seat.other())))
            }
            Obstacle::OlderPrincipal { seat } => {
                Some(format!("cut the clients off {}, read docs/reasons/TwoPrincipals.md", short(seat)))
            }
            Obstacle::ApartWithoutQuorum { newer: Some(newer) } => {
                Some(format!("connect {} with its partner or the witness again", short(newer)))
            }
            Obstacle::ApartWithoutQuorum { newer: None } => Some("connect the two servers again".to_owned()),
            Obstacle::TwoPrincipals { sessions: Some(_) } => {
                Some("cut the clients off one copy, remove no session, see docs/reasons/TwoPrincipals.md".to_owned())
            }
            Obstacle::PartnerOutside { .. } => {
                Some("remove no session, compare names, see docs/reasons/PartnerMismatch.md".to_owned())
            }
            // It can serve with the witness, or have taken over.
            Obstacle::NoQuorum { seat, mirror } if pair.view(seat.other()).available().is_none() => {
                let other = short(&seat.other());
                Some(if *mirror {
                    format!("check {other} from a Front End, and bring it back if it does not serve")
                } else {
                    format!("check {other} from a Front End, and bring it or the witness back")
                })
            }
            Obstacle::NoQuorum { seat, mirror: true } => {
                Some(format!("bring back {}, as the witness alone is not enough", short(&seat.other())))
            }
            Obstacle::EndpointStopped { endpoint, .. } => Some(endpoint_fix(endpoint.as_ref())),
            Obstacle::Suspended { principal, versions: Some(_) } => Some(format!(
                "if service was not forced, upgrade {}, see docs/reasons/VersionMismatch.md",
                short(&principal.other())
            )),
            _ => None,
        }
    }

    /// The reason of a transition that has lasted longer than policy.switchDeadline, and an imperative without a period.
    /// RECOVERY_PENDING is a short phase of a start, or an error that an administrator has to resolve ("Database States"). Only
    /// its duration distinguishes them.
    pub fn overdue(&self) -> (Reason, &'static str) {
        match self {
            Obstacle::Recovering { state: DatabaseState::RecoveryPending, .. } => (
                Reason::DatabaseNotOnline,
                "read the error log of that server and bring back the file, disk or memory, see docs/reasons/DatabaseNotOnline.md",
            ),
            _ => (
                Reason::TransitionOverdue,
                "read the error logs of both servers, start no failover, and restart nothing, see docs/reasons/TransitionOverdue.md",
            ),
        }
    }

    /// An imperative without a period. None: the obstacle ends without a fix, or the message of the type has the fix.
    pub(crate) fn fix(&self, pair: &Pair) -> Option<String> {
        let on = |seat: &Seat| format!("the {}", pair.label(*seat));
        Some(match self {
            Obstacle::TwoPrincipals { sessions: Some(_) } => {
                "cut all clients off the copy that fewer Front Ends use, and remove no session before you have followed docs/reasons/TwoPrincipals.md".to_owned()
            }
            Obstacle::TwoPrincipals { sessions: None } => {
                "cut all clients off the copy that fewer Front Ends use, do not repair the link between the servers, then follow docs/reasons/TwoPrincipals.md".to_owned()
            }
            Obstacle::OlderPrincipal { seat } => format!(
                "cut the clients of these databases off {}, whose copies lack what the other one accepted since, then follow docs/reasons/TwoPrincipals.md#only-the-older-principal-is-read",
                on(seat)
            ),
            Obstacle::NoPrincipal => "repair the network between the mirroring endpoints, and run no SET PARTNER statement before you have read docs/reasons/NoPrincipal.md".to_owned(),
            Obstacle::SameServer { .. } => "correct host, instance or port in spec.sql".to_owned(),
            Obstacle::GuidDiffers { .. } => {
                "name the two partners of one session in spec.sql, and remove no session before you have read docs/reasons/SessionMismatch.md".to_owned()
            }
            Obstacle::PartnerOutside { .. } => "remove no session, and compare mirroring_guid and mirroring_partner_instance of both servers as docs/reasons/PartnerMismatch.md shows: spec.sql names another server than the partner, or the partner has another name now".to_owned(),
            Obstacle::ThirdPartner { shown, expected, .. } => third_partner_fix(shown, expected),
            Obstacle::Hidden { .. } => {
                "grant sysadmin to the login on both servers, as SQL Server hides a mirror database from every other login".to_owned()
            }
            Obstacle::Missing { .. } => {
                "correct the name in spec.databaseTypes[].databases, or remove the type".to_owned()
            }
            Obstacle::NotMirrored { other_has_session: true, .. } => {
                format!("{READ_FIRST}docs/reasons/MirroringRemoved.md")
            }
            Obstacle::NotMirrored { seat, other_has_session: false } => not_mirrored_fix(seat.other(), pair),
            Obstacle::SafetyOff => "run ALTER DATABASE ... SET PARTNER SAFETY FULL on the principal".to_owned(),
            Obstacle::NoQuorum { seat, mirror } => no_quorum_fix(seat.other(), *mirror, pair),
            Obstacle::ApartWithoutQuorum { newer } => apart_fix(*newer, pair),
            Obstacle::PrincipalLost { seat, witness, .. } => lost_fix(&on(seat), *witness),
            Obstacle::IsolatedPrincipal { seat, forced } => isolated_fix(&on(seat), *forced),
            Obstacle::Suspended { principal, versions: Some(_) } => format!(
                "{READ_FIRST}docs/reasons/VersionMismatch.md, as {RESUME_WARNING}. If it was not forced, upgrade {} first",
                on(&principal.other())
            ),
            Obstacle::Suspended { versions: None, .. } => {
                format!(
                    "find the cause in the error logs of both servers, and {READ_FIRST}docs/reasons/MirroringSuspended.md, as {RESUME_WARNING}"
                )
            }
            Obstacle::Disconnected => {
                "repair the network between the mirroring endpoints, or the endpoints, and force nothing".to_owned()
            }
            Obstacle::NotOnline { seat, .. } => {
                let stay = if has_principal(pair.view(seat.other())) { "do not fail over, and " } else { "" };
                format!("{stay}follow docs/reasons/DatabaseNotOnline.md before any repair")
            }
            Obstacle::Recovering { .. } => "wait, restart nothing, and read the progress in its error log".to_owned(),
            Obstacle::EndpointStopped { endpoint, .. } => endpoint_fix(endpoint.as_ref()),
            Obstacle::Unavailable { .. }
            | Obstacle::FailoverInProgress
            | Obstacle::Unsettled
            | Obstacle::UndocumentedState { .. }
            | Obstacle::SequencesDiffer { .. }
            | Obstacle::Synchronizing => return None,
        })
    }
}

/// `other`: the seat of the partner of the server without quorum. `mirror`: that server is the mirror.
fn no_quorum_fix(other: Seat, mirror: bool, pair: &Pair) -> String {
    let label = pair.label(other);
    let fix = if mirror {
        format!("bring back the {label}, or its network: the witness alone is not enough")
    } else {
        "bring back the partner or the witness".to_owned()
    };
    if pair.view(other).available().is_some() {
        return fix;
    }
    format!("check from a Front End whether the {label} serves, see docs/reasons/NoQuorum.md. If it does not, {fix}")
}

fn has_principal(view: &ServerObservation) -> bool {
    let databases = view.available().into_iter().flat_map(|server| server.databases.values());
    databases.filter_map(|database| database.mirroring.as_ref()).any(|row| row.role == Role::Principal)
}

fn isolated_fix(old: &str, forced: bool) -> String {
    if forced {
        return format!(
            "do not connect {old} again before you have read docs/reasons/ServiceForced.md, as what only the old principal has is lost then if service was forced on the other server"
        );
    }
    format!("repair the network of {old}, which then becomes the mirror by itself")
}

fn not_mirrored_fix(other: Seat, pair: &Pair) -> String {
    if pair.view(other).available().is_none() {
        return format!(
            "do not start the {} before you have read docs/reasons/NotMirrored.md, as it can open a second live copy",
            pair.label(other)
        );
    }
    "set mirroring up as docs/reasons/NotMirrored.md describes, or remove the database from the spec".to_owned()
}

fn endpoint_fix(endpoint: Option<&MirroringEndpoint>) -> String {
    match endpoint {
        Some(endpoint) if endpoint.started => {
            format!("give {} the role PARTNER or ALL, see docs/reasons/EndpointStopped.md", endpoint.name)
        }
        Some(endpoint) => format!("run ALTER ENDPOINT {} STATE = STARTED there", endpoint.name),
        None => "create a mirroring endpoint".to_owned(),
    }
}

fn apart_fix(newer: Option<Seat>, pair: &Pair) -> String {
    match newer {
        Some(newer) => format!("connect the {} with its partner or the witness again", pair.label(newer)),
        None => "connect the servers with each other again, before the witness with one of them".to_owned(),
    }
}

fn third_partner_fix(row: &Shown, expected: &str) -> String {
    let partner = &row.partner;
    match row.role {
        Role::Principal => format!(
            "make sure that no client reaches {expected}, because it can hold a second live copy. Then name {partner} in spec.sql, or set mirroring up with {expected} again, see docs/reasons/PartnerMismatch.md"
        ),
        Role::Mirror => format!(
            "name {partner} in spec.sql, see docs/reasons/PartnerMismatch.md. If {partner} is the new name of {expected}, bring that server back"
        ),
    }
}

fn lost_fix(principal: &str, witness: WitnessLink) -> String {
    if is_witness_lost(witness) {
        return format!("bring back {principal} or the witness");
    }
    format!(
        "bring back {principal}. If it is lost for good, see docs/reasons/PrincipalLost.md before anything is forced"
    )
}
