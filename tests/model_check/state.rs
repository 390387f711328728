//! A state of the search, the events that may follow it, and the effect of each. Violations are found here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use lync_mirror::model::*;
use lync_mirror::plan::{Plan, TypePlan};

use crate::event::{Event, Setting};
use crate::operator::{Process, Resource};
use crate::world::{self, Glimpse, Session, TYPE, World, index};

#[derive(Debug, Clone)]
pub struct State {
    pub world: World,
    pub resource: Resource,
    pub process: Process,
    /// Statements on their way, each with the life of the operator that sent it.
    pub network: Vec<(u8, usize, Failover)>,
    pub hours: u8,
    pub faults: u8,
    pub types: u8,
    pub crashes: u8,
    pub identity: u8,
    pub hidden: u8,
    /// The spec, or the policy, requests a move of these servers: since the last event that changed whose they are, a user
    /// changed the principal, or the type was aligned under FailBack.
    pub requested: bool,
    /// The consent is a new one.
    pub renewed: bool,
    /// A pass has read both servers together since the consent was given: the old principal was not fenced.
    pub returned: bool,
}

/// What is taken away in a mutation: the search must find the harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub guard: bool,
    pub journal: bool,
    pub statements: bool,
}

pub const ALL: Rules = Rules { guard: true, journal: true, statements: true };

fn now(state: &State) -> Timestamp {
    later(Timestamp::UNIX_EPOCH, Duration::from_secs(3600 * u64::from(state.hours)))
}

impl State {
    pub fn first(setting: &Setting) -> State {
        let mut persisted = PersistedState::default();
        persisted.requests.insert(TYPE, Request { principal: Seat::Primary, generation: 1, pending: false });
        persisted.tracking.insert(TYPE, State::first_tracking());
        let mut resource = Resource {
            principal: Seat::Primary,
            policy: setting.policy,
            approve: None,
            force: setting.consent.then(|| ForceService {
                epoch: Epoch::of([(Guid::from_bytes([1; 16]), 1), (Guid::from_bytes([2; 16]), 1)]),
                until: later(Timestamp::UNIX_EPOCH, Duration::from_secs(86_400)),
                fenced: true,
            }),
            suspended: false,
            generation: 1,
            version: 0,
            exchanged: false,
            third: false,
            persisted: PersistedState::default(),
            digest: 0,
        };
        resource.remember(persisted);
        let mut world = World::new(setting.witness, setting.switching);
        if setting.consent {
            // The state that the consent is for: a pass that reads both servers before it would end the consent.
            world.kill(0);
        }
        State {
            world,
            resource,
            process: Process::default(),
            network: Vec::new(),
            hours: 0,
            faults: setting.faults,
            types: setting.types,
            crashes: setting.crashes,
            identity: setting.identity,
            hidden: setting.hidden,
            requested: setting.policy == UnrequestedSwitch::FailBack,
            renewed: false,
            returned: false,
        }
    }

    /// Both servers were seen together before, with the principals on the primary.
    fn first_tracking() -> TypeTracking {
        let server = |seat: usize| ServerIdentity { address: format!("sql-{seat}"), name: world::server_name(seat, 0) };
        let session = |number: usize, guid| (DatabaseName::new(world::NAMES[number]), Guid::from_bytes([guid; 16]));
        TypeTracking {
            pair: Some(PairIdentity { primary: server(0), mirror: server(1) }),
            sessions: [session(0, 1), session(1, 2)].into(),
            last_settled_server: Some(world::server_name(0, 0)),
            was_aligned: true,
            ..TypeTracking::default()
        }
    }

