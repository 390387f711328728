//! The database types of a pool and the databases behind each.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A `-DatabaseType` of `Invoke-CsDatabaseFailover` that can be mirrored.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::IntoStaticStr,
)]
pub enum DatabaseType {
    User,
    Application,
    Archiving,
    Monitoring,
    PersistentChat,
    PersistentChatCompliance,
    CentralMgmt,
}

impl DatabaseType {
    /// All types in the order of their moves, CentralMgmt last (R17). The derived `Ord` is the same order.
    pub const ALL: [DatabaseType; 7] = [
        DatabaseType::User,
        DatabaseType::Application,
        DatabaseType::Archiving,
        DatabaseType::Monitoring,
        DatabaseType::PersistentChat,
        DatabaseType::PersistentChatCompliance,
        DatabaseType::CentralMgmt,
    ];

    /// The database names of Lync, as in the deployment guide.
    pub fn databases(self) -> &'static [&'static str] {
        match self {
            DatabaseType::User => &["rtcxds", "rtcshared", "rtcab"],
            DatabaseType::Application => &["rgsconfig", "rgsdyn", "cpsdyn"],
            DatabaseType::CentralMgmt => &["xds", "lis"],
            DatabaseType::Archiving => &["LcsLog"],
            DatabaseType::Monitoring => &["LcsCDR", "QoEMetrics"],
            DatabaseType::PersistentChat => &["mgc"],
            DatabaseType::PersistentChatCompliance => &["mgccomp"],
        }
    }
}

/// A database name. The comparison ignores case, because the documentation of Lync is inconsistent in it. The text keeps
/// the case of its source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseName(String);

impl DatabaseName {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = char> + '_ {
        self.0.chars().flat_map(char::to_lowercase)
    }
}

impl PartialEq for DatabaseName {
    fn eq(&self, other: &Self) -> bool {
        self.folded().eq(other.folded())
    }
}

impl Eq for DatabaseName {}

impl PartialOrd for DatabaseName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DatabaseName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for DatabaseName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|c| c.hash(state));
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_name_in_another_case_is_equal() {
        assert_eq!(DatabaseName::new("LcsCDR"), DatabaseName::new("lcscdr"));
        assert_ne!(DatabaseName::new("rtcxds"), DatabaseName::new("rtcab"));
        assert_eq!(DatabaseName::new("LcsCDR").to_string(), "LcsCDR");
    }

    #[test]
    fn database_names_are_ordered_and_hashed_without_case() {
        use std::hash::{BuildHasher, RandomState};
        let [a, same, b] = ["LcsCDR", "lcscdr", "rtcxds"].map(DatabaseName::new);
        assert!(a < b && a.partial_cmp(&same) == Some(Ordering::Equal));
        let state = RandomState::new();
        assert_eq!(state.hash_one(&a), state.hash_one(&same));
        assert_ne!(state.hash_one(&a), state.hash_one(&b));
    }

    #[test]
    fn database_type_order_ends_with_central_management() {
        assert!(DatabaseType::ALL.is_sorted());
        assert_eq!(DatabaseType::ALL.iter().max(), Some(&DatabaseType::CentralMgmt));
    }
}
