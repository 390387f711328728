//! Several pools, one line each.

use jiff::Timestamp;

use crate::cli::pool::Pool;
use crate::cli::view::text;

/// `wide` adds the message.
pub fn render(pools: &[Pool], wide: bool, width: Option<usize>, now: Timestamp) -> String {
    let header = ["NAMESPACE", "NAME", "POOL", "SERVICE", "PRINCIPALS", "REASON", "STATE", "MESSAGE"];
    let columns = if wide { header.len() } else { header.len() - 1 };
    let row = |pool: &Pool| {
        let ready = pool.condition("Ready");
        let row = vec![
            pool.namespace.clone(),
            pool.name.clone(),
            pool.fqdn().to_owned(),
            pool.service().to_string(),
            pool.status.principals.clone().unwrap_or_default(),
            ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
            pool.exit(now).words().to_owned(),
            ready.map(|ready| ready.message.clone()).unwrap_or_default(),
        ];
        row.into_iter().take(columns).collect()
    };
    text::table(&header[..columns], &pools.iter().map(row).collect::<Vec<_>>(), width)
}
