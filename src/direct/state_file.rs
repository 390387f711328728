//! The state of a pool: what the API server stores beside the spec of a resource, above all the status with the journal.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{LyncPoolMirrorStatus, restore_state};
use crate::direct::durable::replace;
use crate::direct::error::Error;

const KIND: &str = "LyncPoolMirrorState";
/// Of the name of the file.
const ENDING: &str = ".status.json";

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    kind: String,
    /// `namespace/name`.
    pub name: String,
    pub pool_fqdn: String,
    /// Of the first time that the pool was seen. What the status remembers is of this uid.
    pub uid: String,
    /// Grows with each change of the spec.
    pub generation: i64,
    /// The spec of this generation.
    pub spec: Value,
    pub status: LyncPoolMirrorStatus,
}

/// A pool in the words of the state: its name and its FQDN.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub name: &'a str,
    pub pool_fqdn: &'a str,
    /// The file of the spec.
    pub spec: &'a Path,
}

impl State {
    /// The state of a pool that is seen for the first time.
    pub fn new(owner: Owner<'_>, uid: String, spec: Value) -> State {
        State {
            kind: KIND.to_owned(),
            name: owner.name.to_owned(),
            pool_fqdn: owner.pool_fqdn.to_owned(),
            uid,
            generation: 1,
            spec,
            status: LyncPoolMirrorStatus::default(),
        }
    }

    /// The same state with another status.
    pub fn with_status(&self, status: LyncPoolMirrorStatus) -> State {
        State { status, ..self.clone() }
    }

    /// The state in the file. None: there is no file.
    ///
    /// # Errors
    /// [`Error::State`] for a file that cannot be decoded as a whole, and [`Error::OtherPool`].
    pub fn read(path: &Path, owner: Owner<'_>) -> Result<Option<State>, Error> {
        let wrong = |cause: String| Error::State { path: path.to_owned(), cause };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let text: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let state = State::deserialize(&text).map_err(|error| wrong(error.to_string()))?;
        let decoded = serde_json::to_value(&state).map_err(|error| wrong(error.to_string()))?;
        if let Some(field) = lost_field(&text, &decoded) {
            return Err(wrong(format!("its field {field} is not known, or has another value than it can have")));
        }
        let status = &state.status;
        let foreign = status.resource_uid.as_deref().is_some_and(|uid| uid != state.uid);
        if foreign || (status.operation.is_some() && restore_state(&state.uid, Some(status)).operation.is_none()) {
            return Err(wrong("its status is of another pool, or its journal cannot be read".to_owned()));
        }
        if state.kind != KIND {
            return Err(wrong(format!("its kind is {:?} and not {KIND}", state.kind)));
        }
        let same_pool = state.pool_fqdn.eq_ignore_ascii_case(owner.pool_fqdn);
        if !same_pool || state.name != owner.name {
            return Err(Error::OtherPool {
                path: path.to_owned(),
                spec: owner.spec.to_owned(),
                found: format!("{} ({})", state.pool_fqdn, state.name),
                wanted: format!("{} ({})", owner.pool_fqdn, owner.name),
            });
        }
        Ok(Some(state))
    }

    /// # Errors
    /// [`Error::Write`]: the file then has the former state.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| Error::write(path, error))?;
        text.push(b'\n');
        replace(path, &text)
    }
}

/// The first field that the decoded state does not have: a journal must not be read in part. Empty values may be missing.
fn lost_field(text: &Value, decoded: &Value) -> Option<String> {
    match (text, decoded) {
        (Value::Object(text), decoded) => text.iter().find_map(|(name, value)| {
            let is_empty = matches!(value, Value::Null) || *value == Value::Array(Vec::new());
            match decoded.get(name) {
                Some(decoded) => lost_field(value, decoded).map(|field| format!("{name}.{field}")),
                None => (!is_empty).then(|| name.clone()),
            }
        }),
        (Value::Array(text), Value::Array(decoded)) => {
            text.iter().zip(decoded).find_map(|(text, decoded)| lost_field(text, decoded))
        }
        _ => None,
    }
}

/// The files of the state of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Without symbolic links: one journal has one lock, and a write replaces the journal and not a link to it.
    pub state: PathBuf,
    pub lock: PathBuf,
}

