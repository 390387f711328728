//! Every policy of the client against every kind of server that there is: what works, and what a refusal names.

use super::*;

/// A server as it is found: its name, how it is set up, and the identity that it shows.
struct Found {
    name: &'static str,
    context: SslContext,
    identity: Identity,
}

/// `list`: the ciphers it offers; `sha1`: it signs with SHA-1 or not at all, as Schannel with its own certificate.
fn found(name: &'static str, identity: Identity, newest: SslVersion, list: &str, sha1: bool) -> Found {
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
    Found { name, context: context.build(), identity }
}

/// SQL Server 2008 R2 to 2014 on Windows of their time.
fn servers(ca: &Identity) -> Vec<Found> {
    let named = || Identity::new(&["127.0.0.1"], VALID, Some(ca));
    let fallback = || Identity::made(&["127.0.0.1"], VALID, None, 1024, MessageDigest::sha1());
    let level0 = |list: &str| format!("{list}:@SECLEVEL=0");
    vec![
        found("1.2 ECDHE-GCM", named(), SslVersion::TLS1_2, &level0("ECDHE-RSA-AES128-GCM-SHA256"), false),
        found(
            "1.2 ECDHE-CBC",
            named(),
            SslVersion::TLS1_2,
            &level0("ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES256-SHA"),
            false,
        ),
        found("1.2 RSA key exchange", named(), SslVersion::TLS1_2, &level0("AES256-SHA"), false),
        found("1.2 fallback certificate", fallback(), SslVersion::TLS1_2, &level0("AES256-SHA"), false),
        found("1.2 SHA-1 signatures only", fallback(), SslVersion::TLS1_2, &level0("ECDHE-RSA-AES256-SHA"), true),
        found("1.0 only", fallback(), SslVersion::TLS1, &level0("AES256-SHA:ECDHE-RSA-AES256-SHA"), false),
    ]
}

fn pin(of: &Identity) -> Arc<[crate::sql::Pin]> {
    let digest = of.certificate.digest(MessageDigest::sha256()).unwrap();
    [<[u8; 32]>::try_from(&digest[..]).unwrap()].into()
}

#[tokio::test]
async fn every_policy_meets_every_server() {
    const OK: &str = "ok";
    const CA: &str = "spec.sql.tls.caBundle";
    const WEAK: &str = "spec.sql.tls.mode: Pin";
    const PINS: &str = "spec.sql.tls.pins";
    const LEGACY: &str = "spec.sql.tls.mode: Legacy";
    let ca = Identity::new(&[], VALID, None);
    let stranger = Identity::new(&["127.0.0.1"], VALID, None);
    type Policy = (&'static str, fn(&Identity, &Found, &Identity) -> Tls, [&'static str; 6]);
    // In the order of the servers.
    let policies: [Policy; 7] = [
        ("Verify", |ca, _, _| verify(ca), [OK, OK, OK, WEAK, LEGACY, LEGACY]),
        ("Verify, system roots", |_, _, _| Tls::Verify { ca_pem: None }, [CA, CA, CA, WEAK, LEGACY, LEGACY]),
        ("Pin", |_, found, _| Tls::Pin { pins: pin(&found.identity) }, [OK, OK, OK, OK, LEGACY, LEGACY]),
        ("Pin, another", |_, _, stranger| Tls::Pin { pins: pin(stranger) }, [PINS, PINS, PINS, PINS, LEGACY, LEGACY]),
        ("TrustServerCertificate", |_, _, _| Tls::TrustServerCertificate, [OK, OK, OK, OK, LEGACY, LEGACY]),
        ("Legacy", |_, _, _| Tls::Legacy { pins: [].into() }, [OK; 6]),
        ("Legacy, another pin", |_, _, stranger| Tls::Legacy { pins: pin(stranger) }, [PINS; 6]),
    ];
    let servers = servers(&ca);
    println!("{:<24}{}", "", servers.iter().map(|found| format!("{:<28}", found.name)).collect::<String>());
    let mut wrong = Vec::new();
    for (name, policy, expected) in policies {
        let mut cells = String::new();
        for (found, expected) in servers.iter().zip(expected) {
            let result = handshake(&found.context, policy(&ca, found, &stranger), "127.0.0.1").await;
            let told = result.map_or_else(|unavailable| unavailable.detail, |()| OK.to_owned());
            let kept = if expected == OK { told == OK } else { told != OK && told.contains(expected) };
            cells.push_str(&format!("{:<28}", if kept { expected } else { "WRONG" }));
            if !kept {
                wrong.push(format!("{name} x {}: expected {expected:?}, got {told:?}", found.name));
            }
        }
        println!("{name:<24}{cells}");
    }
    println!("cells: 42");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
