//! What Argo CD, Flux and kstatus make of a resource in each state: the Lua and the CEL of `deploy/`, run by the interpreters
//! of these tools over the conditions of every scenario. `UPDATE_EXPECT=1` rewrites the table, for review.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use expect_test::expect_file;
use serde_json::{Value, json};

use crate::support::{cannot, root, skip};

/// One of each: name and object.
type Resource = (String, Value);

fn pool(name: &str, status: Value) -> Resource {
    let types = json!([{"type": "User", "principal": "Primary"}, {"type": "CentralMgmt", "principal": "Primary"}]);
    let mut object = json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": name, "namespace": "lync", "generation": 1},
        "spec": {"poolFqdn": "pool01.contoso.com", "databaseTypes": types},
    });
    object["status"] = status;
    (name.to_owned(), object)
}

/// The status of a scenario, as far as its transcript shows it.
fn of_transcript(text: &str) -> Value {
    let shown = text.split_once("---\n").unwrap().1;
    let mut conditions = Vec::new();
    for line in shown.lines() {
        let Some((head, message)) = line.split_once(": ") else { continue };
        let Some((state, reason)) = head.split_once(' ') else { continue };
        let Some((kind, status @ ("True" | "False" | "Unknown"))) = state.split_once('=') else { continue };
        conditions.push(json!({"type": kind, "status": status, "reason": reason, "message": message}));
    }
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").expect("a condition Ready");
    let seat = shown.split_once("User=").map_or("", |(_, rest)| rest.split([' ', '!']).next().unwrap());
    let ty = json!({"type": "User", "observed": seat, "reason": ready["reason"], "epoch": "7-5f3a"});
    json!({"observedGeneration": 1, "conditions": conditions, "databaseTypes": [ty]})
}

fn scenarios() -> Vec<Resource> {
    let mut files: Vec<_> =
        std::fs::read_dir(root().join("tests/scenarios")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let of_file = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        pool(&name, of_transcript(&std::fs::read_to_string(path).unwrap()))
    };
    files.iter().map(of_file).collect()
}

/// Phases of a resource and of a move that no scenario ends in.
fn phases() -> Vec<Resource> {
    let status = |reason: &str, [ready, reconciling, stalled, serving]: [&str; 4]| {
        let condition =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": reason, "message": reason});
        let healthy = ["PartnersReachable", "Synchronized"].map(|kind| condition(kind, "True"));
        let mut conditions = vec![
            condition("Ready", ready),
            condition("Reconciling", reconciling),
            condition("Stalled", stalled),
            condition("Serving", serving),
        ];
        conditions.extend(healthy);
        let ty = json!({"type": "User", "observed": "Mirror", "reason": reason, "epoch": "7-5f3a"});
        json!({"observedGeneration": 1, "conditions": conditions, "databaseTypes": [ty]})
    };
    let going_on = |reason: &str| status(reason, ["False", "True", "False", "True"]);
    let stuck = |reason: &str| status(reason, ["False", "False", "True", "True"]);
    let mut moving = going_on("Moving");
    moving["operation"] = json!({"type": "User"});
    let mut stale = status("Aligned", ["True", "False", "False", "True"]);
    stale["observedGeneration"] = json!(0);
    let mut suspended = pool("suspended", stuck("Suspended"));
    suspended.1["spec"]["suspend"] = json!({"reason": "patching"});
    vec![
        pool("new", json!({"observedGeneration": -1})),
        pool("former-spec", stale),
        pool("aligned", status("Aligned", ["True", "False", "False", "True"])),
        pool("not-yet-observed", going_on("NotYetObserved")),
        pool("moving", moving),
        pool("cooldown", going_on("Cooldown")),
        pool("waits-for-a-window", going_on("FailBackPending")),
        pool("held-and-synchronized", stuck("UnexpectedPrincipal")),
        pool("move-failed", stuck("MoveFailed")),
        suspended,
        pool("not-served", status("NoQuorum", ["False", "False", "True", "False"])),
    ]
}

