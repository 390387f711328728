//! The reference of the command line in Markdown, from the arguments themselves.

use std::fmt::Write;

use clap::Command;

use crate::cli::exit::Exit;
use strum::IntoEnumIterator;

/// One section for each verb.
pub fn of(command: &Command) -> String {
    let mut page = "# Command line\n\nWritten by `make generate` from the arguments of the program. The program `kubectl-lyncmirror` is the\nsame binary under another name: `kubectl lyncmirror state` is `lync-mirror state`.\n\n## Exit codes\n\nWrong arguments end with 2, and a cluster that does not answer, or in which no\npool is found, with 4.\n\n| Code | Meaning |\n|---|---|\n".to_owned();
    let mut exits: Vec<Exit> = Exit::iter().collect();
    exits.sort_by_key(|exit| exit.code());
    for exit in exits {
        // A write to a String cannot fail.
        let _ = writeln!(page, "| {} | {} |", exit.code(), exit.words());
    }
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let help = verb.clone().bin_name(format!("lync-mirror {}", verb.get_name())).render_help();
        let lines: Vec<String> = help.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        let _ = write!(page, "\n## {}\n\n```text\n{}\n```\n", verb.get_name(), lines.join("\n").trim_end());
    }
    page
}
