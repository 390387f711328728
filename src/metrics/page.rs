//! The encoded page, shared by all its clients: with many resources it is large, and many slow clients would each keep one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// A page is encoded at most once in this time.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// How many pages slow clients can keep. Beyond, a client gets the newest of them.
const MOST_PAGES: usize = 4;

/// The format of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// The text format 0.0.4, which every scraper reads.
    Text,
}

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

impl Metrics {
    /// The page of this moment, or that of another client a moment ago.
    pub async fn page(&self, format: Format) -> Page {
        // Held while the page is encoded, so that clients that come meanwhile share it.
        let mut kept = self.pages(format).0.lock().await;
        kept.retain(|kept| kept.page.strong_count() > 0);
        let newest = kept.last().and_then(|last| Some((last.encoded, last.page.upgrade()?)));
        if let Some((encoded, page)) = newest {
            if encoded.elapsed() < SHARED_FOR || kept.len() >= MOST_PAGES {
                return Page(page);
            }
        }
        let (metrics, encoded) = (self.clone(), Instant::now());
        let text = tokio::task::spawn_blocking(move || match format {
            Format::OpenMetrics => metrics.encode(),
            Format::Text => metrics.encode_text(),
        });
        let page = Arc::new(text.await.unwrap_or_default());
        kept.push(Kept { encoded, page: Arc::downgrade(&page) });
        // Kept for the clients of this second, and not for longer.
        let shared = page.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SHARED_FOR).await;
            drop(shared);
        });
        Page(page)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use futures::future::join_all;

    use super::*;

    fn identity(page: &Page) -> *const String {
        Arc::as_ptr(&page.0)
    }

    #[tokio::test(start_paused = true)]
    async fn clients_of_one_second_share_a_page_that_ends_with_them() {
        let metrics = Metrics::new();
        let pages = join_all((0..64).map(|_| metrics.page(Format::Text))).await;
        assert_eq!(pages.iter().map(identity).collect::<HashSet<_>>().len(), 1);
        assert!(!pages[0].0.ends_with("# EOF\n") && metrics.page(Format::OpenMetrics).await.0.ends_with("# EOF\n"));
        let weak = Arc::downgrade(&pages[0].0);
        drop(pages);
        assert_eq!(weak.strong_count(), 1);
        tokio::time::sleep(2 * SHARED_FOR).await;
        assert_eq!(weak.strong_count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn page_of_a_later_second_is_new_until_slow_clients_keep_too_many() {
        let metrics = Metrics::new();
        let mut slow = Vec::new();
        for _ in 0..3 * MOST_PAGES {
            slow.push(metrics.page(Format::Text).await);
            tokio::time::sleep(2 * SHARED_FOR).await;
        }
        assert_eq!(slow.iter().map(identity).collect::<HashSet<_>>().len(), MOST_PAGES);
        metrics.set_leader(true);
        let leads = |page: &Page| page.0.contains("\nlync_mirror_leader 1\n");
        assert!(!leads(&metrics.page(Format::Text).await), "the newest of the slow clients");
        drop(slow);
        assert!(leads(&metrics.page(Format::Text).await), "a page after the slow clients");
    }
}
