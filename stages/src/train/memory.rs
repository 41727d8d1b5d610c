//! The memory budget for the activations of a step. It starts at 4 GiB and is halved until it fits
//! the free memory, so that all machines with enough memory sum gradients in the same order.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// The budget if memory is not short.
const MOST_BYTES: u64 = 4 << 30;

/// The smallest budget: one example cannot be split.
const LEAST_BYTES: u64 = 64 << 20;

/// The memory that micro-batches are cut for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationBudget {
    pub bytes: u64,
}

impl ActivationBudget {
    /// The budget on a machine with `free` bytes (`None`: unknown), of which gradients and moments
    /// take `fixed`. It is halved once more for each of `failures`, earlier runs out of memory.
    pub fn new(free: Option<u64>, fixed: u64, failures: u32) -> ActivationBudget {
        let mut budget = ActivationBudget { bytes: MOST_BYTES };
        // Leave a tenth of the free memory to other processes.
        let room = free.map_or(u64::MAX, |free| (free / 10 * 9).saturating_sub(fixed));
        while budget.bytes > room && budget.halve() {}
        for _ in 0..failures {
            budget.halve();
        }
        budget
    }

    /// Halves the budget. Returns false if it is already the smallest.
    pub fn halve(&mut self) -> bool {
        let possible = self.bytes / 2 >= LEAST_BYTES;
        if possible {
            self.bytes /= 2;
        }
        possible
    }

    pub fn is_reduced(self) -> bool {
        self.bytes < MOST_BYTES
    }
}

/// The bytes that this process can still allocate: the minimum of the available memory, the room in
/// its control groups and the room in its address space. `None` if none is known.
pub fn free_bytes() -> Option<u64> {
    let of_groups = control_groups().into_iter().filter_map(|group| free_of_group(&group));
    [available_bytes(), free_address_space()].into_iter().flatten().chain(of_groups).min()
}

/// `MemAvailable` of `/proc/meminfo`.
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The limit of the address space minus the mapped bytes.
fn free_address_space() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').next()?.parse().ok()?;
    Some(limit.saturating_sub(pages * rustix::param::page_size() as u64))
}

/// The folders of this process's control group (version 2) and of all above it.
fn control_groups() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let root = Path::new("/sys/fs/cgroup");
    root.join(own).ancestors().filter(|it| it.starts_with(root)).map(Path::to_owned).collect()
}

/// The room below the limit of a group. Its file cache counts as free, because the kernel can
/// reclaim it.
fn free_of_group(group: &Path) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(group.join(name)).ok()?.trim().parse().ok()
    };
    let limit = number("memory.max")?;
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cache = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let cache = cache.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default();
    Some((limit + cache).saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_budget_is_the_same_on_all_machines_with_enough_memory() {
        let roomy = ActivationBudget::new(Some(64 * GIB), 2 * GIB, 0);
        assert_eq!(roomy, ActivationBudget::new(Some(16 * GIB), 2 * GIB, 0));
        assert_eq!(roomy, ActivationBudget::new(None, 2 * GIB, 0));
        assert_eq!((roomy.bytes, roomy.is_reduced()), (4 * GIB, false));
    }

    #[test]
    fn it_is_halved_until_it_fits_beside_gradients_and_moments() {
        assert_eq!(ActivationBudget::new(Some(5 * GIB), 2 * GIB, 0).bytes, 2 * GIB);
        assert_eq!(ActivationBudget::new(Some(3 * GIB), 2 * GIB, 0).bytes, GIB / 2);
        assert_eq!(ActivationBudget::new(Some(GIB), 2 * GIB, 0).bytes, LEAST_BYTES);
    }

    #[test]
    fn it_is_halved_for_every_time_that_memory_ran_out() {
        assert_eq!(ActivationBudget::new(None, 0, 2).bytes, GIB);
        let mut least = ActivationBudget::new(None, 0, 100);
        assert_eq!((least.bytes, least.halve()), (LEAST_BYTES, false));
    }

    #[test]
    fn this_machine_has_some_memory_left() {
        assert!(free_bytes().is_some_and(|bytes| bytes > 0));
    }
}
