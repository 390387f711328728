//! The arguments as typed. One file per verb that needs one.

mod run;

use std::io::Write;

use clap::{Args, Parser, Subcommand};
use kube::CustomResourceExt;

use crate::api::LyncPoolMirror;
use crate::sql::kerberos_helper;

/// Which SQL Server is principal for each database type of a mirrored Lync pool.
#[derive(Debug, Parser)]
#[command(name = "lync-mirror", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the operator.
    Run(run::Run),
    /// Prints the CustomResourceDefinition.
    Crd,
    /// Prints the version.
    Version,
    /// Internal: obtains one Kerberos ticket (request on standard input).
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

/// Does what was typed.
pub fn dispatch() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::Run(run) => run.start(),
        Verb::Crd => print(&crd()?),
        Verb::Ticket(TicketArguments { principal: Some(principal), spn: Some(spn) }) => {
            Ok(kerberos_helper::run(&principal, &spn)?)
        }
        Verb::Ticket(_) => match kerberos_helper::exec_isolated()? {},
        Verb::Version => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// The CustomResourceDefinition as YAML.
pub fn crd() -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&LyncPoolMirror::crd())?)
}

/// A reader that left early (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
