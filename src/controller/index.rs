//! The resources that share something, such as a pair of servers. A lookup costs as much as its result, whatever the number of
//! all resources.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// The resources (`namespace/name`) by a key.
#[derive(Debug)]
pub struct Index<K>(HashMap<K, BTreeSet<Arc<str>>>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Index<K> {
    /// Replaces the keys of a resource.
    pub fn replace(
        &mut self,
        resource: &Arc<str>,
        before: impl IntoIterator<Item = K>,
        now: impl IntoIterator<Item = K>,
    ) {
        for key in before {
            if let Some(resources) = self.0.get_mut(&key) {
                resources.remove(resource);
                if resources.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
        for key in now {
            self.0.entry(key).or_default().insert(resource.clone());
        }
    }

    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.0.len()
    }

    /// How many other resources have this key.
    pub fn count_others(&self, key: &K, resource: &str) -> usize {
        self.0.get(key).map_or(0, |all| all.len() - usize::from(all.contains(resource)))
    }

    /// The other resources with this key, in the order of their names.
    pub fn others<'a>(&'a self, key: &K, resource: &'a str) -> impl Iterator<Item = &'a Arc<str>> + use<'a, K> {
        self.0.get(key).into_iter().flatten().filter(move |other| ***other != *resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_returns_the_others_of_a_key_until_it_is_replaced() {
        let (mut index, [one, two]) = (Index::default(), ["lync/one", "lync/two"].map(Arc::<str>::from));
        index.replace(&one, [], ["a", "b"]);
        index.replace(&two, [], ["a"]);
        let others =
            |index: &Index<&str>, key| index.others(&key, "lync/one").map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((others(&index, "a"), others(&index, "b")), (vec!["lync/two".to_owned()], vec![]));
        index.replace(&two, ["a"], ["b"]);
        assert_eq!((others(&index, "a"), others(&index, "b")), (vec![], vec!["lync/two".to_owned()]));
        index.replace(&two, ["b"], []);
        index.replace(&one, ["a", "b"], []);
        assert!(index.0.is_empty(), "a key without resources costs no memory");
    }
}
