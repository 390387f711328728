//! A complete simulation: servers, SQL Browser and HTTP control. Dropping the value ends the simulation.

use crate::browser::Browser;
use crate::config::Config;
use crate::control;
use crate::journal::{Counts, Entry, Journal, LoginEntry};
use crate::server::faults::Fault;
use crate::server::probe::Probe;
use crate::server::shared::SharedState;
use crate::server::{self, Server};
use crate::wire::tls::Authority;
use crate::world::{Command, Failover, Reach, ServiceChange, World};
use anyhow::Context;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The part of a simulation that HTTP control and tests share.
pub struct Core {
    pub shared: Arc<SharedState>,
    pub servers: Vec<Arc<Server>>,
    pub ca_pem: String,
    listening: Vec<watch::Receiver<bool>>,
}

/// A running simulation.
pub struct Sim {
    core: Arc<Core>,
    control: SocketAddr,
    /// Dropping the set aborts all listeners, and each listener aborts its connections.
    _tasks: JoinSet<()>,
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub address: String,
    pub ip: String,
    pub port: u16,
    pub instance: Option<String>,
    pub name: String,
}

impl Sim {
    /// Starts a simulation with HTTP control on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// An invalid configuration, or an address that cannot be bound.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        Self::start_with_control(config, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts a simulation with HTTP control on this address.
    ///
    /// # Errors
    /// An invalid configuration, or an address that cannot be bound.
    pub async fn start_with_control(config: Config, control: SocketAddr) -> anyhow::Result<Self> {
        let shared = Arc::new(SharedState::new(World::new(&config)?));
        let authority = Authority::new().context("certificate authority")?;
        let mut tasks = JoinSet::new();
        let (mut servers, mut listening) = (Vec::new(), Vec::new());
        for each in &config.servers {
            let (server, listener) = Server::bind(each, &authority)?;
            let server = Arc::new(server);
            let (sender, receiver) = watch::channel(true);
            tasks.spawn(server::serve(shared.clone(), server.clone(), listener, sender));
            servers.push(server);
            listening.push(receiver);
        }
        for ip in servers.iter().map(|server| server.address().ip()).collect::<BTreeSet<_>>() {
            if let Some(browser) = Browser::bind(ip, &servers).await.with_context(|| format!("SQL Browser on {ip}"))? {
                tasks.spawn(browser.serve(shared.clone()));
            }
        }
        let time = shared.clone();
        tasks.spawn(async move { time.run_timers().await });

        let core = Arc::new(Core { shared, servers, ca_pem: authority.pem()?, listening });
        let listener = TcpListener::bind(control).await.with_context(|| format!("control on {control}"))?;
        let control = listener.local_addr()?;
        tasks.spawn(control::serve(core.clone(), listener));
        Ok(Self { core, control, _tasks: tasks })
    }

