//! Every way in which a database is not ready to be moved, with the words for a person.

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
/// declaration order is the order, so that a new variant takes its place by where it is written.
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

    /// True when the mirroring session itself is in question, so that a wanted or unwanted principal has no meaning.
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
            Obstacle::Unavailable { unavailable, .. } => unavailable_reason(unavailable.cause),
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

    /// What is the matter and the way out, in a sentence or two. `of`: the databases concerned.
    #[allow(clippy::too_many_lines, reason = "one arm for each obstacle")]
    pub fn words(&self, of: &str) -> String {
        match self {
            Obstacle::TwoPrincipals => format!(
                "{of}: both servers claim the principal role (split brain). Nothing is moved. Decide which copy is right; see docs/reasons/TwoPrincipals.md"
            ),
            Obstacle::NoPrincipal => {
                format!("{of}: both servers hold the mirror role, nobody serves. Nothing is moved; a DBA has to look")
            }
            Obstacle::SameServer { name } => {
                format!(
                    "primary and mirror reach the same SQL Server {name}: correct host, instance or port in spec.sql"
                )
            }
            Obstacle::GuidDiffers { primary, mirror } => format!(
                "{of}: the two servers belong to different mirroring sessions (mirroring_guid {primary} on the primary, {mirror} on the mirror): spec.sql names servers of two different pairs, or mirroring was set up anew"
            ),
            Obstacle::PartnerOutside { seat, names, expected } => format!(
                "{of}: the server in the {} seat mirrors with {names}, but the other seat of spec.sql is {expected}: name the two partners of one session in spec.sql",
                seat.word()
            ),
            Obstacle::Hidden { seat, login } => format!(
                "{of}: login {login} does not see the mirroring state on the {}: SQL Server shows a mirror database only to sysadmin. Grant sysadmin to the login on both servers",
                seat.word()
            ),
            Obstacle::Missing { seat } => {
                format!(
                    "{of}: no such database on the {}: correct the name in spec.databaseTypes[].databases, or remove the type",
                    seat.word()
                )
            }
            Obstacle::NotMirrored { seat, other_has_session: true } => {
                format!(
                    "{of}: mirroring was removed on the {} while the other side still has its session: set mirroring up again",
                    seat.word()
                )
            }
            Obstacle::NotMirrored { seat, other_has_session: false } => {
                format!(
                    "{of}: not mirrored on the {}: set mirroring up (Install-CsMirrorDatabase), or remove the database from the spec",
                    seat.word()
                )
            }
            Obstacle::SafetyOff => format!(
                "{of}: transaction safety is not FULL. Lync supports synchronous mirroring only: ALTER DATABASE ... SET PARTNER SAFETY FULL"
            ),
            Obstacle::NoQuorum { seat } => format!(
                "{of}: the {} sees neither its partner nor the witness, so SQL Server does not serve the database. Bring back the partner or the witness",
                seat.word()
            ),
            Obstacle::PrincipalLost { seat, unavailable, witness } => {
                let help = match witness {
                    WitnessLink::None => {
                        "Without a witness nobody fails over by itself: bring the principal back, or force service by hand if it is lost for good (data may be lost)"
                    }
                    WitnessLink::Connected => {
                        "The witness did not fail over because the copies were not synchronized: bring the principal back, or force service by hand if it is lost for good (data may be lost)"
                    }
                    WitnessLink::Disconnected | WitnessLink::Unknown => "Bring the principal or the witness back",
                };
                format!(
                    "{of}: the mirror lost its principal on the {}, nobody serves ({}). {help}",
                    seat.word(),
                    unavailable.detail
                )
            }
            Obstacle::Unavailable { seat, unavailable, exposed } => {
                let exposed = if *exposed { "; the principal runs exposed, without a mirror" } else { "" };
                format!("{of}: the {} is not seen{exposed}: {}", seat.word(), unavailable.detail)
            }
            Obstacle::Suspended { versions: Some((principal, mirror)) } => format!(
                "{of}: mirroring is SUSPENDED and the versions differ (principal {principal}, mirror {mirror}): upgrade the older server, then resume (ALTER DATABASE ... SET PARTNER RESUME)"
            ),
            Obstacle::Suspended { versions: None } => format!(
                "{of}: mirroring is SUSPENDED. Find out why first: after a forced service, RESUME destroys what the old principal had not sent. Then ALTER DATABASE ... SET PARTNER RESUME on the principal"
            ),
            Obstacle::Disconnected => format!(
                "{of}: the partners do not see each other (both alive, mirroring link down): mend the network or the endpoints"
            ),
            Obstacle::NotOnline { seat, state } => {
                format!("{of}: the database is {state} on the {}, not ONLINE", seat.word())
            }
            Obstacle::EndpointStopped { seat, endpoint: Some(endpoint) } => format!(
                "{of}: the mirroring endpoint {} on the {} is not STARTED with role PARTNER or ALL",
                endpoint.name,
                seat.word()
            ),
            Obstacle::EndpointStopped { seat, endpoint: None } => {
                format!("{of}: there is no mirroring endpoint on the {}", seat.word())
            }
            Obstacle::FailoverInProgress => format!("{of}: a failover is under way on the servers"),
            Obstacle::Unsettled => format!("{of}: the servers are in a transition; they are looked at again"),
            Obstacle::Synchronizing => format!("{of}: SYNCHRONIZING, the mirror is catching up"),
        }
    }
}

/// Why a server is dark, as a reason.
pub fn unavailable_reason(cause: UnavailableCause) -> Reason {
    match cause {
        UnavailableCause::NotYetPolled => Reason::NotYetObserved,
        UnavailableCause::SecretNotFound => Reason::SecretNotFound,
        UnavailableCause::SecretKeyMissing => Reason::SecretKeyMissing,
        UnavailableCause::CredentialsForbidden => Reason::CredentialsForbidden,
        UnavailableCause::CaBundleNotFound => Reason::CaBundleNotFound,
        UnavailableCause::CaBundleInvalid => Reason::CaBundleInvalid,
        UnavailableCause::HostNotFound => Reason::HostNotFound,
        UnavailableCause::InstanceNotFound | UnavailableCause::BrowserSilent => Reason::InstanceNotFound,
        UnavailableCause::ConnectionRefused => Reason::ConnectionRefused,
        UnavailableCause::TimedOut | UnavailableCause::Unresponsive => Reason::ConnectionTimedOut,
        UnavailableCause::ConnectionLost => Reason::ConnectionLost,
        UnavailableCause::TlsFailed => Reason::TlsFailed,
        UnavailableCause::KdcUnreachable => Reason::KdcUnreachable,
        UnavailableCause::SpnUnknown => Reason::SpnUnknown,
        UnavailableCause::TicketExpired => Reason::TicketExpired,
        UnavailableCause::NoKerberosCredentials => Reason::NoKerberosCredentials,
        UnavailableCause::LoginFailed => Reason::LoginFailed,
        UnavailableCause::LoginLocked => Reason::LoginLocked,
        UnavailableCause::QueryFailed => Reason::QueryFailed,
        UnavailableCause::ProtocolError => Reason::ProtocolError,
    }
}
