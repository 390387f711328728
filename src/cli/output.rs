//! Where the verbs print: format, width of the terminal, colours, and the name of the program in advice.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use crate::cli::clean;
use crate::cli::error::Error;
use crate::cli::exit::Exit;

/// The format of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For an administrator.
    Table,
    /// As table, with more columns.
    Wide,
    Json,
    Yaml,
    /// One row for each database or move, for Import-Csv.
    Csv,
}

/// Prints on the standard output. A reader that closes the pipe early (`| head`) is not an error.
pub fn print(text: &str) -> Result<(), std::io::Error> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints progress and questions on the standard error, so that the standard output stays the result.
pub fn note(text: &str) {
    // A closed standard error must not end a verb that has written a change.
    let _ = anstream::stderr().write_all(format!("{}\n", clean::lines(text)).as_bytes());
}

pub fn json(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Render(error.to_string()))?;
    Ok(text + "\n")
}

pub fn yaml(value: &impl Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| Error::Render(error.to_string()))
}

/// Rows with a header line, quoted as Import-Csv reads them.
pub fn csv<Row: Serialize>(rows: &[Row]) -> Result<String, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|error| Error::Render(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| Error::Render(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::Render(error.to_string()))
}

/// The columns of the terminal: COLUMNS, else of the terminal itself. None for a pipe or a file: no line is wrapped.
pub fn width() -> Option<usize> {
    if let Some(columns) = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()) {
        return Some(columns);
    }
    let output = std::io::stdout();
    if !output.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(output).ok()?.ws_col;
    (columns > 0).then_some(usize::from(columns))
}

/// The command as the administrator typed it: kubectl runs a program `kubectl-lyncmirror` as `kubectl lyncmirror`.
pub fn program() -> &'static str {
    let name = std::env::args_os().next();
    let name = name.as_deref().and_then(|path| Path::new(path).file_stem());
    if name.is_some_and(|name| name == "kubectl-lyncmirror") { "kubectl lyncmirror" } else { "lync-mirror" }
}

/// A text in the colour of the exit. `anstream` drops the colour where NO_COLOR is set and where the output is no terminal.
pub fn coloured(text: &str, exit: Exit) -> String {
    let style = match exit {
        Exit::AsWanted => AnsiColor::Green.on_default(),
        Exit::OnItsWay => AnsiColor::Cyan.on_default(),
        Exit::ActionNeeded | Exit::NotKnown => AnsiColor::Yellow.on_default(),
        Exit::NotServed => AnsiColor::Red.on_default(),
    };
    let style: Style = style.bold();
    format!("{style}{text}{style:#}")
}
