//! The obstacles of a failover: severity and reason. `obstacle_text` has the message of each.

use crate::model::{
    DatabaseState, Mirroring, MirroringEndpoint, MirroringState, Reason, Role, Seat, TransitionKind, Unavailable,
    UnavailableCause, WitnessLink,
};

#[derive(Debug, Clone, PartialEq)]
pub enum Obstacle {
    /// `sessions`: the rows of the primary and of the mirror, if they belong to different sessions.
    TwoPrincipals {
        sessions: Option<(Shown, Shown)>,
    },
    NoPrincipal,
    SameServer {
        name: String,
    },
    GuidDiffers {
        primary: Shown,
        mirror: Shown,
    },
    PartnerOutside {
        seat: Seat,
        names: String,
        expected: String,
    },
    /// The server in this seat mirrors with a server that is not the one of the other seat, which is unavailable. `expected`: the
    /// name of the latter when it was last read.
    ThirdPartner {
        seat: Seat,
        shown: Shown,
        expected: String,
    },
    Hidden {
        seat: Seat,
        login: String,
    },
    Missing {
        seat: Seat,
    },
    /// ONLINE and without a session.
    NotMirrored {
        seat: Seat,
        other_has_session: bool,
    },
    SafetyOff,
    /// The row in this seat is of a partner without a connection to the other partner and to the witness.
    NoQuorum {
        seat: Seat,
        /// It is the mirror, which the witness alone does not make the principal.
        mirror: bool,
    },
    /// Both servers hold the principal role of one session, each without a connection to the other one and to the witness. The
    /// seat of the newer claim, if one is newer.
    ApartWithoutQuorum {
        newer: Option<Seat>,
    },
    /// The mirror is DISCONNECTED, and the principal in this seat does not answer on its own port. A SUSPENDED mirror proves
    /// nothing of its connection, and both can be forced without a witness ("Database Mirroring Operating Modes").
    PrincipalLost {
        seat: Seat,
        unavailable: Unavailable,
        witness: WitnessLink,
        suspended: bool,
    },
    /// `shown`: the row of the other server, if it has one.
    Unavailable {
        seat: Seat,
        unavailable: Unavailable,
        shown: Option<Shown>,
    },
    /// The principal in this seat is read alone. The other server was principal later when it was last read.
    OlderPrincipal {
        seat: Seat,
    },
    /// An old principal without quorum, beside a newer principal. SQL Server makes it a mirror once it is connected again.
    IsolatedPrincipal {
        seat: Seat,
        /// The newer one is SUSPENDED, as after a forced service.
        forced: bool,
    },
    /// `versions`: of the principal and of the mirror, if the principal is newer (S27).
    Suspended {
        principal: Seat,
        versions: Option<(String, String)>,
    },
    Disconnected,
    NotOnline {
        seat: Seat,
        state: DatabaseState,
    },
    /// The database is in recovery, as after a restart.
    Recovering {
        seat: Seat,
        state: DatabaseState,
    },
    EndpointStopped {
        seat: Seat,
        endpoint: Option<MirroringEndpoint>,
    },
    FailoverInProgress,
    Unsettled,
    /// A `mirroring_state` that is none of the documented ones.
    UndocumentedState {
        seat: Seat,
        number: i64,
    },
    /// Their equality is not documented, so that it delays a move only for a time.
    SequencesDiffer {
        principal: i32,
        mirror: i32,
    },
    Synchronizing,
}

/// The row of one server, as a message shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub role: Role,
    pub state: MirroringState,
    pub online: bool,
    /// `mirroring_partner_instance`.
    pub partner: String,
}

impl Shown {
    pub(crate) fn new(row: &Mirroring, state: DatabaseState) -> Self {
        Self {
            role: row.role,
            state: row.state,
            online: state == DatabaseState::Online,
            partner: row.partner_instance.clone(),
        }
    }
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
    NotOnline,
    Unavailable,
    IsolatedPrincipal,
    Suspended,
    EndpointStopped,
    Disconnected,
    Recovering,
    FailoverInProgress,
    Unsettled,
    SequencesDiffer,
    Synchronizing,
    /// Last: a server whose first poll is pending must not hide what the other server shows.
    NotYetPolled,
}

