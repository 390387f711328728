//! The files of an image in an OCI archive, and the Debian packages that its `status.d` names.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

const REVISION: &str = "org.opencontainers.image.revision";
const STATUS: &str = "var/lib/dpkg/status.d";

pub struct Image {
    /// Of the manifest, as a registry names the image.
    pub digest: String,
    /// Sorted by path. Folders are not listed.
    pub files: Vec<File>,
    pub packages: Vec<Package>,
    /// The label with the commit from which the image was built.
    pub revision: Option<String>,
}

pub struct File {
    /// Absolute, within the image.
    pub path: String,
    pub content: Content,
}

pub enum Content {
    /// SHA-256.
    Bytes(String),
    /// The target of a symbolic link.
    Link(String),
}

pub struct Package {
    pub name: String,
    pub version: String,
    architecture: String,
    /// Absolute paths.
    pub files: BTreeSet<String>,
}

impl Package {
    pub fn purl(&self) -> String {
        let version = self.version.replace(':', "%3A").replace('+', "%2B");
        format!("pkg:deb/debian/{}@{version}?arch={}&distro=debian-12", self.name, self.architecture)
    }
}

impl Image {
    pub fn read(archive: &Path) -> anyhow::Result<Self> {
        let work = tempfile::tempdir()?;
        let (oci, root) = (work.path().join("oci"), work.path().join("root"));
        unpack(archive, &oci)?;
        let index: Value = serde_json::from_slice(&std::fs::read(oci.join("index.json"))?)?;
        let digest = index["manifests"][0]["digest"].as_str().context("the archive holds no image")?.to_owned();
        let manifest: Value = serde_json::from_slice(&std::fs::read(blob(&oci, &digest)?)?)?;
        for layer in manifest["layers"].as_array().context("the image has no layers")? {
            unpack(&blob(&oci, layer["digest"].as_str().context("a layer without a digest")?)?, &root)?;
        }
        let config = manifest["config"]["digest"].as_str().context("the image has no configuration")?;
        let config: Value = serde_json::from_slice(&std::fs::read(blob(&oci, config)?)?)?;
        let revision = config["config"]["Labels"][REVISION].as_str().map(str::to_owned);
        let mut files = Vec::new();
        list(&root, &root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { digest, files, packages: packages(&root.join(STATUS))?, revision })
    }
}

/// The file of a digest. Its content must have that digest.
fn blob(oci: &Path, digest: &str) -> anyhow::Result<std::path::PathBuf> {
    let hex = digest.strip_prefix("sha256:").with_context(|| format!("{digest} is no SHA-256"))?;
    let path = oci.join("blobs/sha256").join(hex);
    ensure!(sha256(&path)? == hex, "{} has another content", path.display());
    Ok(path)
}

/// By the program `tar`, which finds the compression itself.
fn unpack(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut tar = Command::new("tar");
    let status = tar.arg("-xf").arg(archive).arg("--no-same-owner").arg("-C").arg(folder).status()?;
    ensure!(status.success(), "tar cannot unpack {}", archive.display());
    Ok(())
}

fn list(root: &Path, folder: &Path, files: &mut Vec<File>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            list(root, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(root)?.to_str().context("a name that is not UTF-8")?;
        ensure!(!name.contains(".wh."), "{name}: a layer that removes files of another is not supported");
        let content = if kind.is_symlink() {
            Content::Link(std::fs::read_link(&path)?.to_string_lossy().into_owned())
        } else {
            Content::Bytes(sha256(&path)?)
        };
        files.push(File { path: format!("/{name}"), content });
    }
    Ok(())
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One file for each package, in the format of dpkg, and a list of its files beside it.
fn packages(status: &Path) -> anyhow::Result<Vec<Package>> {
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(status).context("the image names no Debian packages")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md5sums") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned).with_context(|| format!("{} lacks {name}", path.display()))
        };
        let sums = std::fs::read_to_string(path.with_added_extension("md5sums"))?;
        let files = sums.lines().filter_map(|line| Some(format!("/{}", line.split_once("  ")?.1))).collect();
        packages.push(Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            files,
        });
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}
