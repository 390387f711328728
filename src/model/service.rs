//! Whether the clients of a database are served, as far as the rows of this pass prove it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Reason;

/// The service of a database or a type. The order is from best to worst.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
pub enum Service {
    /// A principal serves it, the mirror is synchronized, and the witness is connected if the session has one.
    Protected,
    /// A server serves it. One further loss stops it or endangers its data.
    Exposed,
    /// Nothing that was read proves the service or its absence.
    #[default]
    Unknown,
    /// The servers that could serve it were read and do not serve it.
    NotServed,
}

impl Service {
    /// The service of a whole that consists of these parts: the worst of them. `Unknown` without parts.
    pub fn worst(parts: impl IntoIterator<Item = Service>) -> Service {
        parts.into_iter().max().unwrap_or(Service::Unknown)
    }

    pub fn reason(self) -> Reason {
        match self {
            Service::Protected => Reason::Protected,
            Service::Exposed => Reason::Exposed,
            Service::Unknown => Reason::ServiceUnknown,
            Service::NotServed => Reason::NotServed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_of_several_parts_is_the_most_severe_part() {
        use Service::{Exposed, NotServed, Protected, Unknown};
        assert_eq!(Service::worst([Protected, Protected]), Protected);
        assert_eq!(Service::worst([Protected, Exposed]), Exposed);
        assert_eq!(Service::worst([Unknown, Exposed]), Unknown);
        assert_eq!(Service::worst([Unknown, NotServed, Protected]), NotServed);
        assert_eq!(Service::worst([]), Unknown);
    }
}
