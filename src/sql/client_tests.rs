//! The monitors and sessions against a server with scripted responses.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::model::{
    Act, Answer, DatabaseName, Failover, Guid, Seat, Server, ServerObservation, Unavailable, UnavailableCause,
};
use crate::sql::fake_server::{FakeServer, Script, ack, done, error, info, refusal};
use crate::sql::tests::short;
use crate::sql::{
    Account, Authentication, Deadlines, InstanceAddress, InstanceMonitors, Limits, MonitorHandle, Target,
    connect_for_moves, fail_over,
};

/// So long that only requested polls happen.
const HOUR: Duration = Duration::from_secs(3600);

fn monitors() -> InstanceMonitors {
    InstanceMonitors::new(HOUR, Deadlines::default())
}

#[track_caller]
fn available(observation: &ServerObservation) -> &Server {
    observation.available().unwrap_or_else(|| panic!("{observation:?}"))
}

#[track_caller]
fn unavailable(observation: ServerObservation) -> Unavailable {
    match observation {
        ServerObservation::Unavailable { unavailable, .. } => unavailable,
        ServerObservation::Available { .. } => panic!("available"),
    }
}

async fn poll(script: Script) -> ServerObservation {
    let server = FakeServer::start(script).await;
    monitors().watch(&server.target).refresh().await
}

#[tokio::test]
async fn refresh_of_a_refused_login_waits_for_the_pause() {
    for number in [18456, 18486, 18487, 18461] {
        let server = FakeServer::start(Script::refusing(number)).await;
        let monitors = monitors();
        let watch = monitors.watch(&server.target);
        for _ in 0..40 {
            let detail = unavailable(watch.refresh().await).detail;
            assert!(detail.contains(&number.to_string()), "{detail}");
        }
        assert_eq!(server.logins(), 1, "{number}: the pause is an hour, as is the interval");
        // The moves and the comparison of the servers use the same credentials.
        assert!(monitors.connect_for_moves(&server.target, 3).await.is_err());
        assert!(monitors.inventory(&server.target).await.is_err());
        assert_eq!(server.logins(), 1, "{number}");
    }
}

/// The network limits bytes, and the driver makes megabytes of few of them.
#[tokio::test]
async fn poll_with_a_response_that_costs_too_much_is_refused() {
    let column = [0, 0, 0, 0, 1, 0, 0x26, 1, 0];
    let columns = [&[0x81, 0xfe, 0xff][..], &column.repeat(65_534)].concat();
    let nulls = [&columns[..], &[&[0xd2][..], &[0xff; 8192]].concat().repeat(800), &done(0)].concat();
    let empty_rows = [&[0x81, 0, 0][..], &vec![0xd1; 7 << 20], &done(0)].concat();
    let long =
        [&[0x81, 1, 0, 0, 0, 0, 0, 1, 0, 0xe7, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xd1][..], &[0xfe, 0xff], &[0xff; 6]];
    let long = [&long.concat()[..], &4_000_000_u32.to_le_bytes(), &vec![b'a'; 4_000_000], &[0; 4], &done(0)].concat();
    for (batch, what) in [(nulls, "64 columns"), (empty_rows, "32 MiB of memory"), (long, "64 KiB")] {
        let observation = poll(Script { batch, ..Script::healthy() }).await;
        let unavailable = unavailable(observation);
        assert_eq!(unavailable.cause, UnavailableCause::ProtocolError, "{}", unavailable.detail);
        assert!(unavailable.detail.contains(what), "{}", unavailable.detail);
    }
    let login = [&[0x81, 0xfe, 0xff][..], &column.repeat(65_534)].concat();
    let refused = unavailable(poll(Script { login, ..Script::healthy() }).await);
    assert!(refused.detail.contains("contains a token"), "the login too: {}", refused.detail);
}

#[tokio::test]
async fn poll_with_a_long_name_keeps_what_a_name_can_have() {
    let observation = poll(Script::named(&"é".repeat(30_000))).await;
    assert_eq!(available(&observation).name, "é".repeat(128));
}

