//! Which connections share a context, and how long a context without a connection is kept.

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::X509Builder;

use super::*;

/// A certificate of a CA in PEM.
fn pem() -> String {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    String::from_utf8(builder.build().to_pem().unwrap()).unwrap()
}

/// With a certificate, and with a number that makes it another bundle.
fn bundle(pem: &str, number: usize) -> Tls {
    Tls::Verify { ca_pem: Some(format!("{number}\n{pem}").into()) }
}

fn large(pem: &str, number: usize) -> Tls {
    bundle(&pem.repeat(KEPT_BUNDLE / pem.len() + 1), number)
}

/// As a connection: the context is held by OpenSSL and by its data only.
fn connection(contexts: &mut Contexts, policy: &Tls, now: Instant) -> Ssl {
    let key = Key::of(policy);
    let found = contexts.find(key, now);
    let shared = found.unwrap_or_else(|| contexts.keep(key, context(policy).unwrap(), now));
    let mut ssl = Ssl::new(&shared).unwrap();
    hold(&mut ssl, shared).unwrap();
    ssl
}

fn is_same(one: &Ssl, other: &Ssl) -> bool {
    std::ptr::eq(one.ssl_context(), other.ssl_context())
}

#[test]
fn connections_with_one_large_bundle_have_one_context_until_the_last_ends() {
    let (mut contexts, start, policy) = (Contexts::default(), Instant::now(), large(&pem(), 0));
    let late = start + 10 * KEPT_FOR;
    let mut connections: Vec<Ssl> = (0..50).map(|_| connection(&mut contexts, &policy, start)).collect();
    connections.push(connection(&mut contexts, &policy, late));
    // Two connections that are opened at the same time both make one.
    let second = contexts.keep(Key::of(&policy), context(&policy).unwrap(), late);
    connections.push(Ssl::new(&second).unwrap());
    drop(second);
    assert!(connections.iter().all(|one| is_same(one, &connections[0])));
    drop(connections);
    assert!(contexts.find(Key::of(&policy), late).is_none(), "nothing keeps a large bundle");
}

#[test]
fn policies_with_pins_have_the_context_of_all_and_evict_none() {
    let (mut contexts, now, policy) = (Contexts::default(), Instant::now(), bundle(&pem(), 0));
    drop(connection(&mut contexts, &policy, now));
    let unverified = connection(&mut contexts, &Tls::TrustServerCertificate, now);
    let legacy = connection(&mut contexts, &Tls::Legacy { pins: [].into() }, now);
    for pin in 0..=16 {
        let pins: Arc<[[u8; 32]]> = [[pin; 32]].into();
        assert!(is_same(&connection(&mut contexts, &Tls::Pin { pins: pins.clone() }, now), &unverified));
        assert!(is_same(&connection(&mut contexts, &Tls::Legacy { pins }, now), &legacy));
    }
    assert!(!is_same(&legacy, &unverified));
    assert_eq!(contexts.kept.len(), 3);
    assert!(contexts.find(Key::of(&policy), now).is_some(), "kept without a connection");
}

#[test]
fn contexts_without_a_connection_are_few_and_leave_those_with_one() {
    let (mut contexts, start, pem) = (Contexts::default(), Instant::now(), pem());
    let first = connection(&mut contexts, &bundle(&pem, 0), start);
    for number in 1..=2 * KEPT {
        drop(connection(&mut contexts, &bundle(&pem, number), start));
    }
    assert!(is_same(&connection(&mut contexts, &bundle(&pem, 0), start), &first));
    assert!(contexts.find(Key::of(&bundle(&pem, 1)), start).is_none(), "the oldest are dropped");
    assert!(contexts.kept.len() <= KEPT && contexts.live.len() <= KEPT + 1, "{}", contexts.live.len());
    assert!(contexts.find(Key::of(&bundle(&pem, 2 * KEPT)), start + KEPT_FOR).is_none(), "after its time");
}

#[test]
fn context_of_the_system_is_made_again_at_its_age_and_is_the_same_if_the_certificates_are() {
    let (mut contexts, start, pem) = (Contexts::default(), Instant::now(), pem());
    let made = |pem: &str| context(&bundle(pem, 0)).unwrap();
    let none = contexts.keep(Key::System, context(&Tls::TrustServerCertificate).unwrap(), start);
    assert!(contexts.find(Key::System, start).is_none(), "the CA certificates of the system could not be read");
    drop(none);
    let first = contexts.keep(Key::System, made(&pem), start);
    assert!(contexts.find(Key::System, start + KEPT_FOR - Duration::from_millis(1)).is_some());
    assert!(contexts.find(Key::System, start + KEPT_FOR).is_none(), "they can have changed");
    let second = contexts.keep(Key::System, made(&pem), start + KEPT_FOR);
    assert!(Arc::ptr_eq(&first, &second), "one context, however many minutes the connections are apart");
    let renewed = contexts.keep(Key::System, made(&self::pem()), start + 2 * KEPT_FOR);
    assert!(!Arc::ptr_eq(&first, &renewed));
}
