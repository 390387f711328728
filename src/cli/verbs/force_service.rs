//! `force-service`: the consent to forced service. It can lose data, so that two names have to be typed.

use std::io::IsTerminal;

use clap::Args;
use jiff::Timestamp;

use crate::api::{ForceServiceSpec, OperationStatus, PlannedStep};
use crate::cli::arguments::{EndArguments, PoolArgument, WriteArguments, database_type};
use crate::cli::cluster::change::Change;
use crate::cli::cluster::client::ClusterArguments;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::source::Source;
use crate::cli::verbs::confirm::read_line;
use crate::cli::verbs::follow::Follow;
use crate::cli::verbs::wait::{self, WaitArguments};
use crate::cli::view::text;
use crate::model::{Cause, DatabaseType, Seat, later, whole_seconds};
use crate::plan::second;

/// A consent without an end of its own. It must not act days later.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(30 * 60);

#[derive(Debug, Args)]
pub struct ForceService {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    /// The database type that lost its principal.
    #[arg(short = 't', long, value_name = "TYPE", value_parser = database_type)]
    database_type: DatabaseType,
    /// Accept the loss of what the old principal had not sent. The value is the FQDN of the pool. Default: ask.
    #[arg(long, value_name = "POOL")]
    accept_data_loss: Option<String>,
    /// Vouch that the old principal is switched off or cut off from clients and partner. The value is its name or address in
    /// the status. Default: ask.
    #[arg(long, value_name = "SERVER")]
    fenced: Option<String>,
    #[command(flatten)]
    end: EndArguments,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    wait: WaitArguments,
}

impl ForceService {
    pub async fn run(self) -> Result<Exit, Error> {
        let mut source = Source::open(&self.cluster, &self.direct, "force-service").await?;
        let pool = source.pool_to_write(self.pool.pool.as_deref()).await?;
        let ty = self.database_type;
        pool.type_spec(ty)?;
        if let Some(operation) = in_flight(&pool, ty) {
            return self.go_on(&source, &pool, operation).await;
        }
        let offer = offer(&pool, ty)?;
        let until = self.end.end(Timestamp::now())?;
        let until = until.unwrap_or_else(|| later(whole_seconds(Timestamp::now()), LIFETIME));
        let names = names(&pool, ty, offer.step.seat.other());
        let old = &names[0];
        output::print(&text::paragraph(&format!("{ty}: {}", offer.message), 0, output::width()))?;
        output::print(&format!(
            "{} {} principal without the data that {old} had not sent. This data is lost once mirroring is resumed.\n",
            offer.step.server,
            if self.write.what_if { "would become" } else { "becomes" }
        ))?;
        if !self.write.what_if {
            let loss = "Type the FQDN of the pool to accept the loss of data: ";
            typed(self.accept_data_loss.as_deref(), &[pool.fqdn().to_owned()], loss, "--accept-data-loss").await?;
            let fence = format!("Type {old} if it is switched off, or cut off from clients and partner: ");
            typed(self.fenced.as_deref(), &names, &fence, "--fenced").await?;
        }
        let consent =
            ForceServiceSpec { epoch: offer.epoch, accept_data_loss: true, old_principal_fenced: true, until };
        let written = source.write(&pool, &[Change::Force(ty, consent)], self.write.how()).await?;
        written.print_notes(self.write.how());
        if self.write.what_if {
            return Ok(Exit::AsWanted);
        }
        output::print(&format!("{ty}: consent given until {}.\n", second(until)))?;
        let follow = Follow::forced(&written.pool, ty, offer.step.seat);
        wait::after(&source, &written.pool, follow, &self.wait).await
    }

    /// After an interruption: the consent was given, and the journal has it.
    async fn go_on(&self, source: &Source<'_>, pool: &Pool, operation: &OperationStatus) -> Result<Exit, Error> {
        let ty = self.database_type;
        output::print(&format!(
            "{ty}: forced service on {} began at {}. It goes on by the consent that was given.\n",
            pool.server_name(ty, operation.to),
            second(operation.started_at.0)
        ))?;
        if self.write.what_if {
            return Ok(Exit::OnItsWay);
        }
        wait::after(source, pool, Follow::forced(pool, ty, operation.to), &self.wait).await
    }
}

