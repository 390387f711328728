//! The memory of the responses that the operator reads at the same time, over the whole process. The driver buffers every row,
//! and a row of NULLs of two bytes on the network is an object of a hundred bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The cost of a row and of a value in the driver, in bytes. The list of rows can be twice as long as it has rows.
pub const ROW: usize = 96;
pub const VALUE: usize = 64;

/// The most that one response can take, in bytes. A poll of 10,000 databases takes 25 MB: a row with 14 values and 240 bytes of
/// names for each, and three counters with three values and 120 bytes of names.
pub const MAX_RESPONSE: usize = 32 << 20;
/// The most that all responses of the process can take beyond `ALWAYS`, in bytes. The Pod of the chart has 128 MiB.
const TOTAL: usize = 72 << 20;
/// Of `TOTAL`, what only namespaces with less than `FLOOR` get.
const RESERVE: usize = 8 << 20;
/// What many namespaces with long responses leave to each further one, in bytes.
const FLOOR: usize = 512 << 10;
/// What each response takes without a share, in bytes: the poll of a usual server must not depend on those of others. The number
/// of connections bounds the sum.
const ALWAYS: usize = 64 << 10;
/// How much of a share is taken at once, in bytes.
const STEP: usize = 64 << 10;

pub const TOO_LARGE: &str = "the response needs more than 32 MiB of memory";
pub const NO_SHARE: &str =
    "the responses of the SQL Servers of its namespace, together, need more memory than the share of a namespace";
pub const NONE_FREE: &str =
    "the responses of all SQL Servers, together, need all memory that the operator has for them";

/// The memory of all responses; cheap to clone. A namespace with as much as is free gets no more, apart from its floor. A response that gets none is refused at once: a wait would hold what it has already.
#[derive(Debug, Clone)]
pub struct ResponseMemory(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// What each namespace has, if any.
    held: HashMap<Arc<str>, usize>,
}

/// The memory of one response. Dropping it gives it back.
#[derive(Debug)]
pub struct Reserved {
    memory: ResponseMemory,
    namespace: Arc<str>,
    needed: usize,
    taken: usize,
}

impl Default for ResponseMemory {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { free: TOTAL, held: HashMap::new() })))
    }
}

impl ResponseMemory {
    pub fn reserve(&self, namespace: &Arc<str>) -> Reserved {
        Reserved { memory: self.clone(), namespace: namespace.clone(), needed: 0, taken: 0 }
    }

    /// For a test that none is left, and for one that the sum is bounded.
    #[cfg(test)]
    pub fn taken(&self) -> usize {
        TOTAL - self.0.lock().free
    }
}

impl Reserved {
    /// # Errors
    /// Why the response cannot take so many bytes more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.needed = self.needed.saturating_add(bytes);
        if self.needed > MAX_RESPONSE {
            return Err(TOO_LARGE);
        }
        while self.needed > self.taken + ALWAYS {
            self.memory.0.lock().take(&self.namespace)?;
            self.taken += STEP;
        }
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.memory.0.lock().give_back(&self.namespace, self.taken);
    }
}

impl State {
    fn take(&mut self, namespace: &Arc<str>) -> Result<(), &'static str> {
        let held = self.held.get(namespace).copied().unwrap_or_default() + STEP;
        let free = self.free.checked_sub(STEP).ok_or(NONE_FREE)?;
        if held > FLOOR && held > free.saturating_sub(RESERVE) {
            return Err(NO_SHARE);
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

    /// Takes as much as possible.
    fn fill(memory: &ResponseMemory, namespace: &str) -> (Reserved, usize, &'static str) {
        let mut response = memory.reserve(&namespace.into());
        let mut taken = 0;
        loop {
            match response.grow(1 << 10) {
                Ok(()) => taken += 1 << 10,
                Err(what) => return (response, taken, what),
            }
        }
    }

    #[test]
    fn hostile_responses_of_one_namespace_stay_within_the_budget_and_leave_that_of_others() {
        let memory = ResponseMemory::default();
        let hostile: Vec<_> = (0..21).map(|_| fill(&memory, "evil")).collect();
        let taken: usize = hostile.iter().map(|(_, taken, _)| taken).sum();
        assert!(taken <= TOTAL / 2 + 21 * ALWAYS, "{taken}");
        assert!(hostile.iter().all(|(_, taken, _)| *taken >= ALWAYS), "a usual poll is always read");
        assert_eq!(hostile[20].2, NO_SHARE);
        let (other, large, _) = fill(&memory, "lync");
        assert!(large >= TOTAL / 5, "{large}");
        // However many namespaces take what they get, a further one finds its floor.
        let crowd: Vec<_> = (0..10).map(|number| fill(&memory, &format!("crowd{number}"))).collect();
        let (honest, enough, _) = fill(&memory, "honest");
        assert!(enough >= FLOOR, "{enough}");
        drop((crowd, honest));
        drop((other, hostile));
        assert_eq!(memory.taken(), 0);
        assert!(memory.0.lock().held.is_empty());
    }

    #[test]
    fn response_of_a_namespace_that_is_alone_has_its_own_limit() {
        let memory = ResponseMemory::default();
        let (_response, taken, what) = fill(&memory, "lync");
        assert_eq!((taken, what), (MAX_RESPONSE, TOO_LARGE));
    }

    /// The driver stores at least one value of this size for each value on the network.
    #[test]
    fn costs_cover_the_objects_of_the_driver() {
        assert!(size_of::<tiberius::ColumnData<'static>>() <= VALUE, "{}", size_of::<tiberius::ColumnData<'static>>());
        assert!(2 * size_of::<tiberius::Row>() + 16 <= ROW, "{}", size_of::<tiberius::Row>());
    }
}
