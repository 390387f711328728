//! How many events a namespace publishes. A hostile server that changes its state at each poll would fill the API server with
//! events of the operator, and the recorder with their keys: it keeps each for six minutes and reads all at each event.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::Reason;

/// How many events a silent namespace can publish at once.
const BURST: u32 = 200;
/// How many of them are for what an administrator must not miss.
const RESERVED: u32 = 50;
/// The time after which it can publish one more: 20 each minute.
const EVERY: Duration = Duration::from_secs(3);
/// How often the log names a namespace whose events are dropped.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Published whatever else the namespace publishes. The planner bounds the moves.
const OF_A_MOVE: [Reason; 6] = [
    Reason::MoveStarted,
    Reason::MoveRetried,
    Reason::MoveSucceeded,
    Reason::MoveFailed,
    Reason::MoveSuperseded,
    Reason::ServiceForced,
];
/// The service, and the decisions that wait for an administrator.
const OF_SERVICE: [Reason; 11] = [
    Reason::NotServed,
    Reason::PrincipalLost,
    Reason::TwoPrincipals,
    Reason::IsolatedPrincipal,
    Reason::NoPrincipal,
    Reason::NoQuorum,
    Reason::UnexpectedPrincipal,
    Reason::SplitRoles,
    Reason::CircuitOpen,
    Reason::MirroringRemoved,
    Reason::ApprovalRemoved,
];

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    Publish,
    /// `is_news`: the log has not named the namespace for a while.
    Drop {
        is_news: bool,
    },
}

/// The budgets of the namespaces that published a moment ago.
#[derive(Default)]
pub struct EventBudget(Mutex<HashMap<String, Spent>>);

struct Spent {
    /// When the namespace can publish `BURST` events at once again.
    whole_at: Instant,
    logged: Option<Instant>,
}

impl EventBudget {
    pub fn take(&self, namespace: &str, reason: Reason, now: Instant) -> Grant {
        let mut all = self.0.lock();
        all.retain(|_, spent| spent.whole_at > now);
        let spent = all.entry(namespace.to_owned()).or_insert(Spent { whole_at: now, logged: None });
        let (next, most) = (spent.whole_at + EVERY, now + BURST * EVERY);
        let reserved = if OF_SERVICE.contains(&reason) { Duration::ZERO } else { RESERVED * EVERY };
        if next + reserved <= most || OF_A_MOVE.contains(&reason) {
            // The events of moves count, but not beyond the whole budget: the debt has an end.
            spent.whole_at = next.min(most);
            return Grant::Publish;
        }
        let is_news = spent.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOGGED_EVERY);
        if is_news {
            spent.logged = Some(now);
        }
        Grant::Drop { is_news }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_of_one_namespace_is_bounded_and_costs_no_other() {
        let (budget, start) = (EventBudget::default(), Instant::now());
        let (mut published, mut logged) = (0, 0);
        // Ten minutes with ten events a second.
        for tenth in 0..6_000 {
            match budget.take("evil", Reason::ConnectionRefused, start + Duration::from_millis(100 * tenth)) {
                Grant::Publish => published += 1,
                Grant::Drop { is_news } => logged += u32::from(is_news),
            }
        }
        let ordinary = BURST - RESERVED;
        assert!((ordinary + 195..=ordinary + 200).contains(&published), "{published}");
        assert!((1..=10).contains(&logged), "{logged}");
        let end = start + Duration::from_secs(600);
        assert_eq!(budget.take("lync", Reason::ConnectionRefused, end), Grant::Publish);
        assert_eq!(budget.0.lock().len(), 2);
        budget.take("lync", Reason::Aligned, end + BURST * EVERY + EVERY);
        assert_eq!(budget.0.lock().len(), 1, "a whole budget costs no memory");
    }

    #[test]
    fn events_of_moves_are_never_dropped_and_their_debt_has_an_end() {
        let (budget, start) = (EventBudget::default(), Instant::now());
        for _ in 0..10 * BURST {
            for reason in OF_A_MOVE {
                assert_eq!(budget.take("lync", reason, start), Grant::Publish, "{reason}");
            }
        }
        assert_eq!(budget.take("lync", Reason::Aligned, start), Grant::Drop { is_news: true });
        assert_eq!(budget.take("lync", Reason::Aligned, start), Grant::Drop { is_news: false });
        assert_eq!(budget.take("lync", Reason::Aligned, start + (RESERVED + 1) * EVERY), Grant::Publish);
    }

    #[test]
    fn ordinary_events_leave_the_reserved_part_to_the_service() {
        let (budget, start) = (EventBudget::default(), Instant::now());
        let published =
            |reason| (0..2 * BURST).filter(|_| budget.take("lync", reason, start) == Grant::Publish).count();
        assert_eq!(published(Reason::ConnectionRefused), (BURST - RESERVED) as usize);
        assert_eq!(published(Reason::TwoPrincipals), RESERVED as usize);
        assert_eq!(budget.take("lync", Reason::NotServed, start + EVERY), Grant::Publish);
    }
}
