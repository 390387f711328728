//! The encoded page, shared by all its clients: with many resources it is large, and many slow clients would each keep one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio::time::Instant;

/// A page is encoded at most once in this time.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// How many pages slow clients can keep. Beyond, a client gets the newest of them.
const MOST_PAGES: usize = 4;

/// The page in one format. Clones share it.
#[derive(Debug, Clone)]
pub struct Page(Arc<String>);

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The pages of one format that clients still read, the newest last.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    encoded: Instant,
    page: Weak<String>,
}

impl Pages {
    /// The page of this moment, or that of another client a moment ago.
    ///
    /// # Errors
    /// The encoder panicked.
    pub async fn share(&self, encode: impl FnOnce() -> String + Send + 'static) -> Result<Page, JoinError> {
        // Held while the page is encoded, so that clients that come meanwhile share it.
        let mut kept = self.0.lock().await;
        kept.retain(|kept| kept.page.strong_count() > 0);
        let newest = kept.last().and_then(|last| Some((last.encoded, last.page.upgrade()?)));
        if let Some((encoded, page)) = newest
            && (encoded.elapsed() < SHARED_FOR || kept.len() >= MOST_PAGES)
        {
            return Ok(Page(page));
        }
        let encoded = Instant::now();
        let page = Arc::new(tokio::task::spawn_blocking(encode).await?);
        kept.push(Kept { encoded, page: Arc::downgrade(&page) });
        // Kept for the clients of this second, and not for longer.
        let shared = page.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SHARED_FOR).await;
            drop(shared);
        });
        Ok(Page(page))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use futures::future::try_join_all;

    use super::*;

    fn identity(page: &Page) -> *const String {
        Arc::as_ptr(&page.0)
    }

    #[tokio::test(start_paused = true)]
    async fn clients_of_one_second_share_a_page_that_ends_with_them() {
        let pages = Pages::default();
        let read = try_join_all((0..64).map(|number| pages.share(move || number.to_string()))).await.unwrap();
        assert_eq!(read.iter().map(identity).collect::<HashSet<_>>().len(), 1);
        assert_eq!(read[63].as_ref(), b"0");
        let weak = Arc::downgrade(&read[0].0);
        drop(read);
        assert_eq!(weak.strong_count(), 1);
        tokio::time::sleep(2 * SHARED_FOR).await;
        assert_eq!(weak.strong_count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn page_of_a_later_second_is_new_until_slow_clients_keep_too_many() {
        let pages = Pages::default();
        let mut slow = Vec::new();
        for number in 0..3 * MOST_PAGES {
            slow.push(pages.share(move || number.to_string()).await.unwrap());
            tokio::time::sleep(2 * SHARED_FOR).await;
        }
        assert_eq!(slow.iter().map(identity).collect::<HashSet<_>>().len(), MOST_PAGES);
        let new = async || pages.share(|| "new".to_owned()).await.unwrap();
        assert_eq!(new().await.as_ref(), b"3", "the newest of the slow clients");
        drop(slow);
        assert_eq!(new().await.as_ref(), b"new");
    }

    #[tokio::test]
    async fn page_that_cannot_be_encoded_is_an_error_and_not_kept() {
        let pages = Pages::default();
        assert!(pages.share(|| panic!("no page")).await.is_err());
        assert_eq!(pages.share(|| "new".to_owned()).await.unwrap().as_ref(), b"new");
    }
}
