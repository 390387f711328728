//! The one binary: parse, dispatch, exit code.

fn main() -> anyhow::Result<()> {
    lync_mirror::cli::dispatch()
}
