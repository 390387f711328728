//! `state`: service, principals and databases of pools. The successor of Get-CsDatabaseMirrorState.

use std::io::IsTerminal;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;

use crate::cli::arguments::{PoolsArguments, database_type};
use crate::cli::cluster::client::{ClusterArguments, OperatorArguments};
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt;
use crate::cli::output::{self, Format};
use crate::cli::pool::Pool;
use crate::cli::source::Source;
use crate::cli::view::state::{self, Style};
use crate::cli::view::{overview, rows};
use crate::model::DatabaseType;

/// Clears a terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

#[derive(Debug, Args)]
pub struct State {
    #[command(flatten)]
    pools: PoolsArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Database types, separated by commas. Default: all types of the pool.
    #[arg(short = 't', long, value_name = "TYPE", value_parser = database_type, value_delimiter = ',')]
    database_type: Vec<DatabaseType>,
    /// Format of the output.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Print the state again after each change, until Ctrl-C. A terminal is cleared before.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    operator: OperatorArguments,
    #[command(flatten)]
    direct: DirectArguments,
}

impl State {
    pub async fn run(self) -> Result<Exit, Error> {
        let source = Source::open(&self.cluster, &self.direct, "state").await?;
        if self.watch {
            return self.live(&source).await;
        }
        let (pools, problems) = self.pools(&source).await?;
        let (text, exit) = self.render(&source, &pools).await?;
        output::print(&text)?;
        // A table has the message itself.
        if pools.is_empty() && !matches!(self.output, Format::Table | Format::Wide) {
            output::note(&source.no_pool(&self.pools));
        }
        Ok(exit.max(problems))
    }

    /// The pools, and the exit for those that cannot be read.
    async fn pools(&self, source: &Source<'_>) -> Result<(Vec<Pool>, Exit), Error> {
        let (pools, problems) = source.pools(&self.pools).await?;
        let pools: Result<_, _> = pools.into_iter().map(|pool| pool.only(&self.database_type)).collect();
        Ok((pools?, problems))
    }

    async fn render(&self, source: &Source<'_>, pools: &[Pool]) -> Result<(String, Exit), Error> {
        let now = Timestamp::now();
        let exit = Pool::worst_exit(pools, now);
        let text = match self.output {
            Format::Table | Format::Wide => return Ok(self.tables(source, pools, exit).await),
            Format::Json => output::json(&documents(pools, now))?,
            Format::Yaml => output::yaml(&documents(pools, now))?,
            Format::Csv => output::csv(&pools.iter().flat_map(rows::rows).collect::<Vec<_>>())?,
        };
        Ok((text, exit))
    }

    async fn tables(&self, source: &Source<'_>, pools: &[Pool], exit: Exit) -> (String, Exit) {
        // Where the output is kept, a line for each renewal of the lease would be no news.
        let is_kept = self.watch && !std::io::stdout().is_terminal();
        let operator = source.operator(&self.operator).await;
        let style = Style {
            wide: self.output == Format::Wide,
            width: output::width(),
            program: output::program(),
            now: Timestamp::now(),
        };
        let is_silent = operator.as_ref().is_some_and(|operator| operator.is_silent(style.now));
        let shown = operator.as_ref().filter(|_| is_silent || !is_kept);
        let text = match pools {
            [] => source.no_pool(&self.pools) + "\n",
            several if self.pools.pools.is_empty() && several.len() > 1 => {
                overview::render(several, style.wide, style.width, style.now)
            }
            all => all.iter().map(|pool| state::render(pool, shown, style)).collect::<Vec<_>>().join("\n"),
        };
        (text, if is_silent { exit.max(Exit::NotKnown) } else { exit })
    }

    /// Prints the state after each change, until Ctrl-C.
    async fn live(&self, source: &Source<'_>) -> Result<Exit, Error> {
        let mut exit = Exit::NotKnown;
        let ended = tokio::select! {
            ended = self.repeat(source, &mut exit) => Some(ended),
            () = interrupt::requested() => None,
        };
        ended.unwrap_or(Ok(exit))
    }

    /// Until the output fails. `exit`: of the last state.
    async fn repeat(&self, source: &Source<'_>, exit: &mut Exit) -> Result<Exit, Error> {
        let (pools, _) = self.pools(source).await?;
        let mut events = pin!(source.events(&pools, &self.pools));
        // The ages on a terminal go on between two changes.
        let mut tick = tokio::time::interval(Duration::from_secs(2));
        let is_terminal = std::io::stdout().is_terminal();
        let (mut last, mut failed) = (String::new(), false);
        loop {
            tokio::select! {
                _ = events.next() => {}
                _ = tick.tick(), if is_terminal => {}
            }
            let rendered = match self.pools(source).await {
                Ok((pools, _)) => self.render(source, &pools).await,
                Err(error) => Err(error),
            };
            match rendered {
                Ok((text, now)) => {
                    (*exit, failed) = (now, false);
                    if text != last {
                        let clear = if is_terminal { CLEAR } else { "" };
                        output::print(&format!("{clear}{text}"))?;
                        last = text;
                    }
                }
                Err(error) if !failed => {
                    (*exit, failed) = (error.exit(), true);
                    output::note(&format!("Error: {error}"));
                }
                Err(_) => {}
            }
        }
    }
}

fn documents(pools: &[Pool], now: Timestamp) -> Vec<rows::Document<'_>> {
    pools.iter().map(|pool| rows::document(pool, now)).collect()
}
