//! The metrics of the process that Prometheus clients have in common, from /proc.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The fields of /proc/self/stat after the name, which can contain spaces. The first one is the state.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const THREADS: usize = 17;
const START_TIME: usize = 19;
const VIRTUAL: usize = 20;
const RESIDENT: usize = 21;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    /// What /proc does not show is left out.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        let field = |index: usize| fields.get(index).copied();
        let ticks = clock_ticks_per_second() as f64;
        if let (Some(user), Some(system)) = (field(USER_TIME), field(SYSTEM_TIME)) {
            let help = "User and system CPU time of the process in seconds";
            let family = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new((user + system) / ticks).encode(family)?;
        }
        let started = Some(boot_time()).flatten().zip(field(START_TIME)).map(|(boot, start)| boot + start / ticks);
        let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
        let limit = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
        for (name, help, value) in [
            ("process_start_time_seconds", "Start of the process as Unix time in seconds", started),
            (
                "process_resident_memory_bytes",
                "Resident memory in bytes",
                field(RESIDENT).map(|pages| pages * page_size() as f64),
            ),
            ("process_virtual_memory_bytes", "Virtual memory in bytes", field(VIRTUAL)),
            ("process_open_fds", "Open file descriptors", open),
            ("process_max_fds", "Limit of open file descriptors", limit),
            ("process_threads", "Threads of the process", field(THREADS)),
        ] {
            let Some(value) = value else { continue };
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        Ok(())
    }
}

/// The start of the kernel as Unix time in seconds.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
