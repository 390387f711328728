//! The log on standard error, as text or as JSON lines.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Sets up the log, once per process. `filter` has the syntax of `RUST_LOG`, e.g. `info,lync_mirror::sql=debug`. An empty
/// filter means `info`.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_env_filter(parse(filter)?).with_writer(stderr);
    let set = match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).try_init(),
    };
    set.map_err(anyhow::Error::from_boxed).context("The log is already set up.")
}

/// Disables the log of tiberius: it logs every error of a server at level ERROR. The operator reports such an error as an
/// observation.
fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    let filter = if filter.trim().is_empty() { "info" } else { filter };
    let parsed = EnvFilter::try_new(filter).with_context(|| {
        format!("{filter:?} is not a log filter. To fix: use a filter such as info or lync_mirror=debug,info.")
    })?;
    Ok(parsed.add_directive("tiberius=off".parse()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, write: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let log = tracing_subscriber::fmt()
            .with_env_filter(parse(filter).unwrap())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, write);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn parse_of_any_filter_disables_the_log_of_tiberius() {
        for filter in ["info", "trace", "tiberius=trace", ""] {
            let log = logged(filter, || {
                tracing::error!(target: "tiberius::tds::stream::token", "18456");
                tracing::error!(target: "lync_mirror::sql", "ours");
            });
            assert!(!log.contains("18456"), "{filter}: {log}");
            assert_eq!(log.contains("ours"), filter != "tiberius=trace", "{filter}: {log}");
        }
    }

    #[test]
    fn parse_of_a_filter_applies_its_levels() {
        let log = logged("info,lync_mirror::plan=debug", || {
            tracing::debug!(target: "lync_mirror::plan", "included");
            tracing::debug!(target: "kube", "excluded");
        });
        assert!(log.contains("included") && !log.contains("excluded"), "{log}");
    }

    #[test]
    fn init_with_an_invalid_filter_names_the_filter() {
        let error = init(LogFormat::Json, "lync_mirror=loud").unwrap_err();
        assert!(error.to_string().contains("lync_mirror=loud"), "{error}");
    }
}
