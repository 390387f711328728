//! Credentials against an API server that answers in every way, and the keys of a Secret.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use k8s_openapi::ByteString;
use kube::Client;
use serde_json::json;

use super::*;
use crate::api::AuthMethod;
use crate::api::SecretRef;
use crate::controller::login_secret::{LARGEST_KEYTAB, LONGEST_LOGIN};

/// The requests that arrived, by path.
type Requests = Arc<Mutex<Vec<String>>>;

/// An API server whose answer depends on the name: `code-500`, `garbage`, `silent`, or a Secret that exists.
async fn api_server() -> (Client, Requests) {
    async fn answer(Path((_, _, name)): Path<(String, String, String)>) -> Response {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {"username": "c2E=", "password": "UGFzc3cwcmQ="},
        });
        match name.split_once('-') {
            Some(("code", code)) => {
                let code: u16 = code.parse().unwrap();
                let body = json!({"kind": "Status", "status": "Failure", "code": code, "message": "decryption failed"});
                (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
            }
            _ if name == "garbage" => r#"{"data": {"password": ["Passw0rd"]}}"#.into_response(),
            _ if name == "silent" => std::future::pending().await,
            _ => axum::Json(secret).into_response(),
        }
    }
    let requests = Requests::default();
    let seen = requests.clone();
    let router = Router::new().route("/api/v1/namespaces/{namespace}/{kind}/{name}", get(answer)).layer(
        axum::middleware::map_request(move |request: axum::extract::Request| {
            seen.lock().push(request.uri().path().to_owned());
            async { request }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    (Client::try_from(config).unwrap(), requests)
}

fn credentials(client: &Client) -> Credentials {
    Credentials::with_timeout(client.clone(), Duration::from_secs(1))
}

fn by_password(secret: &str) -> Auth {
    Auth { method: AuthMethod::SqlLogin, secret_ref: SecretRef { name: secret.to_owned() }, kdcs: None }
}

fn resource(name: &str) -> ResourceRef {
    ResourceRef::new(name).within("lync")
}

#[tokio::test]
async fn login_without_an_answer_about_the_secret_is_the_state_of_its_servers() {
    let (client, _) = api_server().await;
    let (credentials, resource) = (credentials(&client), resource("pool01"));
    for name in ["code-400", "code-401", "code-429", "code-500", "code-503", "garbage", "silent"] {
        let mut reader = credentials.reader(&resource);
        let unavailable = reader.login(&by_password(name)).await.map(|_| ()).unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::CredentialsUnreadable, "{name}");
        let detail = &unavailable.detail;
        assert!(!detail.contains("Passw0rd"), "{detail}");
        assert!(detail.contains(&format!("Secret lync/{name}")) && detail.contains("To fix: "), "{detail}");
    }
    let refused = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let down = self::credentials(&Client::try_from(refused).unwrap());
    let unavailable = down.reader(&resource).login(&by_password("sql")).await.map(|_| ()).unwrap_err();
    assert_eq!(unavailable.cause, UnavailableCause::CredentialsUnreadable);
    assert!(credentials.reader(&resource).login(&by_password("sql")).await.is_ok());
}

#[tokio::test]
async fn login_with_a_name_that_leads_elsewhere_sends_no_request() {
    let (client, requests) = api_server().await;
    let (credentials, resource) = (credentials(&client), resource("pool01"));
    let long = "a".repeat(254);
    for name in
        ["..", ".", "", "a b", "%zz", "a%2fb", "../../victim/secrets/treasure", "sql?watch=1", "sql#", "Sql", &long]
    {
        let unavailable = credentials.reader(&resource).login(&by_password(name)).await.map(|_| ()).unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::CredentialsUnreadable, "{name}");
        assert!(unavailable.detail.contains("is not the name of a Secret"), "{}", unavailable.detail);
        let bundle = credentials.reader(&resource).bundle(name, "ca.crt").await.unwrap_err();
        assert!(bundle.detail.contains("is not the name of a ConfigMap"), "{}", bundle.detail);
    }
    assert!(requests.lock().is_empty(), "{:?}", requests.lock());
}

#[tokio::test]
async fn credentials_are_kept_until_their_last_user_is_gone() {
    let (client, _) = api_server().await;
    let credentials = credentials(&client);
    let kept = || credentials.logins.keys().into_iter().map(|(_, name)| name).collect::<BTreeSet<_>>();
    let pass = async |resource: &ResourceRef, secret: &str| {
        let mut reader = credentials.reader(resource);
        let _ = reader.login(&by_password(secret)).await;
        reader.finish();
    };
    let (one, two) = (resource("one"), resource("two"));
    pass(&one, "shared").await;
    pass(&two, "shared").await;
    pass(&two, "other").await;
    assert_eq!(kept(), BTreeSet::from(["other".to_owned(), "shared".to_owned()]));
    credentials.forget(&one);
    assert_eq!(kept(), BTreeSet::from(["other".to_owned()]), "`two` no longer names it");
    for number in 0..40 {
        pass(&two, &format!("number{number}")).await;
    }
    assert_eq!(kept(), BTreeSet::from(["number39".to_owned()]), "a changed spec leaves nothing behind");
    credentials.forget_all();
    assert!(kept().is_empty());
}

fn secret(items: &[(&str, &str)]) -> Option<Secret> {
    let data = items.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
    Some(Secret { data: Some(data), ..Secret::default() })
}

