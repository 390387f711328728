//! A folder of spec files: versions, generations, locks, and files that cannot be used.

use futures::StreamExt;
use kube::core::DeserializeGuard;
use serde_json::json;

use super::*;
use crate::direct::settings::Login;

fn spec(fqdn: &str, principal: &str) -> String {
    format!(
        "kind: LyncPoolMirror\nspec:\n  poolFqdn: {fqdn}\n  sql:\n    primary: {{host: a}}\n    mirror: {{host: b}}\n    auth: {{method: SqlLogin, secretRef: {{name: sql}}}}\n  databaseTypes:\n    - type: User\n      principal: {principal}\n"
    )
}

fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn settings(folder: &tempfile::TempDir, access: Access) -> Settings {
    Settings {
        source: folder.path().to_owned(),
        state_dir: None,
        login: Login::Environment,
        ca_bundle: None,
        access,
        process: "lync-mirror run (process 7)".to_owned(),
    }
}

fn open(folder: &tempfile::TempDir, access: Access) -> Arc<Directory> {
    Directory::open(settings(folder, access)).unwrap()
}

fn resource(directory: &Directory, name: &str) -> LyncPoolMirror {
    serde_json::from_value(directory.object(name).unwrap()).unwrap()
}

async fn store(directory: &Directory, name: &str, observed: i64) -> Result<Option<String>, Error> {
    let mut next = resource(directory, name);
    next.status.get_or_insert_default().observed_generation = Some(observed);
    directory.replace_status(name, &next).await
}

#[tokio::test]
async fn state_survives_the_process_and_a_changed_spec_has_the_next_generation() {
    let folder = folder_of(&[("pool01.yaml", &spec("pool01.contoso.com", "Primary"))]);
    let first = open(&folder, Access::Act);
    let before = resource(&first, "direct/pool01");
    assert_eq!(before.metadata.generation, Some(1));
    assert!(store(&first, "direct/pool01", 1).await.unwrap().is_some());
    drop(first);

    let second = open(&folder, Access::Act);
    let again = resource(&second, "direct/pool01");
    assert_eq!((again.metadata.uid, again.metadata.generation), (before.metadata.uid, Some(1)));
    assert_eq!(again.status.unwrap().observed_generation, Some(1));
    std::fs::write(folder.path().join("pool01.yaml"), spec("pool01.contoso.com", "Mirror")).unwrap();
    second.rescan();
    assert_eq!(resource(&second, "direct/pool01").metadata.generation, Some(2));
    drop(second);
    let third = open(&folder, Access::Act);
    assert_eq!(resource(&third, "direct/pool01").metadata.generation, Some(2), "also if no status was written with it");
}

#[tokio::test]
async fn status_for_a_version_that_was_replaced_is_not_stored() {
    let folder = folder_of(&[("pool01.yaml", &spec("pool01.contoso.com", "Primary"))]);
    let directory = open(&folder, Access::Act);
    let old = resource(&directory, "direct/pool01");
    assert!(store(&directory, "direct/pool01", 1).await.unwrap().is_some());
    assert_eq!(directory.replace_status("direct/pool01", &old).await.unwrap(), None);
    let read = open(&folder, Access::Read);
    assert_eq!(read.holder("direct/pool01").as_deref(), Some("lync-mirror run (process 7)"));
    assert!(matches!(store(&read, "direct/pool01", 2).await, Err(Error::Locked { .. })));
    std::fs::remove_file(folder.path().join("pool01.lock")).unwrap();
    assert!(matches!(store(&directory, "direct/pool01", 3).await, Err(Error::LockLost { .. })));
    assert_eq!(resource(&directory, "direct/pool01").status.unwrap().observed_generation, Some(1));
}

#[tokio::test]
async fn file_that_cannot_be_used_is_reported_and_the_others_go_on() {
    let folder = folder_of(&[
        ("a.yaml", &spec("a.contoso.com", "Primary")),
        ("b.yaml", &spec("b.contoso.com", "Left")),
        ("c.yaml", "kind: Secret\n"),
        ("d.yaml", "kind: ["),
        ("e.yaml", &format!("metadata: {{name: a}}\n{}", spec("e.contoso.com", "Primary"))),
        ("f.yaml", &spec("f.contoso.com", "Primary")),
        ("f.status.json", "{\"kind\": \"LyncPoolMirrorState\", \"na"),
        ("g.txt", "not read"),
    ]);
    let directory = open(&folder, Access::Act);
    let names: Vec<PathBuf> = directory.objects().into_iter().map(|(path, _)| path).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let problems: Vec<String> = directory.problems().iter().map(|problem| problem.error.to_string()).collect();
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(problems[0].contains("b.yaml: spec.databaseTypes[0].principal \"Left\": The value is unknown. To fix: write one of Primary, Mirror."), "{problems:?}");
    assert!(problems[3].contains("describe the same pool direct/a"), "{problems:?}");
    assert!(problems[4].contains("f.status.json cannot be read: "), "{problems:?}");
    let second = open(&folder, Access::Act);
    assert!(matches!(second.problems()[0].error, Error::Locked { .. }), "one process acts on a pool");
}

