//! Pages about TLS and Kerberos.

use serde_json::json;

use super::reader::{Reader, can_run, user};

pub const PAGES: &[&str] = &[
    "reasons/LegacyTls",
    "reasons/TlsDisabled",
    "reasons/TlsFailed",
    "reasons/KdcUnreachable",
    "reasons/NoKerberosCredentials",
];

const PIN: &str = "AB12AB12AB12AB12AB12AB12AB12AB12AB12AB12AB12AB12AB12AB12AB12AB12";

/// The fingerprint in the message of TlsFailed.
fn fingerprint(text: &str) -> Option<&str> {
    let is_hash = |word: &&str| word.len() == 95 && word.split(':').all(|byte| byte.len() == 2);
    text.split([' ', ',']).find(is_hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_encryption_lead_to_an_encrypted_connection() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-encryption", false, PAGES).await;
    legacy(&mut reader);
    failed(&mut reader);
    kerberos(&mut reader);
    reader.finish();
}

fn legacy(reader: &mut Reader) {
    let page = "LegacyTls";
    let set = |reader: &Reader, tls: serde_json::Value| {
        let mut pool = reader.resource(false, user("Primary"));
        pool["spec"]["sql"]["tls"] = tls;
        reader.pool.cluster.apply(&pool);
    };
    set(reader, json!({"mode": "Legacy"}));
    reader.until_condition("WeakEncryption", ("True", page));
    reader.aligned();
    // The pins: a wrong one shows the fingerprint of the server, which the reader compares and uses.
    reader.sh(page, "pins");
    let mut pins: Vec<String> = Vec::new();
    while pins.len() < 2 {
        let wrong = |user: &serde_json::Value| {
            let message = user["message"].as_str().unwrap_or_default();
            user["reason"] == "TlsFailed"
                && fingerprint(message).is_some_and(|pin| !pins.iter().any(|known| known == pin))
        };
        let status = reader.until_user("TlsFailed with another fingerprint", wrong);
        pins.push(fingerprint(Reader::message(&status)).unwrap().to_owned());
        reader.sh_with(page, "pins", &[(PIN, &pins.join("\",\""))]).unwrap();
    }
    reader.aligned();
    reader.sh(page, r#""mode":"Verify""#);
    reader.until_no_condition("WeakEncryption");
    reader.aligned();
}

fn failed(reader: &mut Reader) {
    let page = "TlsFailed";
    let replace = json!([{"op": "replace", "path": "/spec/sql/tls", "value": {"mode": "Verify"}}]).to_string();
    let namespace = reader.pool.namespace.clone();
    reader.pool.cluster.kubectl(&["patch", "lpm", "pool01", "-n", &namespace, "--type=json", "-p", &replace]);
    reader.until_reason(page);
    let printed = reader.sh(page, "kubectl explain");
    assert!(printed.contains("caBundle") && printed.contains("pins"), "{printed}");
    reader.sql("a", page, "sp_readerrorlog").has("was successfully loaded for encryption");
    reader.apply(false, user("Primary"));
    reader.aligned();
}

fn kerberos(reader: &mut Reader) {
    let mut pool = reader.resource(false, user("Primary"));
    pool["spec"]["sql"]["auth"]["method"] = json!("Kerberos");
    pool["spec"]["sql"]["tls"] = json!({"mode": "Disabled"});
    reader.pool.cluster.apply(&pool);
    reader.until_condition("WeakEncryption", ("True", "TlsDisabled"));
    reader.until_reason("SecretKeyMissing");
    std::fs::write(reader.folder.path().join("svc-lync.keytab"), "no keytab").unwrap();
    reader.sh_with("NoKerberosCredentials", "create secret", &[("generic SECRET", "generic sql")]).unwrap();
    // The servers demand encryption.
    reader.until_reason("TlsFailed");
    reader.sh("TlsDisabled", "kubectl patch");
    reader.until_condition("WeakEncryption", ("True", "LegacyTls"));
    // The command replaces the keytab. The suite `kerberos` logs in with one of a KDC.
    reader.until_reason("NoKerberosCredentials");
    std::fs::write(reader.folder.path().join("svc-lync.keytab"), "another").unwrap();
    reader.sh_with("NoKerberosCredentials", "create secret", &[("generic SECRET", "generic sql")]).unwrap();
    let secret = reader.pool.cluster.get_json(&["secret", "sql", "-n", &reader.pool.namespace]).unwrap();
    assert_eq!(secret["data"]["keytab"], "YW5vdGhlcg==");
    let replace = [("nslookup -type=srv _kerberos._tcp.CONTOSO.COM\n", "")];
    reader.sh_with("KdcUnreachable", "kdcs", &replace).unwrap();
    let pool = reader.pool.cluster.get_json(&["lpm", "pool01", "-n", &reader.pool.namespace]).unwrap();
    assert_eq!(pool["spec"]["sql"]["auth"]["kdcs"], json!(["dc1.contoso.com", "dc2.contoso.com"]));
}
