//! `report`: pools as one HTML file or as JSON, as -Report of the cmdlets.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::cli::arguments::PoolsArguments;
use crate::cli::cluster::client::ClusterArguments;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::source::Source;
use crate::cli::view::{report, rows};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Html,
    Json,
}

#[derive(Debug, Args)]
pub struct Report {
    #[command(flatten)]
    pools: PoolsArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    /// Format of the report.
    #[arg(short, long, value_name = "FORMAT", default_value = "html")]
    output: Kind,
    /// Write to this file. Default: the standard output.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Report {
    pub async fn run(self) -> Result<Exit, Error> {
        let source = Source::open(&self.cluster, &self.direct, "report").await?;
        let (pools, problems) = source.pools(&self.pools).await?;
        let now = Timestamp::now();
        let text = match self.output {
            Kind::Html => report::html(&pools, now),
            Kind::Json => output::json(&pools.iter().map(|pool| rows::document(pool, now)).collect::<Vec<_>>())?,
        };
        match &self.file {
            None => output::print(&text)?,
            Some(path) => {
                std::fs::write(path, text)?;
                output::note(&format!("Report of {} pools in {}.", pools.len(), path.display()));
            }
        }
        if pools.is_empty() {
            output::note(&source.no_pool(&self.pools));
        }
        Ok(Pool::worst_exit(&pools, now).max(problems))
    }
}
