//! The errors of a reconcile pass. An unavailable SQL Server is not an error but an observation.

use std::time::Duration;

#[derive(Debug, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
pub enum Error {
    #[error("Cannot read {what}: {}.", cause(source))]
    Read { what: String, source: kube::Error },

    /// `what`: the request, such as `reading Secret lync/sql`.
    #[error("The API server did not answer in time: {what}.")]
    Slow { what: String },

    /// The API server rejected the write of the status, so that the pass had no effect.
    #[error("The resource changed during this pass. The operator retries.")]
    Conflict,

    #[error("Cannot write the status: {}.", cause(source))]
    Publish { source: kube::Error },

    /// An object that no API server has served. The operator takes no decision from it.
    #[error("LyncPoolMirror {resource} has no {field}, which the API server sets on every object.")]
    Incomplete { resource: String, field: &'static str },

    /// Without a cluster: the file with the status cannot be written, so that the pass had no effect.
    #[error("{0}")]
    State(#[from] crate::direct::Error),

    #[error("Cannot encode LyncPoolMirror {resource} as JSON: {source}.")]
    Encode { resource: String, source: serde_json::Error },
}

impl Error {
    /// The name of the variant: a closed set, which a metric label requires.
    pub fn category(&self) -> &'static str {
        self.into()
    }

    /// The delay before the next pass after the first failure.
    pub fn first_pause(&self) -> Duration {
        match self {
            // The cache of the watch follows a write within milliseconds.
            Error::Conflict => Duration::from_millis(100),
            Error::Read { .. }
            | Error::Publish { .. }
            | Error::Slow { .. }
            | Error::Incomplete { .. }
            | Error::State(_)
            | Error::Encode { .. } => Duration::from_secs(1),
        }
    }
}

/// The error without its final period. The client would print the whole answer of the API server, with its metadata.
pub fn cause(error: &kube::Error) -> String {
    let cause = match error {
        kube::Error::Api(answer) => format!("{} ({} {})", answer.message, answer.code, answer.reason),
        other => other.to_string(),
    };
    cause.trim_end_matches('.').to_owned()
}
