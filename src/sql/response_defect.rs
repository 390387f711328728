//! Why the operator does not read a response to its end.

use crate::sql::memory_budget::Exhausted;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// What is wrong with the response.
    #[error("{0}")]
    Invalid(&'static str),
    /// Others have the memory for it, which is no defect of the response.
    #[error("the operator has no memory for the response")]
    NoMemory(Exhausted),
}

impl From<&'static str> for Defect {
    fn from(what: &'static str) -> Self {
        Defect::Invalid(what)
    }
}
