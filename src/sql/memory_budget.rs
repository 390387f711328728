//! A number of bytes that namespaces share. No namespace can take all of it, and no request waits: a wait would hold what it has
//! already.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The sizes of a budget, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub total: usize,
    /// Of `total`, what only namespaces with less than `floor` get.
    pub reserve: usize,
    /// What many namespaces with much memory leave to each further one.
    pub floor: usize,
    /// What each holder takes beyond `total`: a usual server must not depend on others. The number of connections bounds the
    /// sum.
    pub always: usize,
    /// How much is taken at once, so that a response does not lock the budget for each of its values.
    pub step: usize,
}

/// Why no memory is left for a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The namespace has its share.
    Share,
    /// All namespaces together have all of it.
    Total,
}

/// The memory of all namespaces; cheap to clone. A namespace with as much as is free gets no more, apart from its floor.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    size: Size,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// What each namespace has, if any.
    held: HashMap<Arc<str>, usize>,
}

/// The memory of one holder. Dropping it gives it back.
#[derive(Debug)]
pub struct Taken {
    budget: MemoryBudget,
    namespace: Arc<str>,
    needed: usize,
    taken: usize,
}

impl MemoryBudget {
    pub fn new(size: Size) -> Self {
        let state = Mutex::new(State { free: size.total, held: HashMap::new() });
        Self(Arc::new(Budget { size, state }))
    }

    /// Nothing yet.
    pub fn begin(&self, namespace: &Arc<str>) -> Taken {
        Taken { budget: self.clone(), namespace: namespace.clone(), needed: 0, taken: 0 }
    }

    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.0.size.total - self.0.state.lock().free
    }

    #[cfg(test)]
    pub fn namespaces(&self) -> usize {
        self.0.state.lock().held.len()
    }
}

impl Taken {
    /// # Errors
    /// Why the holder cannot take so many bytes more. It keeps what it has.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let Budget { size, state } = &*self.budget.0;
        self.needed = self.needed.saturating_add(bytes);
        let missing = self.needed.saturating_sub(size.always).saturating_sub(self.taken);
        if missing > 0 {
            let taken = missing.checked_next_multiple_of(size.step).ok_or(Exhausted::Total)?;
            state.lock().take(size, &self.namespace, taken)?;
            self.taken += taken;
        }
        Ok(())
    }

    /// How many bytes the holder asked for, also those that it did not get.
    pub fn needed(&self) -> usize {
        self.needed
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.budget.0.state.lock().give_back(&self.namespace, self.taken);
        }
    }
}

impl State {
    fn take(&mut self, size: &Size, namespace: &Arc<str>, bytes: usize) -> Result<(), Exhausted> {
        let held = self.held.get(namespace).copied().unwrap_or_default().saturating_add(bytes);
        let free =
            self.free.checked_sub(bytes).ok_or(if held > size.floor { Exhausted::Share } else { Exhausted::Total })?;
        if held > size.floor && held > free.saturating_sub(size.reserve) {
            return Err(Exhausted::Share);
        }
        self.free = free;
        self.held.insert(namespace.clone(), held);
        Ok(())
    }

    fn give_back(&mut self, namespace: &Arc<str>, bytes: usize) {
        self.free += bytes;
        if let Some(held) = self.held.get_mut(namespace) {
            *held -= bytes;
            if *held == 0 {
                self.held.remove(namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { total: 1000, reserve: 100, floor: 10, always: 5, step: 1 };

    #[test]
    fn greedy_namespace_leaves_as_much_as_it_takes_and_each_further_one_its_floor() {
        let budget = MemoryBudget::new(SIZE);
        let fill = |namespace: &str, bytes: usize| {
            let mut taken = budget.begin(&namespace.into());
            let mut end = Ok(());
            while end.is_ok() {
                end = taken.grow(bytes);
            }
            (taken, end)
        };
        let greedy = fill("evil", 1);
        assert_eq!((budget.taken(), greedy.1), (450, Err(Exhausted::Share)));
        let crowd: Vec<_> = (0..9).map(|number| fill(&format!("crowd{number}"), 1)).collect();
        let (late, end) = fill("late", 1);
        assert!(late.taken >= SIZE.floor && end.is_err(), "{late:?}");
        // Without a share, each holder has what it always has.
        let floors: Vec<_> = (0..100).map(|number| fill(&format!("floor{number}"), 1)).collect();
        assert_eq!(budget.taken(), SIZE.total);
        assert_eq!(floors[99].1, Err(Exhausted::Total));
        assert_eq!(budget.begin(&"last".into()).grow(SIZE.always), Ok(()));
        drop((greedy, crowd, late, floors));
        assert_eq!((budget.taken(), budget.namespaces()), (0, 0));
    }

    #[test]
    fn request_for_more_than_there_is_takes_nothing() {
        let budget = MemoryBudget::new(Size { step: 64, ..SIZE });
        let mut taken = budget.begin(&"lync".into());
        assert_eq!(taken.grow(SIZE.always + 1), Ok(()));
        assert_eq!(budget.taken(), 64);
        for bytes in [2000, usize::MAX] {
            assert!(taken.grow(bytes).is_err());
            assert_eq!(budget.taken(), 64);
        }
        drop(taken);
        assert_eq!(budget.taken(), 0);
    }
}