impl Obstacle {
    /// The obstacle of a copy that is not in the state that mirroring requires.
    pub(crate) fn not_open(seat: Seat, state: DatabaseState) -> Obstacle {
        match state {
            DatabaseState::Recovering | DatabaseState::RecoveryPending | DatabaseState::Restoring => {
                Obstacle::Recovering { seat, state }
            }
            // A mirror that is ONLINE, or a value that is not documented: the row and the state are of two moments.
            DatabaseState::Online | DatabaseState::Unknown => Obstacle::Unsettled,
            DatabaseState::Suspect | DatabaseState::Emergency | DatabaseState::Offline => {
                Obstacle::NotOnline { seat, state }
            }
        }
    }

    pub fn severity(&self) -> Severity {
        match self {
            Obstacle::TwoPrincipals { .. } | Obstacle::OlderPrincipal { .. } => Severity::TwoPrincipals,
            Obstacle::NoPrincipal => Severity::NoPrincipal,
            Obstacle::SameServer { .. } => Severity::SameServer,
            Obstacle::GuidDiffers { .. } => Severity::GuidDiffers,
            Obstacle::PartnerOutside { .. } | Obstacle::ThirdPartner { .. } => Severity::PartnerOutside,
            Obstacle::NoQuorum { .. } | Obstacle::ApartWithoutQuorum { .. } => Severity::NoQuorum,
            Obstacle::PrincipalLost { suspended: false, .. } => Severity::PrincipalLost,
            Obstacle::PrincipalLost { suspended: true, .. } => Severity::Unavailable,
            Obstacle::Hidden { .. } => Severity::Hidden,
            Obstacle::Missing { .. } => Severity::Missing,
            Obstacle::NotMirrored { .. } => Severity::NotMirrored,
            Obstacle::SafetyOff => Severity::SafetyOff,
            Obstacle::Unavailable {
                unavailable: Unavailable { cause: UnavailableCause::NotYetPolled, .. }, ..
            } => Severity::NotYetPolled,
            Obstacle::Unavailable { .. } => Severity::Unavailable,
            Obstacle::IsolatedPrincipal { .. } => Severity::IsolatedPrincipal,
            Obstacle::Suspended { .. } => Severity::Suspended,
            Obstacle::Disconnected => Severity::Disconnected,
            Obstacle::NotOnline { .. } => Severity::NotOnline,
            Obstacle::Recovering { .. } => Severity::Recovering,
            Obstacle::EndpointStopped { .. } => Severity::EndpointStopped,
            Obstacle::FailoverInProgress => Severity::FailoverInProgress,
            Obstacle::Unsettled | Obstacle::UndocumentedState { .. } => Severity::Unsettled,
            Obstacle::SequencesDiffer { .. } => Severity::SequencesDiffer,
            Obstacle::Synchronizing => Severity::Synchronizing,
        }
    }

    /// The server that the obstacle is about. None: both, or the session.
    pub fn seat(&self) -> Option<Seat> {
        match self {
            Obstacle::PartnerOutside { seat, .. }
            | Obstacle::ThirdPartner { seat, .. }
            | Obstacle::Hidden { seat, .. }
            | Obstacle::Missing { seat }
            | Obstacle::NotMirrored { seat, .. }
            | Obstacle::NoQuorum { seat, .. }
            | Obstacle::PrincipalLost { seat, .. }
            | Obstacle::Unavailable { seat, .. }
            | Obstacle::OlderPrincipal { seat }
            | Obstacle::IsolatedPrincipal { seat, .. }
            | Obstacle::NotOnline { seat, .. }
            | Obstacle::Recovering { seat, .. }
            | Obstacle::UndocumentedState { seat, .. }
            | Obstacle::EndpointStopped { seat, .. } => Some(*seat),
            Obstacle::ApartWithoutQuorum { newer } => *newer,
            Obstacle::TwoPrincipals { .. }
            | Obstacle::NoPrincipal
            | Obstacle::SameServer { .. }
            | Obstacle::GuidDiffers { .. }
            | Obstacle::SafetyOff
            | Obstacle::Suspended { .. }
            | Obstacle::Disconnected
            | Obstacle::FailoverInProgress
            | Obstacle::Unsettled
            | Obstacle::SequencesDiffer { .. }
            | Obstacle::Synchronizing => None,
        }
    }

    /// True when the mirroring session itself is in question, so that the desired principal cannot be compared.
    pub fn questions_session(&self) -> bool {
        self.severity() <= Severity::SafetyOff
    }

    /// The kind of a state whose begin the status remembers.
    pub(crate) fn tracked(&self) -> Option<TransitionKind> {
        match self {
            Obstacle::Suspended { .. } => Some(TransitionKind::Suspended),
            obstacle => obstacle.transition(),
        }
    }

