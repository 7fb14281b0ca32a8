//! How many files this process may have open, and how many of them connections of clients may be.
//!
//! A connection is a file to the system, and so are the log and the tables of the store. Where strangers may take them
//! all, a member can't begin the next file of its log, and that ends it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files are kept for the member itself: a quarter, but no fewer and no more than this.
const RESERVE_MIN: u64 = 256;
const RESERVE_MAX: u64 = 8192;

/// How many connections there are at most, whatever the system allows. Each takes some tens of kilobytes.
const CONNECTIONS_MAX: u64 = 50_000;

/// Takes all files that the system lets this process have, as programs in Go do.
pub(crate) fn take_all() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where that is refused, there are as many as before.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// How many connections clients may have.
pub(crate) fn for_clients() -> usize {
    connections_max(getrlimit(Resource::Nofile).current)
}

fn connections_max(files_max: Option<u64>) -> usize {
    let connections = files_max.map_or(CONNECTIONS_MAX, |files| {
        let reserve = (files / 4).clamp(RESERVE_MIN, RESERVE_MAX).min(files / 2);
        (files - reserve).min(CONNECTIONS_MAX)
    });
    usize::try_from(connections).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_keeps_files_for_itself() {
        assert_eq!(connections_max(Some(64)), 32);
        assert_eq!(connections_max(Some(1024)), 768);
        assert_eq!(connections_max(Some(4096)), 3072);
        assert_eq!(connections_max(Some(40_000)), 31_808);
        assert_eq!(connections_max(Some(1 << 20)), 50_000);
        assert_eq!(connections_max(None), 50_000);
    }
}
