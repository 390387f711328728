//! The HTTP server below the probes and the metrics: limits for each client, TLS, and who may read what is protected.

mod access;
mod error;
mod open_connections;
mod reviews;
mod server;
mod tls;

pub use access::{Access, protect};
pub use error::Error;
pub use server::serve;
pub use tls::Certificate;
