//! The whole simulation in one value: servers, browser and control, alive until it is dropped.

use crate::browser::Browser;
use crate::config::Config;
use crate::control;
use crate::journal::{Counts, Entry, Journal, LoginEntry};
use crate::server::faults::Fault;
use crate::server::probe::Probe;
use crate::server::stage::Stage;
use crate::server::{self, Server};
use crate::wire::tls::Authority;
use crate::world::{Command, Failover, Reach, World};
use anyhow::Context;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The part of a simulation that control requests and tests share.
pub struct Core {
    pub stage: Arc<Stage>,
    pub servers: Vec<Arc<Server>>,
    pub ca_pem: String,
    listening: Vec<watch::Receiver<bool>>,
}

pub struct Sim {
    core: Arc<Core>,
    control: SocketAddr,
    /// Dropping the set ends every listener, and each listener its connections.
    _tasks: JoinSet<()>,
}

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub address: String,
    pub ip: String,
    pub port: u16,
    pub instance: Option<String>,
    pub name: String,
}

impl Sim {
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        Self::start_with_control(config, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_with_control(config: Config, control: SocketAddr) -> anyhow::Result<Self> {
        let stage = Arc::new(Stage::new(World::new(&config)?));
        let authority = Authority::new().context("certificate authority")?;
        let mut tasks = JoinSet::new();
        let (mut servers, mut listening) = (Vec::new(), Vec::new());
        for each in &config.servers {
            let (server, listener) = Server::bind(each, &authority)?;
            let server = Arc::new(server);
            let (sender, receiver) = watch::channel(true);
            tasks.spawn(server::serve(stage.clone(), server.clone(), listener, sender));
            servers.push(server);
            listening.push(receiver);
        }
        for ip in servers.iter().map(|server| server.address.ip()).collect::<BTreeSet<_>>() {
            if let Some(browser) = Browser::bind(ip, &servers).await.with_context(|| format!("SQL Browser on {ip}"))? {
                tasks.spawn(browser.serve(stage.clone()));
            }
        }
        let time = stage.clone();
        tasks.spawn(async move { time.keep_time().await });

        let core = Arc::new(Core { stage, servers, ca_pem: authority.pem()?, listening });
        let listener = TcpListener::bind(control).await.with_context(|| format!("control on {control}"))?;
        let control = listener.local_addr()?;
        tasks.spawn(control::serve(core.clone(), listener));
        Ok(Self { core, control, _tasks: tasks })
    }

    /// # Panics
    /// When the configuration has no such server: a slip of the test.
    pub fn address(&self, server: &str) -> SocketAddr {
        match self.core.servers.iter().find(|each| each.id == server) {
            Some(found) => found.address,
            None => panic!("no server {server:?} in this simulation"),
        }
    }

    /// Does what POST /do does. Sockets follow soon after; `settled` waits for them.
    pub fn do_json(&self, request: Json) -> Result<(), String> {
        self.core.act(request)
    }

    /// Returns when every listener is bound or gone, as its server is up or down.
    pub async fn settled(&self) {
        self.core.settled().await;
    }

    pub fn state(&self) -> Json {
        self.with(World::state)
    }

    pub fn failovers(&self) -> Vec<Failover> {
        self.with(|world| world.failovers().to_vec())
    }

    /// Shows every request to `probe`, from now on. A simulation has one probe at most.
    ///
    /// # Panics
    /// When there is one already: a slip of the test.
    pub fn probe(&self, probe: Arc<dyn Probe>) {
        assert!(self.core.stage.probe.set(probe).is_ok(), "this simulation has a probe already");
    }

    /// What no client should have asked: unknown SQL, unknown procedures.
    pub fn failures(&self) -> Vec<String> {
        self.with(|world| world.failures.clone())
    }

    /// Statements received after the one numbered `since`; 0 gives all.
    pub fn journal(&self, since: u64) -> Vec<Entry> {
        self.core.stage.journal.since(since)
    }

    pub fn logins(&self, since: u64) -> Vec<LoginEntry> {
        self.core.stage.journal.logins_since(since)
    }

    /// What was accepted, logged in and asked, by server.
    pub fn stats(&self) -> BTreeMap<String, Counts> {
        self.core.stage.journal.counts()
    }

    pub fn ca_pem(&self) -> String {
        self.core.ca_pem.clone()
    }

    pub fn control(&self) -> SocketAddr {
        self.control
    }

    pub fn endpoints(&self) -> BTreeMap<String, Endpoint> {
        self.core.endpoints()
    }

    /// Looks at the world as it is now.
    pub fn with<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        self.core.stage.with(|world, _| look(world))
    }

    /// Waits until the world is as `wanted`; looks at every change of it.
    pub async fn until(&self, mut wanted: impl FnMut(&World) -> bool) {
        self.core.stage.until(|world| wanted(world).then_some(())).await;
    }

    /// Waits until the journal is as `wanted`; looks at every change of it.
    pub async fn until_journal(&self, mut wanted: impl FnMut(&Journal) -> bool) {
        let journal = &self.core.stage.journal;
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
    /// One verb, or a list of them that is refused as a whole when one of them is wrong.
    pub fn act(&self, request: Json) -> Result<(), String> {
        let requests = match request {
            Json::Array(list) => list,
            one => vec![one],
        };
        let actions: Vec<Action> = requests.into_iter().map(|each| self.parse(each)).collect::<Result<_, _>>()?;
        for action in actions {
            match action {
                Action::Fault(fault) => self.stage.faults.arm(fault),
                Action::World(command) => self.stage.with(|world, now| world.apply(now, &command))?,
            }
        }
        Ok(())
    }

    fn parse(&self, request: Json) -> Result<Action, String> {
        let verb = request.get("do").and_then(Json::as_str).ok_or("field `do`: a verb is missing")?.to_owned();
        let wrong = |error: serde_json::Error| match error.to_string() {
            text if text.contains(&format!("unknown variant `{verb}`")) => {
                format!("field `do`: {text}; the wire also knows `{}`", Fault::VERBS.join("`, `"))
            }
            // Of the wire's faults only `phase` has a closed list of words.
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
            let up = self.stage.reach(&server.id) != Reach::Down;
            let _ = listening.clone().wait_for(|bound| *bound == up).await;
        }
    }

    pub fn endpoints(&self) -> BTreeMap<String, Endpoint> {
        let endpoint = |server: &Arc<Server>| Endpoint {
            address: server.address.to_string(),
            ip: server.address.ip().to_string(),
            port: server.address.port(),
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
