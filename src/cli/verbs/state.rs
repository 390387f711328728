//! `state`: service, principals and databases of pools. The successor of Get-CsDatabaseMirrorState.

use clap::Args;
use jiff::Timestamp;

use crate::cli::arguments::database_type;
use crate::cli::cluster::client::{Cluster, ClusterArguments};
use crate::cli::cluster::find;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output::{self, Format};
use crate::cli::pool::Pool;
use crate::cli::view::state::{self, Style};
use crate::cli::view::{overview, rows};
use crate::model::DatabaseType;

#[derive(Debug, Args)]
pub struct State {
    /// Names of resources or FQDNs of pools. Default: all pools of the namespace.
    #[arg(value_name = "POOL")]
    pools: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The pools of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Database types, separated by commas. Default: all types of the pool.
    #[arg(short = 't', long, value_name = "TYPE", value_parser = database_type, value_delimiter = ',')]
    database_type: Vec<DatabaseType>,
    /// Format of the output.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Namespace of the operator's lease, which shows whether the operator runs.
    #[arg(long, value_name = "NAME", env = "LYNC_MIRROR_OPERATOR_NAMESPACE", default_value = "lync-mirror-system")]
    operator_namespace: String,
    /// Name of the operator's lease.
    #[arg(long, value_name = "NAME", env = "LYNC_MIRROR_LEASE_NAME", default_value = "lync-mirror")]
    lease_name: String,
}

impl State {
    pub async fn run(self) -> Result<Exit, Error> {
        let cluster = Cluster::connect(&self.cluster).await?;
        let pools = find::pools(&cluster, &self.pools, self.all_namespaces).await?;
        let pools = pools.into_iter().map(|pool| pool.only(&self.database_type)).collect::<Result<Vec<_>, _>>()?;
        let mut exit = pools.iter().map(Pool::exit).max().unwrap_or(Exit::AsWanted);
        match self.output {
            Format::Table | Format::Wide => {
                let operator = cluster.operator(&self.operator_namespace, &self.lease_name).await;
                let style = Style {
                    wide: self.output == Format::Wide,
                    width: output::width(),
                    program: output::program(),
                    now: Timestamp::now(),
                };
                if operator.as_ref().is_some_and(|operator| operator.is_silent(style.now)) {
                    exit = exit.max(Exit::NotKnown);
                }
                let text = match &pools[..] {
                    [] => format!("There is no pool in {}.\n", self.place(&cluster)),
                    several if self.pools.is_empty() && several.len() > 1 => {
                        overview::render(several, style.wide, style.width)
                    }
                    all => {
                        let each = all.iter().map(|pool| state::render(pool, operator.as_ref(), style));
                        each.collect::<Vec<_>>().join("\n")
                    }
                };
                output::print(&text)?;
            }
            Format::Json => output::print(&output::json(&documents(&pools))?)?,
            Format::Yaml => output::print(&output::yaml(&documents(&pools))?)?,
            Format::Csv => output::print(&output::csv(&pools.iter().flat_map(rows::rows).collect::<Vec<_>>())?)?,
        }
        Ok(exit)
    }

    fn place(&self, cluster: &Cluster) -> String {
        if self.all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", cluster.namespace) }
    }
}

fn documents(pools: &[Pool]) -> Vec<rows::Document<'_>> {
    pools.iter().map(rows::document).collect()
}