#[test]
fn read_with_a_missing_object_or_key_names_it_and_the_cause() {
    let auth = |method| Auth { method, secret_ref: SecretRef { name: "sql".into() }, kdcs: None };
    let (sql, kerberos) = (auth(AuthMethod::SqlLogin), auth(AuthMethod::Kerberos));
    let cause = |secret| read_login("Secret lync/sql", &sql, secret).map(|_| ()).unwrap_err();
    assert_eq!(cause(None).cause, UnavailableCause::SecretNotFound);
    let missing = cause(secret(&[("username", "sa")]));
    assert_eq!(missing.cause, UnavailableCause::SecretKeyMissing);
    assert_eq!(missing.detail, "Secret lync/sql has no key password. To fix: set the keys username and password.");
    // Both at once, and what is there instead.
    for (items, problem) in [
        (vec![], "has no key username and no key password. To fix: "),
        (vec![("user", "sa"), ("pass", "x")], "has no key username and no key password. It has the keys pass, user."),
        (vec![("username", "sa"), ("password", "")], "has an empty key password. To fix: "),
        (
            vec![("Username", "sa"), ("password", "")],
            "has no key username and an empty key password. It has the keys Username.",
        ),
    ] {
        let missing = cause(secret(&items));
        assert_eq!(missing.cause, UnavailableCause::SecretKeyMissing);
        assert!(missing.detail.contains(problem), "{}", missing.detail);
    }
    let names: Vec<String> = (0..20).map(|number| format!("key{number:02}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "secret value")).collect();
    let missing = cause(secret(&many)).detail;
    assert!(missing.contains("key07, ....") && !missing.contains("key08") && !missing.contains("value"), "{missing}");
    assert!(read_login("Secret lync/sql", &sql, secret(&[("username", "sa"), ("password", "x")])).is_ok());
    let cause = |secret| read_login("Secret lync/sql", &kerberos, secret).map(|_| ()).unwrap_err();
    let missing = cause(secret(&[("username", "svc@R"), ("password", "x")]));
    assert!(missing.detail.contains("no key keytab"), "{}", missing.detail);
    assert_eq!(cause(secret(&[("username", "svc"), ("keytab", "x")])).cause, UnavailableCause::NoKerberosCredentials);
    assert!(read_login("Secret lync/sql", &kerberos, secret(&[("username", "svc@R"), ("keytab", "x")])).is_ok());
    assert_eq!(read_bundle("lync", "ca", "ca.crt", None).unwrap_err().cause, UnavailableCause::CaBundleNotFound);
}

#[test]
fn read_bundle_in_der_names_the_conversion() {
    let bundle = |bytes: &[u8]| {
        let binary = [("ca.crt".to_owned(), ByteString(bytes.to_vec()))].into();
        let map = ConfigMap { binary_data: Some(binary), ..ConfigMap::default() };
        read_bundle("lync", "ca", "ca.crt", Some(map))
    };
    let der = bundle(&[0x30, 0x82, 0x03, 0x9f, 0xff]).unwrap_err();
    assert_eq!(der.cause, UnavailableCause::CaBundleInvalid);
    assert!(der.detail.contains("openssl x509 -inform DER"), "{}", der.detail);
    assert!(bundle(&[0xff, 0xfe]).unwrap_err().detail.contains("contains no PEM certificate"));
    assert!(bundle(b"-----BEGIN CERTIFICATE-----").is_ok());
}

#[test]
fn read_of_a_value_that_would_take_much_memory_names_its_limit() {
    let auth = |method| Auth { method, secret_ref: SecretRef { name: "sql".into() }, kdcs: None };
    let long = |length: usize| "x".repeat(length);
    let sql = |password: &str| {
        read_login(
            "Secret lync/sql",
            &auth(AuthMethod::SqlLogin),
            secret(&[("username", "sa"), ("password", password)]),
        )
    };
    let keytab = |keytab: &str| {
        read_login("Secret lync/sql", &auth(AuthMethod::Kerberos), secret(&[("username", "svc@R"), ("keytab", keytab)]))
    };
    assert!(sql(&long(LONGEST_LOGIN)).is_ok() && keytab(&long(LARGEST_KEYTAB)).is_ok());
    assert!(sql(&"\u{1d11e}".repeat(LONGEST_LOGIN / 2)).is_ok(), "two UTF-16 units each");
    for refused in [
        sql(&long(LONGEST_LOGIN + 1)),
        sql(&"\u{1d11e}".repeat(LONGEST_LOGIN / 2 + 1)),
        sql(&long(1_025)),
        keytab(&long(LARGEST_KEYTAB + 1)),
    ] {
        let refused = refused.map(|_| ()).unwrap_err();
        assert_eq!(refused.cause, UnavailableCause::SecretKeyMissing);
        assert!(refused.detail.contains("the limit ") && refused.detail.contains("To fix: "), "{}", refused.detail);
    }
    let bundle = |length: usize| {
        let pem = format!("-----BEGIN CERTIFICATE-----{}", long(length));
        let map = ConfigMap { data: Some([("ca.crt".to_owned(), pem)].into()), ..ConfigMap::default() };
        read_bundle("lync", "ca", "ca.crt", Some(map)).map(|_| ())
    };
    assert!(bundle(LARGEST_BUNDLE - 100).is_ok());
    assert_eq!(bundle(LARGEST_BUNDLE).unwrap_err().cause, UnavailableCause::CaBundleInvalid);
    let certificates = |count: usize| {
        let pem = "-----BEGIN CERTIFICATE-----\n".repeat(count);
        let map = ConfigMap { data: Some([("ca.crt".to_owned(), pem)].into()), ..ConfigMap::default() };
        read_bundle("lync", "ca", "ca.crt", Some(map)).map(|_| ())
    };
    assert!(certificates(MOST_CERTIFICATES).is_ok());
    let many = certificates(300).unwrap_err().detail;
    assert!(
        many.starts_with(
            "Key ca.crt of ConfigMap lync/ca (tls.caBundle) has 300 certificates, and the limit is 256. To fix: "
        ),
        "{many}"
    );
}
