//! The rights of the operator and its requests: what the API server grants to the ServiceAccount of the chart equals what the
//! operator uses, by the audit log.

use std::collections::BTreeSet;

use crate::support::{Operator, TestPool, types, until};
use serde_json::Value;

const NAMESPACE: &str = "authority";

/// Rights that this test does not use, each with its use.
const EXCEPTIONS: &[(&str, &str)] = &[
    // A status that an older version of the CRD accepted and this one cannot decode: src/controller/status_writer.rs.
    ("get", "lyncpoolmirrors.lyncmirror.io"),
    // The recorder of kube counts an event in the first one if it repeats at the same version of the object.
    ("patch", "events.events.k8s.io"),
];

/// A verb on a resource, as in `update lyncpoolmirrors.lyncmirror.io/status`, or on a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    what: String,
    /// The only object to which the right applies. None: every object.
    name: Option<String>,
}

/// The brackets of a line of `kubectl auth can-i --list`: paths, names, verbs.
fn brackets(line: &str) -> Vec<Vec<String>> {
    let parts = line.split('[').skip(1).filter_map(|part| part.split(']').next());
    parts.map(|part| part.split_whitespace().map(str::to_owned).collect()).collect()
}

fn granted(fixture: &TestPool, account: &str) -> BTreeSet<Right> {
    let who = format!("--as=system:serviceaccount:{NAMESPACE}:{account}");
    let printed = fixture.cluster.kubectl(&["auth", "can-i", "--list", "-n", NAMESPACE, &who]);
    let mut rights = BTreeSet::new();
    for line in printed.lines().skip(1) {
        let [paths, names, verbs] = brackets(line).try_into().unwrap_or_else(|_| panic!("{line}"));
        let resource = line.split_whitespace().next().filter(|word| !word.starts_with('['));
        let whats = resource.map_or(paths, |resource| vec![resource.to_owned()]);
        let names: Vec<Option<String>> =
            if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        for (what, verb) in whats.iter().flat_map(|what| verbs.iter().map(move |verb| (what, verb))) {
            let right = |name: &Option<String>| Right { verb: verb.clone(), what: what.clone(), name: name.clone() };
            rights.extend(names.iter().map(right));
        }
    }
    rights
}

/// Each request of the operator in the audit log, and whether the API server allowed it.
fn used(fixture: &TestPool) -> Vec<(Right, bool)> {
    let log = std::fs::read_to_string(fixture.cluster.dir.join("audit.log")).unwrap();
    let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
    let account = format!("system:serviceaccount:{NAMESPACE}:lync-mirror-{NAMESPACE}");
    let entries = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = entries.filter(|entry| entry["user"]["username"] == account.as_str());
    own.map(|entry| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let object = &entry["objectRef"];
        let what = match text(&object["resource"]) {
            Some(resource) => {
                let group = text(&object["apiGroup"]).map(|group| format!(".{group}")).unwrap_or_default();
                let part = text(&object["subresource"]).map(|part| format!("/{part}")).unwrap_or_default();
                format!("{resource}{group}{part}")
            }
            None => entry["requestURI"].as_str().unwrap().split('?').next().unwrap().to_owned(),
        };
        let right = Right { verb: text(&entry["verb"]).unwrap(), what, name: text(&object["name"]) };
        (right, entry["annotations"]["authorization.k8s.io/decision"] == "allow")
    })
    .collect()
}

fn covers(granted: &Right, used: &Right) -> bool {
    granted.verb == used.verb && granted.what == used.what && (granted.name.is_none() || granted.name == used.name)
}

/// First sight, a move, a rotated Secret, a new leader, and a move back.
async fn whole_life(fixture: &TestPool) {
    let cluster = fixture.cluster;
    let first = Operator::start_as(cluster, NAMESPACE, "1s", "authority-1");
    cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    let _second = Operator::start_as(cluster, NAMESPACE, "1s", "authority-2");
    let move_user = |seat: &str| {
        cluster.apply(&fixture.pool("pool01", types(seat, "Primary")));
        let status = fixture.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], format!("User={seat} CentralMgmt=Primary"));
    };
    move_user("Mirror");

    fixture.rotate_password("pool01");

    assert_eq!(first.stop(), Some(0));
    until("the second replica leads", || {
        let lease = cluster.get_json(&["lease", "lync-mirror-authority", "-n", NAMESPACE])?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        if holder.starts_with("authority-2") { Ok(()) } else { Err(holder) }
    });
    move_user("Primary");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_of_the_service_account_equal_the_requests_of_the_operator() {
    let fixture = TestPool::start(NAMESPACE, false).await;
    // What every ServiceAccount may do: discovery, and reviews of itself.
    let everyone = granted(&fixture, "another");
    let granted: BTreeSet<Right> = granted(&fixture, "lync-mirror-authority").difference(&everyone).cloned().collect();
    assert!(granted.iter().any(|right| right.what == "secrets"), "{granted:#?}");
    whole_life(&fixture).await;

    let used = used(&fixture);
    let refused: BTreeSet<_> = used.iter().filter(|(_, allowed)| !allowed).map(|(right, _)| right).collect();
    assert!(refused.is_empty(), "requests without the right: {refused:#?}");
    let unknown: BTreeSet<_> = used
        .iter()
        .map(|(right, _)| right)
        .filter(|used| !granted.iter().chain(&everyone).any(|granted| covers(granted, used)))
        .collect();
    assert!(unknown.is_empty(), "allowed by no rule that can-i lists: {unknown:#?}");
    let idle: Vec<_> = granted
        .iter()
        .filter(|granted| !used.iter().any(|(used, _)| covers(granted, used)))
        .map(|right| (right.verb.as_str(), right.what.as_str()))
        .collect();
    assert_eq!(idle, EXCEPTIONS, "granted and not used");
    println!("{} rights, {} requests", granted.len(), used.len());
}
