//! The museum: bugs that others had, and some of our own, planted at the place where they would be.
//!
//! A checker that never fired proves nothing. So what is known to go wrong in systems like this one
//! goes wrong here on purpose, one bug at a time, and `cargo xtask museum` demands that the simulator
//! or a named test finds each of them. A bug is a line of the code that it spoils:
//!
//! ```
//! use quorate_planted::planted;
//! # let (last, durable) = (3, 2);
//! let counted = if planted!(LeaderCountsUnsynced) { last } else { durable };
//! assert_eq!(counted, durable, "nothing is planted in this build");
//! ```
//!
//! **No release has them.** Unless the whole build is given `--cfg museum`, [`planted!`] is the constant
//! `false`, and the compiler drops the line. A build with it refuses to compile the crates `host`,
//! `server` and `cli`, so there is no way to serve anybody from one. In it, the environment variable
//! [`SELECTED_BY`] names the one bug that is alive in the process; without the variable there is none.
//!
//! The table of all bugs is [`catalogue`]. A test of `xtask` holds that each stands in as many places as
//! the table says, and that nothing is planted which the table does not have.

#![no_std]

pub mod catalogue;

pub use catalogue::{Bug, Exhibit, Finder};

/// The environment variable that names the bug that is alive, in a build that has them.
pub const SELECTED_BY: &str = "QUORATE_PLANTED";

/// Whether this [`Bug`] is alive: the constant `false` in every build but that of the museum.
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::is_alive($crate::Bug::$bug)
    };
}

/// What [`planted!`] expands to.
#[cfg(not(museum))]
#[inline(always)]
#[must_use]
pub const fn is_alive(_: Bug) -> bool {
    false
}

/// What [`planted!`] expands to.
#[cfg(museum)]
#[inline]
#[must_use]
pub fn is_alive(bug: Bug) -> bool {
    *selection::SELECTED == Some(bug)
}

#[cfg(museum)]
mod selection {
    extern crate std;

    use std::sync::LazyLock;

    use crate::{Bug, SELECTED_BY};

    /// The bug that is alive in this process, for as long as it runs.
    pub(crate) static SELECTED: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var(SELECTED_BY).ok().filter(|name| !name.is_empty())?;
        let bug = Bug::ALL.iter().find(|bug| bug.exhibit().name == name);
        assert!(bug.is_some(), "{SELECTED_BY}={name} names no bug of the catalogue");
        bug.copied()
    });
}
