//! Why a reconciliation stopped. A SQL Server that is down is not an error; it is an observation.

use std::time::Duration;

#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum Error {
    #[error("cannot read {what}: {}", words(source))]
    Read { what: String, source: kube::Error },

    #[error("the API server did not answer in time: {what}")]
    Slow { what: String },

    /// Somebody wrote the resource in between: look again, nothing was done.
    #[error("the resource changed while it was looked at")]
    Conflict,

    #[error("the status could not be published: {}", words(source))]
    Publish { source: kube::Error },

    /// An object that no API server can have served: nothing may rest on it.
    #[error("LyncPoolMirror {resource} has no {field}, which the API server sets on every object")]
    Incomplete { resource: String, field: &'static str },

    #[error("LyncPoolMirror {resource} cannot be encoded as JSON: {source}")]
    Encode { resource: String, source: serde_json::Error },
}

impl Error {
    /// A closed set of names, safe as a metric label.
    pub fn category(&self) -> &'static str {
        self.into()
    }

    /// How long until the next try.
    pub fn pause(&self) -> Duration {
        match self {
            // Our own cache lags behind a write by a few milliseconds.
            Error::Conflict => Duration::from_millis(100),
            Error::Read { .. }
            | Error::Publish { .. }
            | Error::Slow { .. }
            | Error::Incomplete { .. }
            | Error::Encode { .. } => Duration::from_secs(2),
        }
    }
}

/// In a line: the client prints the whole answer of the API server, metadata and all.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(answer) => format!("{} ({} {})", answer.message, answer.code, answer.reason),
        other => other.to_string(),
    }
}
