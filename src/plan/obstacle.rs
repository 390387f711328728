//! The obstacles of a failover and the message of each.

use crate::model::{DatabaseState, Guid, MirroringEndpoint, Reason, Seat, Unavailable, UnavailableCause, WitnessLink};

#[derive(Debug, Clone, PartialEq)]
pub enum Obstacle {
    TwoPrincipals,
    NoPrincipal,
    SameServer {
        name: String,
    },
    GuidDiffers {
        primary: Guid,
        mirror: Guid,
    },
    PartnerOutside {
        seat: Seat,
        names: String,
        expected: String,
    },
    Hidden {
        seat: Seat,
        login: String,
    },
    Missing {
        seat: Seat,
    },
    NotMirrored {
        seat: Seat,
        other_has_session: bool,
    },
    SafetyOff,
    NoQuorum {
        seat: Seat,
    },
    PrincipalLost {
        seat: Seat,
        unavailable: Unavailable,
        witness: WitnessLink,
    },
    Unavailable {
        seat: Seat,
        unavailable: Unavailable,
        exposed: bool,
    },
    /// `versions`: of the principal and of the mirror, when they differ (S27).
    Suspended {
        versions: Option<(String, String)>,
    },
    Disconnected,
    NotOnline {
        seat: Seat,
        state: DatabaseState,
    },
    EndpointStopped {
        seat: Seat,
        endpoint: Option<MirroringEndpoint>,
    },
    FailoverInProgress,
    Unsettled,
    Synchronizing,
}

/// The order of obstacles, the most severe first: the most severe obstacle of a type gives the type its reason. The
/// declaration order is the order of severity, so the position of a new variant matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    // The session itself is in question: `Obstacle::questions_session` ends at SafetyOff.
    TwoPrincipals,
    NoPrincipal,
    SameServer,
    GuidDiffers,
    PartnerOutside,
    NoQuorum,
    PrincipalLost,
    Hidden,
    Missing,
    NotMirrored,
    SafetyOff,
    // The session is known, and cannot fail over now.
    Unavailable,
    Suspended,
    Disconnected,
    NotOnline,
    EndpointStopped,
    FailoverInProgress,
    Unsettled,
    Synchronizing,
    /// Last: a server whose first poll is pending must not hide what the other server shows.
    NotYetPolled,
}

impl Obstacle {
    pub fn severity(&self) -> Severity {
        match self {
            Obstacle::TwoPrincipals => Severity::TwoPrincipals,
            Obstacle::NoPrincipal => Severity::NoPrincipal,
            Obstacle::SameServer { .. } => Severity::SameServer,
            Obstacle::GuidDiffers { .. } => Severity::GuidDiffers,
            Obstacle::PartnerOutside { .. } => Severity::PartnerOutside,
            Obstacle::NoQuorum { .. } => Severity::NoQuorum,
            Obstacle::PrincipalLost { .. } => Severity::PrincipalLost,
            Obstacle::Hidden { .. } => Severity::Hidden,
            Obstacle::Missing { .. } => Severity::Missing,
            Obstacle::NotMirrored { .. } => Severity::NotMirrored,
            Obstacle::SafetyOff => Severity::SafetyOff,
            Obstacle::Unavailable {
                unavailable: Unavailable { cause: UnavailableCause::NotYetPolled, .. }, ..
            } => Severity::NotYetPolled,
            Obstacle::Unavailable { .. } => Severity::Unavailable,
            Obstacle::Suspended { .. } => Severity::Suspended,
            Obstacle::Disconnected => Severity::Disconnected,
            Obstacle::NotOnline { .. } => Severity::NotOnline,
            Obstacle::EndpointStopped { .. } => Severity::EndpointStopped,
            Obstacle::FailoverInProgress => Severity::FailoverInProgress,
            Obstacle::Unsettled => Severity::Unsettled,
            Obstacle::Synchronizing => Severity::Synchronizing,
        }
    }

    /// True when the mirroring session itself is in question, so that the desired principal cannot be compared.
    pub fn questions_session(&self) -> bool {
        self.severity() <= Severity::SafetyOff
    }

