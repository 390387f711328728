//! Why a file cannot be used: the file, the cause, then the fix. Nothing is moved with such a file.

use std::path::{Path, PathBuf};

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be read: {cause}. To fix: name a YAML file with one LyncPoolMirror, or a folder of such files.", .path.display())]
    Unreadable { path: PathBuf, cause: String },

    /// `field` and `value`: in the spec.
    #[error("{}: {field} {value}: {problem}", .path.display())]
    Field { path: PathBuf, field: String, value: String, problem: String },

    #[error("{} cannot be read: {cause}. Nothing was moved, because it has the journal of the pool. To fix: restore it from a backup, or rename it if no failover of this pool is running: the pool then counts as seen for the first time.", .path.display())]
    State { path: PathBuf, cause: String },

    #[error("{} is the state of {found}, and not of {wanted}. Nothing was moved. To fix: set another --state-dir, or rename the file if the pool of {} was renamed.", .path.display(), .spec.display())]
    OtherPool { path: PathBuf, spec: PathBuf, found: String, wanted: String },

    #[error("{} is in use by {holder}. Nothing was changed. To fix: wait for its end, or stop it; two processes never act on one pool.", .pool.display())]
    Locked { pool: PathBuf, holder: String },

    #[error("The lock {} is no longer that of this process: it was removed or replaced. Nothing was written. To fix: do not remove it, and start this command again.", .path.display())]
    LockLost { path: PathBuf },

    #[error("{} cannot be written: {cause}. To fix: check the rights on the folder and its free space, or set another --state-dir.", .path.display())]
    Write { path: PathBuf, cause: String },

    #[error("{} and {} describe the same pool {name}. Only the first is used. To fix: remove one of the two, or set another metadata.name.", .first.display(), .second.display())]
    Twice { name: String, first: PathBuf, second: PathBuf },

    #[error("{} would have the journal {} of {}. Only the first is used. To fix: give one of the two files another name.", .second.display(), .state.display(), .first.display())]
    OneState { state: PathBuf, first: PathBuf, second: PathBuf },

    #[error("{} changed while it was read. Nothing was changed. To fix: read it again, then repeat the command.", .path.display())]
    Changed { path: PathBuf },

    /// `wanted`: the change as YAML.
    #[error("{} cannot be edited by this command: {cause}. Nothing was changed. To fix: make this change in the file.\n\n{wanted}", .path.display())]
    NotEdited { path: PathBuf, cause: String, wanted: String },
}

impl Error {
    pub fn unreadable(path: &Path, cause: impl ToString) -> Error {
        let cause = cause.to_string().trim_end_matches('.').to_owned();
        Error::Unreadable { path: path.to_owned(), cause }
    }

    pub fn write(path: &Path, cause: impl ToString) -> Error {
        Error::Write { path: path.to_owned(), cause: cause.to_string() }
    }
}
