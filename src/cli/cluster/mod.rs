//! The cluster of the kubeconfig: pools are found by name or FQDN, and written by server-side apply.

pub mod change;
pub mod client;
pub mod find;
pub mod managed;
pub mod owner;
pub mod write;
