//! A state of the search, the events that may follow it, and the effect of each. Violations are found here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use lync_mirror::model::*;
use lync_mirror::plan::{Plan, TypePlan};

use crate::operator::{Process, Resource};
use crate::world::{self, Copies, TYPE, World, index};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Kill(usize),
    Start(usize),
    Cut,
    Reconnect,
    CatchUp,
    Dba(usize),
    SafetyOff(usize),
    SafetyOn(usize),
    NewSession(usize),
    Want(Seat),
    Poll(usize),
    Decide,
    Send(usize),
    /// The statement reaches the server, which answers.
    Deliver(usize),
    /// The statement reaches the server, and the answer is lost.
    LoseAnswer(usize),
    Crash,
    Hour,
}

#[derive(Debug, Clone)]
pub struct State {
    pub world: World,
    pub resource: Resource,
    pub process: Process,
    /// Statements on their way, each with the life of the operator that sent it.
    pub network: Vec<(u8, Failover)>,
    pub hours: u8,
    pub faults: u8,
    pub types: u8,
    pub crashes: u8,
}

/// What is taken away in a mutation: the search must find the harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub guard: bool,
    pub journal: bool,
    pub statements: bool,
}

pub const ALL: Rules = Rules { guard: true, journal: true, statements: true };

#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub witness: bool,
    pub policy: UnrequestedSwitch,
    pub consent: bool,
    pub faults: u8,
    pub types: u8,
    pub crashes: u8,
    pub hours: u8,
}

fn now(state: &State) -> Timestamp {
    later(Timestamp::UNIX_EPOCH, Duration::from_secs(3600 * u64::from(state.hours)))
}

impl State {
    pub fn first(setting: &Setting) -> State {
        let mut persisted = PersistedState::default();
        persisted.requests.insert(TYPE, Request { principal: Seat::Primary, generation: 1, pending: false });
        persisted.tracking.insert(TYPE, State::first_tracking());
        let resource = Resource {
            principal: Seat::Primary,
            policy: setting.policy,
            approve: None,
            // For the state in which the principal was lost at its first sequence.
            force: setting.consent.then(|| ForceService {
                epoch: Epoch::of([(Guid::from_bytes([1; 16]), 1), (Guid::from_bytes([2; 16]), 1)]),
                until: later(Timestamp::UNIX_EPOCH, Duration::from_secs(86_400)),
                fenced: true,
            }),
            suspended: false,
            generation: 1,
            version: 0,
            persisted,
        };
        State {
            world: World::new(setting.witness),
            resource,
            process: Process::default(),
            network: Vec::new(),
            hours: 0,
            faults: setting.faults,
            types: setting.types,
            crashes: setting.crashes,
        }
    }

    /// Both servers were seen together before, with the principals on the primary.
    fn first_tracking() -> TypeTracking {
        let server = |seat: usize| ServerIdentity { address: format!("sql-{seat}"), name: world::server_name(seat) };
        let session = |number: usize, guid| (DatabaseName::new(world::NAMES[number]), Guid::from_bytes([guid; 16]));
        TypeTracking {
            pair: Some(PairIdentity { primary: server(0), mirror: server(1) }),
            sessions: [session(0, 1), session(1, 2)].into(),
            last_settled_server: Some(world::server_name(0)),
            was_aligned: true,
            ..TypeTracking::default()
        }
    }

    pub fn key(&self) -> u128 {
        let text = format!("{self:?}");
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, &text).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }

    pub fn events(&self, setting: &Setting) -> Vec<Event> {
        let mut all = Vec::new();
        let world = &self.world;
        for seat in 0..2 {
            match world.up[seat] {
                true if self.faults > 0 => all.push(Event::Kill(seat)),
                true => {}
                false => all.push(Event::Start(seat)),
            }
        }
        match world.link {
            true if self.faults > 0 => all.push(Event::Cut),
            true => {}
            false => all.push(Event::Reconnect),
        }
        if world.connected() && world.sessions.iter().any(|session| session.copies == Copies::CatchingUp) {
            all.push(Event::CatchUp);
        }
        for number in 0..2 {
            match world.sessions[number].full {
                true if self.faults > 0 => {
                    all.extend([Event::Dba(number), Event::SafetyOff(number), Event::NewSession(number)]);
                }
                true => {}
                false => all.push(Event::SafetyOn(number)),
            }
        }
        if self.types > 0 {
            all.push(Event::Want(self.resource.principal.other()));
        }
        for seat in 0..2 {
            if self.process.views[seat].is_none() {
                all.push(Event::Poll(seat));
            }
        }
        if self.process.views.iter().all(Option::is_some) {
            all.push(Event::Decide);
        }
        all.extend((0..self.process.unsent.len()).map(Event::Send));
        for number in 0..self.network.len() {
            all.push(Event::Deliver(number));
            if self.faults > 0 {
                all.push(Event::LoseAnswer(number));
            }
        }
        if self.crashes > 0 {
            all.push(Event::Crash);
        }
        if self.hours < setting.hours {
            all.push(Event::Hour);
        }
        all
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
            Event::NewSession(number) => (self.faults -= 1, self.world.sessions[number].guid += 10).1,
            Event::Want(seat) => {
                self.types -= 1;
                self.resource.principal = seat;
                self.resource.generation += 1;
                self.resource.version = self.resource.version.wrapping_add(1);
            }
            Event::Poll(seat) => self.process.poll(seat, &self.world, &self.resource),
            Event::Decide => return self.decide(rules),
            Event::Send(number) => {
                let step = self.process.unsent.remove(number);
                self.network.push((self.process.life, step));
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
        }
        Ok(None)
    }

    fn decide(&mut self, rules: Rules) -> Result<Option<Plan>, String> {
        if !rules.statements {
            self.process.statements.clear();
        }
        let at = now(self);
        let Some(plan) = self.process.decide(&mut self.resource, at) else { return Ok(None) };
        if !rules.journal {
            self.resource.persisted.operation = None;
        }
        let of = &plan.types[&TYPE];
        self.claims_hold(of)?;
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
            let pending =
                |(life, other): &(u8, Failover)| *life == self.process.life && other.database == step.database;
            if self.network.iter().any(pending) {
                return Err(format!("a second statement for {} while the first is on its way", step.database));
            }
            let finding = of.findings.iter().find(|finding| finding.name == step.database).unwrap();
            let observation = finding.session.map(|session| (session.guid, session.role_sequence));
            if observation != Some((step.guid, step.role_sequence)) {
                return Err("a step for another state than the one that was seen".to_owned());
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
        let (life, step) = self.network.remove(number);
        let session =
            self.world.sessions[world::NAMES.iter().position(|name| *name == step.database.as_str()).unwrap()].clone();
        let before = self.world.losses;
        let done = self.world.execute(&step, rules.guard);
        if done.is_ok() {
            let seat = index(step.on);
            if step.guid != Guid::from_bytes([session.guid; 16])
                || step.role_sequence != i32::from(session.sequence[seat])
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
        for event in [Event::SafetyOn(0), Event::SafetyOn(1), Event::Start(0), Event::Start(1), Event::Reconnect] {
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
