//! The lock of a pool: one process acts on it. The kernel releases the lock at the end of the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::direct::Error;

#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// # Errors
    /// [`Error::Locked`] with the holder if another process has the lock, and [`Error::Write`].
    pub fn acquire(path: &Path, pool: &Path, own: &str) -> Result<Lock, Error> {
        let failed = |cause: std::io::Error| Error::write(path, cause);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { pool: pool.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        // For the message of the other process only.
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(own.as_bytes())).map_err(failed)?;
        let lock = Lock { path: path.to_owned(), file };
        lock.check()?;
        Ok(lock)
    }

    /// The process that has the lock. None: no process.
    pub fn holder(path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
            // Released when the file is closed.
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// # Errors
    /// [`Error::LockLost`] if the file was removed or replaced: another process can then have a lock of this name.
    pub fn check(&self) -> Result<(), Error> {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let own = self.file.metadata().map(identity).ok();
        let present = std::fs::metadata(&self.path).map(identity).ok();
        if own.is_some() && own == present { Ok(()) } else { Err(Error::LockLost { path: self.path.clone() }) }
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(200).read_to_string(&mut text);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if read.is_err() || text.is_empty() { "another process".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_that_is_held_names_its_holder_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (path, pool) = (folder.path().join("pool01.lock"), Path::new("pool01.yaml"));
        assert_eq!(Lock::holder(&path), None);
        let first = Lock::acquire(&path, pool, "lync-mirror run (process 7)").unwrap();
        assert_eq!(Lock::holder(&path).as_deref(), Some("lync-mirror run (process 7)"));
        let refused = Lock::acquire(&path, pool, "lync-mirror failover (process 8)").unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("pool01.yaml is in use by lync-mirror run (process 7). Nothing was changed"),
            "{refused}"
        );
        drop(first);
        assert_eq!(Lock::holder(&path), None);
        Lock::acquire(&path, pool, "lync-mirror failover (process 8)").unwrap();
    }

    #[test]
    fn lock_whose_file_was_replaced_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool01.lock");
        let lock = Lock::acquire(&path, Path::new("pool01.yaml"), "one").unwrap();
        assert!(lock.check().is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(lock.check(), Err(Error::LockLost { .. })));
        let _second = Lock::acquire(&path, Path::new("pool01.yaml"), "two").unwrap();
        assert!(matches!(lock.check(), Err(Error::LockLost { .. })), "the file of another process is not the own one");
    }
}
