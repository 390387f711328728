//! The events of the search, and which of them may follow a state.

use lync_mirror::model::{Seat, UnrequestedSwitch};

use crate::state::State;
use crate::world::{Copies, Session, Switching, Unseen};

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
    /// The operator no longer sees a server that is up.
    Hide(usize, Unseen),
    Show(usize),
    /// An edit of the spec exchanges the two servers between the seats.
    Exchange,
    /// A renamed server keeps its sessions, and is the same server.
    Rename(usize),
    /// An edit of the spec names a third server as the mirror, and the session of the two others goes on.
    NameThird,
    /// Another server at the same address, with new sessions.
    Replace(usize),
    /// The resource is deleted and created again.
    Recreate,
    /// The spec returns to its first generation, and the status stays.
    RestoreSpec,
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
    /// The administrator sets a new `until` for the consent.
    Renew,
}

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
    /// How many events may change whose servers and whose memory these are.
    pub identity: u8,
    /// How many times a server may be hidden from the operator.
    pub hidden: u8,
    pub switching: Switching,
}

impl State {
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
        let late = |session: &Session| {
            session.copies == Copies::Opening || world.connected() && session.copies == Copies::CatchingUp
        };
        if world.sessions.iter().any(late) {
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
        all.extend(self.unseen_events());
        all.extend(self.identity_events());
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
        if setting.consent && !self.renewed {
            all.push(Event::Renew);
        }
        if self.hours < setting.hours {
            all.push(Event::Hour);
        }
        all
    }

    fn unseen_events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        for server in 0..2 {
            match self.world.unseen[server] {
                Some(_) => all.push(Event::Show(server)),
                None if self.hidden > 0 => {
                    all.extend([Unseen::BrowserSilent, Unseen::LoginFailed].map(|unseen| Event::Hide(server, unseen)));
                }
                None => {}
            }
        }
        all
    }

    fn identity_events(&self) -> Vec<Event> {
        if self.identity == 0 {
            return Vec::new();
        }
        let mut all = vec![Event::Recreate, Event::Rename(0), Event::Rename(1), Event::Replace(0), Event::Replace(1)];
        if !self.resource.exchanged && !self.resource.third {
            all.extend([Event::Exchange, Event::NameThird]);
        }
        if self.resource.generation > 1 {
            all.push(Event::RestoreSpec);
        }
        all
    }
}
