//! Software bills of materials as CycloneDX JSON: of the binary, and of an image with the binary in it. The same input gives
//! the same document, so it contains neither a time nor a random number.

mod crates;
mod image;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};

use crates::Crate;
use image::{File, Image, Package};

/// The crates of `Cargo.lock`. Those that are not linked into the binary have the scope `excluded`.
pub fn of_binary() -> anyhow::Result<Value> {
    let crates = crates::read()?;
    Ok(document(operator(&crates), crates.iter().map(component).collect(), dependencies(&crates)))
}

/// The files of an image in an OCI archive, their Debian packages, and the crates of the binary.
pub fn of_image(archive: &Path) -> anyhow::Result<Value> {
    let image = Image::read(archive)?;
    is_of_commit(image.revision.as_deref(), &crates::commit()?)?;
    let crates = crates::read()?;
    let mut components = vec![operator(&crates)];
    components.extend(crates.iter().map(component));
    components.extend(image.packages.iter().map(package));
    components.extend(image.files.iter().map(|file| self::file(file, &image)));
    let container = json!({
        "type": "container", "bom-ref": "image", "name": "lync-mirror", "version": version(&crates),
        "purl": format!("pkg:oci/lync-mirror@{}", image.digest.replace(':', "%3A")),
        "properties": [property("digest", &image.digest)],
    });
    let mut dependencies = dependencies(&crates);
    let parts = image.packages.iter().map(Package::purl).chain([operator_ref(&crates)]);
    dependencies.push(json!({"ref": "image", "dependsOn": parts.collect::<Vec<_>>()}));
    Ok(document(container, components, dependencies))
}

/// The crates come from `Cargo.lock` of the working directory, which describes an image of the same commit only.
fn is_of_commit(revision: Option<&str>, commit: &str) -> anyhow::Result<()> {
    let revision = revision.unwrap_or("unknown");
    ensure!(
        revision == commit,
        "The image is of commit {revision}, and the working directory of {commit}. To fix: check out the commit of the image, or build it with --build-arg REVISION={commit}."
    );
    Ok(())
}

fn document(subject: Value, components: Vec<Value>, dependencies: Vec<Value>) -> Value {
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": subject,
            "tools": {"components": [{"type": "application", "name": "xtask", "version": env!("CARGO_PKG_VERSION")}]},
        },
        "components": components,
        "dependencies": dependencies,
    })
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": format!("lync-mirror:{name}"), "value": value})
}

fn version(crates: &[Crate]) -> &str {
    crates.iter().find(|found| found.name == "lync-mirror").map_or("", |found| found.version.as_str())
}

fn operator_ref(crates: &[Crate]) -> String {
    format!("binary:lync-mirror@{}", version(crates))
}

/// The binary.
fn operator(crates: &[Crate]) -> Value {
    json!({
        "type": "application", "bom-ref": operator_ref(crates), "name": "lync-mirror", "version": version(crates),
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    })
}

