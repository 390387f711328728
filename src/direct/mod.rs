//! Resources without a cluster: the spec in a YAML file, the status with the journal in a file of its own, credentials from
//! files or the environment, and one lock for each pool.

mod credentials;
mod directory;
mod durable;
mod edit;
mod error;
mod lock;
mod pools;
mod schema;
mod settings;
mod spec_file;
mod state_file;

pub use credentials::{Bundle, LoginData};
pub use directory::Directory;
pub use edit::Edit;
pub use error::Error;
pub use pools::Problem;
pub use settings::{Access, Login, Settings};
