//! Seat and role: two axes that must never be mixed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A seat in the topology of the pool. It changes only when the topology is published anew.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum Side {
    Primary,
    Mirror,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Primary, Side::Mirror];

    pub fn other(self) -> Side {
        match self {
            Side::Primary => Side::Mirror,
            Side::Mirror => Side::Primary,
        }
    }

    /// The seat in running text: `primary` or `mirror`.
    pub fn word(self) -> &'static str {
        match self {
            Side::Primary => "primary",
            Side::Mirror => "mirror",
        }
    }
}

/// What SQL Server plays in a seat, per database. It changes at every failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display)]
pub enum Role {
    Principal,
    Mirror,
}
