//! What is known about tokens, and when the API server may be asked about another one. Time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::http::open_connections::network_of;

/// The SHA-256 of a token. The token itself is not kept.
pub type Digest = [u8; 32];

/// How long an answer of the API server applies. A revoked token or binding is noticed after this time.
const ALLOWED_FOR: Duration = Duration::from_secs(60);
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// How long a token that was allowed keeps its own share of the reviews, and for how many tokens.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
const MOST_KNOWN: usize = 32;
const MOST_REFUSED: usize = 128;

/// Between two reviews of unknown tokens: all together, and for one address.
const UNKNOWN_EVERY: Duration = Duration::from_millis(250);
const ADDRESS_EVERY: Duration = Duration::from_secs(2);

/// What the API server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// No valid token.
    Unauthenticated,
    /// A valid token whose user lacks the right.
    Forbidden,
}

/// What is to be done about a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Known(Verdict),
    /// The API server is to be asked about a token that was allowed before.
    Renew,
    /// The API server is to be asked about an unknown token.
    Ask,
    /// Other unknown tokens have used the share. Try again later.
    Busy,
}

/// Answers of the API server, and the last questions. Every list has a limit.
#[derive(Debug, Default)]
pub struct Reviews {
    /// The time of the last answer.
    allowed: HashMap<Digest, Instant>,
    refused: HashMap<Digest, (Verdict, Instant)>,
    asked_at: Option<Instant>,
    /// By network.
    asked_for: HashMap<IpAddr, Instant>,
}

impl Reviews {
    /// Counts the question if the answer is [`Next::Ask`].
    pub fn next(&mut self, token: &Digest, client: IpAddr, now: Instant) -> Next {
        let age = |at: Instant| now.saturating_duration_since(at);
        match self.allowed.get(token) {
            Some(at) if age(*at) < ALLOWED_FOR => return Next::Known(Verdict::Allowed),
            Some(at) if age(*at) < KNOWN_FOR => return Next::Renew,
            _ => {}
        }
        if let Some((verdict, at)) = self.refused.get(token)
            && age(*at) < REFUSED_FOR
        {
            return Next::Known(*verdict);
        }
        let client = network_of(client);
        self.asked_for.retain(|_, at| age(*at) < ADDRESS_EVERY);
        if self.asked_at.is_some_and(|at| age(at) < UNKNOWN_EVERY) || self.asked_for.contains_key(&client) {
            return Next::Busy;
        }
        self.asked_at = Some(now);
        self.asked_for.insert(client, now);
        Next::Ask
    }

    pub fn record(&mut self, token: Digest, verdict: Verdict, now: Instant) {
        if verdict == Verdict::Allowed {
            self.refused.remove(&token);
            evict_oldest(&mut self.allowed, MOST_KNOWN, |at| *at);
            self.allowed.insert(token, now);
        } else {
            self.allowed.remove(&token);
            evict_oldest(&mut self.refused, MOST_REFUSED, |(_, at)| *at);
            self.refused.insert(token, (verdict, now));
        }
    }
}

/// Removes the oldest entry of a list that is full.
fn evict_oldest<V>(list: &mut HashMap<Digest, V>, limit: usize, at: impl Fn(&V) -> Instant) {
    let oldest = list.iter().min_by_key(|(_, entry)| at(entry)).map(|(token, _)| *token);
    if let Some(oldest) = oldest.filter(|_| list.len() >= limit) {
        list.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn attacker(last: u8) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, last))
    }

    fn token(number: u64) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        digest
    }

    #[test]
    fn answer_of_the_api_server_applies_for_its_time() {
        let (mut reviews, start) = (Reviews::default(), Instant::now());
        assert_eq!(reviews.next(&token(1), SCRAPER, start), Next::Ask);
        reviews.record(token(1), Verdict::Allowed, start);
        let almost = start + ALLOWED_FOR - Duration::from_millis(1);
        assert_eq!(reviews.next(&token(1), SCRAPER, almost), Next::Known(Verdict::Allowed));
        assert_eq!(reviews.next(&token(1), SCRAPER, start + ALLOWED_FOR), Next::Renew);
        assert_eq!(reviews.next(&token(1), SCRAPER, start + KNOWN_FOR), Next::Ask, "no longer known");

        reviews.record(token(1), Verdict::Forbidden, start + ALLOWED_FOR);
        let later = start + ALLOWED_FOR + Duration::from_secs(1);
        assert_eq!(
            reviews.next(&token(1), SCRAPER, later),
            Next::Known(Verdict::Forbidden),
            "a right that was taken away"
        );
        assert_eq!(reviews.next(&token(1), SCRAPER, start + KNOWN_FOR + ALLOWED_FOR), Next::Ask);
    }

    #[test]
    fn flood_of_forged_tokens_is_bounded_and_a_known_token_is_not_delayed() {
        let (mut reviews, start) = (Reviews::default(), Instant::now());
        assert_eq!(reviews.next(&token(0), SCRAPER, start), Next::Ask);
        reviews.record(token(0), Verdict::Allowed, start);
        // 60 seconds, each millisecond another token, from 100 addresses.
        let mut asked = 0;
        for millis in 1..60_000_u64 {
            let now = start + Duration::from_millis(millis);
            if reviews.next(&token(millis), attacker((millis % 100) as u8), now) == Next::Ask {
                asked += 1;
                reviews.record(token(millis), Verdict::Unauthenticated, now);
            }
        }
        assert!((230..=240).contains(&asked), "four a second: {asked}");
        assert!(reviews.refused.len() <= MOST_REFUSED && reviews.asked_for.len() <= 9, "{}", reviews.asked_for.len());
        assert_eq!(reviews.next(&token(0), SCRAPER, start + ALLOWED_FOR), Next::Renew);
    }

    #[test]
    fn flood_from_one_address_leaves_the_share_of_others() {
        let (mut reviews, start) = (Reviews::default(), Instant::now());
        let asked = (0..10_000_u64)
            .filter(|millis| {
                reviews.next(&token(*millis), attacker(1), start + Duration::from_millis(*millis)) == Next::Ask
            })
            .count();
        assert_eq!(asked, 5, "one each two seconds");
        assert_eq!(reviews.next(&token(0), SCRAPER, start + Duration::from_secs(9)), Next::Ask);
    }

    #[test]
    fn flood_from_the_addresses_of_one_network_is_that_of_one_client() {
        let (mut reviews, start) = (Reviews::default(), Instant::now());
        let client = |number: u64| IpAddr::from(((0x2001_0db8 << 96) | u128::from(number)).to_be_bytes());
        let asked = (0..10_000_u64)
            .filter(|millis| {
                let now = start + Duration::from_millis(*millis);
                reviews.next(&token(*millis), client(*millis), now) == Next::Ask
            })
            .count();
        assert_eq!(asked, 5, "one each two seconds");
        assert_eq!(reviews.asked_for.len(), 1);
    }

    #[test]
    fn list_of_known_tokens_has_a_limit() {
        let (mut reviews, start) = (Reviews::default(), Instant::now());
        for number in 0..1_000 {
            reviews.record(token(number), Verdict::Allowed, start + Duration::from_millis(number));
            reviews.record(token(10_000 + number), Verdict::Forbidden, start + Duration::from_millis(number));
        }
        assert_eq!((reviews.allowed.len(), reviews.refused.len()), (MOST_KNOWN, MOST_REFUSED));
        assert!(reviews.allowed.contains_key(&token(999)), "the oldest is removed");
    }
}