    pub fn key(&self) -> u128 {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, &self.world, self.hours, self.faults, self.types, self.crashes).hash(&mut hasher);
            (self.identity, self.hidden, self.requested, self.renewed, self.returned).hash(&mut hasher);
            self.resource.hash_into(&mut hasher);
            self.process.hash_into(&mut hasher);
            if !self.network.is_empty() {
                format!("{:?}", self.network).hash(&mut hasher);
            }
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }

    /// One step. `Err`: harm.
    pub fn step(&mut self, event: Event, rules: Rules) -> Result<Option<Plan>, String> {
        match event {
            Event::Kill(seat) => (self.faults -= 1, self.world.kill(seat)).1,
            Event::Start(seat) => (self.world.up[seat] = true, self.world.meet()).1,
            Event::Cut => (self.faults -= 1, self.world.link = false).1,
            Event::Reconnect => (self.world.link = true, self.world.meet()).1,
            Event::CatchUp => self.world.catch_up(),
            Event::Dba(number) => {
                self.faults -= 1;
                self.world.dba(number);
            }
            Event::SafetyOff(number) => (self.faults -= 1, self.world.sessions[number].full = false).1,
            Event::SafetyOn(number) => self.world.sessions[number].full = true,
            Event::NewSession(number) => {
                self.faults -= 1;
                self.forget_request();
                self.world.sessions[number].guid += 10;
            }
            Event::Hide(server, unseen) => (self.hidden -= 1, self.world.unseen[server] = Some(unseen)).1,
            Event::Show(server) => self.world.unseen[server] = None,
            Event::Want(seat) => {
                self.types -= 1;
                self.edit(|resource| resource.principal = seat);
                self.requested = true;
            }
            Event::Rename(server) => (self.identity -= 1, self.world.renames[server] += 1).1,
            Event::NameThird | Event::Exchange | Event::Replace(_) | Event::Recreate | Event::RestoreSpec => {
                self.change_identity(event)
            }
            Event::Poll(seat) => {
                self.process.poll(seat, &self.world, &self.resource);
                self.process.requested[seat] = self.requested;
            }
            Event::Decide => return self.decide(rules),
            Event::Send(number) => {
                let (server, step) = self.process.unsent.remove(number);
                self.network.push((self.process.life, server, step));
            }
            Event::Deliver(number) => self.deliver(number, rules, true)?,
            Event::LoseAnswer(number) => {
                self.faults -= 1;
                self.deliver(number, rules, false)?;
            }
            Event::Crash => {
                self.crashes -= 1;
                self.process = Process { life: self.process.life + 1, ..Process::default() };
            }
            Event::Hour => self.hours += 1,
            Event::Renew => {
                (self.renewed, self.returned) = (true, false);
                self.edit(|resource| {
                    if let Some(force) = &mut resource.force {
                        force.until = later(force.until, Duration::from_secs(3600));
                    }
                });
            }
        }
        Ok(None)
    }

    fn edit(&mut self, change: impl FnOnce(&mut Resource)) {
        change(&mut self.resource);
        self.resource.generation += 1;
        self.resource.version = self.resource.version.wrapping_add(1);
    }

    /// The sessions or the resource will be others. What the operator never saw it cannot distinguish from what follows.
    fn forget_request(&mut self) {
        let sessions = self.resource.persisted.tracking.get(&TYPE).map(|tracking| &tracking.sessions);
        let known = |(name, session): (&str, &Session)| {
            let guid = Guid::from_bytes([session.guid; 16]);
            sessions.and_then(|known| known.get(&DatabaseName::new(name))) == Some(&guid)
        };
        self.requested &= !world::NAMES.into_iter().zip(&self.world.sessions).any(known);
    }

    fn change_identity(&mut self, event: Event) {
        self.identity -= 1;
        self.forget_request();
        match event {
            Event::NameThird => self.edit(|resource| resource.third = true),
            Event::Exchange => self.edit(|resource| resource.exchanged = true),
            Event::Replace(server) => {
                self.world.renames[server] += 1;
                self.world.sessions.iter_mut().for_each(|session| session.guid += 10);
            }
            // A new resource, and an older spec, request nothing, whatever the operator saw.
            Event::Recreate => {
                self.requested = false;
                self.resource.remember(PersistedState::default());
                self.edit(|resource| resource.generation = 0);
                // The controller forgets the statements of a resource that is gone.
                self.process.statements.clear();
                self.process.unsent.clear();
            }
            _ => {
                self.requested = false;
                self.edit(|resource| (resource.generation, resource.principal) = (0, Seat::Primary));
            }
        }
    }

    fn decide(&mut self, rules: Rules) -> Result<Option<Plan>, String> {
        if !rules.statements {
            self.process.statements.clear();
        }
        let at = now(self);
        let together = self.process.views.iter().flatten().all(Glimpse::is_read);
        let Some(plan) = self.process.decide(&mut self.resource, at) else { return Ok(None) };
        self.returned |= together;
        if !rules.journal {
            self.resource.persisted.operation = None;
        }
        let of = &plan.types[&TYPE];
        self.claims_hold(of)?;
        let fails_back = self.resource.policy == UnrequestedSwitch::FailBack;
        if of.verdict.reason.effect() == Effect::Ready {
            // A request is over once it is fulfilled. Only the policy requests a later move then.
            self.requested = fails_back;
        }
        if plan.steps.is_empty() {
            return Ok(Some(plan));
        }
        if plan.persisted.operation.is_none() {
            return Err("a step without a journal".to_owned());
        }
        let forces = plan.steps.iter().any(|step| step.act == Act::ForceService);
        if !forces && of.observed == ObservedPrincipal::from(self.resource.principal) {
            return Err("a step for a type that is where it should be".to_owned());
        }
        for step in &plan.steps {
            let pending = |(life, _, other): &(u8, usize, Failover)| {
                *life == self.process.life && other.database == step.database
            };
            if self.network.iter().any(pending) {
                return Err(format!("a second statement for {} while the first is on its way", step.database));
            }
            let finding = of.findings.iter().find(|finding| finding.name == step.database).unwrap();
            let observation = finding.session.map(|session| (session.guid, session.role_sequence));
            if observation != Some((step.guid, step.role_sequence)) {
                return Err("a step for another state than the one that was seen".to_owned());
            }
            if step.act == Act::Failover && self.process.requested == [false; 2] {
                return Err("a failover that was not requested of these servers".to_owned());
            }
            if step.act == Act::ForceService && self.returned {
                return Err("a forced service by a consent from before the return of the old principal".to_owned());
            }
            if step.act == Act::ForceService && self.process.served[index(step.on.other())].contains(&true) {
                return Err("a forced service while the other server served".to_owned());
            }
            if step.act == Act::Failover && (finding.obstacle.is_some() || !finding.agreed || !finding.online) {
                return Err(format!("a failover in spite of {:?}", finding.obstacle));
            }
        }
        Ok(Some(plan))
    }

    /// What the plan claims of the service was true when the servers were polled.
    fn claims_hold(&self, of: &TypePlan) -> Result<(), String> {
        let served = |number: usize| self.process.served.iter().any(|seat| seat[number]);
        let claim = match of.service {
            Service::NotServed => (0..2).all(served),
            Service::Protected | Service::Exposed => !(0..2).all(served),
            Service::Unknown => false,
        };
        if claim {
            Err(format!("{} is claimed, and the servers were otherwise: {}", of.service, of.verdict.message))
        } else {
            Ok(())
        }
    }

    fn deliver(&mut self, number: usize, rules: Rules, answered: bool) -> Result<(), String> {
        let (life, server, step) = self.network.remove(number);
        let session =
            self.world.sessions[world::NAMES.iter().position(|name| *name == step.database.as_str()).unwrap()].clone();
        let before = self.world.losses;
        let done = self.world.execute(server, &step, rules.guard);
        if done.is_ok() {
            if step.guid != Guid::from_bytes([session.guid; 16])
                || step.role_sequence != i32::from(session.sequence[server])
            {
                return Err(format!("{} was switched in a state that no decision was based on", step.database));
            }
            if self.world.losses > before {
                let consent = self.resource.force.as_ref().is_some_and(|force| now(self) < force.until);
                if !consent {
                    return Err("data may be lost without a consent".to_owned());
                }
            }
        }
        if self.world.losses > 2 {
            return Err("service was forced twice".to_owned());
        }
        if life == self.process.life {
            let answer = match (answered, done) {
                (false, _) => Answer::Lost { detail: "lost".to_owned() },
                (true, Ok(())) => Answer::Accepted,
                (true, Err(why)) => Answer::GuardRefused { detail: why.to_owned() },
            };
            self.process
                .statements
                .entry(step.database.clone())
                .and_modify(|sent_state| *sent_state = StatementState::Answered(answer));
        }
        Ok(())
    }

    /// Once faults stop: the world settles to the spec, or to a verdict that requires an administrator.
    pub fn settle(mut self, rules: Rules) -> Result<(), String> {
        let quiet = |state: &mut State, event| state.step(event, rules);
        let shown = [Event::Show(0), Event::Show(1)];
        let whole = [Event::SafetyOn(0), Event::SafetyOn(1), Event::Start(0), Event::Start(1), Event::Reconnect];
        for event in shown.into_iter().chain(whole) {
            quiet(&mut self, event)?;
        }
        while !self.network.is_empty() {
            quiet(&mut self, Event::Deliver(0))?;
        }
        self.process.views = [None, None];
        self.process.read = None;
        // Each database at most once, and what was decided on before.
        let most = 2 + u8::try_from(self.process.unsent.len()).unwrap();
        let switches = self.world.switches;
        let mut last = None;
        for _ in 0..60 {
            for event in [Event::CatchUp, Event::Hour, Event::Poll(0), Event::Poll(1)] {
                quiet(&mut self, event)?;
            }
            last = quiet(&mut self, Event::Decide)?.or(last);
            while !self.process.unsent.is_empty() {
                quiet(&mut self, Event::Send(0))?;
            }
            while !self.network.is_empty() {
                quiet(&mut self, Event::Deliver(0))?;
            }
            let Some(plan) = &last else { continue };
            let of = &plan.types[&TYPE];
            if plan.persisted.operation.is_none() && of.verdict.reason.effect() != Effect::Reconciling {
                if self.world.switches - switches > most {
                    return Err(format!("{} switches to settle two databases", self.world.switches - switches));
                }
                return Ok(());
            }
        }
        let plan = last.ok_or("no pass came to an end")?;
        Err(format!("does not settle: {}", plan.types[&TYPE].verdict.message))
    }
}
