//! The pages of the reasons against the real API server: each kubectl command in them does what the page describes, and each
//! field that they name exists.

use std::collections::BTreeSet;
use std::process::Command;

use crate::markdown::{fences, kubectl_commands};
use crate::support::{Cluster, root};
use lync_mirror::api::ConditionType;
use serde_json::{Value, json};
use strum::IntoEnumIterator;

fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> = std::fs::read_dir(root().join("docs/reasons"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    pages.sort();
    pages
}

/// The commands of the shell blocks.
fn commands(page: &str) -> Vec<String> {
    let blocks = fences(page).into_iter().filter(|fence| fence.language == "sh");
    blocks.flat_map(|fence| kubectl_commands(&fence.text)).collect()
}

/// A resource that has every field that a page may remove.
fn full() -> Value {
    let server = |host: &str| json!({"host": host});
    json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": "pool01", "namespace": "pages"},
        "spec": {
            "poolFqdn": "pool01.contoso.com",
            "sql": {
                "primary": server("sql-a"), "mirror": server("sql-b"), "witness": server("sql-w"),
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
                "tls": {"mode": "TrustServerCertificate"},
            },
            "suspend": {"reason": "test"},
            "policy": {"maxInterruption": "30s"},
            "databaseTypes": [
                {"type": "User", "principal": "Primary", "approve": {"epoch": "1-abcd"},
                 "forceService": {"epoch": "1-abcd", "acceptDataLoss": true, "oldPrincipalFenced": true, "until": "2100-01-01T00:00:00Z"}},
                {"type": "CentralMgmt", "principal": "Primary"},
            ],
        },
    })
}

#[test]
fn reason_page_with_a_command_is_accepted_by_the_api_server() {
    let cluster = Cluster::get();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pages"}}));
    cluster.apply(&full());
    let path = std::env::join_paths(
        std::iter::once(cluster.bin().to_path_buf()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut patches = 0;
    for (name, page) in pages() {
        for command in commands(&page) {
            if command.starts_with("kubectl edit") {
                continue; // interactive
            }
            let tried = command
                .replace("NAMESPACE", "pages")
                .replace("SECRET", "sql")
                .replace("NAME", "pool01")
                .replace("--from-file=ca.crt=ca.pem", "--from-literal=ca.crt=pem")
                .replace("--from-file=keytab=svc-lync.keytab", "--from-literal=keytab=keys")
                .replace("kubectl patch", "kubectl patch --dry-run=server")
                .replace("kubectl apply", "kubectl apply --dry-run=server");
            let mut shell = Command::new("bash");
            shell.args(["-euo", "pipefail", "-c", &tried]).env("PATH", path.as_ref().unwrap());
            let output = shell.env("KUBECONFIG", cluster.dir.join("kubeconfig")).output().unwrap();
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            // `auth can-i` answers no by its exit code: the command is valid.
            let answered = output.status.success() || command.starts_with("kubectl auth can-i") && out.trim() == "no";
            assert!(answered, "{name}: {tried}\n{out}{err}");
            if command.starts_with("kubectl patch") {
                patches += 1;
                assert!(
                    out.contains("patched") && !out.contains("no change"),
                    "{name}: changes nothing: {tried}\n{out}"
                );
            }
        }
    }
    assert!(patches > 10, "{patches} patches were tried");
}

/// Every path of the schema, `databaseTypes[].approve.epoch` and each part of it.
fn paths(schema: &Value, at: &str, all: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        all.insert(path.clone());
        paths(field, &path, all);
        all.insert(format!("{path}[]"));
        paths(&field["items"], &format!("{path}[]"), all);
    }
}

#[test]
fn reason_page_with_a_field_names_one_of_the_crd() {
    let crd: Value = serde_json::from_str(&lync_mirror_crd()).unwrap();
    let mut all = BTreeSet::new();
    paths(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut all);
    let mut named = 0;
    for (name, page) in pages() {
        for word in page.split('`').skip(1).step_by(2) {
            let path = word.split(':').next().unwrap_or(word).replace("[0]", "[]");
            let begins = ["spec.", "status.", "policy.", "sql."].iter().any(|root| path.starts_with(root));
            if !begins || path.contains(' ') {
                continue;
            }
            named += 1;
            assert!(all.contains(&path) || all.contains(&format!("spec.{path}")), "{name} names {word}: no such field");
        }
    }
    assert!(named > 20, "{named} fields were named");
    let documented = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let words =
        documented["conditions"]["description"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let types: Vec<&str> = ConditionType::iter().map(Into::into).collect();
    assert!(words.ends_with(&format!(" Types: {}.", types.join(", "))), "{words}");
}

fn lync_mirror_crd() -> String {
    serde_json::to_string(&lync_mirror::api::definition()).unwrap()
}
