//! `completion`: the script of a shell that completes verbs and options.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;

#[derive(Debug, Args)]
pub struct Completion {
    /// The shell.
    shell: Shell,
}

impl Completion {
    pub fn run(self, mut command: Command) -> Result<Exit, Error> {
        let mut script = Vec::new();
        let name = command.get_name().to_owned();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::AsWanted)
    }
}