/// The files beside each other in the folder of the states: `pool01.status.json` and `pool01.lock` for `pool01.yaml`.
///
/// # Errors
/// [`Error::State`] for a link that leads to no file.
pub fn paths(spec: &Path, folder: &Path) -> Result<Paths, Error> {
    let stem = spec.file_stem().unwrap_or_default().to_string_lossy();
    let state = folder.join(format!("{stem}{ENDING}"));
    let state = match std::fs::symlink_metadata(&state) {
        Ok(found) if found.is_symlink() => state.canonicalize().map_err(|error| Error::State {
            cause: format!("it is a symbolic link to a file that cannot be found ({error})"),
            path: state,
        })?,
        // An unreadable file is reported by its reader.
        _ => state,
    };
    let name = state.file_name().unwrap_or_default().to_string_lossy();
    let lock = state.with_file_name(format!("{}.lock", name.strip_suffix(ENDING).unwrap_or(&name)));
    Ok(Paths { state, lock })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner(pool_fqdn: &str) -> Owner<'_> {
        Owner { name: "direct/pool01", pool_fqdn, spec: Path::new("/pools/pool01.yaml") }
    }

    fn stored() -> (tempfile::TempDir, PathBuf, State) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool01.status.json");
        let mut state = State::new(owner("pool01.contoso.com"), "uid".to_owned(), json!({"poolFqdn": "x"}));
        state.status.observed_generation = Some(1);
        state.write(&path).unwrap();
        (folder, path, state)
    }

    #[test]
    fn state_is_read_as_it_was_written() {
        let (_folder, path, state) = stored();
        assert_eq!(State::read(&path, owner("POOL01.contoso.com")).unwrap(), Some(state));
        assert_eq!(State::read(&path.with_file_name("absent"), owner("x")).unwrap(), None);
    }

    #[test]
    fn torn_state_at_every_length_is_an_error_with_file_cause_and_fix() {
        let (_folder, path, _) = stored();
        let whole = std::fs::read(&path).unwrap();
        // The last byte is the end of the line.
        for length in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = State::read(&path, owner("pool01.contoso.com")).unwrap_err();
            assert!(matches!(error, Error::State { .. }), "{length}: {error}");
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()) && text.contains("Nothing was moved"), "{text}");
            assert!(text.contains("To fix: restore it from a backup"), "{text}");
        }
    }

    #[test]
    fn state_that_is_not_understood_is_not_guessed() {
        let (_folder, path, state) = stored();
        let mut later = serde_json::to_value(&state).unwrap();
        later["journalOfTomorrow"] = json!({});
        let mut other_kind = serde_json::to_value(&state).unwrap();
        other_kind["kind"] = json!("Secret");
        let mut later_status = serde_json::to_value(&state).unwrap();
        later_status["status"]["operationOfTomorrow"] = json!({"type": "User"});
        let mut foreign = serde_json::to_value(&state).unwrap();
        foreign["status"]["resourceUid"] = json!("another");
        for value in [later, later_status, foreign, other_kind, json!([]), json!({})] {
            std::fs::write(&path, value.to_string()).unwrap();
            assert!(matches!(State::read(&path, owner("pool01.contoso.com")), Err(Error::State { .. })), "{value}");
        }
    }

    #[test]
    fn state_of_another_pool_is_refused() {
        let (_folder, path, _) = stored();
        let error = State::read(&path, owner("pool02.contoso.com")).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::OtherPool { .. }), "{text}");
        assert!(text.contains("is the state of pool01.contoso.com (direct/pool01), and not of pool02"), "{text}");
        assert!(text.contains("/pools/pool01.yaml") && text.contains("To fix: "), "{text}");
    }

    #[test]
    fn links_to_one_journal_have_its_lock() {
        let (folder, path, _) = stored();
        let spec = Path::new("/pools/pool01.yaml");
        let own = Paths { state: path.clone(), lock: folder.path().join("pool01.lock") };
        assert_eq!(paths(spec, folder.path()).unwrap(), own);
        let other = tempfile::tempdir().unwrap();
        let link = other.path().join("pool01.status.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(paths(spec, other.path()).unwrap(), own);
        std::fs::remove_file(&path).unwrap();
        let error = paths(spec, other.path()).unwrap_err().to_string();
        assert!(error.contains(link.to_str().unwrap()) && error.contains("is a symbolic link to a file"), "{error}");
    }
}
