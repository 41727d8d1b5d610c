//! Whether the kernel killed something because memory ran out: the kernel counts these kills per
//! control group and for the whole machine. If a process was killed by signal 9 while the count
//! rose, most likely it, or a child of it, was the one killed.

use std::fs;
use std::path::{Path, PathBuf};

/// The counts at one moment; `None` if a count cannot be read here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomKills {
    group: Option<u64>,
    machine: Option<u64>,
}

impl OomKills {
    pub fn now() -> OomKills {
        OomKills::below(Path::new("/"))
    }

    /// The same, reading `proc` and `sys` below another root.
    fn below(root: &Path) -> OomKills {
        let group = fs::read_to_string(root.join("proc/self/cgroup")).ok();
        let file = group.and_then(|text| group_file(&text, &root.join("sys/fs/cgroup")));
        OomKills {
            group: file.and_then(|file| count(&file)),
            machine: count(&root.join("proc/vmstat")),
        }
    }

    /// Whether something was killed between the two moments: in our control group if that is
    /// counted, otherwise on the machine.
    pub fn rose_since(self, before: OomKills) -> bool {
        match (before.group, self.group) {
            (Some(before), Some(now)) => now > before,
            _ => before.machine.is_some() && self.machine > before.machine,
        }
    }
}

/// The file that counts the kills of our control group. The line for the group is `0::PATH` in
/// cgroup version 2, and `N:memory:PATH` in version 1. In a container the path may be one of the
/// host's; then the root folder itself is the group.
fn group_file(groups: &str, root: &Path) -> Option<PathBuf> {
    let (mut files, lines) = (Vec::new(), groups.lines());
    for line in lines {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            files.extend([root.join(path).join("memory.events"), root.join("memory.events")]);
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let root = root.join("memory");
            files.extend([
                root.join(path).join("memory.oom_control"),
                root.join("memory.oom_control"),
            ]);
        }
    }
    files.into_iter().find(|file| count(file).is_some())
}

/// The number in the line `oom_kill N`.
fn count(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::OomKills;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn a_kill_in_our_group_or_on_the_machine_shows() {
        let groups = [
            ("0::/job\n", "sys/fs/cgroup/job/memory.events"),
            ("0::/../../host/job\n", "sys/fs/cgroup/memory.events"),
            ("4:memory:/job\n0::/\n", "sys/fs/cgroup/memory/job/memory.oom_control"),
            ("4:cpu,memory:/host\n", "sys/fs/cgroup/memory/memory.oom_control"),
        ];
        for (line, file) in groups {
            let root = tempfile::tempdir().unwrap();
            let root = root.path();
            let before = OomKills::below(root);
            write(root, "proc/vmstat", "pgfault 9\noom_kill 7\n");
            let machine = OomKills::below(root);
            assert!(!machine.rose_since(before), "only now can it be read");
            write(root, "proc/vmstat", "pgfault 9\noom_kill 8\n");
            assert!(OomKills::below(root).rose_since(machine));
            write(root, "proc/self/cgroup", line);
            write(root, file, "oom 3\noom_kill 0\n");
            let quiet = OomKills::below(root);
            write(root, "proc/vmstat", "pgfault 9\noom_kill 9\n");
            assert!(!OomKills::below(root).rose_since(quiet), "somebody else's");
            write(root, file, "oom 3\noom_kill 1\n");
            assert!(OomKills::below(root).rose_since(quiet), "{file}");
        }
    }

    #[test]
    fn where_nothing_is_counted_nothing_is_claimed() {
        let root = tempfile::tempdir().unwrap();
        assert!(!OomKills::below(root.path()).rose_since(OomKills::below(root.path())));
    }
}
