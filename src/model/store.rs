//! The SQL Server pairs of a pool: the pair of the pool, and the pairs of database types with a pair of their own.

use std::ops::{Index, IndexMut};

/// Identifies an element of a [`Stores`]. Only [`Stores::push`] issues it, so that it is valid for the collection that issued
/// it and for every collection mapped from that one: a spec's stores, their connections and their observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(usize);

/// A value for each store of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Stores<T>(Vec<T>);

impl<T> Default for Stores<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Stores<T> {
    /// A collection of one store.
    pub fn single(value: T) -> (Self, StoreId) {
        (Self(vec![value]), StoreId(0))
    }

    pub fn push(&mut self, value: T) -> StoreId {
        self.0.push(value);
        StoreId(self.0.len() - 1)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }

    pub fn with_ids(&self) -> impl Iterator<Item = (StoreId, &T)> {
        self.0.iter().enumerate().map(|(index, value)| (StoreId(index), value))
    }

    /// A value for each store in the same order, so that every [`StoreId`] stays valid.
    pub fn map<'a, U>(&'a self, value: impl FnMut(&'a T) -> U) -> Stores<U> {
        Stores(self.0.iter().map(value).collect())
    }
}

impl<T> Index<StoreId> for Stores<T> {
    type Output = T;

    fn index(&self, id: StoreId) -> &T {
        &self.0[id.0]
    }
}

impl<T> IndexMut<StoreId> for Stores<T> {
    fn index_mut(&mut self, id: StoreId) -> &mut T {
        &mut self.0[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_id_of_a_collection_names_the_same_store_in_a_mapped_one() {
        let mut stores = Stores::default();
        let (pool, archive) = (stores.push("pool"), stores.push("archive"));
        let lengths = stores.map(|name| name.len());
        assert_eq!((lengths[pool], lengths[archive]), (4, 7));
        assert_eq!(
            stores.with_ids().map(|(id, name)| (id, *name)).collect::<Vec<_>>(),
            [(pool, "pool"), (archive, "archive")]
        );
    }
}
