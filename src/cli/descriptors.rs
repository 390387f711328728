//! The file descriptors of the process: each connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit to ask for where the hard limit is infinite, as Linux permits no higher one by default (`fs.nr_open`).
const HIGHEST: u64 = 1 << 20;

/// Raises the limit of open files to its hard limit, and returns the limit that applies.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(HIGHEST);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    match raised {
        Ok(()) => wanted,
        Err(_) => current.unwrap_or(HIGHEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raise_limit_returns_the_limit_of_the_process() {
        let raised = raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, Some(raised));
        assert!(maximum.is_none_or(|maximum| maximum == raised), "{maximum:?}");
    }
}