    pub fn reason(&self) -> Reason {
        match self {
            Obstacle::TwoPrincipals => Reason::TwoPrincipals,
            Obstacle::NoPrincipal => Reason::NoPrincipal,
            Obstacle::SameServer { .. } => Reason::SameServer,
            Obstacle::GuidDiffers { .. } => Reason::SessionMismatch,
            Obstacle::PartnerOutside { .. } => Reason::PartnerMismatch,
            Obstacle::Hidden { .. } => Reason::PermissionMissing,
            Obstacle::Missing { .. } => Reason::DatabaseMissing,
            Obstacle::NotMirrored { other_has_session: true, .. } => Reason::MirroringRemoved,
            Obstacle::NotMirrored { other_has_session: false, .. } => Reason::NotMirrored,
            Obstacle::SafetyOff => Reason::SafetyOff,
            Obstacle::NoQuorum { .. } => Reason::NoQuorum,
            Obstacle::PrincipalLost { .. } => Reason::PrincipalLost,
            Obstacle::Unavailable { unavailable, .. } => unavailable.cause.reason(),
            Obstacle::Suspended { versions: Some(_) } => Reason::VersionMismatch,
            Obstacle::Suspended { versions: None } => Reason::MirroringSuspended,
            Obstacle::Disconnected => Reason::PartnersDisconnected,
            Obstacle::NotOnline { .. } => Reason::DatabaseNotOnline,
            Obstacle::EndpointStopped { .. } => Reason::EndpointStopped,
            Obstacle::FailoverInProgress => Reason::FailoverInProgress,
            Obstacle::Unsettled => Reason::Unsettled,
            Obstacle::Synchronizing => Reason::Synchronizing,
        }
    }

    /// What happened and its cause, then how to fix it: two sentences. `names`: the databases concerned.
    pub fn message(&self, names: &str) -> String {
        match (self, self.fix()) {
            // The detail of an unavailable server ends with its own fix.
            (Obstacle::Unavailable { unavailable, .. }, _) => {
                format!("{}. {}", self.problem(names), unavailable.detail)
            }
            (_, Some(fix)) => format!("{}. To fix: {fix}.", self.problem(names)),
            (_, None) => format!("{}.", self.problem(names)),
        }
    }

    /// What happened and its cause, without a period.
    fn problem(&self, names: &str) -> String {
        let what = match self {
            Obstacle::TwoPrincipals => "both servers hold the principal role (split brain)".to_owned(),
            Obstacle::NoPrincipal => {
                "both servers hold the mirror role, so that no server serves the database".to_owned()
            }
            Obstacle::SameServer { name } => return format!("Primary and mirror are the same SQL Server {name}"),
            Obstacle::GuidDiffers { primary, mirror } => format!(
                "the servers belong to different mirroring sessions (mirroring_guid {primary} on the primary, {mirror} on the mirror)"
            ),
            Obstacle::PartnerOutside { seat, names: partner, expected } => format!(
                "the server in the {} seat mirrors with {partner}, but the other seat of spec.sql is {expected}",
                seat.word()
            ),
            Obstacle::Hidden { seat, login } => {
                format!("login {login} cannot see the mirroring state on the {}", seat.word())
            }
            Obstacle::Missing { seat } => format!("the database does not exist on the {}", seat.word()),
            Obstacle::NotMirrored { seat, other_has_session: true } => {
                format!("the {} shows no mirroring session, the other server does", seat.word())
            }
            Obstacle::NotMirrored { seat, other_has_session: false } => format!("not mirrored on the {}", seat.word()),
            Obstacle::SafetyOff => {
                "transaction safety is not FULL, and Lync supports synchronous mirroring only".to_owned()
            }
            Obstacle::NoQuorum { seat } => format!(
                "the {} sees neither its partner nor the witness, so that SQL Server does not serve the database",
                seat.word()
            ),
            Obstacle::PrincipalLost { seat, unavailable, witness } => lost_principal(*seat, unavailable, *witness),
            Obstacle::Unavailable { seat, exposed: true, .. } => {
                format!("the operator does not see the {}, and the principal runs without a mirror", seat.word())
            }
            Obstacle::Unavailable { seat, exposed: false, .. } => {
                format!("the operator does not see the {}", seat.word())
            }
            Obstacle::Suspended { versions: Some((principal, mirror)) } => {
                format!("mirroring is SUSPENDED and the versions differ (principal {principal}, mirror {mirror})")
            }
            Obstacle::Suspended { versions: None } => "mirroring is SUSPENDED".to_owned(),
            Obstacle::Disconnected => "the partners are both alive and do not reach each other".to_owned(),
            Obstacle::NotOnline { seat, state } => {
                format!("the database is {state} on the {}, not ONLINE", seat.word())
            }
            Obstacle::EndpointStopped { seat, endpoint: Some(endpoint) } => format!(
                "the mirroring endpoint {} on the {} is not STARTED with role PARTNER or ALL",
                endpoint.name,
                seat.word()
            ),
            Obstacle::EndpointStopped { seat, endpoint: None } => {
                format!("the {} has no mirroring endpoint", seat.word())
            }
            Obstacle::FailoverInProgress => "a failover is in progress on the servers".to_owned(),
            Obstacle::Unsettled => "the servers are in a transition, and the operator polls them again".to_owned(),
            Obstacle::Synchronizing => "SYNCHRONIZING, the mirror is catching up".to_owned(),
        };
        format!("{names}: {what}")
    }

