//! A file that is replaced as a whole: after a crash it has the former content or the new one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::direct::Error;

/// Writes the content into a file beside it, and renames that once it is on the disk. The rename is on the disk when this
/// returns.
///
/// # Errors
/// [`Error::Write`]. The former content is then still there, unless only the last step failed.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let (folder, beside) = (folder(path), beside(path));
    let written = write(&beside, path, content).and_then(|()| std::fs::rename(&beside, path));
    if let Err(cause) = written {
        // The rest of a failed attempt.
        let _ = std::fs::remove_file(&beside);
        return Err(Error::write(path, cause));
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|cause| Error::write(path, cause))
}

fn write(beside: &Path, path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(beside)?;
    // A file that others may not read stays so.
    if let Ok(former) = std::fs::metadata(path) {
        file.set_permissions(former.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// The folder of a file.
pub fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// One name for each file: only the holder of its lock writes it.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder(path).join(format!(".{name}.new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_has_the_new_content_and_the_former_rights() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool01.status.json");
        replace(&path, b"one").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        // The rest of a process that was killed.
        std::fs::write(beside(&path), "tor").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = replace(&folder.path().join("absent/pool01.status.json"), b"x").unwrap_err();
        assert!(missing.to_string().contains("absent/pool01.status.json cannot be written: "), "{missing}");
    }
}
