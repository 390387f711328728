//! The image: two builds of one commit are identical, its bill of materials lists every file, and nothing in it is of now.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::node::build_image;
use crate::support::{cargo, image_environment, root, run, skip};
use serde_json::Value;

/// Unpacks the image of an archive. Returns its manifest and its configuration.
fn unpack(archive: &Path, folder: &Path) -> (Value, Value) {
    let (oci, files) = (folder.join("oci"), folder.join("files"));
    std::fs::create_dir_all(&oci).unwrap();
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&oci));
    let json = |path: &Path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    let blob = |digest: &Value| oci.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"));
    let manifest = json(&blob(&json(&oci.join("index.json"))["manifests"][0]["digest"]));
    std::fs::create_dir_all(&files).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        run(Command::new("tar").arg("-xf").arg(blob(&layer["digest"])).arg("-C").arg(&files));
    }
    let config = json(&blob(&manifest["config"]["digest"]));
    (manifest, config)
}

/// Every file and link of a folder, by its absolute path in the image.
fn files(folder: &Path) -> BTreeSet<String> {
    let printed = run(Command::new("find").arg(folder).args(["!", "-type", "d", "-printf", "/%P\n"]));
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn image_built_twice_is_identical_and_its_bill_of_materials_is_complete() {
    let work = tempfile::tempdir().unwrap();
    let archives = ["first.tar", "second.tar"].map(|name| work.path().join(name));
    // An empty target folder compiles every crate again, which takes ten minutes. Without it, only the package of the
    // operator is compiled again, but with the code of all crates: link-time optimization generates it at the end.
    let again = if std::env::var_os("LYNC_MIRROR_REPRODUCE").is_some() { "--empty-target" } else { "--compile-again" };
    for (archive, options) in [(&archives[0], &[][..]), (&archives[1], &[again][..])] {
        if let Err(why) = build_image(archive, options) {
            return skip("image", &why);
        }
    }
    let [first, second] = archives.each_ref().map(|archive| std::fs::read(archive).unwrap());
    if first != second {
        let differences = Command::new("cmp").args(&archives).output().unwrap();
        panic!("the builds differ: {}", String::from_utf8_lossy(&differences.stdout));
    }
    println!("two builds of {} bytes are identical", first.len());

    let (manifest, config) = unpack(&archives[0], work.path());
    is_labelled(&config);
    let folder = work.path().join("files");
    let commit: u64 =
        run(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root())).trim().parse().unwrap();
    let times = run(Command::new("find").arg(&folder).args(["-mindepth", "1", "-printf", "%T@ %U:%G\n"]));
    let times: BTreeSet<&str> = times.lines().collect();
    assert_eq!(times, BTreeSet::from([format!("{commit}.0000000000 0:0").as_str()]), "time and owner of every file");
    holds_no_path_of_the_build(&folder.join("lync-mirror"));
    is_listed(&archives[0], &folder, &manifest);
    has_the_licenses(&folder.join("usr/share/doc"));
}

/// Those of the crates, and those of the Debian packages.
fn has_the_licenses(folder: &Path) {
    let crates = std::fs::read_to_string(folder.join("lync-mirror/licenses/crates")).unwrap();
    for name in ["kube\t", "libgssapi\t", "tokio\t"] {
        assert!(crates.lines().any(|line| line.starts_with(name)), "{name} in {crates}");
    }
    for package in ["libc6", "libssl3", "libgssapi-krb5-2", "ca-certificates"] {
        assert!(folder.join(package).join("copyright").is_file(), "{package}");
    }
}

fn is_labelled(config: &Value) {
    let labels = &config["config"]["Labels"];
    let revision = run(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()));
    for (name, value) in [
        ("title", "lync-mirror"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", "Apache-2.0"),
        ("revision", revision.trim()),
    ] {
        assert_eq!(labels[format!("org.opencontainers.image.{name}")], value, "{labels}");
    }
    assert_eq!(config["config"]["User"], "65532:65532");
    let set: Vec<&str> =
        config["config"]["Env"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let named = image_environment();
    assert!(!named.is_empty());
    for (name, value) in named {
        assert!(set.contains(&format!("{name}={value}").as_str()), "{set:?}");
    }
}

fn holds_no_path_of_the_build(binary: &Path) {
    let binary = std::fs::read(binary).unwrap();
    let holds = |text: &str| binary.windows(text.len()).any(|found| found == text.as_bytes());
    assert!(holds("/crates/"), "this test searches for paths");
    for path in ["/src/target", "/usr/local/cargo", "/.cargo/registry"] {
        assert!(!holds(path), "the binary contains {path}");
    }
}

/// By the task that the release uses.
fn is_listed(archive: &Path, folder: &Path, manifest: &Value) {
    let mut xtask = cargo();
    xtask.args(["run", "--quiet", "--locked", "--package", "xtask", "--", "sbom"]).arg(archive);
    let document: Value = serde_json::from_str(&run(&mut xtask)).unwrap();
    let components = document["components"].as_array().unwrap();
    let of_type = |kind: &str| components.iter().filter(|component| component["type"] == kind).collect::<Vec<_>>();
    let listed: BTreeSet<String> =
        of_type("file").iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, files(folder));
    for file in of_type("file") {
        let path = folder.join(file["name"].as_str().unwrap().trim_start_matches('/'));
        let sum = run(Command::new("sha256sum").arg(&path));
        assert_eq!(file["hashes"][0]["content"], sum.split(' ').next().unwrap(), "{file}");
        let library = path.to_string_lossy().contains(".so.");
        let package = file["properties"][0]["value"].as_str().unwrap();
        assert_eq!(package.starts_with("pkg:deb/debian/"), library || path.ends_with("ca-certificates.crt"), "{file}");
    }
    for name in ["libc6", "libssl3", "libgssapi-krb5-2", "ca-certificates"] {
        assert!(
            components.iter().any(|component| component["name"] == name && component["version"].is_string()),
            "{name}"
        );
    }
    assert!(manifest["layers"].as_array().unwrap().len() <= 2, "{manifest}");
    println!("{} files, {} crates and packages", listed.len(), of_type("library").len());
}
