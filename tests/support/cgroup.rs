//! A control group with a memory limit, as the kubelet makes one for `resources.limits.memory`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Returns its process to the parent when dropped.
pub struct Cgroup {
    path: PathBuf,
    pid: u32,
}

impl Cgroup {
    /// None, with the cause printed: this machine lets no test make a control group.
    pub fn limit(pid: u32, mebibytes: u64) -> Option<Cgroup> {
        let hierarchies = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let mut causes = Vec::new();
        for (root, limit) in hierarchies {
            match Cgroup::make(Path::new(root), limit, pid, mebibytes) {
                Ok(cgroup) => return Some(cgroup),
                Err(error) => causes.push(format!("{root}: {error}")),
            }
        }
        println!("no control group, so that only the peak shows the memory: {}", causes.join("; "));
        None
    }

    fn make(root: &Path, limit: &str, pid: u32, mebibytes: u64) -> io::Result<Cgroup> {
        let path = root.join(format!("lync-mirror-test-{pid}"));
        if !root.join("cgroup.procs").exists() {
            return Err(io::Error::other("not a control group"));
        }
        fs::create_dir(&path)?;
        let cgroup = Cgroup { path, pid };
        fs::write(cgroup.path.join(limit), (mebibytes << 20).to_string())?;
        fs::write(cgroup.path.join("cgroup.procs"), pid.to_string())?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = fs::write(self.path.with_file_name("cgroup.procs"), self.pid.to_string());
        let _ = fs::remove_dir(&self.path);
    }
}
