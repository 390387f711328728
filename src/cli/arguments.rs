//! Arguments that several verbs share.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use crate::api::Span;
use crate::cli::cluster::write::Write;
use crate::cli::error::Error;
use crate::model::{DatabaseType, Seat, later, whole_seconds};

/// A database type in any case, as PowerShell takes it.
pub fn database_type(text: &str) -> Result<DatabaseType, String> {
    let known = || DatabaseType::ALL.map(|ty| ty.to_string()).join(", ");
    let found = DatabaseType::ALL.into_iter().find(|ty| ty.to_string().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("the types are {}", known()))
}

/// `primary` or `mirror` in any case.
pub fn seat(text: &str) -> Result<Seat, String> {
    let found = Seat::BOTH.into_iter().find(|seat| seat.word().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "the seats are primary and mirror".to_owned())
}

/// The one pool of a verb that writes.
#[derive(Debug, Args)]
pub struct PoolArgument {
    /// Name of the resource, or FQDN of the pool. With --direct: default is the only pool of -f.
    #[arg(value_name = "POOL", required_unless_present = "direct")]
    pub pool: Option<String>,
}

/// The pools of a verb that reads.
#[derive(Debug, Args)]
pub struct PoolsArguments {
    /// Names of resources or FQDNs of pools. Default: all pools of the namespace, or of -f.
    #[arg(value_name = "POOL")]
    pub pools: Vec<String>,
    /// The pools of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}

impl PoolsArguments {
    /// Where they are searched, in words.
    pub fn place(&self, namespace: &str) -> String {
        if self.all_namespaces { "any namespace".to_owned() } else { format!("namespace {namespace}") }
    }

    /// What is printed instead of no pools, with the way out.
    pub fn no_pool(&self, namespace: &str) -> String {
        let fix = if self.all_namespaces {
            "create a LyncPoolMirror, or choose the cluster with --context"
        } else {
            "set -n to the namespace of the pools, or -A for those of all namespaces"
        };
        format!("There is no pool in {}. To fix: {fix}.", self.place(namespace))
    }
}

/// How a verb writes.
#[derive(Debug, Args)]
pub struct WriteArguments {
    /// Change a field although Argo CD, Flux or another tool owns it.
    #[arg(long = "override")]
    override_owner: bool,
    /// Print what would happen. Nothing is changed.
    #[arg(long)]
    pub what_if: bool,
}

impl WriteArguments {
    pub fn how(&self) -> Write {
        Write { override_owner: self.override_owner, dry_run: self.what_if }
    }
}

/// The end of an approval or a suspension.
#[derive(Debug, Args)]
pub struct EndArguments {
    /// How long it holds, e.g. 30m or 2h.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    lasts: Option<Span>,
    /// When it ends, as an RFC 3339 time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl EndArguments {
    /// In whole seconds, as Kubernetes stores a time.
    ///
    /// # Errors
    /// [`Error::Past`] for an end that is over.
    pub fn end(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        if let Some(until) = self.until.filter(|until| whole_seconds(*until) <= now) {
            return Err(Error::Past { until: until.to_string() });
        }
        let after = |lasts: Duration| whole_seconds(later(now, lasts.max(Duration::from_secs(1))));
        Ok(self.until.map(whole_seconds).or_else(|| self.lasts.map(|Span(lasts)| after(lasts))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_in_the_past_is_refused() {
        let now: Timestamp = "2026-12-01T04:00:00Z".parse().unwrap();
        let until = |text: &str| EndArguments { lasts: None, until: Some(text.parse().unwrap()) }.end(now);
        assert_eq!(until("2026-12-01T04:00:01.5Z").unwrap(), Some("2026-12-01T04:00:01Z".parse().unwrap()));
        for past in ["2026-11-30T04:00:00Z", "2026-12-01T04:00:00.9Z"] {
            assert_eq!(until(past).unwrap_err().exit().code(), 2, "{past}");
        }
        let lasts = EndArguments { lasts: Some(Span(Duration::from_secs(90))), until: None };
        assert_eq!(lasts.end(now).unwrap(), Some("2026-12-01T04:01:30Z".parse().unwrap()));
    }

    #[test]
    fn database_type_and_seat_are_read_in_any_case() {
        assert_eq!(database_type("centralmgmt"), Ok(DatabaseType::CentralMgmt));
        assert!(database_type("Users").unwrap_err().contains("User, Application"));
        assert_eq!(seat("MIRROR"), Ok(Seat::Mirror));
        assert!(seat("witness").is_err());
    }

    #[test]
    fn no_pool_names_the_namespace_and_the_way_out() {
        let all = |all_namespaces| PoolsArguments { pools: Vec::new(), all_namespaces };
        assert_eq!(
            all(false).no_pool("lnyc"),
            "There is no pool in namespace lnyc. To fix: set -n to the namespace of the pools, or -A for those of all namespaces."
        );
        assert!(all(true).no_pool("lync").contains("in any namespace. To fix: create a LyncPoolMirror"));
    }
}
