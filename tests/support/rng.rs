//! The seed of random tests. The same seed gives the same sequence of numbers on every machine.

/// `LYNC_MIRROR_SEED`, or a new seed each day. A test prints its seed, so that a failure can be replayed.
pub fn seed() -> u64 {
    if let Ok(text) = std::env::var("LYNC_MIRROR_SEED") {
        return text.parse().expect("LYNC_MIRROR_SEED is a number");
    }
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400
}