    /// An imperative without a period. None: the obstacle ends without a fix, or the message of the type has the fix.
    fn fix(&self) -> Option<String> {
        Some(match self {
            Obstacle::TwoPrincipals => {
                "decide which copy to keep, see docs/reasons/TwoPrincipals.md; the operator moves nothing".to_owned()
            }
            Obstacle::NoPrincipal => {
                "find out why on both servers, see docs/reasons/NoPrincipal.md; the operator moves nothing".to_owned()
            }
            Obstacle::SameServer { .. } => "correct host, instance or port in spec.sql".to_owned(),
            Obstacle::GuidDiffers { .. } => {
                "name the two partners of one session in spec.sql; if mirroring was set up again on one server, set it up on both".to_owned()
            }
            Obstacle::PartnerOutside { .. } => "name the two partners of one session in spec.sql".to_owned(),
            Obstacle::Hidden { .. } => {
                "grant sysadmin to the login on both servers, as SQL Server hides a mirror database from every other login".to_owned()
            }
            Obstacle::Missing { .. } => {
                "correct the name in spec.databaseTypes[].databases, or remove the type".to_owned()
            }
            Obstacle::NotMirrored { other_has_session: true, .. } => "set mirroring up again".to_owned(),
            Obstacle::NotMirrored { other_has_session: false, .. } => {
                "set mirroring up (Install-CsMirrorDatabase), or remove the database from the spec".to_owned()
            }
            Obstacle::SafetyOff => "run ALTER DATABASE ... SET PARTNER SAFETY FULL on the principal".to_owned(),
            Obstacle::NoQuorum { .. } => "bring back the partner or the witness".to_owned(),
            Obstacle::PrincipalLost { witness, .. } => match witness {
                WitnessLink::None | WitnessLink::Connected => {
                    "bring the principal back, or force service by hand if it is lost for good (data may be lost)".to_owned()
                }
                WitnessLink::Disconnected | WitnessLink::Unknown => "bring the principal or the witness back".to_owned(),
            },
            Obstacle::Suspended { versions: Some(_) } => {
                "upgrade the older server, then run ALTER DATABASE ... SET PARTNER RESUME on the principal".to_owned()
            }
            Obstacle::Suspended { versions: None } => {
                "find out why first, as RESUME after a forced service destroys what the old principal had not sent; then run ALTER DATABASE ... SET PARTNER RESUME on the principal".to_owned()
            }
            Obstacle::Disconnected => "repair the network between the mirroring endpoints, or the endpoints".to_owned(),
            Obstacle::NotOnline { .. } => "bring the database ONLINE on that server".to_owned(),
            Obstacle::EndpointStopped { endpoint: Some(_), .. } => {
                "start the endpoint (ALTER ENDPOINT ... STATE = STARTED) with role PARTNER or ALL".to_owned()
            }
            Obstacle::EndpointStopped { endpoint: None, .. } => "create a mirroring endpoint".to_owned(),
            Obstacle::Unavailable { .. }
            | Obstacle::FailoverInProgress
            | Obstacle::Unsettled
            | Obstacle::Synchronizing => return None,
        })
    }
}

fn lost_principal(seat: Seat, unavailable: &Unavailable, witness: WitnessLink) -> String {
    let why = match witness {
        WitnessLink::None => ". Without a witness there is no automatic failover",
        WitnessLink::Connected => ". The witness did not fail over, as the copies were not synchronized",
        WitnessLink::Disconnected | WitnessLink::Unknown => "",
    };
    format!(
        "the mirror lost its principal on the {} and does not serve the database. {}{why}",
        seat.word(),
        unavailable.detail.trim_end_matches('.')
    )
}