#[tokio::test]
async fn refresh_of_a_server_that_is_not_ready_logs_in_each_time() {
    let server = FakeServer::start(Script::refusing(17187)).await;
    let monitors = monitors();
    let watch = monitors.watch(&server.target);
    for _ in 0..4 {
        assert_eq!(unavailable(watch.refresh().await).cause, UnavailableCause::ServerStarting);
    }
    assert!(server.logins() >= 4, "{}", server.logins());
    server.change(|script| *script = Script::healthy());
    available(&watch.refresh().await);
}

/// Error 17809 closes the connection, with or without an ERROR token. It is no refusal of the credentials.
#[tokio::test]
async fn refresh_of_a_server_without_a_free_connection_names_the_limit_and_logs_in_each_time() {
    let text = "Could not connect because the maximum number of user connections has been reached.";
    for login in [refusal(17_809), info(17_809, text), [info(17_809, text), done(2)].concat()] {
        let server = FakeServer::start(Script { login, ..Script::healthy() }).await;
        let monitors = monitors();
        let watch = monitors.watch(&server.target);
        for _ in 0..3 {
            let full = unavailable(watch.refresh().await);
            assert_eq!(full.cause, UnavailableCause::ConnectionLimit, "{}", full.detail);
            assert!(full.detail.contains("17809") && full.detail.contains("To fix: "), "{}", full.detail);
        }
        assert!(server.logins() >= 3, "{}", server.logins());
        server.change(|script| *script = Script::healthy());
        available(&watch.refresh().await);
    }
}

#[tokio::test]
async fn connect_for_moves_with_wrong_credentials_costs_one_login() {
    let server = FakeServer::start(Script::refusing(18456)).await;
    let sessions = monitors().connect_for_moves(&server.target, 7).await;
    assert_eq!(sessions.err().unwrap().cause, UnavailableCause::LoginFailed);
    assert_eq!(server.logins(), 1);
}

#[tokio::test]
async fn session_that_ended_while_idle_is_renewed_in_the_same_poll() {
    let server = FakeServer::start(Script { close: true, ..Script::healthy() }).await;
    let monitors = monitors();
    let watch = monitors.watch(&server.target);
    for _ in 0..5 {
        let observation = watch.refresh().await;
        assert_eq!(available(&observation).local_name.as_deref(), Some("OLD-A"));
    }
    let counters = monitors.counters();
    assert_eq!((counters.poll_failures, counters.connections), (0, counters.polls), "one connection for each poll");
}

#[tokio::test]
async fn session_that_ends_without_any_answer_is_renewed_only_once() {
    let server = FakeServer::start(Script::healthy()).await;
    let watch = monitors().watch(&server.target);
    available(&watch.refresh().await);
    server.change(|script| (script.batch, script.close) = (Vec::new(), true));
    let unavailable = unavailable(watch.refresh().await);
    assert_eq!(unavailable.cause, UnavailableCause::ProtocolError, "{unavailable:?}");
    assert!(unavailable.detail.contains("ends without DONE"), "{}", unavailable.detail);
}

#[tokio::test]
async fn response_with_a_failed_status_is_a_failed_poll() {
    let healthy = Script::healthy().batch;
    let cut = healthy.len() - done(0).len();
    for (status, words) in
        [(2, "marked the response as failed"), (0x100, "marked"), (0x102, "marked"), (1, "breaks off")]
    {
        let batch = [&healthy[..cut], &done(status)].concat();
        let unavailable = unavailable(poll(Script { batch, ..Script::healthy() }).await);
        assert_eq!(unavailable.cause, UnavailableCause::ProtocolError, "{status}");
        assert!(unavailable.detail.contains(words), "{}", unavailable.detail);
    }
    let batch = [error(1222, "Lock request time out period exceeded."), done(2)].concat();
    let unavailable = unavailable(poll(Script { batch, ..Script::healthy() }).await);
    assert_eq!(unavailable.cause, UnavailableCause::QueryFailed);
    assert!(unavailable.detail.contains("holds a lock on the system catalog"), "{}", unavailable.detail);
}

