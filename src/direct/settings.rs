//! Where the files of a run are, and what the run does with them.

use std::path::PathBuf;

use secrecy::SecretString;

/// Whether this process may act on the pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is written, so that no lock is necessary.
    Read,
    /// With the lock of each pool.
    Act,
}

/// Where the login is from. Each has the keys of the Secret: username, and password or keytab.
#[derive(Debug, Clone)]
pub enum Login {
    /// LYNC_MIRROR_USERNAME, and LYNC_MIRROR_PASSWORD or the file of LYNC_MIRROR_KEYTAB.
    Environment,
    /// A file with the keys, or a folder with a file for each key.
    Path(PathBuf),
    /// Typed at the terminal.
    Typed { username: String, password: SecretString },
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// A spec file, or a folder of them.
    pub source: PathBuf,
    /// The folder of the states. None: beside each spec file.
    pub state_dir: Option<PathBuf>,
    pub login: Login,
    pub ca_bundle: Option<PathBuf>,
    pub access: Access,
    /// This process in the message of another one, e.g. `lync-mirror run (process 7)`.
    pub process: String,
}
