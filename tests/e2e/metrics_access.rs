//! The metrics over TLS: the real API server decides who may read them, and cannot be flooded through them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::support::{Cluster, Operator, log_path, root, until};
use serde_json::{Value, json};

const NAMESPACE: &str = "metrics";
const ACCOUNT: &str = "system:serviceaccount:metrics:lync-mirror-metrics";

/// An operator of the chart with `metrics.secure`.
struct Secured {
    cluster: &'static Cluster,
    operator: Operator,
    address: String,
    folder: tempfile::TempDir,
}

impl Secured {
    fn start() -> Secured {
        let cluster = Cluster::get();
        cluster.install(NAMESPACE);
        std::fs::write(log_path(NAMESPACE), "").unwrap();
        let release = ["upgrade", "lync-mirror-metrics", "charts/lync-mirror", "-n", NAMESPACE, "--reuse-values"];
        let secure = "metrics.secure=true,metrics.tlsSecretName=metrics-tls";
        cluster.helm(&[&release[..], &["--set", secure]].concat());
        let folder = tempfile::tempdir().unwrap();
        // The certificate of the API server: for localhost, by the CA of this control plane.
        for (from, to) in [("server.crt", "tls.crt"), ("server.key", "tls.key")] {
            std::fs::copy(cluster.dir.join(from), folder.path().join(to)).unwrap();
        }
        let arguments = ["--metrics-listen", "127.0.0.1:0", "--metrics-tls-folder", folder.path().to_str().unwrap()];
        let operator = Operator::start_with(cluster, NAMESPACE, &arguments);
        let address = until("the operator logs the address of the metrics", || {
            let log = std::fs::read_to_string(log_path(NAMESPACE)).map_err(|error| error.to_string())?;
            let after = log.split_once("metrics=").ok_or("no metrics= in the log")?.1;
            Ok(after.split_whitespace().next().unwrap_or_default().to_owned())
        });
        Secured { cluster, operator, address, folder }
    }

    /// A token of a ServiceAccount of this name.
    fn token(&self, name: &str) -> String {
        let metadata = json!({"name": name, "namespace": NAMESPACE});
        self.cluster.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
        self.cluster.kubectl(&["create", "token", name, "-n", NAMESPACE]).trim().to_owned()
    }

    /// The status and the body of a scrape from a loopback address.
    fn scrape(&self, from: &str, token: Option<&str>) -> (u16, String) {
        let header = self.folder.path().join(format!("header-{from}"));
        let line = token.map(|token| format!("Authorization: Bearer {token}\n")).unwrap_or_default();
        std::fs::write(&header, line).unwrap();
        let url = format!("https://{}/metrics", self.address);
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "30", "--noproxy", "*", "--interface", from, "-w", "\n%{http_code}"])
            .arg("--cacert")
            .arg(self.cluster.dir.join("ca.crt"))
            .arg("-H")
            .arg(format!("@{}", header.display()))
            .arg(&url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// The answer once the share of unknown tokens is free.
    fn answer(&self, from: &str, token: Option<&str>) -> (u16, String) {
        until("the token is reviewed", || match self.scrape(from, token) {
            (429, busy) => Err(busy),
            answer => Ok(answer),
        })
    }

    /// How often the operator has created an object of this kind.
    fn asked(&self, resource: &str) -> usize {
        let log = std::fs::read_to_string(self.cluster.dir.join("audit.log")).unwrap();
        let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
        let entries = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries
            .filter(|entry| entry["user"]["username"] == ACCOUNT && entry["objectRef"]["resource"] == resource)
            .count()
    }
}