    /// The TDS address of the server with this id.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn address(&self, server: &str) -> SocketAddr {
        match self.core.servers.iter().find(|each| each.id == server) {
            Some(found) => found.address(),
            None => panic!("no server {server:?} in this simulation"),
        }
    }

    /// Executes one command or a list, as `POST /do` does. `settled` waits for the listeners.
    ///
    /// # Errors
    /// A message with the verb and the wrong field.
    pub fn do_json(&self, request: Json) -> Result<(), String> {
        self.core.act(request)
    }

    /// Waits until every listener is bound or closed, according to the state of its server.
    pub async fn settled(&self) {
        self.core.settled().await;
    }

    /// The state of the servers and databases, as `GET /state` returns it.
    pub fn state(&self) -> Json {
        self.with(World::state)
    }

    /// All completed role changes, oldest first.
    pub fn failovers(&self) -> Vec<Failover> {
        self.with(|world| world.failovers().to_vec())
    }

    /// Each change of the service of a mirrored database, oldest first.
    pub fn service_changes(&self) -> Vec<ServiceChange> {
        self.with(|world| world.service_changes().to_vec())
    }

    /// The time since the start of the simulation, as in its records.
    pub fn now(&self) -> Duration {
        self.core.shared.now()
    }

    /// Installs the probe, which receives every later request.
    ///
    /// # Panics
    /// If the simulation already has a probe.
    pub fn probe(&self, probe: Arc<dyn Probe>) {
        assert!(self.core.shared.probe.set(probe).is_ok(), "this simulation has a probe already");
    }

    /// Unsupported requests: unknown SQL, procedures and parameter types. A test must end with an empty list.
    pub fn failures(&self) -> Vec<String> {
        self.with(|world| world.failures.clone())
    }

    /// Statements with a number above `since`; 0 returns all.
    pub fn journal(&self, since: u64) -> Vec<Entry> {
        self.core.shared.journal.since(since)
    }

    /// Logins with a number above `since`; 0 returns all.
    pub fn logins(&self, since: u64) -> Vec<LoginEntry> {
        self.core.shared.journal.logins_since(since)
    }

    /// Counters of connections, logins and statements, by server id.
    pub fn stats(&self) -> BTreeMap<String, Counts> {
        self.core.shared.journal.counts()
    }

    /// The certificate of the authority that signed the server certificates, as PEM.
    pub fn ca_pem(&self) -> String {
        self.core.ca_pem.clone()
    }

    /// The address of HTTP control.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// The addresses of the servers, by server id.
    pub fn endpoints(&self) -> BTreeMap<String, Endpoint> {
        self.core.endpoints()
    }

    /// Reads the current state of the world.
    pub fn with<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        self.core.shared.with(|world, _| read(world))
    }

    /// Waits until `wanted` is true for the world. `wanted` is called after every change.
    pub async fn until(&self, mut wanted: impl FnMut(&World) -> bool) {
        self.core.shared.until(|world| wanted(world).then_some(())).await;
    }

    /// Waits until `wanted` is true for the journal. `wanted` is called after every change.
    pub async fn until_journal(&self, mut wanted: impl FnMut(&Journal) -> bool) {
        let journal = &self.core.shared.journal;
        let mut changed = journal.subscribe();
        loop {
            changed.borrow_and_update();
            if wanted(journal) {
                return;
            }
            let _ = changed.changed().await;
        }
    }
}

impl Core {
    /// Executes one command or a list. If one command is invalid, none is executed.
    ///
    /// # Errors
    /// A message with the verb and the wrong field.
    pub fn act(&self, request: Json) -> Result<(), String> {
        let requests = match request {
            Json::Array(list) => list,
            request => vec![request],
        };
        let actions: Vec<Action> = requests.into_iter().map(|each| self.parse(each)).collect::<Result<_, _>>()?;
        for action in actions {
            match action {
                Action::Fault(fault) => self.shared.faults.arm(fault),
                Action::World(command) => self.shared.with(|world, now| world.apply(now, &command))?,
            }
        }
        Ok(())
    }

    fn parse(&self, request: Json) -> Result<Action, String> {
        let verb = request.get("do").and_then(Json::as_str).ok_or("field `do`: the verb is missing")?.to_owned();
        let wrong = |error: serde_json::Error| match error.to_string() {
            text if text.contains(&format!("unknown variant `{verb}`")) => {
                format!("field `do`: {text}; connection faults: `{}`", Fault::VERBS.join("`, `"))
            }
            // Among the fields of connection faults only `phase` is an enumeration.
            text if Fault::VERBS.contains(&verb.as_str()) && text.contains("unknown variant") => {
                format!("{verb}: field `phase`: {text}")
            }
            text => format!("{verb}: {text}"),
        };
        if !Fault::VERBS.contains(&verb.as_str()) {
            return serde_json::from_value(request).map(Action::World).map_err(wrong);
        }
        let fault: Fault = serde_json::from_value(request).map_err(wrong)?;
        match self.servers.iter().any(|server| server.id == fault.server()) {
            true => Ok(Action::Fault(fault)),
            false => Err(format!("{verb}: field `server`: no server {:?}", fault.server())),
        }
    }

    pub async fn settled(&self) {
        for (server, listening) in self.servers.iter().zip(&self.listening) {
            let up = self.shared.reach(&server.id) != Reach::Down;
            let _ = listening.clone().wait_for(|bound| *bound == up).await;
        }
    }

    pub fn endpoints(&self) -> BTreeMap<String, Endpoint> {
        let endpoint = |server: &Arc<Server>| Endpoint {
            address: server.address().to_string(),
            ip: server.address().ip().to_string(),
            port: server.address().port(),
            instance: server.instance.clone(),
            name: server.name.clone(),
        };
        self.servers.iter().map(|server| (server.id.clone(), endpoint(server))).collect()
    }
}

enum Action {
    Fault(Fault),
    World(Command),
}
