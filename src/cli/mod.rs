//! The command line. A subcommand with more than a few lines has a file of its own.

mod descriptors;
mod memory;
mod run;

use std::io::Write;

use clap::{Args, Parser, Subcommand};
use kube::CustomResourceExt;

use crate::api::LyncPoolMirror;
use crate::sql::kerberos_helper;

/// Kubernetes operator for mirrored SQL Servers behind Lync pools.
#[derive(Debug, Parser)]
#[command(name = "lync-mirror", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator.
    Run(Box<run::Run>),
    /// Prints the CustomResourceDefinition.
    Crd,
    /// Prints the version.
    Version,
    /// Internal: obtains one Kerberos ticket (request on stdin).
    #[command(hide = true)]
    Ticket(TicketArguments),
}

#[derive(Debug, Args)]
struct TicketArguments {
    #[arg(long, requires = "spn")]
    principal: Option<String>,
    #[arg(long, requires = "principal")]
    spn: Option<String>,
}

/// Runs the subcommand of the arguments.
pub fn dispatch() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(run) => run.start(),
        Command::Crd => print(&crd()?),
        Command::Ticket(TicketArguments { principal: Some(principal), spn: Some(spn) }) => {
            memory::forbid_dumps()?;
            Ok(kerberos_helper::run(&principal, &spn)?)
        }
        Command::Ticket(_) => {
            memory::forbid_dumps()?;
            Ok(kerberos_helper::start()?)
        }
        Command::Version => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// The CustomResourceDefinition as YAML.
pub fn crd() -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&LyncPoolMirror::crd())?)
}

/// A reader that closes the pipe early (`| head`) is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
