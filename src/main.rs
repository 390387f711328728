//! The binary: parses the arguments and runs the subcommand.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Overwrites memory when it is freed: libraries copy passwords into buffers that they do not erase.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> anyhow::Result<ExitCode> {
    lync_mirror::cli::dispatch()
}
