//! The memory of a process that holds passwords or keytabs: it enters no core file, and no other process of the same user
//! reads it.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Must be called again after `exec`, which makes a process dumpable.
///
/// # Errors
/// The kernel refuses it.
pub fn forbid_dumps() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn forbid_dumps_leaves_the_process_its_own_files_in_memory() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let mut file = std::fs::File::from(rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::empty()).unwrap());
        file.write_all(b"keytab").unwrap();
        forbid_dumps().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        // As GSSAPI opens a keytab.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(std::fs::read(path).unwrap(), b"keytab");
    }
}
