//! What a recovery does in a data directory, step by step.
//!
//! The new member is built beside the old one, complete and durable, before the first file of the old one is
//! moved. From then on there is one way, forwards, and the directory `recovery` says so: while it is there no
//! member starts, and the command goes on where it was cut off.
//!
//! ```text
//! recovery.tmp/new/{store, wal, identity}      built: the old member is whole, and starts
//! recovery.tmp → recovery                      from here on nothing starts
//! identity, wal, store → recovery/…            the old member, as it was
//! recovery/new/{store, wal, identity} → …      the new one
//! recovery/new                                 removed, empty
//! recovery → before-recovery-N                 the new member starts
//! ```
//!
//! Each move is durable before the next one begins, and what is done is told by where things are: as long as
//! the new store is not in its place, the old parts are moved. Nothing is deleted but what a recovery has not finished
//! to build.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_host::whole_file;

use super::command;
use crate::identity::{FILE, STORE};
use crate::look::NEW;
use crate::rebuild::{ASIDE, LOG, LOG_ASIDE, is_there, remove};

/// What is built, as long as it is not complete.
pub(super) const UNFINISHED: &str = "recovery.tmp";
/// The same when it is complete, and with it, more and more, the old member.
pub(super) const BEGUN: &str = "recovery";
/// The old member in the end, with a number.
const OLD: &str = "before-recovery";

/// What makes a member, in the order in which the old one is taken away: without an identity it can't be
/// taken for one. The new one comes in the opposite order.
const PARTS: [&str; 3] = [FILE, LOG, STORE];

/// What an earlier mishap may have put aside. It belongs to the old member.
const MORE: [&str; 2] = [ASIDE, LOG_ASIDE];

/// Where the new member is built. Its store is the mirror in which that of the old one was looked at.
pub(super) fn built(data_dir: &Path) -> PathBuf {
    data_dir.join(UNFINISHED).join(NEW)
}

/// The new member is complete: from here on there is no way back.
///
/// # Errors
/// If the disk refuses. The text is meant for the operator.
pub(super) fn begin(data_dir: &Path) -> Result<(), String> {
    let (from, to) = (data_dir.join(UNFINISHED), data_dir.join(BEGUN));
    whole_file::sync_all_in(&from)
        .map_err(|error| format!("can't make {} durable: {error}", from.display()))?;
    whole_file::rename(data_dir, &from, &to).map_err(|error| failed(&from, &to, &error))
}

/// Puts the old member aside and the new one in its place, from wherever that stands. Returns where the old one
/// is.
///
/// # Errors
/// If the disk refuses. The text is meant for the operator.
pub(super) fn switch(data_dir: &Path, look_on: &mut dyn FnMut()) -> Result<PathBuf, String> {
    let begun = data_dir.join(BEGUN);
    let new = begun.join(NEW);
    // The first that comes is not in its place yet: whatever is there is old.
    if is_there(&new.join(STORE))? {
        for name in PARTS.into_iter().chain(MORE) {
            look_on();
            let (from, to) = (data_dir.join(name), begun.join(name));
            if is_there(&from)? {
                shift(&from, &to)?;
            }
        }
    }
    for name in PARTS.into_iter().rev() {
        look_on();
        let (from, to) = (new.join(name), data_dir.join(name));
        if is_there(&from)? {
            shift(&from, &to)?;
        }
    }
    look_on();
    if is_there(&new)? {
        fs::remove_dir(&new).map_err(|error| format!("can't remove {}: {error}", new.display()))?;
    }
    look_on();
    let aside = aside(data_dir)?;
    whole_file::rename(data_dir, &begun, &aside).map_err(|error| failed(&begun, &aside, &error))?;
    look_on();
    Ok(aside)
}

/// Where the old member is to be put, by a name that is free.
///
/// # Errors
/// If the disk does not tell what is there. The text is meant for the operator.
pub(super) fn aside(data_dir: &Path) -> Result<PathBuf, String> {
    for number in 1.. {
        let path = data_dir.join(format!("{OLD}-{number}"));
        if !is_there(&path)? {
            return Ok(path);
        }
    }
    unreachable!("a number is free")
}

/// Refuses to take what is in a data directory for a member, in the midst of a recovery.
///
/// # Errors
/// If there is one. The text is meant for the operator.
pub(crate) fn refuse_unfinished(data_dir: &Path) -> Result<(), String> {
    if !is_there(&data_dir.join(BEGUN))? {
        return Ok(());
    }
    let (data_dir, command) = (data_dir.display(), command(data_dir));
    Err(format!(
        "a recovery of the member in {data_dir} was cut off: `{command} --accept-data-loss` finishes it"
    ))
}

/// Removes what a recovery has left that was cut off before it moved anything, for a member that has started:
/// it keeps files of the store from going.
///
/// # Errors
/// If the disk refuses. The text is meant for the operator.
pub(crate) fn tidy_up(data_dir: &Path) -> Result<(), String> {
    remove(&data_dir.join(UNFINISHED))
}

fn shift(from: &Path, to: &Path) -> Result<(), String> {
    whole_file::move_between(from, to).map_err(|error| failed(from, to, &error))
}

fn failed(from: &Path, to: &Path, error: &std::io::Error) -> String {
    format!("can't move {} to {}: {error}", from.display(), to.display())
}
