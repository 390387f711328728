//! The addresses of a host name, without a thread that a silent DNS server could block.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;
use parking_lot::Mutex;

use crate::sql::error::{is_operator_limited, lacks_resources};

/// The longest time for one request and its repetitions. So a server that never answers requests for IPv6 addresses delays a
/// lookup and does not end it.
const REQUEST: Duration = Duration::from_secs(2);
/// The most repetitions of a request.
const REPETITIONS: usize = 1;
/// The most DNS servers of `/etc/resolv.conf` that are asked, as in the C library.
const NAME_SERVERS: usize = 3;
/// The requests that may wait in one TCP connection. `Shares` limits the lookups, so that this limit never applies.
const IN_FLIGHT: usize = 4096;

/// Why a lookup has no address.
#[derive(Debug)]
pub enum LookupError {
    /// DNS has no address for the name.
    NotFound,
    /// DNS did not answer, or answered with an error of its own.
    Silent,
    /// The operator lacks the descriptors or the memory to read a file or to send the request.
    NotSent(io::Error),
    /// `/etc/resolv.conf` names no server, or a file cannot be read.
    NotConfigured(String),
}

/// The resolver of the system: `/etc/hosts`, then the DNS servers of `/etc/resolv.conf` with its search list. It reads both
/// files for each lookup, as `getaddrinfo` does, and keeps no answers.
pub struct Resolver {
    hosts: PathBuf,
    configuration: PathBuf,
    /// The port of the DNS servers.
    port: u16,
    /// The DNS client for this content of `/etc/resolv.conf`.
    client: Mutex<Option<(Vec<u8>, TokioResolver)>>,
}

impl Resolver {
    pub fn system() -> Resolver {
        Resolver::new("/etc/hosts".into(), "/etc/resolv.conf".into(), 53)
    }

    pub(super) fn new(hosts: PathBuf, configuration: PathBuf, port: u16) -> Resolver {
        Resolver { hosts, configuration, port, client: Mutex::default() }
    }

    /// The addresses of `host`, or none if it needs a lookup in DNS.
    ///
    /// # Errors
    /// `/etc/hosts` exists and cannot be read: DNS could answer with another address, or that the host does not exist.
    pub fn without_dns(&self, host: &str) -> Result<Option<Vec<IpAddr>>, LookupError> {
        if let Ok(address) = host.parse() {
            return Ok(Some(vec![address]));
        }
        let hosts = match std::fs::read(&self.hosts) {
            Ok(hosts) => hosts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unreadable(&self.hosts, error)),
        };
        let addresses = addresses_in(&String::from_utf8_lossy(&hosts), host);
        Ok(Some(addresses).filter(|addresses| !addresses.is_empty()))
    }

    /// The addresses of `host` in DNS. Dropping the future closes its sockets.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let name = Name::from_str_relaxed(host).map_err(|_| LookupError::NotFound)?;
        let client = self.client()?;
        match client.lookup_ip(name).await {
            Ok(found) => {
                let addresses: Vec<IpAddr> = found.iter().collect();
                if addresses.is_empty() { Err(LookupError::NotFound) } else { Ok(addresses) }
            }
            Err(error) => Err(explain(error)),
        }
    }

    fn client(&self) -> Result<TokioResolver, LookupError> {
        let content = std::fs::read(&self.configuration).map_err(|error| unreadable(&self.configuration, error))?;
        let mut client = self.client.lock();
        if let Some((known, client)) = &*client
            && *known == content
        {
            return Ok(client.clone());
        }
        let new = build(&content, self.port)
            .map_err(|_| LookupError::NotConfigured(format!("{} names no DNS server", self.configuration.display())))?;
        *client = Some((content, new.clone()));
        Ok(new)
    }
}

fn unreadable(file: &Path, error: io::Error) -> LookupError {
    match lacks_resources(&error) {
        true => LookupError::NotSent(error),
        false => LookupError::NotConfigured(format!("{} cannot be read ({})", file.display(), error.kind())),
    }
}

/// The addresses that a file in the format of `/etc/hosts` lists for the name.
fn addresses_in(hosts: &str, name: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let listed = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    listed.collect()
}

fn build(content: &[u8], port: u16) -> Result<TokioResolver, NetError> {
    let (config, mut options) = parse_resolv_conf(content)?;
    let (_, search, mut servers) = config.into_parts();
    servers.truncate(NAME_SERVERS);
    servers.iter_mut().flat_map(|server| &mut server.connections).for_each(|connection| connection.port = port);
    // Without the domain of the host name, which a search list replaces.
    let config = ResolverConfig::from_parts(None, search, servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    options.timeout = options.timeout.min(REQUEST);
    options.attempts = options.attempts.min(REPETITIONS);
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    // A failed lookup must not outlive its cause, and no namespace must see what another one asked for.
    options.cache_size = 0;
    options.max_active_requests = IN_FLIGHT;
    *builder.options_mut() = options;
    builder.build()
}

fn explain(error: NetError) -> LookupError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NXDomain | ResponseCode::NoError,
            ..
        })) => LookupError::NotFound,
        NetError::Io(error) if is_operator_limited(&error) => {
            LookupError::NotSent(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
        }
        _ => LookupError::Silent,
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
