//! Seat and role. A seat is a position in the topology, a role is what SQL Server reports: never derive one from the other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A seat in the topology of the pool. It changes only when a new topology is published.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum Seat {
    Primary,
    Mirror,
}

impl Seat {
    pub const BOTH: [Seat; 2] = [Seat::Primary, Seat::Mirror];

    pub fn other(self) -> Seat {
        match self {
            Seat::Primary => Seat::Mirror,
            Seat::Mirror => Seat::Primary,
        }
    }

    /// The seat in messages: `primary` or `mirror`.
    pub fn word(self) -> &'static str {
        match self {
            Seat::Primary => "primary",
            Seat::Mirror => "mirror",
        }
    }
}

/// The role of a server for a database. It changes at every failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display)]
pub enum Role {
    Principal,
    Mirror,
}

/// The observed seat of the principal of a type.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema, strum::Display, strum::IntoStaticStr,
)]
pub enum ObservedPrincipal {
    Primary,
    Mirror,
    /// The databases of the type have their principals on different servers.
    Split,
    Unknown,
}

impl From<Seat> for ObservedPrincipal {
    fn from(seat: Seat) -> Self {
        match seat {
            Seat::Primary => ObservedPrincipal::Primary,
            Seat::Mirror => ObservedPrincipal::Mirror,
        }
    }
}
