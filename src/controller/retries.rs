//! The pause after a failed pass: it doubles with each failure of a resource in a row, and is random, so that the resources do
//! not all return to an API server that was overloaded at the same time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

use crate::controller::Error;
use crate::controller::object::ResourceRef;

/// The longest pause. A move waits as long after the API server is back.
const LONGEST: Duration = Duration::from_secs(15);

/// The failures in a row, by resource.
#[derive(Default)]
pub struct Retries(Mutex<HashMap<ResourceRef, u32>>);

impl Retries {
    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.0.lock().len()
    }

    /// Counts a failure, and returns the pause before the next pass.
    pub fn failed(&self, resource: &ResourceRef, error: &Error) -> Duration {
        let mut failures = self.0.lock();
        let failures = failures.entry(resource.clone()).or_default();
        let pause = pause(error.first_pause(), *failures);
        *failures = failures.saturating_add(1);
        spread(pause, RandomState::new().hash_one(()))
    }

    /// The resource had a pass without an error, or no longer exists.
    pub fn forget(&self, resource: &ResourceRef) {
        self.0.lock().remove(resource);
    }
}

fn pause(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST)
}

/// Between half of the pause and the pause. `random`: any number.
pub fn spread(pause: Duration, random: u64) -> Duration {
    pause.mul_f64(0.5 + (random % 1024) as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_to_the_limit_and_is_spread_over_its_second_half() {
        let first = Duration::from_millis(100);
        assert_eq!([0, 1, 3].map(|failures| pause(first, failures).as_millis()), [100, 200, 800]);
        assert_eq!([20, u32::MAX].map(|failures| pause(first, failures)), [LONGEST; 2]);
        assert_eq!(spread(LONGEST, 0), LONGEST / 2);
        assert!((0..2048).all(|random| (LONGEST / 2..=LONGEST).contains(&spread(LONGEST, random))));
    }

    #[test]
    fn failures_of_a_resource_count_until_a_pass_succeeds() {
        let (retries, one, two) = (Retries::default(), ResourceRef::new("one"), ResourceRef::new("two"));
        let long = |resource: &ResourceRef| retries.failed(resource, &Error::Conflict) > Error::Conflict.first_pause();
        assert!(!long(&one));
        let paused = (0..3).map(|_| retries.failed(&one, &Error::Conflict)).collect::<Vec<_>>();
        assert!(paused.is_sorted());
        assert!(long(&one) && !long(&two));
        retries.forget(&one);
        assert!(!long(&one));
    }
}
