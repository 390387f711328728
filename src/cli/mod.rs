//! The command line. A subcommand with more than a few lines has a file of its own.

mod arguments;
mod clean;
mod cluster;
mod descriptors;
mod direct;
mod election;
mod error;
mod exit;
#[cfg(test)]
mod fixtures;
mod forecast;
mod interrupt;
mod listen;
mod memory;
mod output;
mod pool;
mod reference;
mod run;
mod run_direct;
mod source;
mod verbs;
mod view;

use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::api;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output::print;
use crate::cli::verbs::{
    approve, completion, doctor, explain, failover, force_service, history, keep, plan, report, state, suspend,
};
use crate::sql::kerberos_helper;

/// Kubernetes operator for mirrored SQL Servers behind Lync pools, and its command line.
///
/// Exit codes of the verbs: 0 as wanted, 1 on its way, 2 an administrator has to act or to correct the command, 3 not served,
/// 4 not known.
#[derive(Debug, Parser)]
#[command(name = "lync-mirror", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Verb(Verb),
    #[command(flatten)]
    Operator(Operator),
}

/// For administrators.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the service, the principals and the databases of pools, as Get-CsDatabaseMirrorState.
    State(Box<state::State>),
    /// Moves the principals of database types, as Invoke-CsDatabaseFailover.
    Failover(Box<failover::Failover>),
    /// Makes the present principal the wanted one. No database moves.
    Keep(Box<keep::Keep>),
    /// Approves a held move.
    Approve(Box<approve::Approve>),
    /// Consents to forced service, which can lose data, after a lost principal without a witness.
    ForceService(Box<force_service::ForceService>),
    /// Suspends every move of a pool.
    Suspend(Box<suspend::Suspend>),
    /// Ends the suspension of a pool.
    Resume(Box<suspend::Resume>),
    /// Shows the moves of pools.
    History(Box<history::History>),
    /// Shows the statements that come next, or what an edited manifest would do.
    Plan(Box<plan::Plan>),
    /// Checks credentials, servers and databases at once, with a fresh poll from this computer.
    Doctor(Box<doctor::Doctor>),
    /// Writes the state and the moves of pools into one HTML file.
    Report(Box<report::Report>),
    /// Prints the page of a reason, without a network.
    Explain(explain::Explain),
    /// Prints the completion script of a shell.
    Completion(completion::Completion),
}

/// For the operator and its installation.
#[derive(Debug, Subcommand)]
enum Operator {
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

/// Runs the subcommand of the arguments. The exit code is that of a verb, else 0.
pub fn dispatch() -> anyhow::Result<ExitCode> {
    let matches = arguments_of(output::program()).get_matches();
    match Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command {
        Command::Operator(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Verb(verb) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let ended = ended(runtime.block_on(attended(verb)));
            // A question that was interrupted still waits for the terminal.
            runtime.shutdown_background();
            Ok(ended)
        }
    }
}

/// A verb that ends at Ctrl-C. Where it matters, the verb itself prints what that means, so that it is polled first.
async fn attended(verb: Verb) -> Result<Exit, Error> {
    interrupt::listen()?;
    tokio::select! {
        biased;
        ended = verb.run() => ended,
        () = interrupt::unattended() => Err(Error::Interrupted),
    }
}

/// The command line under the name by which it was called.
fn arguments_of(program: &str) -> clap::Command {
    let command = Arguments::command();
    if program == "lync-mirror" { command } else { command.name("kubectl-lyncmirror").bin_name(program.to_owned()) }
}

/// For the man pages.
pub fn command() -> clap::Command {
    arguments_of("lync-mirror")
}

/// The content of docs/reference/command-line.md.
pub fn reference() -> String {
    reference::of(&command())
}

impl Operator {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Operator::Run(run) => run.start(),
            Operator::Crd => Ok(print(&crd()?)?),
            Operator::Ticket(TicketArguments { principal: Some(principal), spn: Some(spn) }) => {
                memory::forbid_dumps()?;
                Ok(kerberos_helper::run(&principal, &spn)?)
            }
            Operator::Ticket(_) => {
                memory::forbid_dumps()?;
                Ok(kerberos_helper::start()?)
            }
            Operator::Version => Ok(print(concat!(env!("CARGO_PKG_VERSION"), "\n"))?),
        }
    }
}

impl Verb {
    async fn run(self) -> Result<Exit, Error> {
        match self {
            Verb::State(verb) => verb.run().await,
            Verb::Failover(verb) => verb.run().await,
            Verb::Keep(verb) => verb.run().await,
            Verb::Approve(verb) => verb.run().await,
            Verb::ForceService(verb) => verb.run().await,
            Verb::Suspend(verb) => verb.run().await,
            Verb::Resume(verb) => verb.run().await,
            Verb::History(verb) => verb.run().await,
            Verb::Plan(verb) => verb.run().await,
            Verb::Doctor(verb) => verb.run().await,
            Verb::Report(verb) => verb.run().await,
            Verb::Explain(verb) => verb.run(),
            Verb::Completion(verb) => verb.run(arguments_of(output::program())),
        }
    }
}

/// The exit code of a verb. Prints its error.
fn ended(result: Result<Exit, Error>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::note(&format!("Error: {error}"));
            error.exit().into()
        }
    }
}

/// The CustomResourceDefinition as YAML.
pub fn crd() -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&api::definition())?)
}
