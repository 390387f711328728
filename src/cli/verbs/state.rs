//! `state`: service, principals and databases of pools. The successor of Get-CsDatabaseMirrorState.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;
use tokio_stream::wrappers::IntervalStream;

use crate::cli::arguments::{PoolsArguments, database_type};
use crate::cli::cluster::client::{ClusterArguments, OperatorArguments};
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt;
use crate::cli::output::{self, Format};
use crate::cli::pool::Pool;
use crate::cli::source::Source;
use crate::cli::verbs::live::{Latest, live};
use crate::cli::view::state::{self, Operator, Style};
use crate::cli::view::{overview, rows};
use crate::model::{DatabaseType, duration_text};

/// The ages on a terminal grow between two changes.
const REDRAW: Duration = Duration::from_secs(2);
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
        let operator = source.operator(&self.operator).await;
        let (text, exit) = self.render(&source, &pools, operator.as_ref())?;
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

    fn render(
        &self,
        source: &Source<'_>,
        pools: &[Pool],
        operator: Option<&Operator>,
    ) -> Result<(String, Exit), Error> {
        let now = Timestamp::now();
        let exit = Pool::worst_exit(pools, now);
        let text = match self.output {
            Format::Table | Format::Wide => return Ok(self.tables(source, pools, operator, exit)),
            Format::Json => output::json(&documents(pools, now))?,
            Format::Yaml => output::yaml(&documents(pools, now))?,
            Format::Csv => output::csv(&pools.iter().flat_map(rows::rows).collect::<Vec<_>>())?,
        };
        Ok((text, exit))
    }

    fn tables(&self, source: &Source<'_>, pools: &[Pool], operator: Option<&Operator>, exit: Exit) -> (String, Exit) {
        // Where the output is kept, a line for each renewal of the lease would be no news.
        let is_kept = self.watch && !std::io::stdout().is_terminal();
        let style = Style {
            wide: self.output == Format::Wide,
            width: output::width(),
            program: output::program(),
            now: Timestamp::now(),
        };
        let is_silent = operator.is_some_and(|operator| operator.is_silent(style.now));
        let shown = operator.filter(|_| is_silent || !is_kept);
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
        let (pools, _) = source.stored(&self.pools).await?;
        let changes = source.events(&pools, &self.pools);
        let is_terminal = std::io::stdout().is_terminal();
        let tick = || match is_terminal {
            true => IntervalStream::new(tokio::time::interval(REDRAW)).map(drop).boxed(),
            false => futures::stream::pending().boxed(),
        };
        let events = match source {
            // The lease of an operator is renewed without an event.
            Source::Cluster(_) => futures::stream::select(changes, tick()).boxed(),
            Source::Direct(_) => changes,
        };
        let read = async || Ok((self.pools(source).await?.0, source.operator(&self.operator).await));
        let (mut last, mut failed) = (String::new(), false);
        let show = |Latest { found, waits }: Latest<'_, (Vec<Pool>, Option<Operator>)>| {
            let mut text = match found {
                None => String::new(),
                Some(Ok((pools, operator))) => {
                    failed = false;
                    let (text, now) = self.render(source, pools, operator.as_ref())?;
                    *exit = now;
                    text
                }
                Some(Err(error)) => {
                    *exit = error.exit();
                    if !std::mem::replace(&mut failed, true) {
                        output::note(&format!("Error: {error}"));
                    }
                    return Ok(());
                }
            };
            if is_terminal && waits > REDRAW {
                let waits = duration_text(Duration::from_secs(waits.as_secs()));
                text.push_str(&format!("\nThe next read has had no answer for {waits}: what is shown can be old.\n"));
            }
            if text != last {
                let clear = if is_terminal { CLEAR } else { "" };
                output::print(&format!("{clear}{text}"))?;
                last = text;
            }
            Ok(())
        };
        Err(live(events, tick(), read, show).await)
    }
}

fn documents(pools: &[Pool], now: Timestamp) -> Vec<rows::Document<'_>> {
    pools.iter().map(|pool| rows::document(pool, now)).collect()
}
