//! `mirror-sim`: a mirrored pair of SQL Servers and their witness, as a pure model behind a real TDS server.
//!
//! | Module | Contents |
//! |---|---|
//! | `world` | servers, sessions, quorum, role changes; pure, with the time as an argument |
//! | `sql` | an interpreter for a subset of T-SQL |
//! | `wire` | TDS: packets, logins, requests, responses |
//! | `server` | sockets, sessions and connection faults |
//! | `settings` | what the documentation of SQL Server leaves open, as alternatives |
//! | `sim` | the complete simulation, for tests |

mod browser;
pub mod config;
mod control;
pub mod demo;
pub mod journal;
mod server;
pub use server::probe;
pub mod settings;
pub mod sim;
pub mod sql;
pub mod value;
pub mod wire;
pub mod world;
