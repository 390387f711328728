//! The question before a change. Ctrl-C at the question changes nothing.

use std::io::{IsTerminal, Write};

use clap::Args;

use crate::cli::error::Error;
use crate::cli::interrupt;
use crate::cli::output;

#[derive(Debug, Args)]
pub struct ConfirmArguments {
    /// Ask before the change. --confirm=false does not ask, as -Confirm:$false of a cmdlet.
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    confirm: bool,
}

impl ConfirmArguments {
    /// True unless --confirm=false.
    pub fn asks(&self) -> bool {
        self.confirm
    }

    /// # Errors
    /// [`Error::NotConfirmed`] unless the answer is yes, and [`Error::NoTerminal`] without a terminal to ask.
    pub async fn ask(&self) -> Result<(), Error> {
        if !self.confirm {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::NoTerminal);
        }
        let line = read_line("Go on? [y/N] ").await?;
        if is_yes(&line) { Ok(()) } else { Err(Error::NotConfirmed) }
    }
}

/// The answer to a question on the terminal.
///
/// # Errors
/// [`Error::NotConfirmed`] after Ctrl-C.
pub async fn read_line(question: &str) -> Result<String, Error> {
    let mut out = anstream::stderr();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        answer = answer => Ok(answer.ok().and_then(Result::ok).unwrap_or_default()),
        () = interrupt::requested() => {
            output::note("");
            Err(Error::NotConfirmed)
        }
    }
}

fn is_yes(line: &str) -> bool {
    ["y", "yes"].contains(&line.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_confirms() {
        for (line, yes) in [("y\n", true), ("Yes\r\n", true), ("\n", false), ("", false), ("n", false), ("yep", false)]
        {
            assert_eq!(is_yes(line), yes, "{line:?}");
        }
    }
}
