//! A folder of spec files: versions, generations, locks, and files that cannot be used.

use futures::StreamExt;

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

fn open(folder: &tempfile::TempDir, access: Access) -> Arc<Directory> {
    Directory::open(Settings {
        source: folder.path().to_owned(),
        state_dir: None,
        login: Login::Environment,
        ca_bundle: None,
        access,
        process: "lync-mirror run (process 7)".to_owned(),
    })
    .unwrap()
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
