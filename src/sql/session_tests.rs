//! The opening of a session against listeners that answer in other ways than SQL Server.

use tokio::net::TcpListener;

use super::*;
use crate::sql::Account;
use crate::sql::connector::Connector;
use crate::sql::limits::Limits;
use crate::sql::prelogin::{TABULAR, packets};
use crate::sql::tests::{opening, short, target};

/// Opens a session with a listener that reads the prelogin, sends `answer` and keeps or closes the connection.
async fn open_against(answer: &[u8], keep_open: bool) -> Unavailable {
    let tls = target(0).tls;
    open_with(answer, keep_open, tls).await
}

async fn open_with(answer: &[u8], keep_open: bool, tls: Tls) -> Unavailable {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { tls, ..target(listener.local_addr().unwrap().port()) };
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(answer).await.unwrap();
        if keep_open {
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
        }
    };
    let connector = Connector::new(target.clone(), short(), Limits::default(), Duration::ZERO);
    let (session, ()) = tokio::join!(connector.open(), serve);
    let Err(unavailable) = session else { panic!("a session with a listener that does not implement TDS") };
    assert!(unavailable.detail.contains(&target.address()), "{}", unavailable.detail);
    unavailable
}

fn encryption(byte: u8) -> Vec<u8> {
    packets(TABULAR, &[1, 0, 6, 0, 1, 0xff, byte])
}

#[tokio::test]
async fn open_with_a_silent_server_times_out_in_the_prelogin() {
    let unavailable = open_against(&[], true).await;
    assert_eq!(unavailable.cause, UnavailableCause::Unresponsive);
    assert!(unavailable.detail.contains("the TDS prelogin"), "{}", unavailable.detail);
}

#[tokio::test]
async fn open_with_a_stalled_tls_handshake_times_out() {
    let unavailable = open_against(&encryption(1), true).await;
    assert_eq!(unavailable.cause, UnavailableCause::Unresponsive);
    assert!(unavailable.detail.contains("the TLS handshake"), "{}", unavailable.detail);
}

#[tokio::test]
async fn open_with_a_closed_connection_is_lost() {
    assert_eq!(open_against(&[], false).await.cause, UnavailableCause::ConnectionLost);
    assert_eq!(open_against(&encryption(1)[..9], false).await.cause, UnavailableCause::ConnectionLost);
}

#[tokio::test]
async fn open_with_a_connection_closed_in_tls_is_a_tls_failure() {
    assert_eq!(open_against(&encryption(1), false).await.cause, UnavailableCause::TlsFailed);
}

#[tokio::test]
async fn open_with_garbage_is_a_protocol_error() {
    assert_eq!(open_against(b"SSH-2.0-OpenSSH_9.2\r\n", true).await.cause, UnavailableCause::ProtocolError);
    assert_eq!(open_against(&encryption(9), true).await.cause, UnavailableCause::ProtocolError);
    let mut garbage = encryption(1);
    garbage.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(open_against(&garbage, true).await.cause, UnavailableCause::ProtocolError);
}

#[tokio::test]
async fn open_with_an_error_instead_of_a_prelogin_names_the_state() {
    let full = packets(TABULAR, &crate::sql::fake_server::refusal(17_809));
    assert_eq!(open_against(&full, false).await.cause, UnavailableCause::ConnectionLimit);
    let unknown = packets(TABULAR, &crate::sql::fake_server::refusal(50_000));
    assert_eq!(open_against(&unknown, false).await.cause, UnavailableCause::ProtocolError);
}

#[tokio::test]
async fn open_without_encryption_sends_no_login() {
    for byte in [0, 2] {
        let unavailable = open_against(&encryption(byte), true).await;
        assert_eq!(unavailable.cause, UnavailableCause::TlsFailed);
    }
}

#[tokio::test]
async fn open_with_a_prelogin_packet_in_return_names_it() {
    let mut echoed = encryption(1);
    echoed[0] = prelogin::PRELOGIN;
    let unavailable = open_against(&echoed, true).await;
    assert_eq!(unavailable.cause, UnavailableCause::ProtocolError);
    assert!(unavailable.detail.contains("request for a prelogin"), "{}", unavailable.detail);
}

/// `tls.mode: Disabled`.
#[tokio::test]
async fn open_to_a_server_that_encrypts_more_than_the_spec_names_what_it_encrypts() {
    for (byte, what) in [(0, "encrypts the login"), (1, "demands encryption"), (3, "demands encryption")] {
        let unavailable = open_with(&encryption(byte), true, Tls::Off).await;
        assert_eq!(unavailable.cause, UnavailableCause::TlsFailed, "{byte}");
        assert!(unavailable.detail.contains(what), "{}", unavailable.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn ticket_that_waits_for_a_helper_is_no_silent_kdc() {
    let opening = opening();
    let opening = Opening { deadlines: Deadlines { share: Duration::MAX, ..opening.deadlines }, ..opening };
    let account = Account::new("svc-lync@CONTOSO.COM", b"keys".to_vec(), Vec::new()).unwrap();
    let target = Target { login: Authentication::Kerberos(account.into()), ..target(1433) };
    let Authentication::Kerberos(account) = &target.login else { unreachable!() };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(opening.helper(&target, account).await.unwrap());
    }
    let ticket = timeout(10 * opening.deadlines.ticket, ticket(&target, 1433, &opening)).await;
    assert!(ticket.is_err(), "{:?}", ticket.map(|ticket| ticket.err()));
}
