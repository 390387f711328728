//! Every TLS policy against every kind of server: the outcome, and the setting that a failure message names.

use super::*;

/// A server of the matrix: its name, TLS configuration and certificate.
struct TestServer {
    name: &'static str,
    context: SslContext,
    identity: Identity,
}

/// `list` are the offered ciphers. With `sha1`, the server signs with SHA-1 only, like Schannel with a generated
/// certificate.
fn test_server(name: &'static str, identity: Identity, newest: SslVersion, list: &str, sha1: bool) -> TestServer {
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_security_level(0);
    context.set_certificate(&identity.certificate).unwrap();
    context.set_private_key(&identity.key).unwrap();
    context.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
    context.set_max_proto_version(Some(newest)).unwrap();
    context.set_cipher_list(list).unwrap();
    if sha1 {
        context.set_sigalgs_list("RSA+SHA1").unwrap();
    }
    TestServer { name, context: context.build(), identity }
}

/// SQL Server 2008 R2 to 2014 on the Windows releases of the same years.
fn servers(ca: &Identity) -> Vec<TestServer> {
    let named = || Identity::new(&["127.0.0.1"], VALID, Some(ca));
    let fallback = || Identity::made(&["127.0.0.1"], VALID, None, 1024, MessageDigest::sha1());
    let level0 = |list: &str| format!("{list}:@SECLEVEL=0");
    vec![
        test_server("1.2 ECDHE-GCM", named(), SslVersion::TLS1_2, &level0("ECDHE-RSA-AES128-GCM-SHA256"), false),
        test_server(
            "1.2 ECDHE-CBC",
            named(),
            SslVersion::TLS1_2,
            &level0("ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES256-SHA"),
            false,
        ),
        test_server("1.2 RSA key exchange", named(), SslVersion::TLS1_2, &level0("AES256-SHA"), false),
        test_server("1.2 fallback certificate", fallback(), SslVersion::TLS1_2, &level0("AES256-SHA"), false),
        test_server("1.2 SHA-1 signatures only", fallback(), SslVersion::TLS1_2, &level0("ECDHE-RSA-AES256-SHA"), true),
        test_server("1.0 only", fallback(), SslVersion::TLS1, &level0("AES256-SHA:ECDHE-RSA-AES256-SHA"), false),
    ]
}

fn pin(identity: &Identity) -> Arc<[crate::sql::Pin]> {
    let digest = identity.certificate.digest(MessageDigest::sha256()).unwrap();
    [<[u8; 32]>::try_from(&digest[..]).unwrap()].into()
}

#[tokio::test]
async fn encrypt_for_every_policy_and_server_has_the_expected_outcome() {
    const OK: &str = "ok";
    const CA: &str = "spec.sql.tls.caBundle";
    const WEAK: &str = "spec.sql.tls.mode: Pin";
    const PINS: &str = "spec.sql.tls.pins";
    const LEGACY: &str = "spec.sql.tls.mode: Legacy";
    let ca = Identity::new(&[], VALID, None);
    let other = Identity::new(&["127.0.0.1"], VALID, None);
    type Policy = (&'static str, fn(&Identity, &TestServer, &Identity) -> Tls, [&'static str; 6]);
    // In the order of the servers.
    let policies: [Policy; 7] = [
        ("Verify", |ca, _, _| verify(ca), [OK, OK, OK, WEAK, LEGACY, LEGACY]),
        ("Verify, system roots", |_, _, _| Tls::Verify { ca_pem: None }, [CA, CA, CA, WEAK, LEGACY, LEGACY]),
        ("Pin", |_, test_server, _| Tls::Pin { pins: pin(&test_server.identity) }, [OK, OK, OK, OK, LEGACY, LEGACY]),
        ("Pin, another", |_, _, other| Tls::Pin { pins: pin(other) }, [PINS, PINS, PINS, PINS, LEGACY, LEGACY]),
        ("TrustServerCertificate", |_, _, _| Tls::TrustServerCertificate, [OK, OK, OK, OK, LEGACY, LEGACY]),
        ("Legacy", |_, _, _| Tls::Legacy { pins: [].into() }, [OK; 6]),
        ("Legacy, another pin", |_, _, other| Tls::Legacy { pins: pin(other) }, [PINS; 6]),
    ];
    let servers = servers(&ca);
    println!("{:<24}{}", "", servers.iter().map(|test_server| format!("{:<28}", test_server.name)).collect::<String>());
    let mut wrong = Vec::new();
    for (name, policy, expected) in policies {
        let mut cells = String::new();
        for (test_server, expected) in servers.iter().zip(expected) {
            let result = handshake(&test_server.context, policy(&ca, test_server, &other), "127.0.0.1").await;
            let outcome = result.map_or_else(|unavailable| unavailable.detail, |()| OK.to_owned());
            let matches = if expected == OK { outcome == OK } else { outcome != OK && outcome.contains(expected) };
            cells.push_str(&format!("{:<28}", if matches { expected } else { "WRONG" }));
            if !matches {
                wrong.push(format!("{name} x {}: expected {expected:?}, got {outcome:?}", test_server.name));
            }
        }
        println!("{name:<24}{cells}");
    }
    println!("cells: 42");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
