//! `history`: the moves of a pool, and one move with its statements.

use clap::Args;

use crate::cli::arguments::PoolsArguments;
use crate::cli::cluster::client::ClusterArguments;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output::{self, Format};
use crate::cli::source::Source;
use crate::cli::view::history;

#[derive(Debug, Args)]
pub struct History {
    #[command(flatten)]
    pools: PoolsArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    /// Format of the output.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Show one move with its statements, by its number in the table. 1 is the newest.
    #[arg(long = "move", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    number: Option<u32>,
}

impl History {
    pub async fn run(self) -> Result<Exit, Error> {
        let source = Source::open(&self.cluster, &self.direct, "history").await?;
        let (pools, problems) = source.stored(&self.pools).await?;
        let exit = if pools.is_empty() { problems.max(Exit::NotKnown) } else { problems };
        if pools.is_empty() {
            output::note(&source.no_pool(&self.pools));
        }
        let width = output::width();
        if let Some(number) = self.number {
            for pool in &pools {
                let entry = pool.status.history.get(usize::try_from(number - 1).unwrap_or(usize::MAX));
                let entry = entry.ok_or_else(|| {
                    Error::Impossible(format!(
                        "{} has {} moves in its history, and no move {number}. To fix: choose a number of `history`.",
                        pool.reference(),
                        pool.status.history.len()
                    ))
                })?;
                output::print(&history::one(entry, width))?;
            }
            return Ok(exit);
        }
        let rows = || pools.iter().flat_map(history::rows).collect::<Vec<_>>();
        let text = match self.output {
            Format::Table | Format::Wide => {
                pools.iter().map(|pool| history::render(pool, width)).collect::<Vec<_>>().join("\n")
            }
            Format::Csv => output::csv(&rows())?,
            Format::Json => output::json(&rows())?,
            Format::Yaml => output::yaml(&rows())?,
        };
        output::print(&text)?;
        Ok(exit)
    }
}
