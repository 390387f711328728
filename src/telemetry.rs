//! The log on standard error, as text or as JSON lines.

use std::io::{self, IsTerminal, Write, stderr};

use anyhow::Context;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::{FormatFields, MakeWriter, format};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Sets up the log, once per process. `filter` has the syntax of `RUST_LOG`, e.g. `info,lync_mirror::sql=debug`. An empty
/// filter means `info`.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let set: Result<(), TryInitError> = match format {
        LogFormat::Text => text(filter, stderr, stderr().is_terminal())?.try_init(),
        LogFormat::Json => json(filter, stderr)?.try_init(),
    };
    set.context("The log is already set up.")
}

fn text<W>(filter: &str, writer: W, ansi: bool) -> anyhow::Result<impl Subscriber + Send + Sync + use<W>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi).fmt_fields(escaped_fields());
    Ok(tracing_subscriber::registry().with(log.with_filter(parse(filter)?)))
}

fn json<W>(filter: &str, writer: W) -> anyhow::Result<impl Subscriber + Send + Sync + use<W>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt::layer().with_writer(EscapedLines(writer)).json().flatten_event(true);
    Ok(tracing_subscriber::registry().with(log.with_span_list(false).with_filter(parse(filter)?)))
}

/// JSON requires an escape for the control characters below U+0020 only. A terminal also obeys those from U+007F on, which a
/// server can write.
struct EscapedLines<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for EscapedLines<W> {
    type Writer = EscapedLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        EscapedLine(self.0.make_writer())
    }
}

struct EscapedLine<W>(W);

impl<W: Write> Write for EscapedLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    /// The layer writes a whole line at once. In JSON, these characters appear in strings only.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line = String::from_utf8_lossy(bytes);
        let (line, end) = line.strip_suffix('\n').map_or((line.as_ref(), ""), |line| (line, "\n"));
        self.0.write_all((escaped(line) + end).as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The fields of a line of text. A server writes some of them, and must write neither a second line nor to the terminal.
fn escaped_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    format::debug_fn(|writer, field, value| {
        let text = escaped(&format!("{value:?}"));
        if field.name() == "message" { write!(writer, "{text}") } else { write!(writer, "{}={text}", field.name()) }
    })
    .delimited(" ")
}

/// Control characters as JSON writes them.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn parse(filter: &str) -> anyhow::Result<impl Filter<Registry> + Send + Sync + use<>> {
    let filter = if filter.trim().is_empty() { "info" } else { filter };
    let parsed = EnvFilter::try_new(filter).with_context(|| {
        format!("{filter:?} is not a log filter. To fix: use a filter such as info or lync_mirror=debug,info.")
    })?;
    Ok(parsed.and(filter_fn(may_log)))
}

/// What no filter can switch on: the payload of a connection. The log of a library at level TRACE can contain it. tiberius and
/// hickory log what a server sends, and the Kubernetes client an answer that it cannot decode, which can be a Secret. The
/// operator reports the errors of all of them itself.
fn may_log(event: &Metadata<'_>) -> bool {
    let is_from = |library: &str| event.target().split("::").next() == Some(library);
    is_from("lync_mirror")
        || (*event.level() != Level::TRACE
            && !["tiberius", "hickory_proto", "hickory_resolver"].into_iter().any(is_from)
            && event.target() != "kube_client::client")
}

#[cfg(test)]
mod tests {
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
        tracing::subscriber::with_default(text(filter, move || writer.clone(), false).unwrap(), write);
        written(&buffer)
    }

    fn written(buffer: &Buffer) -> String {
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_of_a_hostile_server_has_no_control_character() {
        let hostile = "name\u{1b}[2J\r\n\u{7f}\u{9b}1m\u{85}\u{2028}";
        let buffer = Buffer::default();
        let writer = buffer.clone();
        tracing::subscriber::with_default(json("info", move || writer.clone()).unwrap(), || {
            tracing::info!(target: "lync_mirror", detail = hostile, "answer {hostile}");
        });
        let log = written(&buffer);
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(!log.trim_end().contains(|c: char| c.is_control() || c == '\u{2028}'), "{log:?}");
        let event: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(event["detail"], hostile, "the text itself is unchanged");
        assert_eq!(event["message"], format!("answer {hostile}"));
    }

    #[test]
    fn parse_of_any_filter_logs_no_payload_of_a_library() {
        for filter in [
            "info",
            "trace",
            "tiberius=trace",
            "tiberius::tds=trace",
            "tiberius::tds::stream[]=trace",
            "kube_client::client=trace",
            "",
        ] {
            let log = logged(filter, || {
                tracing::error!(target: "tiberius::tds::stream::token", "18456");
                tracing::trace!(target: "tiberius::tds::stream::token", "18456");
                tracing::warn!(target: "kube_client::client", "18456");
                tracing::warn!(target: "hickory_proto::xfer::dns_handle", "18456");
                tracing::trace!(target: "rustls::conn", "18456");
                tracing::error!(target: "lync_mirror::sql", "ours");
                tracing::trace!(target: "lync_mirror::sql", "details");
            });
            assert!(!log.contains("18456"), "{filter}: {log}");
            let ours = !filter.contains('=');
            assert_eq!(log.contains("ours"), ours, "{filter}: {log}");
            assert_eq!(log.contains("details"), filter == "trace", "{filter}: {log}");
        }
    }

    #[test]
    fn text_of_a_hostile_server_stays_in_its_line() {
        let hostile = "name\u{1b}[2J\r\n2026-11-26T00:00:00Z  INFO all is well\u{9b}1m\u{2028}";
        let log = logged("info", || {
            tracing::info!(target: "lync_mirror", detail = %hostile, quoted = hostile, "answer {hostile}");
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(!log.trim_end().contains(char::is_control), "{log:?}");
        assert!(log.contains("answer name\\u001b[2J\\r\\n2026") && log.contains("detail=name\\u001b[2J"), "{log}");
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
