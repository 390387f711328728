//! The login and the CA bundle in files, in the place of Secret and ConfigMap. They are read again and again, so that a changed
//! password needs no restart.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use secrecy::ExposeSecret;
use serde_json::Value;

use crate::direct::settings::Login;

/// More than every keytab and every password, so that a wrong path costs no memory.
const LARGEST: u64 = 1 << 20;
/// The keys of the Secret.
const KEYS: [&str; 3] = ["username", "password", "keytab"];

/// The keys of a login. `name`: where they are from, for messages.
pub struct LoginData {
    pub name: String,
    pub keys: BTreeMap<String, Vec<u8>>,
}

/// A CA bundle, not checked.
pub struct Bundle {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// # Errors
/// The message for the status, with the fix.
pub fn login(from: &Login) -> Result<LoginData, String> {
    match from {
        Login::Environment => environment(),
        Login::Typed { username, password } => Ok(LoginData {
            name: "The typed login".to_owned(),
            keys: [("username", username.as_str()), ("password", password.expose_secret())]
                .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
                .into(),
        }),
        Login::Path(path) if path.is_dir() => folder(path),
        Login::Path(path) => file(path),
    }
}

/// # Errors
/// The message for the status, with the fix.
pub fn bundle(path: &Path) -> Result<Bundle, String> {
    let unreadable = |cause: std::io::Error| {
        format!(
            "The CA bundle {} cannot be read: {cause}. To fix: correct --ca-bundle or the rights on it.",
            path.display()
        )
    };
    Ok(Bundle { path: path.display().to_string(), bytes: read(path).map_err(unreadable)? })
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn environment() -> Result<LoginData, String> {
    let mut keys = BTreeMap::new();
    for (key, variable) in [("username", "LYNC_MIRROR_USERNAME"), ("password", "LYNC_MIRROR_PASSWORD")] {
        if let Some(value) = std::env::var_os(variable) {
            keys.insert(key.to_owned(), value.into_encoded_bytes());
        }
    }
    if let Some(path) = std::env::var_os("LYNC_MIRROR_KEYTAB") {
        let bytes = read(Path::new(&path)).map_err(|cause| {
            format!(
                "The keytab {} (LYNC_MIRROR_KEYTAB) cannot be read: {cause}. To fix: correct the path or the rights on it.",
                path.display()
            )
        })?;
        keys.insert("keytab".to_owned(), bytes);
    }
    Ok(LoginData {
        name: "The environment (LYNC_MIRROR_USERNAME, LYNC_MIRROR_PASSWORD, LYNC_MIRROR_KEYTAB)".to_owned(),
        keys,
    })
}

/// A file for each key, as Kubernetes mounts a Secret.
fn folder(path: &Path) -> Result<LoginData, String> {
    let mut keys = BTreeMap::new();
    for key in KEYS {
        let file = path.join(key);
        match read(&file) {
            Ok(bytes) => _ = keys.insert(key.to_owned(), trimmed(key, bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => return Err(unreadable(&file, &cause.to_string())),
        }
    }
    Ok(LoginData { name: format!("The folder {}", path.display()), keys })
}

/// An editor ends a text with a line feed, which belongs to no user name and no password.
fn trimmed(key: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    if key != "keytab" {
        while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
            bytes.pop();
        }
    }
    bytes
}

/// YAML or JSON with the keys, alone or in the manifest of a Secret. A keytab is a path, relative to the file.
fn file(path: &Path) -> Result<LoginData, String> {
    let bytes = read(path).map_err(|cause| unreadable(path, &cause.to_string()))?;
    // The error of the parser could quote a password.
    let wrong = || unreadable(path, "it is not YAML with the keys username and password or keytab");
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let value: Value = serde_saphyr::from_str(&text).map_err(|_| wrong())?;
    if value["kind"] == "Secret" && value.get("stringData").is_none() {
        return Err(unreadable(path, "it is a Secret without stringData"));
    }
    let values = value.get("stringData").unwrap_or(&value).as_object().cloned().ok_or_else(wrong)?;
    let mut keys = BTreeMap::new();
    for (key, value) in values.iter().filter(|(key, _)| KEYS.contains(&key.as_str())) {
        let text = match value {
            Value::String(text) => text.clone(),
            // A password of digits.
            Value::Number(_) | Value::Bool(_) => {
                return Err(unreadable(path, &format!("the value of {key} is no text: put it in quotation marks")));
            }
            _ => return Err(wrong()),
        };
        let bytes = if key == "keytab" {
            let keytab = path.parent().unwrap_or(Path::new(".")).join(&text);
            read(&keytab).map_err(|cause| unreadable(&keytab, &cause.to_string()))?
        } else {
            text.into_bytes()
        };
        keys.insert(key.clone(), bytes);
    }
    Ok(LoginData { name: format!("The file {}", path.display()), keys })
}

fn unreadable(path: &Path, cause: &str) -> String {
    format!("The login in {} cannot be read: {cause}. To fix: correct --credentials or the file.", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(path: &Path) -> Result<Vec<(String, String)>, String> {
        let login = login(&Login::Path(path.to_owned()))?;
        Ok(login.keys.into_iter().map(|(key, bytes)| (key, String::from_utf8(bytes).unwrap())).collect())
    }

    #[test]
    fn login_is_read_from_a_file_a_manifest_and_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let expected = vec![("password".to_owned(), " 0123".to_owned()), ("username".to_owned(), "sa".to_owned())];
        let plain = at("plain.yaml", "username: sa\npassword: ' 0123'\nother: [1]\n");
        assert_eq!(keys(&plain).unwrap(), expected);
        let manifest = "kind: Secret\nstringData: {username: sa, password: ' 0123'}\n";
        assert_eq!(keys(&at("secret.yaml", manifest)).unwrap(), expected);
        at("username", "sa\n");
        at("password", " 0123\r\n");
        assert_eq!(keys(folder.path()).unwrap(), expected);
        at("keys", "bytes");
        let kerberos = at("kerberos.yaml", "username: svc@R\nkeytab: keys\n");
        assert_eq!(keys(&kerberos).unwrap()[0], ("keytab".to_owned(), "bytes".to_owned()));
    }

    #[test]
    fn login_file_that_is_wrong_is_named_without_its_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login.yaml");
        for text in ["username: sa\npassword: 12345\n", "secret-word: [", "- secret-word", "kind: Secret\ndata: {}\n"] {
            std::fs::write(&path, text).unwrap();
            let problem = keys(&path).unwrap_err();
            assert!(problem.contains("login.yaml cannot be read: ") && problem.contains("To fix: "), "{problem}");
            assert!(!problem.contains("12345") && !problem.contains("secret-word"), "{problem}");
        }
        assert!(keys(&folder.path().join("absent")).unwrap_err().contains("absent"));
    }
}
