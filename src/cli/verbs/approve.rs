//! `approve`: releases a held move, for exactly the state that the administrator saw.

use clap::Args;
use jiff::Timestamp;

use crate::api::Approve as Approval;
use crate::cli::arguments::{EndArguments, PoolArgument, WriteArguments, database_type};
use crate::cli::cluster::change::Change;
use crate::cli::cluster::client::ClusterArguments;
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::source::Source;
use crate::cli::verbs::confirm::ConfirmArguments;
use crate::cli::verbs::follow::Follow;
use crate::cli::verbs::wait::{self, WaitArguments};
use crate::cli::view::text;
use crate::model::DatabaseType;

#[derive(Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    pool: PoolArgument,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    direct: DirectArguments,
    /// The database type of the held move.
    #[arg(short = 't', long, value_name = "TYPE", value_parser = database_type)]
    database_type: DatabaseType,
    /// The epoch that you saw. The command is refused if the state has changed since. Default: the epoch of this moment.
    #[arg(long, value_name = "EPOCH")]
    epoch: Option<String>,
    #[command(flatten)]
    end: EndArguments,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    write: WriteArguments,
    #[command(flatten)]
    wait: WaitArguments,
}

impl Approve {
    pub async fn run(self) -> Result<Exit, Error> {
        let mut source = Source::open(&self.cluster, &self.direct, "approve").await?;
        let pool = source.pool_to_write(self.pool.pool.as_deref()).await?;
        let ty = self.database_type;
        let wanted = pool.type_spec(ty)?.principal;
        let until = self.end.end(Timestamp::now())?;
        let epoch = offered(&pool, ty, self.epoch.as_deref())?;
        let message = pool.type_status(ty).map(|of| of.message.as_str()).unwrap_or_default();
        output::print(&text::paragraph(&format!("{ty}: {message}"), 0, output::width()))?;
        output::print(&format!(
            "{ty}: this {} the move to {} ({}) for epoch {epoch}.\n",
            if self.write.what_if { "would approve" } else { "approves" },
            pool.server_name(ty, wanted),
            wanted.word()
        ))?;
        if !self.write.what_if {
            self.confirm.ask().await?;
        }
        let change = Change::Approve(ty, Approval { epoch, until });
        let written = source.write(&pool, &[change], self.write.how()).await?;
        written.print_notes(self.write.how());
        if self.write.what_if {
            return Ok(Exit::AsWanted);
        }
        wait::after(&source, &written.pool, Follow::new(&written.pool, &[(ty, wanted)]), &self.wait).await
    }
}

/// The epoch to approve.
pub fn offered(pool: &Pool, ty: DatabaseType, seen: Option<&str>) -> Result<String, Error> {
    let of = pool.type_status(ty);
    let present = of.and_then(|of| of.epoch.clone());
    if let (Some(seen), Some(present)) = (seen, &present)
        && seen != present
    {
        return Err(Error::Impossible(format!(
            "The state of {ty} is epoch {present}, and no longer {seen}: nothing was approved. To fix: read the state again, then decide."
        )));
    }
    match (of, present) {
        (Some(_), Some(present)) if pool.offers_approval(ty) => Ok(present),
        (Some(of), _) => {
            Err(Error::Impossible(format!("There is no move of {ty} to approve now ({}). {}", of.reason, of.message)))
        }
        (None, _) => Err(Error::Impossible(format!(
            "The operator has not published a state of {ty} yet. To fix: wait until the operator has read the servers."
        ))),
    }
}
