//! `keep`: the server that is principal now becomes the wanted one. No database moves.

use clap::Args;
use jiff::Timestamp;

use crate::cli::arguments::{PoolArgument, WriteArguments, database_type};
use crate::cli::cluster::change::Change;
use crate::cli::cluster::client::ClusterArguments;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::pool::{Pool, observed_seat};
use crate::cli::source::Source;
use crate::model::{DatabaseType, ObservedPrincipal, Seat};

#[derive(Debug, Args)]
pub struct Keep {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    /// Database types, separated by commas. Default: every type whose principal is not where the spec wants it.
    #[arg(short = 't', long, value_name = "TYPE", value_parser = database_type, value_delimiter = ',')]
    database_type: Vec<DatabaseType>,
    #[command(flatten)]
    write: WriteArguments,
}

impl Keep {
    pub async fn run(self) -> Result<Exit, Error> {
        let mut source = Source::open(&self.cluster, &self.direct, "keep").await?;
        let pool = source.pool_to_write(self.pool.pool.as_deref()).await?;
        let found = changes(&pool, &self.database_type, Timestamp::now())?;
        for line in found.lines(self.write.what_if) {
            output::print(&format!("{line}\n"))?;
        }
        if found.changes.is_empty() {
            output::note("Nothing was changed.");
            return Ok(found.skipped);
        }
        // A move can start between the read and the write.
        let check = |present: &Pool| match changes(present, &self.database_type, Timestamp::now())? {
            again if again.changes == found.changes => Ok(()),
            _ => Err(Error::Unproven(
                "The principals have moved since they were read. Nothing was changed. To fix: repeat the command."
                    .to_owned(),
            )),
        };
        let all: Vec<Change> = found.changes.iter().map(|(ty, seat)| Change::Principal(*ty, *seat)).collect();
        let written = source.write_if(&pool, &all, self.write.how(), &check).await?;
        written.print_notes(self.write.how());
        if self.write.what_if {
            return Ok(found.skipped);
        }
        Ok(found.skipped.max(Exit::OnItsWay))
    }
}

/// What `keep` does for each type.
#[derive(Debug)]
struct Found {
    changes: Vec<(DatabaseType, Seat)>,
    /// Each type with what happens to it; the verb is put between.
    lines: Vec<(String, Option<&'static str>)>,
    /// The worst exit of the types that stay as they are.
    skipped: Exit,
}

impl Found {
    fn lines(&self, is_what_if: bool) -> Vec<String> {
        let becomes = if is_what_if { "would become" } else { "becomes" };
        let line = |(text, end): &(String, Option<&'static str>)| match end {
            Some(end) => format!("{text} {becomes} {end}"),
            None => text.clone(),
        };
        self.lines.iter().map(line).collect()
    }
}

/// # Errors
/// [`Error::Unproven`] if the status does not prove where the principals are, and [`Error::Impossible`] if the administrator
/// named a type whose principals are not on one server.
fn changes(pool: &Pool, types: &[DatabaseType], now: Timestamp) -> Result<Found, Error> {
    let listed: Vec<DatabaseType> = pool.readable()?.spec.database_types.iter().map(|of| of.type_).collect();
    let chosen = if types.is_empty() { &listed[..] } else { types };
    let mut found = Found { changes: Vec::new(), lines: Vec::new(), skipped: Exit::AsWanted };
    for ty in chosen {
        let wanted = pool.type_spec(*ty)?.principal;
        pool.proves(*ty, now)?;
        let of = pool.type_status(*ty);
        let server = |seat: Seat| format!("{} ({})", pool.server_name(*ty, seat), seat.word());
        match of.and_then(observed_seat) {
            Some(seat) if seat != wanted => {
                found.changes.push((*ty, seat));
                found.lines.push((format!("{ty}: {}", server(seat)), Some("the wanted principal.")));
            }
            Some(seat) => {
                found.lines.push((format!("{ty}: the spec wants {} already.", server(seat)), None));
            }
            // A type that the administrator did not name stays as it is.
            None if types.is_empty() => {
                let is_split = of.is_some_and(|of| of.observed == ObservedPrincipal::Split);
                let (what, exit) = match is_split {
                    true => ("are not on one server", Exit::ActionNeeded),
                    false => ("are not known", Exit::NotKnown),
                };
                found.lines.push((format!("{ty}: skipped. Its principals {what}: there is nothing to keep."), None));
                found.skipped = found.skipped.max(exit);
            }
            None => {
                return Err(Error::Impossible(format!(
                    "The principals of {ty} are not on one server, or are not known: there is nothing to keep. To fix: {} state {}.",
                    output::program(),
                    pool.arguments()
                )));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
