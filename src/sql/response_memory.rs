//! The memory of the responses that the operator reads at the same time, over the whole process. The driver buffers every row,
//! and a row of NULLs of two bytes on the network is an object of a hundred bytes.

use std::sync::Arc;

use crate::sql::memory_budget::{MemoryBudget, Size, Taken};
use crate::sql::response_defect::Defect;

/// The cost of a row and of a value in the driver, in bytes. The list of rows can be twice as long as it has rows.
pub const ROW: usize = 96;
pub const VALUE: usize = 64;

/// The most that one response can take, in bytes. A poll of 10,000 databases takes 25 MB: a row with 14 values and 240 bytes of
/// names for each, and three counters with three values and 120 bytes of names.
pub const MAX_RESPONSE: usize = 32 << 20;

/// The Pod of the chart has 128 MiB, of which `observation_memory` has another part.
const SIZE: Size = Size { total: 72 << 20, reserve: 8 << 20, floor: 512 << 10, always: 64 << 10, step: 64 << 10 };

pub const TOO_LARGE: &str = "the response needs more than 32 MiB of memory";
/// The memory of all responses; cheap to clone.
#[derive(Debug, Clone)]
pub struct ResponseMemory(MemoryBudget);

/// The memory of one response. Dropping it gives it back.
#[derive(Debug)]
pub struct Reserved(Taken);

impl Default for ResponseMemory {
    fn default() -> Self {
        Self(MemoryBudget::new(SIZE))
    }
}

impl ResponseMemory {
    pub fn reserve(&self, namespace: &Arc<str>) -> Reserved {
        Reserved(self.0.begin(namespace))
    }

    /// For a test that none is left, and for one that the sum is bounded.
    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.0.taken()
    }
}

impl Reserved {
    /// # Errors
    /// Why the response cannot take so many bytes more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Defect> {
        if self.0.needed().saturating_add(bytes) > MAX_RESPONSE {
            return Err(TOO_LARGE.into());
        }
        self.0.grow(bytes).map_err(Defect::NoMemory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::memory_budget::Exhausted;

    /// Takes as much as possible.
    fn fill(memory: &ResponseMemory, namespace: &str) -> (Reserved, usize, Defect) {
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
        assert!(taken <= SIZE.total / 2 + 21 * SIZE.always, "{taken}");
        assert!(hostile.iter().all(|(_, taken, _)| *taken >= SIZE.always), "a usual poll is always read");
        assert_eq!(hostile[20].2, Defect::NoMemory(Exhausted::Share));
        let (other, large, _) = fill(&memory, "lync");
        assert!(large >= SIZE.total / 5, "{large}");
        // However many namespaces take what they get, a further one finds its floor.
        let crowd: Vec<_> = (0..10).map(|number| fill(&memory, &format!("crowd{number}"))).collect();
        let (honest, enough, _) = fill(&memory, "honest");
        assert!(enough >= SIZE.floor, "{enough}");
        drop((crowd, honest));
        drop((other, hostile));
        assert_eq!(memory.taken(), 0);
        assert_eq!(memory.0.namespaces(), 0);
    }

    #[test]
    fn response_of_a_namespace_that_is_alone_has_its_own_limit() {
        let memory = ResponseMemory::default();
        let (_response, taken, what) = fill(&memory, "lync");
        assert_eq!((taken, what), (MAX_RESPONSE, Defect::Invalid(TOO_LARGE)));
    }

    /// The driver stores at least one value of this size for each value on the network.
    #[test]
    fn costs_cover_the_objects_of_the_driver() {
        assert!(size_of::<tiberius::ColumnData<'static>>() <= VALUE, "{}", size_of::<tiberius::ColumnData<'static>>());
        assert!(2 * size_of::<tiberius::Row>() + 16 <= ROW, "{}", size_of::<tiberius::Row>());
    }
}