/// The verdicts, or None where the interpreters cannot be built.
fn judge(resources: &[Resource]) -> Option<Vec<Value>> {
    let built = Command::new(root().join("tests/gitops/judge")).output().unwrap();
    if let Some(why) = cannot(&built) {
        skip("gitops", &why);
        return None;
    }
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = String::from_utf8(built.stdout).unwrap();
    let mut child = Command::new(program.trim())
        .arg(root().join("deploy"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = resources.iter().map(|(_, object)| format!("{object}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writing.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), resources.len());
    Some(verdicts)
}

#[test]
fn health_in_each_state_is_the_reviewed_one() {
    let resources: Vec<_> = phases().into_iter().chain(scenarios()).collect();
    let Some(verdicts) = judge(&resources) else { return };
    let mut table = String::from("State | Reason | Argo CD | Flux | kstatus | Actions\n");
    for ((name, object), verdict) in resources.iter().zip(&verdicts) {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
        let reason = ready.map_or("", |ready| ready["reason"].as_str().unwrap());
        let actions = verdict["actions"].as_object().unwrap().iter().filter(|(_, action)| action["disabled"] != true);
        let actions: Vec<&str> = actions.map(|(name, _)| name.as_str()).collect();
        let text = |part: &Value| part.as_str().unwrap().to_owned();
        let (argo, flux, kstatus) =
            (text(&verdict["argo"]["status"]), text(&verdict["flux"]), text(&verdict["kstatus"]));
        writeln!(table, "{name} | {reason} | {argo} | {flux} | {kstatus} | {}", actions.join(" ")).unwrap();
    }
    expect_file![root().join("tests/gitops/golden.txt")].assert_eq(&table);
}

#[test]
fn message_in_argo_cd_is_that_of_the_condition_ready() {
    let resources = phases();
    let Some(verdicts) = judge(&resources) else { return };
    for ((name, object), verdict) in resources.iter().zip(&verdicts) {
        let message = verdict["argo"]["message"].as_str().unwrap();
        let reason = &object["status"]["databaseTypes"][0]["reason"];
        let is_read = object["status"]["observedGeneration"] == 1;
        assert_eq!(is_read.then_some(message), reason.as_str().filter(|_| is_read), "{name}: {message}");
        assert!(!message.is_empty(), "{name}");
    }
}

#[test]
fn action_changes_only_its_own_fields() {
    let (_, held) = phases().into_iter().find(|(name, _)| name == "held-and-synchronized").unwrap();
    let mut suspended = held.clone();
    suspended["spec"]["suspend"] = json!({"reason": "patching", "until": "2100-01-01T00:00:00Z"});
    let resources = [held.clone(), suspended.clone()].map(|object| ("held".to_owned(), object));
    let Some(verdicts) = judge(&resources) else { return };
    let changed = |index: usize, action: &str| verdicts[index]["changed"][action].clone();
    let with = |pointer: &str, value: Value| {
        let mut object = held.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        object
    };
    assert_eq!(changed(0, "approve"), with("/spec/databaseTypes/0/approve", json!({"epoch": "7-5f3a"})));
    assert_eq!(changed(0, "keep"), with("/spec/databaseTypes/0/principal", json!("Mirror")));
    assert_eq!(changed(0, "suspend"), with("/spec/suspend", json!({"reason": "Suspended in Argo CD"})));
    assert_eq!(changed(0, "resume"), held);
    assert_eq!(changed(1, "suspend"), suspended, "a suspension that is there stays as it is");
    assert_eq!(changed(1, "resume"), held);
}

#[test]
fn example_for_a_tool_is_one_object() {
    for (file, kind) in [
        ("argocd/argocd-cm.yaml", "ConfigMap"),
        ("argocd/application.yaml", "ApplicationSet"),
        ("flux/kustomization.yaml", "Kustomization"),
    ] {
        let text = std::fs::read_to_string(root().join("deploy").join(file)).unwrap();
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(object["kind"], kind, "{file}");
    }
}