fn component(of: &Crate) -> Value {
    let mut component = json!({
        "type": "library", "bom-ref": of.purl(), "name": of.name, "version": of.version, "purl": of.purl(),
        "scope": if of.usage == crates::Usage::Linked { "required" } else { "excluded" },
        "properties": [property("use", of.usage.into())],
    });
    if let Some(licence) = &of.licence {
        // Old crates write MIT/Apache-2.0 for a choice, which SPDX does not know.
        component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(checksum) = &of.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// The linked crates, and what each of them links.
fn dependencies(crates: &[Crate]) -> Vec<Value> {
    let linked: BTreeMap<_, _> =
        crates.iter().filter(|of| of.usage == crates::Usage::Linked).map(|of| (of.id.as_str(), of)).collect();
    let mut all: Vec<Value> = linked
        .values()
        .map(|of| {
            let below = of.dependencies.iter().filter_map(|id| linked.get(id.as_str()));
            json!({"ref": of.purl(), "dependsOn": below.map(|of| of.purl()).collect::<Vec<_>>()})
        })
        .collect();
    let root = linked.values().find(|of| of.name == "lync-mirror").map(|of| of.purl());
    all.push(json!({"ref": operator_ref(crates), "dependsOn": root.into_iter().collect::<Vec<_>>()}));
    all
}

fn package(of: &Package) -> Value {
    json!({
        "type": "library", "bom-ref": of.purl(), "name": of.name, "version": of.version, "purl": of.purl(),
        "scope": "required",
    })
}

fn file(of: &File, image: &Image) -> Value {
    let owner = image.packages.iter().find(|package| package.files.contains(&of.path)).map(Package::purl);
    let owner = owner.unwrap_or_else(|| "lync-mirror".to_owned());
    let mut component = json!({
        "type": "file", "bom-ref": format!("file:{}", of.path), "name": of.path,
        "properties": [property("package", &owner)],
    });
    match &of.content {
        image::Content::Bytes(digest) => component["hashes"] = json!([{"alg": "SHA-256", "content": digest}]),
        image::Content::Link(target) => {
            component["properties"] = json!([property("package", &owner), property("link", target)]);
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    fn names(components: &Value, scope: &str) -> BTreeSet<String> {
        let all = components.as_array().unwrap().iter().filter(|component| component["scope"] == scope);
        all.map(|component| component["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn image_of_another_commit_is_refused() {
        assert!(is_of_commit(Some("abc"), "abc").is_ok());
        for revision in [Some("abd"), Some("unknown"), None] {
            let error = is_of_commit(revision, "abc").unwrap_err().to_string();
            assert!(error.contains("To fix: check out"), "{error}");
        }
    }

    #[test]
    fn document_of_the_binary_lists_every_package_of_the_lock_file_once() {
        let document = of_binary().unwrap();
        let listed: Vec<(String, String)> = document["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| {
                (component["name"].as_str().unwrap().into(), component["version"].as_str().unwrap().into())
            })
            .collect();
        let lock = std::fs::read_to_string(crate::root().unwrap().join("Cargo.lock")).unwrap();
        let mut lines = lock.lines();
        let mut locked = Vec::new();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("name = ") {
                let version = lines.next().unwrap().strip_prefix("version = ").unwrap();
                locked.push((name.trim_matches('"').to_owned(), version.trim_matches('"').to_owned()));
            }
        }
        assert!(locked.len() > 300, "{}", locked.len());
        assert_eq!(listed, locked, "in the order of the lock file");
    }

    #[test]
    fn document_of_the_binary_separates_linked_crates_from_the_others() {
        let document = of_binary().unwrap();
        let (linked, others) = (names(&document["components"], "required"), names(&document["components"], "excluded"));
        for name in ["lync-mirror", "kube", "tiberius", "openssl-sys", "rustls", "tokio-rustls", "libgssapi-sys"] {
            assert!(linked.contains(name), "{name} is linked");
        }
        for name in ["mirror-sim", "xtask", "proptest", "bindgen", "serde_derive", "windows-sys", "cel"] {
            assert!(others.contains(name) && !linked.contains(name), "{name} is not linked");
        }
        let of = |name: &str| {
            let found = document["components"].as_array().unwrap().iter().find(|of| of["name"] == name).unwrap();
            found["properties"][0]["value"].as_str().unwrap().to_owned()
        };
        assert_eq!(of("kube"), "linked");
        assert_eq!(of("serde_derive"), "build");
        assert_eq!(of("proptest"), "test");
        assert_eq!(of("jni"), "other platform");
    }

    #[test]
    fn document_of_the_binary_is_the_same_each_time_and_valid() {
        let document = of_binary().unwrap();
        assert_eq!(document, of_binary().unwrap());
        let refs: Vec<&str> = document["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["bom-ref"].as_str().unwrap())
            .collect();
        assert_eq!(refs.iter().collect::<BTreeSet<_>>().len(), refs.len(), "a bom-ref is unique");
        let known: BTreeSet<&str> =
            refs.into_iter().chain([document["metadata"]["component"]["bom-ref"].as_str().unwrap()]).collect();
        for dependency in document["dependencies"].as_array().unwrap() {
            let below = dependency["dependsOn"].as_array().unwrap();
            for reference in below.iter().chain([&dependency["ref"]]) {
                assert!(known.contains(reference.as_str().unwrap()), "{reference} is no component");
            }
        }
    }

    /// An OCI archive with one layer, as a registry holds it.
    fn archive(folder: &Path) -> std::path::PathBuf {
        let script = r#"
            set -eu
            mkdir -p root/lib root/var/lib/dpkg/status.d oci/blobs/sha256
            echo binary >root/lync-mirror
            echo library >root/lib/libx.so.1
            ln -s libx.so.1 root/lib/libx.so
            printf 'Package: libx1\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.2-3+deb12u1\n' \
                >root/var/lib/dpkg/status.d/libx1
            printf '%s  lib/libx.so.1\n' "$(md5sum <root/lib/libx.so.1 | cut -d' ' -f1)" >root/var/lib/dpkg/status.d/libx1.md5sums
            blob() { digest=$(sha256sum <"$1" | cut -d' ' -f1); cp "$1" "oci/blobs/sha256/$digest"; }
            tar -C root -czf layer.tar.gz . && blob layer.tar.gz
            layer=$digest
            printf '{"config": {"Labels": {"org.opencontainers.image.revision": "%s"}}}' "$1" >config && blob config
            printf '{"config": {"digest": "sha256:%s"}, "layers": [{"digest": "sha256:%s"}]}' "$digest" "$layer" >manifest
            blob manifest
            printf '{"manifests": [{"digest": "sha256:%s"}]}' "$digest" >oci/index.json
            tar -C oci -cf image.tar .
        "#;
        let commit = crates::commit().unwrap();
        let status = Command::new("sh").args(["-c", script, "sh", &commit]).current_dir(folder).status().unwrap();
        assert!(status.success());
        folder.join("image.tar")
    }

    #[test]
    fn document_of_an_image_lists_every_file_with_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let document = of_image(&archive(folder.path())).unwrap();
        let components = document["components"].as_array().unwrap();
        let files: Vec<(&str, &str)> = components
            .iter()
            .filter(|component| component["type"] == "file")
            .map(|file| (file["name"].as_str().unwrap(), file["properties"][0]["value"].as_str().unwrap()))
            .collect();
        let library = "pkg:deb/debian/libx1@1%3A1.2-3%2Bdeb12u1?arch=amd64&distro=debian-12";
        assert_eq!(
            files,
            [
                ("/lib/libx.so", "lync-mirror"),
                ("/lib/libx.so.1", library),
                ("/lync-mirror", "lync-mirror"),
                ("/var/lib/dpkg/status.d/libx1", "lync-mirror"),
                ("/var/lib/dpkg/status.d/libx1.md5sums", "lync-mirror"),
            ]
        );
        let hash = |name: &str| {
            components.iter().find(|component| component["name"] == name).unwrap()["hashes"][0]["content"].clone()
        };
        assert_eq!(hash("/lync-mirror"), "58eaf5a78d580f5dbd49d31a5b733094169b31bfdf49055b74bcac2877d8f58c");
        assert!(components.iter().any(|component| component["bom-ref"] == library));
        assert!(components.iter().any(|component| component["name"] == "kube"), "the crates of the binary");
    }
}
