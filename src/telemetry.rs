//! The log: to standard error, as text or as JSON lines.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Once per process. `filter` is what `RUST_LOG` would hold, e.g. `info,lync_mirror::sql=debug`; empty is `info`.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_env_filter(parse(filter)?).with_writer(stderr);
    let set = match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).try_init(),
    };
    set.map_err(anyhow::Error::from_boxed).context("the log is already set up")
}

/// tiberius logs every error that a server sends as an ERROR of its own. Those are observations here, and told as such.
fn parse(filter: &str) -> anyhow::Result<EnvFilter> {
    let filter = if filter.trim().is_empty() { "info" } else { filter };
    let parsed = EnvFilter::try_new(filter).with_context(|| format!("{filter:?} is not a log filter"))?;
    Ok(parsed.add_directive("tiberius=off".parse()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, say: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let log = tracing_subscriber::fmt()
            .with_env_filter(parse(filter).unwrap())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, say);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_noise_of_tiberius_is_off_whatever_the_filter() {
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
    fn the_filter_filters() {
        let log = logged("info,lync_mirror::plan=debug", || {
            tracing::debug!(target: "lync_mirror::plan", "seen");
            tracing::debug!(target: "kube", "unseen");
        });
        assert!(log.contains("seen") && !log.contains("unseen"), "{log}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let error = init(LogFormat::Json, "lync_mirror=loud").unwrap_err();
        assert!(error.to_string().contains("lync_mirror=loud"), "{error}");
    }
}
