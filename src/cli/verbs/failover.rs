//! `failover`: moves the principals of database types. The successor of Invoke-CsDatabaseFailover.

use clap::Args;
use jiff::Timestamp;

use crate::api::{Approve, DatabaseTypeStatus};
use crate::cli::arguments::{PoolArgument, WriteArguments, database_type, seat};
use crate::cli::cluster::change::Change;
use crate::cli::cluster::client::ClusterArguments;
use crate::cli::cluster::write::Write;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::forecast::decision::forecast;
use crate::cli::output;
use crate::cli::pool::{Pool, observed_seat};
use crate::cli::source::Source;
use crate::cli::verbs::confirm::ConfirmArguments;
use crate::cli::verbs::exclude;
use crate::cli::verbs::follow::Follow;
use crate::cli::verbs::wait::{self, WaitArguments};
use crate::cli::view;
use crate::model::{DatabaseType, Effect, Reason, Seat};

#[derive(Debug, Args)]
pub struct Failover {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    /// Database types, separated by commas, e.g. User or User,CentralMgmt.
    #[arg(short = 't', long, value_name = "TYPE", value_parser = database_type, value_delimiter = ',', required = true)]
    database_type: Vec<DatabaseType>,
    /// The seat that is to be principal: primary or mirror.
    #[arg(long, visible_alias = "to", value_name = "SEAT", value_parser = seat)]
    new_principal: Seat,
    /// Databases that must not move, separated by commas. A type moves with all databases that the spec gives it: the command
    /// refuses if one of these would move, and names the change of the spec that leaves it out.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    exclude_database: Vec<String>,
    /// Print what the operator would decide, and the moves with their statements at the end.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    wait: WaitArguments,
}

/// What a type needs.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Change(Change),
    /// The spec asks for it already.
    Requested,
    /// The principals are there already.
    Done(Exit),
}

impl Failover {
    pub async fn run(self) -> Result<Exit, Error> {
        let mut source = Source::open(&self.cluster, &self.direct, "failover").await?;
        let pool = source.pool_to_write(self.pool.pool.as_deref()).await?;
        exclude::check(&pool, &self.database_type, &self.exclude_database)?;
        let mut changes = Vec::new();
        let mut requests = Vec::new();
        let mut there = if pool.is_old(Timestamp::now()) { Exit::NotKnown } else { Exit::AsWanted };
        for ty in &self.database_type {
            let (step, line) = step(&pool, *ty, self.new_principal, Timestamp::now())?;
            output::print(&format!("{line}\n"))?;
            match step {
                Step::Change(change) => changes.push(change),
                Step::Requested => {}
                Step::Done(exit) => {
                    there = there.max(exit);
                    continue;
                }
            }
            requests.push((*ty, self.new_principal));
        }
        if requests.is_empty() {
            return Ok(there);
        }
        let written = if changes.is_empty() { pool } else { self.write(&source, &pool, &changes).await? };
        if self.write.what_if {
            output::note("Nothing was changed (--what-if).");
            return Ok(there);
        }
        let exit = wait::after(&source, &written, Follow::new(&written, &requests), &self.wait).await?;
        if self.wait.waits(&source) && exit == Exit::AsWanted {
            self.print_end(&source, &written).await?;
        }
        Ok(exit.max(there))
    }

    /// A dry run first: the administrator confirms what the API server accepts.
    async fn write(&self, source: &Source<'_>, pool: &Pool, changes: &[Change]) -> Result<Pool, Error> {
        let checked = source.write(pool, changes, Write { dry_run: true, ..self.write.how() }).await?;
        if self.write.what_if || self.verbose || self.confirm.asks() {
            let forecast = forecast(pool, checked.pool.readable()?, Timestamp::now());
            output::print(&view::forecast::render(&forecast, output::width()))?;
        }
        checked.notes.iter().for_each(|line| output::note(line));
        if self.write.what_if {
            return Ok(checked.pool);
        }
        self.confirm.ask().await?;
        Ok(source.write(pool, changes, self.write.how()).await?.pool)
    }

    /// The way back, and with --verbose the statements.
    async fn print_end(&self, source: &Source<'_>, written: &Pool) -> Result<(), Error> {
        let pool = source.again(written).await?;
        if self.verbose {
            for ty in &self.database_type {
                let entry = pool.status.history.iter().find(|entry| entry.type_ == *ty);
                if let Some(entry) = entry.filter(|entry| Some(entry.generation) >= written.generation()) {
                    output::print(&format!("\n{}", view::history::one(entry, output::width())))?;
                }
            }
        }
        let types: Vec<String> = self.database_type.iter().map(ToString::to_string).collect();
        output::note(&format!(
            "The way back: {} failover {} --database-type {} --new-principal {}",
            output::program(),
            pool.arguments(),
            types.join(","),
            self.new_principal.other().word()
        ));
        Ok(())
    }
}

/// What the type needs, with a line for the administrator.
fn step(pool: &Pool, ty: DatabaseType, to: Seat, now: Timestamp) -> Result<(Step, String), Error> {
    let wanted = pool.type_spec(ty)?.principal;
    let of = pool.type_status(ty);
    let name = |seat: Seat| format!("{} ({})", pool.server_name(ty, seat), seat.word());
    let databases: Vec<&str> =
        of.map(|of| of.databases.iter().map(|database| database.name.as_str()).collect()).unwrap_or_default();
    let direction = format!("{ty}: {} -> {}  ({})", name(to.other()), name(to), databases.join(", "));
    let was_there = of.and_then(observed_seat) == Some(to);
    let is_there = was_there && pool.proves(ty, now).is_ok();
    if wanted != to {
        let line = if is_there {
            format!("{ty}: {} is principal already, and this makes it the wanted one.", name(to))
        } else {
            direction
        };
        return Ok((Step::Change(Change::Principal(ty, to)), line));
    }
    let reason = of.and_then(|of| of.reason.parse::<Reason>().ok());
    if let (Some(of), Some(reason)) = (of, reason.filter(|reason| was_there && reason.effect() == Effect::Ready))
        && pool.is_current()
    {
        pool.proves(ty, now)?;
        let line = format!("{ty}: the principal is on {} already.", name(to));
        return Ok((Step::Done(Exit::of(of.service, reason)), line));
    }
    match of.and_then(|of| Some((of, of.epoch.clone()?))).filter(|_| pool.offers_approval(ty)) {
        // The spec wants it, and the operator holds the move back after a switch: the command is the approval.
        Some((of, epoch)) if reason == Some(Reason::UnexpectedPrincipal) => {
            let line = format!("{direction}\n{ty}: {}", of.message);
            Ok((Step::Change(Change::Approve(ty, Approve { epoch, until: None })), line))
        }
        Some((of, epoch)) => Err(held(pool, of, &epoch)),
        None => Ok((Step::Requested, format!("{ty}: the spec asks for {} already.", name(to)))),
    }
}

/// A move that the operator holds for another reason than a switch is not approved by a repeated request.
fn held(pool: &Pool, of: &DatabaseTypeStatus, epoch: &str) -> Error {
    Error::Impossible(format!(
        "The operator holds the move of {ty} ({}). {} Nothing was changed. To fix: if you want this move, run {} approve {} --database-type {ty} --epoch {epoch}.",
        of.reason,
        of.message,
        output::program(),
        pool.arguments(),
        ty = of.type_
    ))
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
