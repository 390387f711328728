//! The binary: parses the arguments and runs the subcommand.

fn main() -> anyhow::Result<()> {
    lync_mirror::cli::dispatch()
}
