//! `suspend` and `resume`: no move starts while a pool is suspended.

use clap::Args;
use jiff::Timestamp;

use crate::api::SuspendSpec;
use crate::cli::arguments::{EndArguments, PoolArgument, WriteArguments};
use crate::cli::cluster::change::Change;
use crate::cli::cluster::client::ClusterArguments;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::source::Source;
use crate::plan::second;

#[derive(Debug, Args)]
pub struct Suspend {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    /// The reason. The status shows it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    end: EndArguments,
    /// Also end the connections to the servers, e.g. before SQL Server starts in single-user mode.
    #[arg(long)]
    stop_polls: bool,
    #[command(flatten)]
    write: WriteArguments,
}

impl Suspend {
    pub async fn run(self) -> Result<Exit, Error> {
        let mut source = Source::open(&self.cluster, &self.direct, "suspend").await?;
        let pool = source.pool_to_write(self.pool.pool.as_deref()).await?;
        let until = self.end.end(Timestamp::now())?;
        if pool.status.operation.is_some() {
            output::note("A move is in flight. It is not interrupted: the suspension holds for later moves.");
        }
        let change = Change::Suspend(SuspendSpec { reason: self.reason, until, stop_polls: self.stop_polls });
        let written = source.write(&pool, &[change], self.write.how()).await?;
        let end = until.map_or_else(
            || format!("until `{} resume {}`", output::program(), pool.arguments()),
            |until| format!("until {}", second(until)),
        );
        let would = if self.write.what_if { " would be" } else { " is" };
        output::print(&format!("{}{would} suspended {end}: no move starts.\n", pool.reference()))?;
        written.print_notes(self.write.how());
        Ok(Exit::AsWanted)
    }
}

#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    #[command(flatten)]
    write: WriteArguments,
}

impl Resume {
    pub async fn run(self) -> Result<Exit, Error> {
        let mut source = Source::open(&self.cluster, &self.direct, "resume").await?;
        let pool = source.pool_to_write(self.pool.pool.as_deref()).await?;
        if pool.readable()?.spec.suspend.is_none() {
            output::print(&format!("{} is not suspended.\n", pool.reference()))?;
            return Ok(Exit::AsWanted);
        }
        let written = source.write(&pool, &[Change::Resume], self.write.how()).await?;
        let would = if self.write.what_if { "would be" } else { "is" };
        output::print(&format!("{} {would} resumed: moves may start.\n", pool.reference()))?;
        written.print_notes(self.write.how());
        Ok(Exit::AsWanted)
    }
}
