//! How much memory there is, and that the kernel does not write it to a disk.
//!
//! What a member holds in memory was checked when it was read. A page that is swapped out comes back
//! from a disk without a check, and as slowly as that disk is: a leader that waits for it is late with its
//! heartbeats.

use std::fs;

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};

use crate::log::Log;

/// Where Linux tells what it swaps to.
const SWAPS: &str = "/proc/swaps";

/// Where Linux tells how much memory the machine has, and how much of it the group of this process may have, in either
/// version of such groups.
const MACHINE: &str = "/proc/meminfo";
const GROUPS: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// How many bytes this process may have, if the system tells.
pub(crate) fn available() -> Option<usize> {
    let read = |path| fs::read_to_string(path).ok();
    let machine = read(MACHINE).and_then(|text| total(&text));
    let group = GROUPS.into_iter().find_map(read).and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

/// The whole of it, in bytes.
fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Keeps all memory of this process out of the swap, if that is asked for; and warns if it may get there.
///
/// # Errors
/// If the system refuses, with what to do about it.
pub(crate) fn prepare(is_to_be_locked: bool, log: &Log) -> Result<(), String> {
    if is_to_be_locked {
        // Pages that are never touched take no memory, as without.
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        return mlockall(all).map_err(refused);
    }
    // Where there is no such file there is nothing to warn of.
    let swaps = fs::read_to_string(SWAPS).unwrap_or_default();
    let names = names(&swaps);
    if !names.is_empty() {
        log.warn("this machine swaps: what it reads back is not checked, and may come late")
            .with("swap", names.join(", "))
            .with("advice", "turn it off (swapoff --all), or start with --memory-mlock");
    }
    Ok(())
}

fn refused(error: Errno) -> String {
    format!(
        "can't lock the memory (--memory-mlock): {error}; raise the limit of locked memory to unlimited \
         (LimitMEMLOCK=infinity in a unit of systemd, `ulimit -l unlimited` in a shell), or give this \
         process the capability CAP_IPC_LOCK"
    )
}

/// What is swapped to: the first word of each line but the one with the titles.
fn names(swaps: &str) -> Vec<&str> {
    swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_read() {
        let meminfo = "MemTotal:       16384000 kB\nMemFree:         1000 kB\n";
        assert_eq!(total(meminfo), Some(16_384_000 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(total("MemTotal: much kB\n"), None);
    }

    #[test]
    fn swaps_are_read() {
        let title = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(names(""), [""; 0]);
        assert_eq!(names(title), [""; 0]);
        let swaps = format!(
            "{title}/dev/nvme0n1p3                          partition\t8388604\t\t0\t\t-2\n\
             /swap\\040file                          file\t\t1048572\t\t512\t\t-3\n\n"
        );
        assert_eq!(names(&swaps), ["/dev/nvme0n1p3", "/swap\\040file"]);
    }

    #[test]
    fn who_is_refused_is_told_what_to_raise() {
        let told = refused(Errno::PERM);
        assert!(
            told.contains("--memory-mlock") && told.contains("LimitMEMLOCK=infinity"),
            "{told}"
        );
    }
}
