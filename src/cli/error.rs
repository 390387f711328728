//! Why a verb failed: what, cause, and the next command.

use crate::cli::exit::Exit;
use crate::direct;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The kubeconfig cannot be used. {0}. To fix: correct --kubeconfig, --context or the variable KUBECONFIG.")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    #[error("No cluster is configured. {0}. To fix: set --kubeconfig or the variable KUBECONFIG.")]
    NoCluster(#[source] Box<kube::config::InferConfigError>),
    #[error(
        "The API server does not answer. {0}. To fix: check the network, and `kubectl version` with the same kubeconfig."
    )]
    Unreachable(#[source] Box<kube::Error>),
    #[error(
        "You may not {verb} {what}. {message}. To fix: ask an administrator of the cluster for the verb {verb} on {what}."
    )]
    Forbidden { verb: &'static str, what: &'static str, message: String },
    #[error(
        "The API server does not know LyncPoolMirror. To fix: install the chart, or choose the cluster with --context."
    )]
    NotInstalled,
    #[error(
        "The API server failed ({code}). {message}. To fix: check the API server and your login, then repeat the command."
    )]
    Failed { code: u16, message: String },
    #[error("The API server refused the change. {message}. To fix: correct what the message names.")]
    Refused { message: String },
    #[error("The resource changes faster than it can be written. To fix: repeat the command.")]
    Busy,
    #[error("No pool {name:?} in {place}. {known} To fix: give a name or a pool FQDN, or set -n.")]
    NoPool { name: String, place: String, known: String },
    #[error(
        "No pool {name:?} in namespace {namespace}. There is {}, and a command that writes does not leave the namespace of the context. Nothing was changed. To fix: repeat the command with {}.",
        found.join(" and "), options.join(" or ")
    )]
    Elsewhere { name: String, namespace: String, found: Vec<String>, options: Vec<String> },
    #[error(
        "The spec of {pool} changed since it was read, so that the change is not for what you saw. Nothing was changed. To fix: read it again, then repeat the command."
    )]
    Changed { pool: String },
    #[error("Interrupted.")]
    Interrupted,
    #[error(
        "--until {until} is over. Nothing was changed. To fix: give a time in the future, with its offset from UTC."
    )]
    Past { until: String },
    /// What a verb would rely on is not proven by the status.
    #[error("{0}")]
    Unproven(String),
    #[error("{name:?} is the pool of several resources: {}. To fix: choose one with -n NAMESPACE and a name or an FQDN that no other has.", found.join(", "))]
    Ambiguous { name: String, found: Vec<String> },
    #[error(
        "The spec of {pool} cannot be read. {problem}. To fix: use a lync-mirror as new as the CRD of the cluster."
    )]
    Unreadable { pool: String, problem: String },
    #[error("{pool} does not manage {ty}; it manages {managed}. To fix: add {ty} to spec.databaseTypes.")]
    NotManaged { pool: String, ty: String, managed: String },
    #[error("{0}")]
    Impossible(String),
    #[error("{0}")]
    Owned(String),
    #[error("Not confirmed, nothing was changed. To fix: answer y, or set --confirm=false.")]
    NotConfirmed,
    #[error("Not confirmed, nothing was changed. To fix: type {expected}, or set {option} {expected}.")]
    NotTyped { option: &'static str, expected: String },
    #[error("The input is not a terminal, so that no confirmation is possible. To fix: set --confirm=false.")]
    NoTerminal,
    #[error(
        "{path} cannot be read. {cause}. To fix: give a YAML file with one LyncPoolMirror, or - for the standard input."
    )]
    File { path: String, cause: String },
    #[error(
        "--direct needs the file of the pool. To fix: set -f to a YAML file with one LyncPoolMirror, or to a folder."
    )]
    NoFile,
    #[error("{path} has {} pools{}. To fix: name one of them.", names.len(), if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) })]
    ChooseOne { path: String, names: Vec<String> },
    #[error(
        "A move of {pool} would wait for {holder}. Nothing was changed. To fix: repeat the command without --direct, or suspend that pool first."
    )]
    HeldByCluster { pool: String, holder: String },
    #[error("{0}")]
    Direct(#[from] direct::Error),
    #[error("The output cannot be written. {0}. To fix: check where the output leads.")]
    Output(#[from] std::io::Error),
    #[error("The output cannot be rendered. {0}. To fix: report this with the version of lync-mirror.")]
    Render(String),
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Error::Kubeconfig(_)
            | Error::Unproven(_)
            | Error::Interrupted
            | Error::Failed { .. }
            | Error::NoCluster(_)
            | Error::Unreachable(_)
            | Error::Forbidden { .. }
            | Error::NotInstalled
            | Error::NoPool { .. }
            | Error::Direct(direct::Error::State { .. } | direct::Error::OtherPool { .. })
            | Error::Output(_)
            | Error::Render(_) => Exit::NotKnown,
            Error::Refused { .. }
            | Error::Busy
            | Error::Ambiguous { .. }
            | Error::Elsewhere { .. }
            | Error::Changed { .. }
            | Error::Past { .. }
            | Error::Unreadable { .. }
            | Error::NotManaged { .. }
            | Error::Impossible(_)
            | Error::Owned(_)
            | Error::NotConfirmed
            | Error::NotTyped { .. }
            | Error::NoTerminal
            | Error::NoFile
            | Error::ChooseOne { .. }
            | Error::HeldByCluster { .. }
            | Error::Direct(_)
            | Error::File { .. } => Exit::ActionNeeded,
        }
    }

    /// The error of a request: `verb` and `what` as in a role of Kubernetes.
    pub fn of_request(error: kube::Error, verb: &'static str, what: &'static str) -> Error {
        match error {
            kube::Error::Api(status) if status.is_forbidden() => {
                Error::Forbidden { verb, what, message: status.message.trim_end_matches('.').to_owned() }
            }
            kube::Error::Api(status) if status.is_not_found() && verb == "list" => Error::NotInstalled,
            // No answer about the request itself: the login, the load or a fault of the API server.
            kube::Error::Api(status) if is_read(verb) || matches!(status.code, 401 | 429 | 500..) => {
                Error::Failed { code: status.code, message: status.message.trim_end_matches('.').to_owned() }
            }
            kube::Error::Api(status) => Error::Refused { message: status.message.trim_end_matches('.').to_owned() },
            other => Error::Unreachable(Box::new(other)),
        }
    }
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list" | "watch")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn error_of_a_request_without_an_answer_is_not_known() {
        let of = |code: u16, verb| {
            let status = Status::failure("words.", "Reason").with_code(code);
            Error::of_request(kube::Error::Api(status.boxed()), verb, "pools").exit().code()
        };
        for code in [401, 403, 404, 429, 500, 503] {
            assert_eq!(of(code, "list"), 4, "{code}");
            assert_eq!(of(code, "get"), 4, "{code}");
        }
        assert_eq!(["401", "429", "503"].map(|code| of(code.parse().unwrap(), "patch")), [4; 3]);
        assert_eq!([400, 422].map(|code| of(code, "patch")), [2; 2]);
    }
}
