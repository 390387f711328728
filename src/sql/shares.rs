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
    /// The most of these that it can have for polls.
    pub polls_per_holder: usize,
}

/// The shares of one quantity; cheap to clone. A holder is a namespace, or an account in a namespace.
///
/// A holder with as many shares as are free gets no other one; for a move, only the shares of its moves count. So each of `n`
/// greedy holders ends with `1 / (n + 1)` of the shares, and as many stay free: a further holder always finds some, however
/// long the others keep theirs. Waiting holders take turns, and moves precede polls. A request for several shares takes them
/// together, and smaller requests of other holders do not wait for it.
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

/// All of them are granted together: two requests that each have a part would wait for each other.
struct Request {
    count: usize,
    granted: oneshot::Sender<Vec<Share>>,
}

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

    /// How many shares the next request is for.
    fn next_count(&self, purpose: Purpose) -> Option<usize> {
        let requests = match purpose {
            Purpose::Poll => &self.polls,
            Purpose::Move => &self.moves,
        };
        requests.front().map(|request| request.count)
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
            if let Some(share) = self.acquire_all(holder, purpose, 1).await.pop() {
                return share;
            }
        }
    }

    /// Waits until `count` shares can be taken at the same time.
    pub async fn acquire_all(&self, holder: &Arc<str>, purpose: Purpose, count: usize) -> Vec<Share> {
        loop {
            let request = {
                let mut state = self.state.lock();
                if state.is_eligible(holder, purpose, count) {
                    state.take(holder, purpose, count);
                    return self.shares(holder, purpose, count);
                }
                state.enqueue(holder, purpose, count)
            };
            let mut waiting = Waiting { shares: self, holder, ended: false };
            // The sender is dropped only with the state, which this future holds.
            if let Ok(shares) = request.await {
                waiting.ended = true;
                return shares;
            }
        }
    }

    fn shares(&self, holder: &Arc<str>, purpose: Purpose, count: usize) -> Vec<Share> {
        (0..count).map(|_| Share { shares: self.clone(), holder: holder.clone(), purpose }).collect()
    }

    /// Gives the free shares to the waiting requests.
    fn grant(&self) {
        loop {
            let next = self.state.lock().next();
            let Some((holder, purpose, request)) = next else { return };
            // A request whose future was dropped returns its share here, without the lock.
            let _ = request.granted.send(self.shares(&holder, purpose, request.count));
        }
    }

    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.state.lock().free
    }

    #[cfg(test)]
    pub fn taken(&self) -> usize {
        let state = self.state.lock();
        state.size.total - state.free
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
    /// Whether the holder can take so many shares, one after the other.
    fn is_eligible(&self, holder: &Arc<str>, purpose: Purpose, count: usize) -> bool {
        let Held { polls, moves } = self.held.get(holder).copied().unwrap_or_default();
        let Size { reserve, per_holder, polls_per_holder, .. } = self.size;
        let (held, free, limited) = match purpose {
            Purpose::Poll => (polls + moves, self.free.saturating_sub(reserve), polls + count > polls_per_holder),
            Purpose::Move => (moves, self.free, false),
        };
        // Before the last of them, the others are held and no longer free.
        let before = count.saturating_sub(1);
        held + before < free.saturating_sub(before) && polls + moves + count <= per_holder && !limited
    }

    fn take(&mut self, holder: &Arc<str>, purpose: Purpose, count: usize) {
        self.free -= count;
        *self.held.entry(holder.clone()).or_default().of(purpose) += count;
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

    fn enqueue(&mut self, holder: &Arc<str>, purpose: Purpose, count: usize) -> oneshot::Receiver<Vec<Share>> {
        let (granted, request) = oneshot::channel();
        if !self.waiting.contains_key(holder) {
            self.turns.push_back(holder.clone());
        }
        self.waiting.entry(holder.clone()).or_default().of(purpose).push_back(Request { count, granted });
        request
    }

    /// The next request that can be granted, with its share taken. Its holder has its next turn after all others.
    fn next(&mut self) -> Option<(Arc<str>, Purpose, Request)> {
        [Purpose::Move, Purpose::Poll].into_iter().find_map(|purpose| {
            let turn = self.turns.iter().position(|holder| {
                let count = self.waiting.get(holder).and_then(|requests| requests.next_count(purpose));
                count.is_some_and(|count| self.is_eligible(holder, purpose, count))
            })?;
            let holder = self.turns.remove(turn)?;
            let requests = self.waiting.get_mut(&holder)?;
            let request = requests.of(purpose).pop_front()?;
            if requests.is_empty() {
                self.waiting.remove(&holder);
            } else {
                self.turns.push_back(holder.clone());
            }
            self.take(&holder, purpose, request.count);
            Some((holder, purpose, request))
        })
    }

    fn forget_closed(&mut self, holder: &Arc<str>) {
        let Some(requests) = self.waiting.get_mut(holder) else { return };
        requests.moves.retain(|request| !request.granted.is_closed());
        requests.polls.retain(|request| !request.granted.is_closed());
        if requests.is_empty() {
            self.waiting.remove(holder);
            self.turns.retain(|turn| turn != holder);
        }
    }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
