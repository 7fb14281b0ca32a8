//! Memory that the kernel does not write to a disk.
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
