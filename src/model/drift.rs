//! The result of the post-switch comparison of server-level objects (R22).

use crate::model::Unavailable;

#[derive(Debug, Clone, PartialEq)]
pub enum DriftReport {
    InSync,
    Drifted(Differences),
    /// A server could not be read.
    Unknown(Unavailable),
}

/// The number of differences, and the first of them as sentences. Servers can differ in tens of thousands of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    total: usize,
    texts: Vec<String>,
}

impl Differences {
    /// The largest number of texts.
    pub const MOST: usize = 50;
    /// The longest text, in characters.
    pub const LONGEST: usize = 512;

    /// Counts a difference. Its text is built only if it is kept.
    pub fn add(&mut self, text: impl FnOnce() -> String) {
        self.total += 1;
        if self.texts.len() < Self::MOST {
            self.texts.push(text());
        }
    }

    /// Adds the differences of `other` after the present ones.
    pub fn append(&mut self, other: Self) {
        self.total += other.total;
        let free = Self::MOST - self.texts.len();
        self.texts.extend(other.texts.into_iter().take(free));
    }

    /// The number of all differences.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The first differences.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize, built: &mut usize) -> Differences {
        let mut differences = Differences::default();
        for number in 0..count {
            differences.add(|| {
                *built += 1;
                number.to_string()
            });
        }
        differences
    }

    #[test]
    fn differences_beyond_the_limit_are_counted_and_their_texts_are_not_built() {
        let mut built = 0;
        let differences = numbered(30_000, &mut built);
        assert_eq!((differences.total(), differences.texts().len(), built), (30_000, 50, 50));
        assert_eq!([&differences.texts()[0], &differences.texts()[49]], ["0", "49"]);
    }

    #[test]
    fn differences_of_two_comparisons_keep_the_first_and_count_all() {
        let mut built = 0;
        let mut both = numbered(49, &mut built);
        both.append(numbered(100, &mut built));
        assert_eq!((both.total(), both.texts().len()), (149, 50));
        assert_eq!(both.texts()[48..], ["48", "0"]);
        both.append(numbered(1, &mut built));
        assert_eq!((both.total(), both.texts().len()), (150, 50));
    }
}