    /// The kind of a state that SQL Server leaves by itself. It is reported as overdue after policy.switchDeadline.
    pub fn transition(&self) -> Option<TransitionKind> {
        match self {
            Obstacle::Recovering { state: DatabaseState::RecoveryPending, .. } => Some(TransitionKind::RecoveryPending),
            Obstacle::Recovering { state: DatabaseState::Restoring, .. } => Some(TransitionKind::Restoring),
            Obstacle::Recovering { .. } => Some(TransitionKind::Recovering),
            Obstacle::FailoverInProgress => Some(TransitionKind::FailoverInProgress),
            Obstacle::Unsettled | Obstacle::UndocumentedState { .. } => Some(TransitionKind::Unsettled),
            // Its time is kept apart, as it ends as an obstacle after the bound.
            Obstacle::SequencesDiffer { .. }
            | Obstacle::TwoPrincipals { .. }
            | Obstacle::NoPrincipal
            | Obstacle::SameServer { .. }
            | Obstacle::GuidDiffers { .. }
            | Obstacle::PartnerOutside { .. }
            | Obstacle::ThirdPartner { .. }
            | Obstacle::Hidden { .. }
            | Obstacle::Missing { .. }
            | Obstacle::NotMirrored { .. }
            | Obstacle::SafetyOff
            | Obstacle::NoQuorum { .. }
            | Obstacle::ApartWithoutQuorum { .. }
            | Obstacle::PrincipalLost { .. }
            | Obstacle::Unavailable { .. }
            | Obstacle::OlderPrincipal { .. }
            | Obstacle::IsolatedPrincipal { .. }
            | Obstacle::Suspended { .. }
            | Obstacle::Disconnected
            | Obstacle::NotOnline { .. }
            | Obstacle::EndpointStopped { .. }
            | Obstacle::Synchronizing => None,
        }
    }

    /// Two principals or two mirrors, which no switch shows for longer than a moment.
    pub(crate) fn is_contradiction(&self) -> bool {
        matches!(self, Obstacle::TwoPrincipals { .. } | Obstacle::NoPrincipal)
    }

    pub fn reason(&self) -> Reason {
        match self {
            Obstacle::TwoPrincipals { .. } | Obstacle::OlderPrincipal { .. } => Reason::TwoPrincipals,
            Obstacle::NoPrincipal => Reason::NoPrincipal,
            Obstacle::SameServer { .. } => Reason::SameServer,
            Obstacle::GuidDiffers { .. } => Reason::SessionMismatch,
            Obstacle::PartnerOutside { .. } | Obstacle::ThirdPartner { .. } => Reason::PartnerMismatch,
            Obstacle::Hidden { .. } => Reason::PermissionMissing,
            Obstacle::Missing { .. } => Reason::DatabaseMissing,
            Obstacle::NotMirrored { other_has_session: true, .. } => Reason::MirroringRemoved,
            Obstacle::NotMirrored { other_has_session: false, .. } => Reason::NotMirrored,
            Obstacle::SafetyOff => Reason::SafetyOff,
            Obstacle::NoQuorum { .. } | Obstacle::ApartWithoutQuorum { .. } => Reason::NoQuorum,
            Obstacle::PrincipalLost { suspended: false, .. } => Reason::PrincipalLost,
            Obstacle::PrincipalLost { suspended: true, unavailable, .. }
            | Obstacle::Unavailable { unavailable, .. } => unavailable.cause.reason(),
            Obstacle::IsolatedPrincipal { .. } => Reason::IsolatedPrincipal,
            Obstacle::Suspended { versions: Some(_), .. } => Reason::VersionMismatch,
            Obstacle::Suspended { versions: None, .. } => Reason::MirroringSuspended,
            Obstacle::Disconnected => Reason::PartnersDisconnected,
            Obstacle::NotOnline { .. } => Reason::DatabaseNotOnline,
            Obstacle::Recovering { .. } => Reason::DatabaseRecovering,
            Obstacle::EndpointStopped { .. } => Reason::EndpointStopped,
            Obstacle::FailoverInProgress => Reason::FailoverInProgress,
            Obstacle::Unsettled | Obstacle::UndocumentedState { .. } | Obstacle::SequencesDiffer { .. } => {
                Reason::Unsettled
            }
            Obstacle::Synchronizing => Reason::Synchronizing,
        }
    }
}
