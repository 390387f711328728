//! What the operator made of Secrets and ConfigMaps. Each object is read once, for all who need it, and dropped with its last user.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::Unavailable;

/// The age at which a failure is tried again.
const FAILURE_AGE: Duration = Duration::from_secs(5);
/// The largest number of values of one object, as a spec that is edited again and again makes a new one each time.
const VALUES: usize = 8;

/// The namespace and the name of an object.
pub type ObjectKey = (String, String);
pub type Resolved<T> = Result<T, Unavailable>;

/// The values of type `T` by object, and within an object by what was wanted of it.
pub struct ObjectCache<W, T>(Mutex<HashMap<ObjectKey, Shared<W, T>>>);

/// Locked during a request.
type Shared<W, T> = Arc<tokio::sync::Mutex<Object<W, T>>>;

struct Object<W, T> {
    /// When the object was last read, and its resource version.
    read: Option<(Instant, Option<String>)>,
    /// When the last attempt to read it failed, and why.
    failed: Option<(Instant, String)>,
    values: HashMap<W, Resolved<T>>,
}

/// The result of a request.
pub enum Reading<T> {
    /// The API server answered about the object. The version is None if there is none.
    Answered { version: Option<String>, value: Resolved<T> },
    /// There is no answer about the object: an older value is still the best one.
    NoAnswer(String),
}

impl<W, T> Default for ObjectCache<W, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<W: Eq + Hash, T: Clone> ObjectCache<W, T> {
    /// The cached value if it is not older than `max_age`, else that of a request. Callers that wait for the same request share
    /// its result. `unreadable`: the value if there was never an answer.
    pub async fn get(
        &self,
        key: ObjectKey,
        wanted: W,
        max_age: Duration,
        request: impl AsyncFnOnce() -> Reading<T>,
        unreadable: impl FnOnce(&str) -> Unavailable,
    ) -> Resolved<T> {
        let asked = Instant::now();
        let object = self.0.lock().entry(key).or_default().clone();
        let mut object = object.lock().await;
        if let Some(value) = object.current(&wanted, asked, max_age) {
            return value;
        }
        let why = match object.failed.as_ref().filter(|(at, _)| *at >= asked) {
            Some((_, why)) => why.clone(),
            None => match request().await {
                Reading::Answered { version, value } => return object.store(version, wanted, value),
                Reading::NoAnswer(why) => {
                    object.failed = Some((Instant::now(), why.clone()));
                    why
                }
            },
        };
        object.values.get(&wanted).cloned().unwrap_or_else(|| Err(unreadable(&why)))
    }

    pub fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }

    pub fn forget_all(&self) {
        self.0.lock().clear();
    }

    #[cfg(test)]
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.0.lock().keys().cloned().collect()
    }
}

impl<W, T> Default for Object<W, T> {
    fn default() -> Self {
        Self { read: None, failed: None, values: HashMap::new() }
    }
}

impl<W: Eq + Hash, T: Clone> Object<W, T> {
    fn current(&self, wanted: &W, asked: Instant, max_age: Duration) -> Option<Resolved<T>> {
        let (at, _) = self.read.as_ref()?;
        let value = self.values.get(wanted)?;
        let max_age = if value.is_ok() { max_age } else { FAILURE_AGE.min(max_age) };
        (*at >= asked || at.elapsed() < max_age).then(|| value.clone())
    }

    /// An unchanged object keeps its values: two copies of a password would be one too many.
    fn store(&mut self, version: Option<String>, wanted: W, value: Resolved<T>) -> Resolved<T> {
        let unchanged = version.is_some() && self.read.as_ref().is_some_and(|(_, before)| *before == version);
        if !unchanged || self.values.len() >= VALUES {
            self.values.clear();
        }
        (self.read, self.failed) = (Some((Instant::now(), version)), None);
        self.values.entry(wanted).or_insert(value).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::UnavailableCause;

    const AGE: Duration = Duration::from_secs(60);

    fn unreadable(why: &str) -> Unavailable {
        Unavailable { cause: UnavailableCause::CredentialsUnreadable, detail: why.to_owned() }
    }

    struct Server {
        cache: ObjectCache<&'static str, String>,
        requests: AtomicUsize,
    }

    impl Server {
        fn new() -> Server {
            Server { cache: ObjectCache::default(), requests: AtomicUsize::new(0) }
        }

        async fn get(&self, wanted: &'static str, max_age: Duration, version: Option<&str>) -> Resolved<String> {
            let request = async || {
                let number = self.requests.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
                match version {
                    Some("absent") => Reading::Answered { version: None, value: Err(unreadable("absent")) },
                    Some(version) => {
                        Reading::Answered { version: Some(version.to_owned()), value: Ok(format!("{wanted}{number}")) }
                    }
                    None => Reading::NoAnswer("silent".to_owned()),
                }
            };
            self.cache.get(("lync".to_owned(), "sql".to_owned()), wanted, max_age, request, unreadable).await
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn object_is_read_once_by_all_who_ask_together() {
        let server = Server::new();
        let all = futures::future::join_all((0..100).map(|_| server.get("a", AGE, Some("1")))).await;
        assert!(all.iter().all(|value| value.as_deref() == Ok("a0")));
        let none = futures::future::join_all((0..100).map(|_| server.get("b", AGE, None))).await;
        assert!(none.iter().all(Result::is_err));
        assert_eq!(server.requests(), 2, "a failure is shared too");
    }

    #[tokio::test(start_paused = true)]
    async fn value_is_read_again_at_its_age_and_kept_while_the_object_is_unchanged() {
        let server = Server::new();
        assert_eq!(server.get("a", AGE, Some("1")).await.as_deref(), Ok("a0"));
        tokio::time::advance(AGE - Duration::from_secs(1)).await;
        assert_eq!(server.get("a", AGE, Some("2")).await.as_deref(), Ok("a0"));
        assert_eq!(server.get("a", Duration::from_secs(10), Some("1")).await.as_deref(), Ok("a0"));
        assert_eq!(server.requests(), 2, "a caller can want a younger one");
        tokio::time::advance(AGE).await;
        assert_eq!(server.get("a", AGE, Some("2")).await.as_deref(), Ok("a2"));
        tokio::time::advance(AGE).await;
        assert_eq!(server.get("a", AGE, None).await.as_deref(), Ok("a2"), "no answer proves nothing about the object");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(server.get("a", AGE, Some("absent")).await.is_err());
        assert!(server.get("a", AGE, None).await.is_err(), "what is gone is gone");
        assert_eq!(server.requests(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn values_of_an_object_are_bounded() {
        let server = Server::new();
        for wanted in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            assert!(server.get(wanted, AGE, Some("1")).await.is_ok());
        }
        let objects = server.cache.0.lock();
        assert!(objects.values().all(|object| object.try_lock().unwrap().values.len() <= VALUES));
    }
}
