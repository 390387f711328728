//! The decision: pure, synchronous, total. It knows no Kubernetes, no SQL and no clock.

mod step;

pub use step::Failover;