#[test]
fn metrics_over_tls_are_for_authorized_clients_only_and_a_flood_reaches_no_api_server() {
    let secured = Secured::start();
    let scraper = secured.token("prometheus");
    let role = "--clusterrole=metrics-lync-mirror-metrics-metrics-reader";
    let account = format!("--serviceaccount={NAMESPACE}:prometheus");
    secured.cluster.kubectl(&["create", "clusterrolebinding", "prometheus-metrics", role, &account]);

    let (status, page) =
        until("the authorizer knows the binding", || match secured.answer("127.0.0.1", Some(&scraper)) {
            (403, body) => Err(body),
            answer => Ok(answer),
        });
    assert!(status == 200 && page.contains("lync_mirror_build_info"), "{status} {page}");
    assert_eq!(secured.answer("127.0.0.2", None), (401, "The request has no bearer token.\n".to_owned()));
    let (status, body) = secured.answer("127.0.0.3", Some(&secured.token("another")));
    assert!(status == 403 && body.contains("lacks the right"), "{status} {body}");
    // The signature of another token.
    let (unsigned, _) = scraper.rsplit_once('.').unwrap();
    let other = secured.token("third");
    let forged = format!("{unsigned}.{}", other.rsplit_once('.').unwrap().1);
    for (from, token) in [("127.0.0.4", forged.as_str()), ("127.0.0.5", "garbage")] {
        let (status, body) = secured.answer(from, Some(token));
        assert!(status == 401 && body.contains("does not accept"), "{token}: {status} {body}");
    }
    probes_are_open_and_metrics_are_not(&secured);
    flood(&secured, &scraper);
    assert_eq!(secured.operator.stop(), Some(0));
}

fn probes_are_open_and_metrics_are_not(secured: &Secured) {
    let port = secured.operator.address();
    let get = |path: &str| {
        let arguments =
            ["-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", &format!("http://{port}{path}")];
        String::from_utf8(Command::new("curl").args(arguments).output().unwrap().stdout).unwrap()
    };
    assert_eq!((get("/livez"), get("/metrics")), ("200".to_owned(), "404".to_owned()));
    let url = format!("http://{}/metrics", secured.address);
    let plain = Command::new("curl").args(["-sS", "--noproxy", "*", &url]).output().unwrap();
    assert!(!plain.status.success() && plain.stdout.is_empty(), "the port speaks TLS only: {plain:?}");
}

/// Each request has another forged token. The scraper is answered all the time, without another review.
fn flood(secured: &Secured, scraper: &str) {
    const REQUESTS: usize = 200;
    let (reviews, accesses, begun) =
        (secured.asked("tokenreviews"), secured.asked("subjectaccessreviews"), Instant::now());
    let mut busy = 0;
    for number in 0..REQUESTS {
        let from = format!("127.0.1.{}", number % 4 + 1);
        let (status, body) = secured.scrape(&from, Some(&format!("forged-{number}")));
        assert!(matches!(status, 401 | 429), "{status} {body}");
        busy += usize::from(status == 429);
        if number % 20 == 0 {
            let (status, body) = secured.scrape("127.0.0.1", Some(scraper));
            assert_eq!(status, 200, "{body}");
        }
    }
    // Four a second, whatever the time of this loop, and one review of the known token in a minute.
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let asked = secured.asked("tokenreviews") - reviews;
    let minutes = seconds / 60 + 1;
    assert!(busy > 0 && asked <= 4 * seconds + minutes, "{asked} reviews in {seconds} s, {busy} refused");
    assert!(secured.asked("subjectaccessreviews") - accesses <= minutes, "a forged token needs no second review");
    println!("{REQUESTS} forged tokens: {asked} reviews, {busy} refused without one");
}

#[test]
fn certificate_that_is_missing_stops_the_start_with_the_cause() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lync-mirror"));
        // Never reached: the certificate is read before the API server is asked.
        let kubeconfig = Cluster::get().dir.join("kubeconfig");
        command.arg("run").args(["--listen", "127.0.0.1:0"]).args(arguments).env("KUBECONFIG", kubeconfig);
        let output = command.current_dir(root()).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let empty = tempfile::tempdir().unwrap();
    let folder = PathBuf::from(empty.path());
    let error = run(&["--metrics-listen", "127.0.0.1:0", "--metrics-tls-folder", folder.to_str().unwrap()]);
    assert!(error.contains("To fix: set --metrics-tls-folder") && error.contains("tls.crt"), "{error}");
    let error = run(&["--metrics-listen", "127.0.0.1:0"]);
    assert!(error.contains("--metrics-tls-folder"), "{error}");
}