#[tokio::test]
async fn login_without_an_acknowledgement_is_no_login() {
    for status in [0, 2] {
        let unavailable = unavailable(poll(Script { login: done(status), ..Script::healthy() }).await);
        assert_eq!(unavailable.cause, UnavailableCause::ProtocolError, "{unavailable:?}");
        assert!(unavailable.detail.contains("did not acknowledge the login"), "{}", unavailable.detail);
    }
    let empty = unavailable(poll(Script { login: Vec::new(), ..Script::healthy() }).await);
    assert_eq!(empty.cause, UnavailableCause::ProtocolError, "{empty:?}");
}

#[tokio::test]
async fn login_in_an_old_version_of_tds_names_the_version() {
    for (version, words) in [([0x71, 0, 0, 1], "speaks TDS 7.1."), ([0x72, 9, 0, 2], "speaks TDS 7.2.")] {
        let login = [ack(version), done(0)].concat();
        let unavailable = unavailable(poll(Script { login, ..Script::healthy() }).await);
        assert_eq!(unavailable.cause, UnavailableCause::ServerTooOld);
        assert!(unavailable.detail.contains(words), "{}", unavailable.detail);
    }
    available(&poll(Script { login: [ack([0x73, 0x0b, 0, 3]), done(0)].concat(), ..Script::healthy() }).await);
}

#[tokio::test]
async fn text_of_a_server_has_one_line_and_a_limit() {
    let text = format!("first\r\nsecond\u{2028}third\u{202e}{}", "x".repeat(3000));
    let login = [error(50_000, &text), done(2)].concat();
    let detail = unavailable(poll(Script { login, ..Script::healthy() }).await).detail;
    assert!(detail.contains("first second third x") && detail.chars().count() < 400, "{detail}");
    assert!(!detail.contains(['\r', '\n', '\u{2028}', '\u{202e}']), "{detail}");
    let login = [error(50_000, ""), done(2)].concat();
    let detail = unavailable(poll(Script { login, ..Script::healthy() }).await).detail;
    assert!(detail.ends_with("error 50000 without a text."), "{detail}");
}

/// The next observation with another result of the additional login.
async fn next_stale(
    watch: &MonitorHandle,
    changes: &mut tokio::sync::broadcast::Receiver<u64>,
) -> Option<UnavailableCause> {
    changes.recv().await.unwrap();
    available(&watch.latest()).stale_login.as_ref().map(|unavailable| unavailable.cause)
}

#[tokio::test]
async fn verify_login_shows_that_the_credentials_became_invalid() {
    let server = FakeServer::start(Script::healthy()).await;
    let monitors = monitors();
    let watch = monitors.watch(&server.target);
    assert_eq!(available(&watch.refresh().await).stale_login, None);
    let mut changes = monitors.changes();
    let logins = server.logins();
    server.change(|script| script.login = refusal(18456));
    watch.verify_login();
    assert_eq!(next_stale(&watch, &mut changes).await, Some(UnavailableCause::LoginFailed));
    assert_eq!(server.logins(), logins + 1);
    // The pause after the refusal is not over, and the open session is still polled.
    for _ in 0..10 {
        watch.verify_login();
        let observation = watch.refresh().await;
        assert_eq!(available(&observation).stale_login.as_ref().unwrap().cause, UnavailableCause::LoginFailed);
    }
    assert_eq!(server.logins(), logins + 1);
}

#[tokio::test]
async fn verify_login_that_is_accepted_changes_nothing() {
    let server = FakeServer::start(Script::healthy()).await;
    let monitors = InstanceMonitors::with_login_verification(HOUR, Duration::ZERO, short(), Limits::default());
    let watch = monitors.watch(&server.target);
    available(&watch.refresh().await);
    let mut changes = monitors.changes();
    while server.logins() < 3 {
        // Each poll makes one additional login due.
        let observation = watch.refresh().await;
        assert_eq!(available(&observation).stale_login, None);
    }
    assert!(changes.try_recv().is_err(), "an accepted login is no change");
    server.change(|script| script.login = refusal(18456));
    let refused = server.logins();
    while available(&watch.latest()).stale_login.is_none() {
        watch.refresh().await;
    }
    watch.refresh().await;
    assert!(server.logins() <= refused + 2, "one login in progress and one that is refused");
}

