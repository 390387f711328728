//! Credentials that become invalid while the session of the polls is open.

use std::time::Duration;

use crate::support::client;
use lync_mirror::model::UnavailableCause;
use lync_mirror::sql::{Deadlines, InstanceMonitors};
use mirror_sim::config::{Config, TlsMode};
use mirror_sim::sim::Sim;
use serde_json::json;

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn password_changed_on_the_server_is_noticed_while_the_session_is_open() {
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| server.tls.mode = TlsMode::Required);
    let sim = Sim::start(config).await.unwrap();
    let monitors = InstanceMonitors::new(NEVER, Deadlines::default());
    let watch = monitors.watch(&client::target(sim.address("a"), client::verify(&sim)));
    assert_eq!(watch.refresh().await.available().unwrap().stale_login, None);
    let set = |password: &str| {
        sim.do_json(json!({ "do": "setPassword", "server": "a", "login": "operator", "password": password })).unwrap();
    };
    set("another");
    let mut changes = monitors.changes();
    watch.verify_login();
    changes.recv().await.unwrap();
    let observation = watch.refresh().await;
    let stale = observation.available().unwrap().stale_login.clone().unwrap();
    assert_eq!(stale.cause, UnavailableCause::LoginFailed, "{}", stale.detail);
    // One login of the session and one of the verification: the pause after the refusal is not over.
    watch.verify_login();
    watch.refresh().await;
    assert_eq!(sim.logins(0).len(), 2);
    assert_eq!(sim.failures(), Vec::<String>::new());
}
