//! A spec file: YAML with one LyncPoolMirror, as `kubectl apply` takes it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::direct::error::Error;
use crate::direct::schema::{Broken, first_problem};

/// The namespace of a file that names none.
const NAMESPACE: &str = "direct";
/// A spec has a few kilobytes.
const LARGEST: u64 = 1 << 20;

/// The content of a spec file that an API server would accept.
#[derive(Debug, Clone, PartialEq)]
pub struct SpecFile {
    /// Without symbolic links, so that one file has one lock.
    pub path: PathBuf,
    pub text: String,
    pub namespace: String,
    pub name: String,
    pub spec: Value,
}

impl SpecFile {
    /// # Errors
    /// [`Error::Unreadable`], and [`Error::Field`] for a spec that an API server would refuse.
    pub fn read(path: &Path) -> Result<SpecFile, Error> {
        let wrong = |cause: std::io::Error| Error::unreadable(path, cause);
        let path = &path.canonicalize().map_err(wrong)?;
        if std::fs::metadata(path).map_err(wrong)?.len() > LARGEST {
            return Err(Error::unreadable(path, format!("it has more than {LARGEST} bytes")));
        }
        SpecFile::parse(path, std::fs::read_to_string(path).map_err(wrong)?)
    }

    /// As [`SpecFile::read`], with a text that was read.
    pub fn parse(path: &Path, text: String) -> Result<SpecFile, Error> {
        let document = document(&text).map_err(|cause| Error::unreadable(path, cause))?;
        if let Some(Broken { field, value, problem }) = first_problem(&document["spec"]) {
            return Err(Error::Field { path: path.to_owned(), field, value, problem });
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let metadata = |field: &str, default: &str| document["metadata"][field].as_str().unwrap_or(default).to_owned();
        Ok(SpecFile {
            path: path.to_owned(),
            namespace: metadata("namespace", NAMESPACE),
            name: metadata("name", &stem),
            spec: document["spec"].clone(),
            text,
        })
    }

    /// `namespace/name`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub fn pool_fqdn(&self) -> &str {
        self.spec["poolFqdn"].as_str().unwrap_or_default()
    }
}

/// The one LyncPoolMirror of a text.
pub fn document(text: &str) -> Result<Value, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| not_yaml(&error))?;
    let mut pools = documents.into_iter().filter(|document| document["kind"] == "LyncPoolMirror");
    match (pools.next(), pools.next()) {
        (Some(pool), None) => Ok(pool),
        (None, _) => Err("it has no LyncPoolMirror".to_owned()),
        (Some(_), Some(_)) => Err("it has several LyncPoolMirrors".to_owned()),
    }
}

/// Only the place: the text of the error can quote a line, and the file can be that of the login.
fn not_yaml(error: &serde_saphyr::Error) -> String {
    match error.location() {
        Some(at) => format!("it is no valid YAML at line {}, column {}", at.line(), at.column()),
        None => "it is no valid YAML".to_owned(),
    }
}

/// The spec files of a path: itself, or the YAML files of a folder in the order of their names.
///
/// # Errors
/// [`Error::Unreadable`] for a path that is neither, and for a folder without a YAML file.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    std::fs::metadata(path).map_err(|cause| Error::unreadable(path, cause))?;
    let found = present(path)?;
    if found.is_empty() { Err(Error::unreadable(path, "the folder has no .yaml file")) } else { Ok(found) }
}

/// As [`files`], with none for a path or files that were removed.
///
/// # Errors
/// [`Error::Unreadable`] if the path cannot be read.
pub fn present(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |cause: std::io::Error| Error::unreadable(path, cause);
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(vec![path.to_owned()]),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && !hidden && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of the login can be in the same folder.
    #[test]
    fn error_of_a_file_that_is_no_yaml_names_the_place_and_quotes_nothing() {
        for text in ["username: sa\npassword: *Secret1\n", "password: \"Secret1\nx: [", "password: {Secret1: ["] {
            let error = document(text).unwrap_err();
            assert!(error.starts_with("it is no valid YAML") && !error.contains("Secret1"), "{error}");
        }
        assert_eq!(document("password: Secret1\n").unwrap_err(), "it has no LyncPoolMirror");
    }
}
