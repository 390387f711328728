//! `keep`: the server that is principal now becomes the wanted one. No database moves.

use clap::Args;

use crate::cli::arguments::{PoolArgument, WriteArguments, database_type};
use crate::cli::cluster::change::Change;
use crate::cli::cluster::client::{Cluster, ClusterArguments};
use crate::cli::cluster::find;
use crate::cli::cluster::write::write;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::pool::{Pool, observed_seat};
use crate::model::DatabaseType;

#[derive(Debug, Args)]
pub struct Keep {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Database types, separated by commas. Default: every type whose principal is not where the spec wants it.
    #[arg(short = 't', long, value_name = "TYPE", value_parser = database_type, value_delimiter = ',')]
    database_type: Vec<DatabaseType>,
    #[command(flatten)]
    write: WriteArguments,
}

impl Keep {
    pub async fn run(self) -> Result<Exit, Error> {
        let cluster = Cluster::connect(&self.cluster).await?;
        let pool = find::pool(&cluster, &self.pool.pool).await?;
        let (changes, lines) = changes(&pool, &self.database_type)?;
        lines.iter().try_for_each(|line| output::print(&format!("{line}\n")))?;
        if changes.is_empty() {
            return Ok(Exit::AsWanted);
        }
        let written = write(&cluster, &pool, &changes, self.write.how()).await?;
        written.notes.iter().for_each(|line| output::note(line));
        Ok(if self.write.what_if { Exit::AsWanted } else { Exit::OnItsWay }
            .min(written.pool.exit().max(Exit::AsWanted)))
    }
}

/// The change of each type, with a line for the administrator.
fn changes(pool: &Pool, types: &[DatabaseType]) -> Result<(Vec<Change>, Vec<String>), Error> {
    let listed: Vec<DatabaseType> = pool.readable()?.spec.database_types.iter().map(|of| of.type_).collect();
    let chosen = if types.is_empty() { &listed[..] } else { types };
    let (mut changes, mut lines) = (Vec::new(), Vec::new());
    for ty in chosen {
        let wanted = pool.type_spec(*ty)?.principal;
        match pool.type_status(*ty).and_then(observed_seat) {
            Some(seat) if seat != wanted => {
                changes.push(Change::Principal(*ty, seat));
                lines.push(format!(
                    "{ty}: {} ({}) becomes the wanted principal.",
                    pool.server_name(*ty, seat),
                    seat.word()
                ));
            }
            Some(seat) => {
                lines.push(format!("{ty}: the spec wants {} ({}) already.", pool.server_name(*ty, seat), seat.word()))
            }
            // A type that the administrator did not name stays as it is.
            None if types.is_empty() => {}
            None => {
                return Err(Error::Impossible(format!(
                    "The principals of {ty} are not on one server, or are not known: there is nothing to keep. To fix: {} state {} -n {}.",
                    output::program(),
                    pool.name,
                    pool.namespace
                )));
            }
        }
    }
    Ok((changes, lines))
}
