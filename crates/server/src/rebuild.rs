//! A store that can't be believed any more, and how its member begins without it.
//!
//! The store holds nothing that the cluster does not have elsewhere: what it lost is in this member's
//! log, or with the other members. So a store that is damaged, or that is not the one the cluster
//! agreed on, is put aside, and the member begins with an empty one. What the log still has is applied
//! again, and what it has not comes from another member. A disk that refuses or is full, and a store
//! of a newer program, are no reason for it: those stores are whole.
//!
//! The order makes a crash harmless at any point:
//!
//! ```text
//! store-lost          a note: the store is to be put aside, and why    written first, durably
//! store → store.lost  the old store                                    put aside at the next start
//! store-lost          gone                                             the store that is there now counts
//! store.lost          gone                                             once the member has caught up
//! ```
//!
//! A log that is damaged is healed where that can be (`node/src/heal.rs`). Where not even what the member
//! promised is known any more, it is put aside too, after the member was noted as one without a vote:
//! it begins as after the loss of its disk.
//!
//! The old store stays until the new one is complete: should all members lose theirs at once, by an
//! error of this program perhaps, the files are there for whoever wants to get something out of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_host::{HostConfig, whole_file};

use crate::identity::{Identity, STORE};

/// The note that the store is to be put aside. Contains the report.
const NOTE: &str = "store-lost";

/// The store that was put aside.
pub(crate) const ASIDE: &str = "store.lost";

/// The log, and where it is put aside.
pub(crate) const LOG: &str = HostConfig::LOG;
pub(crate) const LOG_ASIDE: &str = "wal.lost";

/// What becomes of a member's store, in its data directory.
#[derive(Clone, Debug)]
pub(crate) struct Rebuild {
    data_dir: PathBuf,
}

impl Rebuild {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// Notes, durably, that the store is lost.
    ///
    /// # Errors
    /// If the disk refuses. The text is meant for the operator.
    pub(crate) fn note(&self, report: &str) -> Result<(), String> {
        whole_file::write(&self.data_dir, NOTE, report.as_bytes())
            .map_err(|error| self.failed("note that the store is lost", &error))
    }

    /// Why the store is lost, if that was noted and nothing was done about it yet.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn noted(&self) -> Result<Option<String>, String> {
        match fs::read(self.data_dir.join(NOTE)) {
            Ok(report) => Ok(Some(String::from_utf8_lossy(&report).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read whether the store is lost", &error)),
        }
    }

    /// Puts the store aside, as was noted, and takes the note back. A store that is aside already is
    /// the one to keep: the one that came after it was never complete.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn put_aside(&self) -> Result<(), String> {
        let (store, aside) = (self.data_dir.join(STORE), self.data_dir.join(ASIDE));
        let done = if aside.exists() {
            remove_directory(&store)
        } else if store.exists() {
            whole_file::rename(&self.data_dir, &store, &aside)
        } else {
            Ok(())
        };
        done.and_then(|()| fs::remove_file(self.data_dir.join(NOTE)))
            .map_err(|error| self.failed("put the lost store aside", &error))
    }

    /// Whether anything is there of a log. What is damaged of it, or missing, is for the log to say.
    ///
    /// # Errors
    /// If the disk refuses to tell: then nobody may say that there is none.
    pub(crate) fn has_log(&self) -> Result<bool, String> {
        let failed = |error| self.failed("look for the log", &error);
        let entries = match fs::read_dir(self.data_dir.join(LOG)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let is_segment = path.extension().is_some_and(|name| name == "wal");
            if is_segment || path.ends_with("MARK") || path.ends_with("PLEDGE") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts the log aside: it is damaged so that nobody knows what the member promised. The member is noted
    /// as one without a vote before, and without its store, which may be ahead of it.
    ///
    /// # Errors
    /// If the disk refuses.
    fn put_log_aside(&self) -> Result<(), String> {
        let (log, aside) = (self.data_dir.join(LOG), self.data_dir.join(LOG_ASIDE));
        remove_directory(&aside)
            .and_then(|()| whole_file::rename(&self.data_dir, &log, &aside))
            .map_err(|error| self.failed("put the lost log aside", &error))
    }

    /// Lets a member begin anew that no longer knows what it promised: without a vote, a store and a log. In
    /// this order, so that after a crash in between it begins without a vote at least.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn forget(&self, report: &str) -> Result<(), String> {
        Identity::note_rejoining(&self.data_dir)?;
        self.note(report)?;
        self.put_log_aside()
    }

    /// Whether there is a store or a log aside, and so the member is being rebuilt.
    pub(crate) fn is_under_way(&self) -> bool {
        [ASIDE, LOG_ASIDE].iter().any(|name| self.data_dir.join(name).exists())
    }

    /// The member has caught up: what was put aside is no longer needed.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn complete(&self) -> Result<(), String> {
        remove_directory(&self.data_dir.join(LOG_ASIDE))
            .and_then(|()| remove_directory(&self.data_dir.join(ASIDE)))
            .map_err(|error| self.failed("remove the lost store", &error))
    }