#[tokio::test]
async fn watch_delivers_edits_and_removals_and_keeps_the_last_usable_spec() {
    let folder = folder_of(&[("pool01.yaml", &spec("pool01.contoso.com", "Primary"))]);
    let directory = open(&folder, Access::Act);
    let mut events = directory.watch().boxed();
    assert!(matches!(events.next().await, Some(Event::Init)));
    assert!(matches!(events.next().await, Some(Event::InitApply(_))));
    assert!(matches!(events.next().await, Some(Event::InitDone)));
    let edit = Edit { ty: Some("User".to_owned()), field: "principal", value: Some(json!("Mirror")) };
    let mut wanted = directory.object("direct/pool01").unwrap()["spec"].clone();
    wanted["databaseTypes"][0]["principal"] = json!("Mirror");
    directory.edit("direct/pool01", std::slice::from_ref(&edit), &wanted, "").unwrap();
    match events.next().await {
        Some(Event::Apply(DeserializeGuard(Ok(mirror)))) => assert_eq!(mirror.metadata.generation, Some(2)),
        other => panic!("{other:?}"),
    }
    let path = folder.path().join("pool01.yaml");
    let after = std::fs::read_to_string(&path).unwrap();
    assert_eq!(after, spec("pool01.contoso.com", "Mirror"));
    for text in ["kind: [", &spec("pool02.contoso.com", "Primary")] {
        std::fs::write(&path, text).unwrap();
        directory.rescan();
        assert_eq!(directory.problems().len(), 1, "{text}");
        assert_eq!(resource(&directory, "direct/pool01").metadata.generation, Some(2));
        assert!(directory.edit("direct/pool01", std::slice::from_ref(&edit), &wanted, "").is_err());
    }
    // Also the last file: its pool must not be moved any more.
    std::fs::remove_file(&path).unwrap();
    directory.rescan();
    assert!(matches!(events.next().await, Some(Event::Delete(_))));
    assert!(directory.object("direct/pool01").is_none());
    std::fs::write(folder.path().join("other.yaml"), spec("other.contoso.com", "Primary")).unwrap();
    directory.rescan();
    assert!(matches!(events.next().await, Some(Event::Apply(_))), "the other file");
}

/// An editor can remove a file before it writes the new one. Meanwhile a statement of this pool can be in flight.
#[tokio::test]
async fn file_that_is_away_for_a_moment_leaves_the_lock_and_comes_back_with_its_state() {
    let folder = folder_of(&[("pool01.yaml", &spec("pool01.contoso.com", "Primary"))]);
    let directory = open(&folder, Access::Act);
    let before = resource(&directory, "direct/pool01");
    let version = store(&directory, "direct/pool01", 1).await.unwrap();
    std::fs::remove_file(folder.path().join("pool01.yaml")).unwrap();
    directory.rescan();
    assert!(
        directory.check_lock("direct/pool01").unwrap_err().to_string().contains("has no pool direct/pool01 any more")
    );
    std::fs::write(folder.path().join("pool01.yaml"), spec("pool01.contoso.com", "Mirror")).unwrap();
    let second = open(&folder, Access::Act);
    assert!(matches!(second.problems()[0].error, Error::Locked { .. }), "{:?}", second.problems());
    directory.rescan();
    let after = resource(&directory, "direct/pool01");
    assert_eq!((after.metadata.uid.clone(), after.metadata.generation), (before.metadata.uid, Some(2)));
    assert_ne!(after.metadata.resource_version, version, "a status of the former life is not for this one");
    assert!(directory.check_lock("direct/pool01").is_ok());
    assert!(store(&directory, "direct/pool01", 2).await.unwrap().is_some());
}

#[test]
fn locked_file_is_tried_again_with_each_scan() {
    let folder = folder_of(&[("pool01.yaml", &spec("pool01.contoso.com", "Primary"))]);
    let first = open(&folder, Access::Act);
    let second = open(&folder, Access::Act);
    assert!(matches!(second.problems()[0].error, Error::Locked { .. }), "{:?}", second.problems());
    drop(first);
    second.rescan();
    assert!(second.problems().is_empty() && second.check_lock("direct/pool01").is_ok(), "{:?}", second.problems());
}

