//! Development tasks: `cargo run -p xtask -- generate` writes the files that are made from the source code.

mod reference;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("generate") => generate(),
        other => bail!("unknown task {other:?}: the only task is `generate`"),
    }
}

fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(root.context("xtask has no parent folder")?.to_owned())
}

/// Writes the CustomResourceDefinition, its copy in the chart, and the reference.
fn generate() -> anyhow::Result<()> {
    let crd = lync_mirror::cli::crd()?;
    let files = [
        ("crds/lyncpoolmirrors.yaml", &crd),
        ("charts/lync-mirror/files/lyncpoolmirrors.yaml", &crd),
        ("docs/reference/lyncpoolmirror.md", &reference::reference()?),
    ];
    for (path, text) in files {
        let path = root()?.join(path);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
