//! Development tasks, as `cargo run -p xtask -- TASK`:
//! - `generate` writes the files that are made from the source code,
//! - `man FOLDER` writes the man pages of the command line,
//! - `sbom` prints the software bill of materials of the binary, and `sbom ARCHIVE` that of the image in an OCI archive.

mod man;
mod metrics;
mod reference;
mod sbom;
mod values;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["generate"] => generate(),
        ["man", folder] => man::write(Path::new(folder)),
        ["sbom"] => print(&sbom::of_binary()?),
        ["sbom", archive] => print(&sbom::of_image(Path::new(archive))?),
        _ => bail!("the tasks are: generate, man FOLDER, sbom, sbom ARCHIVE"),
    }
}

fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(root.context("xtask has no parent folder")?.to_owned())
}

fn print(document: &serde_json::Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(document)?);
    Ok(())
}

/// Writes the CustomResourceDefinition and its copy in the chart, the references, and the values of the chart.
fn generate() -> anyhow::Result<()> {
    let root = root()?;
    let crd = lync_mirror::cli::crd()?;
    let files = [
        ("crds/lyncpoolmirrors.yaml", &crd),
        ("charts/lync-mirror/files/lyncpoolmirrors.yaml", &crd),
        ("docs/reference/lyncpoolmirror.md", &reference::reference()?),
        ("docs/reference/command-line.md", &lync_mirror::cli::reference()),
        (metrics::PAGE, &metrics::page()?),
        (values::README, &values::readme(&root)?),
        (values::DEFAULTS, &values::defaults(&root)?),
    ];
    for (path, text) in files {
        let path = root.join(path);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
