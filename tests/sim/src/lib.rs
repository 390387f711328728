//! `mirror-sim`: a mirrored pair of SQL Servers and their witness, as a pure world behind a real TDS server.
//!
//! | Room | What lives there |
//! |---|---|
//! | `world` | servers, sessions, quorum, role changes; pure, time as an argument |
//! | `sql` | a closed subset of T-SQL, run against the world |
//! | `wire` | TDS: packets, logins, requests, answers |
//! | `server` | sockets and sessions, and their faults |
//! | `sim` | all of it in one value, for tests |

mod browser;
pub mod config;
mod control;
pub mod demo;
pub mod journal;
mod server;
pub use server::probe;
pub mod sim;
pub mod sql;
pub mod value;
pub mod wire;
pub mod world;