/// The forced service of this type that has begun and not ended.
fn in_flight(pool: &Pool, ty: DatabaseType) -> Option<&OperationStatus> {
    let forces = |operation: &&OperationStatus| operation.type_ == ty && operation.cause == Cause::ForcedService;
    pool.status.operation.as_ref().filter(forces)
}

/// The address of the server in this seat, and the name that it reports.
fn names(pool: &Pool, ty: DatabaseType, seat: Seat) -> Vec<String> {
    let address = pool.server(ty, seat).map_or_else(|| seat.word().to_owned(), |server| server.address.clone());
    let name = pool.server_name(ty, seat);
    if name.eq_ignore_ascii_case(&address) || name == seat.to_string() { vec![address] } else { vec![address, name] }
}

/// What the operator would do with a consent.
struct Offer<'a> {
    step: &'a PlannedStep,
    epoch: String,
    message: &'a str,
}

/// The plan of the operator has the statement while a consent would release it.
fn offer(pool: &Pool, ty: DatabaseType) -> Result<Offer<'_>, Error> {
    let (of, step) = (pool.type_status(ty), pool.forced_step(ty));
    match (of, of.and_then(|of| of.epoch.clone()), step) {
        (Some(of), Some(epoch), Some(step)) => Ok(Offer { step, epoch, message: &of.message }),
        (Some(of), _, _) => Err(Error::Impossible(format!(
            "The operator would not force service of {ty} now ({}). {}",
            of.reason, of.message
        ))),
        (None, _, _) => Err(Error::Impossible(format!(
            "The operator has not published a state of {ty} yet. To fix: wait until the operator has read the servers."
        ))),
    }
}

/// # Errors
/// [`Error::NotTyped`] unless the answer is one of the expected names.
async fn typed(given: Option<&str>, expected: &[String], question: &str, option: &'static str) -> Result<(), Error> {
    let answer = match given {
        Some(given) => given.to_owned(),
        None if std::io::stdin().is_terminal() => read_line(question).await?,
        None => String::new(),
    };
    if expected.iter().any(|name| answer.trim().eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Error::NotTyped { option, expected: expected.join(" or ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::Passes;

    #[tokio::test]
    async fn fenced_server_is_named_by_its_address_or_its_name() {
        let lost = Passes::new().pass("P/4/-", "M/4/-").pass("away", "M/1/-").pool();
        let names = names(&lost, DatabaseType::User, Seat::Primary);
        assert_eq!(names, ["sql-primary\\RTC", "SQL-PRIMARY\\RTC"][..names.len()]);
        let two = ["sql-a.contoso.com".to_owned(), "SQL-A".to_owned()];
        for given in ["SQL-A.contoso.com", "sql-a"] {
            assert!(typed(Some(given), &two, "", "--fenced").await.is_ok(), "{given}");
        }
        let refused = typed(Some("sql-b"), &two, "", "--fenced").await.unwrap_err();
        assert!(refused.to_string().contains("type sql-a.contoso.com or SQL-A, or set --fenced"), "{refused}");
    }

    #[test]
    fn offer_is_the_plan_of_the_operator_and_nothing_else() {
        let healthy = || Passes::new().pass("P/4/-", "M/4/-");
        let refused = offer(&healthy().pool(), DatabaseType::User).err().unwrap();
        assert!(
            refused.to_string().starts_with("The operator would not force service of User now (Aligned)."),
            "{refused}"
        );
        let lost = healthy().pass("away", "M/1/-").pool();
        let found = offer(&lost, DatabaseType::User).ok().unwrap();
        assert_eq!(
            (found.step.seat, Some(found.epoch)),
            (crate::model::Seat::Mirror, lost.status.database_types[0].epoch.clone())
        );
        // The mirror of a session with a witness does not lose its principal by this.
        let quorum = healthy().pass("away", "M/1/D").pool();
        assert!(offer(&quorum, DatabaseType::User).is_err());
    }
}
