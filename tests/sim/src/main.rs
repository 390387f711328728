//! `mirror-sim`: the simulated pair as a process, controlled over HTTP.

use anyhow::{Context, bail};
use clap::Parser;
use mirror_sim::config::Config;
use mirror_sim::sim::Sim;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Mirrored SQL Servers and their witness, simulated behind a real TDS server.
#[derive(Debug, Parser)]
struct Arguments {
    /// The servers and pairs, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "pools", required_unless_present_any = ["demo", "pools"])]
    config: Option<PathBuf>,
    /// One pool: SQL-A, SQL-B and a witness
    #[arg(long, conflicts_with_all = ["config", "pools"])]
    demo: bool,
    /// Number of pools, each with its own pair; one witness for all
    #[arg(long, value_name = "N")]
    pools: Option<u8>,
    /// Address of the first server of --demo and --pools; the next servers get the next addresses
    #[arg(long, value_name = "IP", default_value = "127.0.10.1")]
    listen_base: Ipv4Addr,
    /// Address of HTTP control; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Also write the line with the endpoints to this file, atomically
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Log filter, in the syntax of tracing-subscriber's EnvFilter
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&arguments.log).context("--log")?)
        .with_writer(std::io::stderr)
        .init();
    let sim = Sim::start_with_control(config(&arguments)?, arguments.control).await?;
    let ready = serde_json::json!({ "control": sim.control().to_string(), "servers": sim.endpoints() }).to_string();
    if let Some(file) = &arguments.ready_file {
        // Renamed into place, so that a reader never sees a partial line.
        let partial = file.with_extension("partial");
        std::fs::write(&partial, format!("{ready}\n")).with_context(|| format!("write {}", partial.display()))?;
        std::fs::rename(&partial, file).with_context(|| format!("write {}", file.display()))?;
    }
    writeln!(std::io::stdout(), "{ready}")?;

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    for failure in sim.failures() {
        tracing::warn!("unsupported request: {failure}");
    }
    Ok(())
}

fn config(arguments: &Arguments) -> anyhow::Result<Config> {
    let Some(file) = &arguments.config else {
        return mirror_sim::demo::config(arguments.listen_base, arguments.pools.unwrap_or(1));
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    match serde_json::from_str(&text) {
        Ok(config) => Ok(config),
        Err(error) => bail!("{}: {error}", file.display()),
    }
}
