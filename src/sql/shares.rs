//! A limited quantity that namespaces share, such as open connections. No namespace can take all of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What a share is used for. The reserve is for moves only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Poll,
    Move,
}

/// The number of shares of a quantity, and how many of them are refused to a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub total: usize,
    /// The shares that only moves can take.
    pub reserve: usize,
    /// The most that one holder can have.
    pub per_holder: usize,
}

/// The shares of one quantity; cheap to clone. A holder is a namespace, or an account in a namespace.
///
/// A holder with as many shares as are free gets no other one; for a move, only the shares of its moves count. So each of `n` greedy holders ends with `1 / (n + 1)` of the
/// shares, and as many stay free: a further holder always finds some, however long the others keep theirs. Waiting holders
/// take turns, and moves precede polls.
#[derive(Clone)]
pub struct Shares {
    state: Arc<Mutex<State>>,
}

/// One share. Dropping it gives it back.
pub struct Share {
    shares: Shares,
    holder: Arc<str>,
    purpose: Purpose,
}

struct State {
    size: Size,
    free: usize,
    /// The shares of each holder that has any.
    held: HashMap<Arc<str>, Held>,
    /// The holders with waiting requests, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, Requests>,
}

/// The shares of a holder, by purpose: those of its polls must not block its moves.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    polls: usize,
    moves: usize,
}

impl Held {
    fn of(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Poll => &mut self.polls,
            Purpose::Move => &mut self.moves,
        }
    }
}

type Request = oneshot::Sender<Share>;

/// The waiting requests of a holder.
#[derive(Default)]
struct Requests {
    moves: VecDeque<Request>,
    polls: VecDeque<Request>,
}

impl Requests {
    fn of(&mut self, purpose: Purpose) -> &mut VecDeque<Request> {
        match purpose {
            Purpose::Poll => &mut self.polls,
            Purpose::Move => &mut self.moves,
        }
    }

    fn has(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Poll => !self.polls.is_empty(),
            Purpose::Move => !self.moves.is_empty(),
        }
    }

    fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.polls.is_empty()
    }
}

impl Shares {
    pub fn new(size: Size) -> Shares {
        let (held, turns, waiting) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Shares { state: Arc::new(Mutex::new(State { size, free: size.total, held, turns, waiting })) }
    }

    /// Waits for a share. Dropping the future ends the wait at once.
    pub async fn acquire(&self, holder: &Arc<str>, purpose: Purpose) -> Share {
        loop {
            let request = {
                let mut state = self.state.lock();
                if state.is_eligible(holder, purpose) {
                    state.take(holder, purpose);
                    return self.share(holder, purpose);
                }
                state.enqueue(holder, purpose)
            };
            let mut waiting = Waiting { shares: self, holder, ended: false };
            // The sender is dropped only with the state, which this future holds.
            if let Ok(share) = request.await {
                waiting.ended = true;
                return share;
            }
        }
    }

    fn share(&self, holder: &Arc<str>, purpose: Purpose) -> Share {
        Share { shares: self.clone(), holder: holder.clone(), purpose }
    }

    /// Gives the free shares to the waiting requests.
    fn grant(&self) {
        loop {
            let next = self.state.lock().next();
            let Some((holder, purpose, request)) = next else { return };
            // A request whose future was dropped returns its share here, without the lock.
            let _ = request.send(self.share(&holder, purpose));
        }
    }

    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.state.lock().free
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.values().map(|requests| requests.moves.len() + requests.polls.len()).sum()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.state.lock().give_back(&self.holder, self.purpose);
        self.shares.grant();
    }
}

/// A future that waits. Dropped, it leaves no request behind.
struct Waiting<'a> {
    shares: &'a Shares,
    holder: &'a Arc<str>,
    ended: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.shares.state.lock().forget_closed(self.holder);
        }
    }
}

impl State {
    fn is_eligible(&self, holder: &Arc<str>, purpose: Purpose) -> bool {
        let Held { polls, moves } = self.held.get(holder).copied().unwrap_or_default();
        let (held, free) = match purpose {
            Purpose::Poll => (polls + moves, self.free.saturating_sub(self.size.reserve)),
            Purpose::Move => (moves, self.free),
        };
        held < free && polls + moves < self.size.per_holder
    }

    fn take(&mut self, holder: &Arc<str>, purpose: Purpose) {
        self.free -= 1;
        *self.held.entry(holder.clone()).or_default().of(purpose) += 1;
    }

    fn give_back(&mut self, holder: &Arc<str>, purpose: Purpose) {
        self.free += 1;
        if let Some(held) = self.held.get_mut(holder) {
            *held.of(purpose) -= 1;
            if held.polls + held.moves == 0 {
                self.held.remove(holder);
            }
        }
    }

    fn enqueue(&mut self, holder: &Arc<str>, purpose: Purpose) -> oneshot::Receiver<Share> {
        let (granted, request) = oneshot::channel();
        if !self.waiting.contains_key(holder) {
            self.turns.push_back(holder.clone());
        }
        self.waiting.entry(holder.clone()).or_default().of(purpose).push_back(granted);
        request
    }

    /// The next request that can be granted, with its share taken. Its holder has its next turn after all others.
    fn next(&mut self) -> Option<(Arc<str>, Purpose, Request)> {
        [Purpose::Move, Purpose::Poll].into_iter().find_map(|purpose| {
            let turn = self.turns.iter().position(|holder| {
                self.is_eligible(holder, purpose)
                    && self.waiting.get(holder).is_some_and(|requests| requests.has(purpose))
            })?;
            let holder = self.turns.remove(turn)?;
            let requests = self.waiting.get_mut(&holder)?;
            let request = requests.of(purpose).pop_front()?;
            if requests.is_empty() {
                self.waiting.remove(&holder);
            } else {
                self.turns.push_back(holder.clone());
            }
            self.take(&holder, purpose);
            Some((holder, purpose, request))
        })
    }

    fn forget_closed(&mut self, holder: &Arc<str>) {
        let Some(requests) = self.waiting.get_mut(holder) else { return };
        requests.moves.retain(|request| !request.is_closed());
        requests.polls.retain(|request| !request.is_closed());
        if requests.is_empty() {
            self.waiting.remove(holder);
            self.turns.retain(|turn| turn != holder);
        }
    }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
