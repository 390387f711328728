//! Opens the sessions of one instance. Polls and moves share its memory: the last port that worked, and the pause after a
//! refused login.

use std::time::Duration;

use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::address::{self, LastPort, Route};
use crate::sql::limits::{Limits, Opening};
use crate::sql::shares::{Purpose, Share};
use crate::sql::{Deadlines, InstanceAddress, Session, Target};

/// The longest pause after a refused login: SQL Server or the domain may lock an account after frequent failures.
const MAX_PAUSE: Duration = Duration::from_secs(60);

pub struct Connector {
    pub target: Target,
    pub deadlines: Deadlines,
    pub limits: Limits,
    /// The shortest pause after a refused login is twice this time.
    interval: Duration,
    last_port: LastPort,
    refused: Mutex<Refused>,
}

/// The refused logins since the last accepted one.
#[derive(Default)]
struct Refused {
    count: u32,
    last: Option<(Instant, Unavailable)>,
}

impl Connector {
    pub fn new(target: Target, deadlines: Deadlines, limits: Limits, interval: Duration) -> Connector {
        let (last_port, refused) = (LastPort::default(), Mutex::default());
        Connector { target, deadlines, limits, interval, last_port, refused }
    }

    /// The end of the pause after a refused login, if it is not over.
    pub fn paused_until(&self) -> Option<Instant> {
        self.refusal().map(|(until, _)| until)
    }

    /// The port of the last accepted login. None: the target has a port, or there was none.
    pub fn last_port(&self) -> Option<u16> {
        match self.target.endpoint {
            InstanceAddress::Port(_) => None,
            InstanceAddress::Instance(_) => self.last_port.get(),
        }
    }

    /// The port that a former process logged in at. One of this process is newer.
    pub fn restore_port(&self, port: u16) {
        self.last_port.restore(port);
    }

    fn refusal(&self) -> Option<(Instant, Unavailable)> {
        self.refused.lock().last.clone().filter(|(until, _)| Instant::now() < *until)
    }

    /// Opens a session, unless the pause after a refused login is not over.
    ///
    /// # Errors
    /// The cause for which the instance is unavailable. During a pause, the refusal that began it.
    pub async fn open(&self) -> Result<Session, Unavailable> {
        let opening = self.opening(Purpose::Poll);
        let open = async {
            let share = opening.connection(&self.target).await?;
            self.session(&self.route(&opening).await?, &opening, share).await
        };
        self.unless_paused(open).await
    }

    /// Opens `count` sessions for moves: the first alone, so that wrong credentials cost one refused login.
    ///
    /// # Errors
    /// The first connection that fails; the other sessions are closed.
    pub async fn open_all(&self, count: usize) -> Result<Vec<Session>, Unavailable> {
        let opening = self.opening(Purpose::Move);
        let open_all = async {
            // Together: two moves that each have a part of their shares would wait for each other.
            let mut shares = opening.connections(&self.target, count).await?.into_iter();
            let route = self.route(&opening).await?;
            let mut sessions = Vec::new();
            if let Some(share) = shares.next() {
                sessions.push(self.session(&route, &opening, share).await?);
            }
            let others = shares.map(async |share| self.session(&route, &opening, share).await);
            sessions.extend(try_join_all(others).await?);
            Ok(sessions)
        };
        self.unless_paused(open_all).await
    }

    async fn unless_paused<T>(&self, login: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
        if let Some((_, refusal)) = self.refusal() {
            return Err(refusal);
        }
        let started = Instant::now();
        let result = login.await;
        self.record(started, result.as_ref().err());
        result
    }

    fn opening(&self, purpose: Purpose) -> Opening {
        Opening { deadlines: self.deadlines, limits: self.limits.clone(), purpose }
    }

    async fn route(&self, opening: &Opening) -> Result<Route, Unavailable> {
        address::resolve(&self.target, opening, &self.last_port).await
    }

    async fn session(&self, route: &Route, opening: &Opening, share: Share) -> Result<Session, Unavailable> {
        let session = Session::open_at(&self.target, route, opening, share).await?;
        self.last_port.set(session.port());
        Ok(session)
    }

    fn record(&self, started: Instant, failure: Option<&Unavailable>) {
        let mut refused = self.refused.lock();
        match failure {
            None => *refused = Refused::default(),
            Some(unavailable) if is_refused_login(unavailable.cause) => {
                refused.count = refused.count.saturating_add(1);
                let until = started + pause(self.interval, refused.count);
                refused.last = Some((until, unavailable.clone()));
            }
            // The login did not take place, which proves nothing about the credentials.
            Some(_) => refused.last = None,
        }
    }
}

/// Whether the failure counts as a refused login. In single-user mode, frequent logins would take the only connection.
fn is_refused_login(cause: UnavailableCause) -> bool {
    matches!(
        cause,
        UnavailableCause::LoginFailed
            | UnavailableCause::LoginLocked
            | UnavailableCause::PasswordExpired
            | UnavailableCause::NoKerberosCredentials
            | UnavailableCause::SingleUser
    )
}

fn pause(interval: Duration, refused: u32) -> Duration {
    let pause = interval.saturating_mul(2_u32.saturating_pow(refused.min(16)));
    pause.min(MAX_PAUSE.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::fake_server::{FakeServer, Script};

    #[test]
    fn pause_after_refused_logins_doubles_to_the_limit() {
        let (interval, hour) = (Duration::from_secs(5), Duration::from_secs(3600));
        assert_eq!(pause(interval, 0), interval);
        assert_eq!(pause(interval, 1), 2 * interval);
        assert_eq!(pause(interval, 40), MAX_PAUSE);
        assert_eq!(pause(hour, 3), hour);
    }

    #[tokio::test]
    async fn paused_until_is_in_the_future_after_a_refused_login_only() {
        let server = FakeServer::start(Script::refusing(18456)).await;
        let hour = Duration::from_secs(3600);
        let connector = Connector::new(server.target.clone(), Deadlines::default(), Limits::default(), hour);
        assert_eq!(connector.paused_until(), None);
        assert!(connector.open().await.is_err());
        assert!(connector.paused_until().is_some_and(|until| until > Instant::now()));
    }

    #[test]
    fn refused_login_is_none_of_the_states_of_a_server() {
        for state in [
            UnavailableCause::ServerStarting,
            UnavailableCause::ServerStopping,
            UnavailableCause::ServerPaused,
            UnavailableCause::LogonTriggerFailed,
            UnavailableCause::ConnectionLimit,
            UnavailableCause::LoginError,
            UnavailableCause::KdcUnreachable,
        ] {
            assert!(!is_refused_login(state), "{state:?}");
        }
        assert!(is_refused_login(UnavailableCause::SingleUser) && is_refused_login(UnavailableCause::PasswordExpired));
    }
}