/// Both would have the files pool01.status.json and pool01.lock.
#[test]
fn files_with_one_stem_name_each_other_and_not_this_process() {
    let folder = folder_of(&[
        ("pool01.yaml", &spec("pool01.contoso.com", "Primary")),
        ("pool01.yml", &format!("metadata: {{name: other}}\n{}", spec("other.contoso.com", "Primary"))),
    ]);
    for access in [Access::Act, Access::Read] {
        let directory = open(&folder, access);
        let problems: Vec<String> = directory.problems().iter().map(|problem| problem.error.to_string()).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("pool01.yml would have the journal ") && problems[0].contains("pool01.yaml. Only")
        );
        assert!(resource(&directory, "direct/pool01").metadata.uid.is_some());
        directory.rescan();
        assert_eq!(directory.problems().len(), 1);
    }
}

/// As Kubernetes mounts a ConfigMap: the link leads to another folder after each change.
#[tokio::test]
async fn link_that_leads_to_another_file_is_an_edit_if_the_state_stays() {
    let folder = folder_of(&[]);
    let at = |name: &str| folder.path().join(name);
    for (name, principal) in [("one", "Primary"), ("two", "Mirror")] {
        std::fs::create_dir_all(at(name)).unwrap();
        std::fs::write(at(name).join("pool01.yaml"), spec("pool01.contoso.com", principal)).unwrap();
    }
    for name in ["pools", "state"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let lead_to = |target: &str| {
        std::os::unix::fs::symlink(at(target).join("pool01.yaml"), at("link.new")).unwrap();
        std::fs::rename(at("link.new"), at("pools/pool01.yaml")).unwrap();
    };
    lead_to("one");
    let settings = Settings { source: at("pools"), state_dir: Some(at("state")), ..settings(&folder, Access::Act) };
    let directory = Directory::open(settings).unwrap();
    let before = resource(&directory, "direct/pool01");
    assert!(store(&directory, "direct/pool01", 1).await.unwrap().is_some());
    lead_to("two");
    directory.rescan();
    assert!(directory.problems().is_empty(), "{:?}", directory.problems());
    let after = resource(&directory, "direct/pool01");
    assert_eq!((after.metadata.uid, after.metadata.generation), (before.metadata.uid, Some(2)));
    std::fs::create_dir(at("bad")).unwrap();
    std::fs::write(at("bad/pool01.yaml"), "kind: [").unwrap();
    lead_to("bad");
    directory.rescan();
    assert_eq!(resource(&directory, "direct/pool01").metadata.generation, Some(2), "the last usable spec");
    // A second link to the same file is no second pool.
    lead_to("two");
    std::os::unix::fs::symlink(at("two/pool01.yaml"), at("pools/pool02.yaml")).unwrap();
    directory.rescan();
    assert!(
        matches!(directory.problems()[..], [Problem { error: Error::Twice { .. }, .. }]),
        "{:?}",
        directory.problems()
    );
}

#[tokio::test]
async fn reader_takes_the_status_that_another_process_has_stored() {
    let folder = folder_of(&[("pool01.yaml", &spec("pool01.contoso.com", "Primary"))]);
    let service = open(&folder, Access::Act);
    let reader = open(&folder, Access::Read);
    assert!(store(&service, "direct/pool01", 1).await.unwrap().is_some());
    reader.rescan();
    assert_eq!(resource(&reader, "direct/pool01").status.unwrap().observed_generation, Some(1));
    drop(service);
    reader.rescan();
    assert_eq!(reader.holder("direct/pool01"), None);
}

#[tokio::test]
async fn status_that_cannot_be_written_is_known_until_one_is_written() {
    let folder = folder_of(&[("pool01.yaml", &spec("pool01.contoso.com", "Primary"))]);
    let directory = open(&folder, Access::Act);
    // A folder cannot be replaced by a file.
    std::fs::create_dir(folder.path().join("pool01.status.json")).unwrap();
    let mut changes = directory.changes();
    assert!(matches!(store(&directory, "direct/pool01", 1).await, Err(Error::Write { .. })));
    assert!(changes.has_changed().unwrap(), "the verb that waits must see it");
    changes.mark_unchanged();
    let unwritten = directory.unwritten("direct/pool01").unwrap().to_string();
    assert!(unwritten.contains("pool01.status.json cannot be written: "), "{unwritten}");
    std::fs::remove_dir(folder.path().join("pool01.status.json")).unwrap();
    assert!(store(&directory, "direct/pool01", 1).await.unwrap().is_some());
    assert!(directory.unwritten("direct/pool01").is_none());
}
