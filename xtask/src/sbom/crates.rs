//! The crates of `Cargo.lock`, and what each of them is for.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::root;

/// Name and version.
type Key = (String, String);

#[derive(Debug)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// SPDX expression.
    pub licence: Option<String>,
    /// SHA-256 of the archive in the registry. None for the members of the workspace.
    pub checksum: Option<String>,
    pub usage: Usage,
    /// Of cargo.
    pub id: String,
    /// The ids of the normal dependencies, on every platform.
    pub dependencies: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Usage {
    /// Code of it is in the binary.
    Linked,
    /// It runs while the binary is built: build scripts and procedural macros.
    Build,
    /// Only tests and development tasks use it.
    Test,
    #[strum(serialize = "other platform")]
    OtherPlatform,
}

impl Crate {
    pub fn purl(&self) -> String {
        // The only character of a version that a package URL escapes is the plus sign of build metadata.
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }
}

/// In the order of `Cargo.lock`.
pub fn read() -> anyhow::Result<Vec<Crate>> {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--locked"])?)?;
    let linked = tree(&["--package", "lync-mirror", "--edges", "normal,no-proc-macro"])?;
    let built = tree(&["--package", "lync-mirror", "--edges", "normal,build"])?;
    let tested = tree(&["--workspace", "--edges", "all"])?;
    let usage = |key: &Key| match key {
        key if linked.contains(key) => Usage::Linked,
        key if built.contains(key) => Usage::Build,
        key if tested.contains(key) => Usage::Test,
        _ => Usage::OtherPlatform,
    };
    let mut packages = packages(&metadata)?;
    let lock = std::fs::read_to_string(root()?.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let mut crates = Vec::new();
    for entry in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let value = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            value.map(|value| value.trim_matches('"').to_owned())
        };
        let key = (field("name").context("a package without name")?, field("version").context("no version")?);
        let (id, licence, dependencies) =
            packages.remove(&key).with_context(|| format!("cargo metadata lacks {key:?}"))?;
        let (checksum, usage) = (field("checksum"), usage(&key));
        crates.push(Crate { name: key.0, version: key.1, licence, checksum, usage, id, dependencies });
    }
    ensure!(packages.is_empty(), "Cargo.lock lacks {:?}", packages.keys());
    Ok(crates)
}

type Package = (String, Option<String>, Vec<String>);

fn packages(metadata: &Value) -> anyhow::Result<BTreeMap<Key, Package>> {
    let mut below = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().context("no resolved dependencies")? {
        let normal = |dependency: &&Value| {
            dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        let ids = node["deps"].as_array().into_iter().flatten().filter(normal).filter_map(|of| text(&of["pkg"]));
        below.insert(text(&node["id"]).unwrap_or_default(), ids.collect::<Vec<_>>());
    }
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().context("no packages")? {
        let field = |name: &str| text(&package[name]).with_context(|| format!("a package without {name}"));
        let id = field("id")?;
        let dependencies = below.remove(&id).unwrap_or_default();
        packages.insert((field("name")?, field("version")?), (id, text(&package["license"]), dependencies));
    }
    Ok(packages)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The crates that `cargo tree` finds for this platform, with the features of a release build.
fn tree(arguments: &[&str]) -> anyhow::Result<BTreeSet<Key>> {
    let printed = cargo(&[&["tree", "--locked", "--prefix", "none", "--format", "{p}"], arguments].concat())?;
    let key = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    Ok(printed.lines().filter_map(key).collect())
}

/// The commit of the working directory.
pub fn commit() -> anyhow::Result<String> {
    let output =
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()?).output().context("cannot run git")?;
    ensure!(output.status.success(), "git rev-parse: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("cargo").args(arguments).current_dir(root()?).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