    fn failed(&self, doing: &str, error: &io::Error) -> String {
        format!("can't {doing} in {}: {error}", self.data_dir.display())
    }
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The same, with words for the operator.
pub(crate) fn remove(path: &Path) -> Result<(), String> {
    remove_directory(path).map_err(|error| format!("can't remove {}: {error}", path.display()))
}

/// Whether something has this name. The error is meant for the operator.
pub(crate) fn is_there(path: &Path) -> Result<bool, String> {
    path.try_exists().map_err(|error| format!("can't look at {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_with(data_dir: &Path, content: &str) {
        fs::create_dir_all(data_dir.join(STORE)).expect("a directory");
        fs::write(data_dir.join(STORE).join("content"), content).expect("written");
    }

    fn aside(data_dir: &Path) -> Option<String> {
        fs::read_to_string(data_dir.join(ASIDE).join("content")).ok()
    }

    #[test]
    fn a_log_that_cannot_be_looked_for_is_not_called_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let rebuild = Rebuild::new(directory.path());
        assert_eq!(rebuild.has_log(), Ok(false));
        fs::write(directory.path().join(LOG), "no directory").expect("written");
        assert!(rebuild.has_log().is_err());
        fs::remove_file(directory.path().join(LOG)).expect("removed");
        fs::create_dir(directory.path().join(LOG)).expect("a directory");
        assert_eq!(rebuild.has_log(), Ok(false));
        fs::write(directory.path().join(LOG).join("MARK"), "").expect("written");
        assert_eq!(rebuild.has_log(), Ok(true));
    }

    #[test]
    fn the_first_store_stays_aside_until_one_is_complete() {
        let directory = tempfile::tempdir().expect("a directory");
        let rebuild = Rebuild::new(directory.path());
        assert_eq!(rebuild.noted(), Ok(None));
        for attempt in ["whole once", "never complete", "nor this"] {
            store_with(directory.path(), attempt);
            rebuild.note("a bit").expect("noted");
            assert_eq!(rebuild.noted(), Ok(Some("a bit".to_owned())));
            rebuild.put_aside().expect("put aside");
            assert_eq!(rebuild.noted(), Ok(None));
            assert!(rebuild.is_under_way() && !directory.path().join(STORE).exists());
            assert_eq!(aside(directory.path()).as_deref(), Some("whole once"));
        }
        rebuild.complete().expect("removed");
        assert!(!rebuild.is_under_way());
        rebuild.complete().expect("nothing to remove");
    }

    #[test]
    fn the_last_lost_log_stays_aside_until_the_store_is_complete() {
        let directory = tempfile::tempdir().expect("a directory");
        let rebuild = Rebuild::new(directory.path());
        for attempt in ["first", "second"] {
            fs::create_dir(directory.path().join(LOG)).expect("a directory");
            fs::write(directory.path().join(LOG).join("content"), attempt).expect("written");
            rebuild.put_log_aside().expect("put aside");
            assert!(!directory.path().join(LOG).exists());
            let aside = directory.path().join(LOG_ASIDE).join("content");
            assert_eq!(fs::read_to_string(aside).expect("kept"), attempt);
        }
        rebuild.complete().expect("removed");
        assert!(!directory.path().join(LOG_ASIDE).exists());
    }

    #[test]
    fn a_crash_between_the_move_and_the_end_of_the_note_moves_nothing_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        let rebuild = Rebuild::new(directory.path());
        store_with(directory.path(), "whole once");
        rebuild.note("a bit").expect("noted");
        fs::rename(directory.path().join(STORE), directory.path().join(ASIDE)).expect("moved");
        rebuild.put_aside().expect("again");
        assert_eq!(aside(directory.path()).as_deref(), Some("whole once"));
    }
}
