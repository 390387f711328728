//! The binary: parses the arguments and runs the subcommand.

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

/// Overwrites memory when it is freed: libraries copy passwords into buffers that they do not erase.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> anyhow::Result<()> {
    lync_mirror::cli::dispatch()
}
