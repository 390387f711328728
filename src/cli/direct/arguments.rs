//! The arguments of a verb without a cluster.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::SecretString;

use crate::cli::error::Error;
use crate::cli::output;
use crate::cli::verbs::confirm::read_line;
use crate::direct::{Access, Login, Settings};

/// A file of pools, and how to use it.
#[derive(Debug, Clone, Default, Args)]
pub struct DirectArguments {
    #[command(flatten)]
    pub options: DirectOptions,
    /// With --direct: a YAML file with one LyncPoolMirror, or a folder of such files.
    #[arg(short = 'f', long, value_name = "FILE", requires = "direct")]
    filename: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Args)]
pub struct DirectOptions {
    /// Without a cluster: the pools are in the files of -f, and this computer connects to the SQL Servers.
    #[arg(long)]
    pub direct: bool,
    /// With --direct: a YAML file with the keys of the Secret (username, password or keytab), or a folder with a file for each.
    /// Default: the variables LYNC_MIRROR_USERNAME, LYNC_MIRROR_PASSWORD and LYNC_MIRROR_KEYTAB, else a question.
    #[arg(long, value_name = "PATH", env = "LYNC_MIRROR_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// With --direct: the CA certificates in PEM, in the place of tls.caBundle.
    #[arg(long, value_name = "FILE", env = "LYNC_MIRROR_CA_BUNDLE")]
    ca_bundle: Option<PathBuf>,
    /// With --direct: the folder of the states with the journals. Default: beside each file.
    #[arg(long, value_name = "FOLDER", env = "LYNC_MIRROR_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl DirectArguments {
    /// The file with the options of --direct. None: a cluster is wanted.
    ///
    /// # Errors
    /// [`Error::NoFile`] without -f.
    pub fn chosen(&self) -> Result<Option<Chosen<'_>>, Error> {
        self.options.with(self.filename.as_deref())
    }
}

impl DirectOptions {
    /// As [`DirectArguments::chosen`], with the file of another argument.
    pub fn with<'a>(&'a self, file: Option<&'a Path>) -> Result<Option<Chosen<'a>>, Error> {
        match (self.direct, file) {
            (false, _) => Ok(None),
            (true, Some(file)) => Ok(Some(Chosen { options: self, file })),
            (true, None) => Err(Error::NoFile),
        }
    }
}

/// --direct with its file.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    options: &'a DirectOptions,
    file: &'a Path,
}

impl Chosen<'_> {
    /// The settings for reading. `verb`: of this process.
    pub async fn settings(&self, verb: &str) -> Result<Settings, Error> {
        Ok(Settings {
            source: self.file.to_owned(),
            state_dir: self.options.state_dir.clone(),
            login: login(self.options.credentials.as_deref()).await?,
            ca_bundle: self.options.ca_bundle.clone(),
            access: Access::Read,
            process: format!("lync-mirror {verb} (process {})", std::process::id()),
        })
    }

    /// The arguments of another command about this pool.
    pub fn arguments(&self, path: &Path) -> String {
        let mut text = format!("--direct -f {}", quoted(path));
        let DirectOptions { credentials, ca_bundle, state_dir, .. } = self.options;
        for (option, value) in [("--credentials", credentials), ("--ca-bundle", ca_bundle), ("--state-dir", state_dir)]
        {
            if let Some(value) = value {
                text.push_str(&format!(" {option} {}", quoted(value)));
            }
        }
        text
    }
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '=' | ':' | ',');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The file of --credentials, else the environment, else a question at a terminal.
async fn login(credentials: Option<&Path>) -> Result<Login, Error> {
    if let Some(path) = credentials {
        return Ok(Login::Path(path.to_owned()));
    }
    if std::env::var_os("LYNC_MIRROR_USERNAME").is_some() || !std::io::stdin().is_terminal() {
        return Ok(Login::Environment);
    }
    let username = read_line("User name on the SQL Servers: ").await?;
    let password = hidden("Password: ").await?;
    let password = SecretString::from(password.trim_end_matches(['\r', '\n']));
    Ok(Login::Typed { username: username.trim_end().to_owned(), password })
}

/// An answer that the terminal does not show.
async fn hidden(question: &str) -> Result<String, Error> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let terminal = std::io::stdin();
    let shown = tcgetattr(&terminal).map_err(std::io::Error::from)?;
    let mut silent = shown.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(std::io::Error::from)?;
    let answer = read_line(question).await;
    tcsetattr(&terminal, OptionalActions::Now, &shown).map_err(std::io::Error::from)?;
    output::note("");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_next_command_repeat_the_options() {
        let options = DirectOptions { state_dir: Some("/var/lib/my state".into()), ..DirectOptions::default() };
        let options = DirectOptions { direct: true, credentials: Some("login.yaml".into()), ..options };
        let arguments = DirectArguments { options, filename: Some("pools".into()) };
        let chosen = arguments.chosen().unwrap().unwrap();
        assert_eq!(
            chosen.arguments(Path::new("pools/pool01.yaml")),
            "--direct -f pools/pool01.yaml --credentials login.yaml --state-dir '/var/lib/my state'"
        );
        assert!(DirectArguments::default().chosen().unwrap().is_none());
        let without = DirectOptions { direct: true, ..DirectOptions::default() };
        assert!(matches!(without.with(None), Err(Error::NoFile)));
    }
}
