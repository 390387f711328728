//! Comparison of `SERVERPROPERTY('ProductVersion')`, e.g. `11.0.7001.0`.

/// The numbers of a version. A part that is no number ends them.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.trim().parse().ok()).collect()
}

/// Whether `a` is newer than `b`. False if either is unreadable.
pub(crate) fn is_newer(a: &str, b: &str) -> bool {
    let (a, b) = (numbers(a), numbers(b));
    !b.is_empty() && a > b
}

/// Whether `a` is of a newer release than `b`, such as 2014 (12.0) than 2012 (11.0). The second number distinguishes 2008
/// R2 (10.50) from 2008 (10.0). A database that was open under the newer release cannot go back to the older one.
pub(crate) fn is_newer_release(a: &str, b: &str) -> bool {
    let release = |version: &str| -> Vec<u32> { numbers(version).into_iter().take(2).collect() };
    let (a, b) = (release(a), release(b));
    !b.is_empty() && a > b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(is_newer("11.0.7507.2", "11.0.7001.0"));
        assert!(is_newer("11.0.10000.0", "11.0.9999.0"));
        assert!(!is_newer("11.0.7001.0", "11.0.7001.0"));
        assert!(!is_newer("", "11.0"));
        assert!(!is_newer("unknown", "11.0"));
        assert!(is_newer_release("12.0.2000.8", "11.0.7001.0"));
        assert!(is_newer_release("10.50.1600.1", "10.0.5500.0"));
        assert!(!is_newer_release("11.0.7507.2", "11.0.7001.0"));
        assert!(!is_newer_release("11.0.7001.0", "12.0.2000.8"));
    }
}