/// A Kerberos login needs the helper process. The test binary is no helper, so that each attempt fails as with a wrong
/// keytab.
#[tokio::test]
async fn refresh_without_kerberos_credentials_waits_for_the_pause() {
    let server = FakeServer::start(Script::healthy()).await;
    let account = Account::new("svc-lync@CONTOSO.COM", b"keys".to_vec(), Vec::new()).unwrap();
    let target = Target { login: Authentication::Kerberos(Arc::new(account)), ..server.target.clone() };
    let watch = monitors().watch(&target);
    for _ in 0..40 {
        assert_eq!(unavailable(watch.refresh().await).cause, UnavailableCause::NoKerberosCredentials);
    }
    assert_eq!((server.connections(), server.logins()), (1, 0));
}

#[tokio::test]
async fn fail_over_after_its_deadline_keeps_the_connection() {
    let server = FakeServer::start(Script { hold: true, ..Script::healthy() }).await;
    let step = Failover {
        act: Act::Failover,
        database: DatabaseName::new("rtcxds"),
        on: Seat::Primary,
        server: "SQL-A".into(),
        partner: "SQL-B".into(),
        guid: Guid::from_bytes([1; 16]),
        role_sequence: 1,
    };
    let session = connect_for_moves(&server.target, 1, &Deadlines::default()).await.unwrap().remove(0);
    let answer = fail_over(session, &step, Duration::from_millis(20)).await;
    assert!(matches!(&answer, Answer::Lost { detail } if detail.contains("within 20ms")), "{answer:?}");
    assert!(server.release().await, "the connection of a running statement must not be closed");
}

/// A SQL Server Browser at this address that returns the port of the instance RTC once.
async fn browser_that_answers_once(host: &str, port: u16) -> tokio::task::JoinHandle<UdpSocket> {
    let socket = UdpSocket::bind((host, 1434)).await.unwrap();
    let entry = format!("ServerName;SQL-A;InstanceName;RTC;tcp;{port};;");
    let answer = [&[5][..], &u16::try_from(entry.len()).unwrap().to_le_bytes(), entry.as_bytes()].concat();
    tokio::spawn(async move {
        let (_, from) = socket.recv_from(&mut [0; 64]).await.unwrap();
        socket.send_to(&answer, from).await.unwrap();
        socket
    })
}

#[tokio::test]
async fn instance_behind_a_silent_browser_is_reached_at_its_last_port() {
    const HOST: &str = "127.73.14.36";
    let server = FakeServer::start_at(HOST, Script { close: true, ..Script::healthy() }).await;
    let InstanceAddress::Port(port) = server.target.endpoint else { panic!("an instance name") };
    let browser = browser_that_answers_once(HOST, port).await;
    let target = Target { endpoint: InstanceAddress::Instance("RTC".into()), ..server.target.clone() };
    let deadlines = Deadlines { browser: Duration::from_millis(80), ..Deadlines::default() };
    let monitors = InstanceMonitors::new(HOUR, deadlines);
    let watch = monitors.watch(&target);
    available(&watch.refresh().await);
    // From here on, the socket is bound and does not answer.
    let _silent = browser.await.unwrap();
    available(&watch.refresh().await);
    assert_eq!(monitors.connect_for_moves(&target, 2).await.map(|sessions| sessions.len()).unwrap(), 2);
    // A monitor that never reached the instance knows no port.
    let restarted = InstanceMonitors::new(HOUR, deadlines).watch(&target);
    let unknown = unavailable(restarted.refresh().await);
    assert_eq!(unknown.cause, UnavailableCause::BrowserSilent, "{unknown:?}");
    restarted.restore_port(port);
    available(&restarted.refresh().await);
    restarted.restore_port(1);
    assert_eq!(restarted.last_read().and_then(|read| read.port), Some(port), "the login of this process is newer");
    server.stop().await;
    let refused = unavailable(watch.refresh().await);
    assert_eq!(refused.cause, UnavailableCause::ConnectionRefused, "{refused:?}");
    let port = format!("{HOST}\\RTC (port {port}) refused");
    assert!(refused.detail.contains(&port) && refused.detail.contains("did not answer"), "{}", refused.detail);
}
