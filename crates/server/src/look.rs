//! A look at the store of a member that doesn't run: what [`repair`](crate::repair) and
//! [`recover`](crate::recover) tell their operator, they know from it.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_mvcc::Store;
use quorate_node::{Fault, Machine, proposal};
use quorate_raft::{Entry, EntryId, Payload};
use quorate_store::{DiskEngine, Mirrored, Options};

use crate::identity::STORE;
use crate::rebuild::{is_there, remove_directory};

/// What is verified at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// How many entries are applied before they are committed.
const BATCH_ENTRIES: usize = 1024;

/// In the scratch directory, where the mirror is, by the name that it has in a data directory.
pub(crate) const NEW: &str = "new";

/// What there is of a store.
pub(crate) struct Look {
    /// Its mirror; an empty one, if it is lost or missing.
    store: Store,
    /// Why it is lost, if it is.
    lost: Option<String>,
    // Removed when the mirror is closed, and the store given back after that.
    scratch: Scratch,
    held: Option<Mirrored>,
}

impl Look {
    /// Reads and verifies everything that the store in this data directory holds, in a mirror of it in
    /// `scratch`, a directory that is made anew, beside it: links lead to the same disk only.
    ///
    /// # Errors
    /// If it is in use, of a version that this program does not know, or the disk refuses. The text is
    /// meant for the operator.
    pub(crate) fn at(data_dir: &Path, scratch: &Path) -> Result<Self, String> {
        let path = data_dir.join(STORE);
        let failed = |error: &dyn std::fmt::Display| {
            format!("can't look at the store in {}: {error}", path.display())
        };
        let scratch = Scratch::new(scratch.to_owned())?;
        let mirror = scratch.path.join(NEW).join(STORE);
        let mut empty = mirror.clone();
        let mut held = None;
        let mut lost = None;
        if is_there(&path)? {
            held = Some(Mirrored::new(&path, &mirror).map_err(|error| failed(&error))?);
            match open(&mirror) {
                Ok(store) => return Ok(Self { store, lost, scratch, held }),
                Err(fault) if fault.kind.loses_state() => {
                    let (mirror, path) = (mirror.to_string_lossy(), path.to_string_lossy());
                    lost = Some(fault.report.replace(&*mirror, &path));
                    empty = scratch.path.join("empty");
                }
                Err(fault) => return Err(failed(&fault)),
            }
        }
        let store = open(&empty).map_err(|fault| failed(&fault))?;
        Ok(Self { store, lost, scratch, held })
    }

    /// Up to where it reaches; nowhere, if it is lost or missing.
    pub(crate) fn applied(&self) -> EntryId {
        self.store.applied()
    }

    /// The revision that it has.
    pub(crate) fn revision(&self) -> i64 {
        self.store.read_state().revision()
    }

    /// Why it is lost, if it is.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Applies entries that follow.
    ///
    /// # Errors
    /// If that can't be, as it could not when the member is started. The text is meant for the operator.
    pub(crate) fn apply(&mut self, entries: &[Entry]) -> Result<(), String> {
        for batch in entries.chunks(BATCH_ENTRIES) {
            self.apply_batch(batch)
                .map_err(|fault| format!("the entries of the log can't be applied: {fault}"))?;
        }
        Ok(())
    }

    fn apply_batch(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        for entry in entries {
            let Payload::Command(bytes) = &entry.payload else { continue };
            // What is for the group itself does nothing to the store.
            if let Some((_, command)) = proposal::decode(bytes) {
                self.store.apply(entry.id, &command)?;
            }
        }
        if let Some(last) = entries.last() {
            self.store.commit(last.id)?;
        }
        // Nobody watches.
        drop((self.store.take_events(), self.store.take_lease_changes()));
        Ok(())
    }

    /// The mirror. What is done to it is not done to the store.
    pub(crate) fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Ends the look, and leaves the mirror where it is. The store stays locked as long as what this returns
    /// lives.
    pub(crate) fn keep(mut self) -> Option<Mirrored> {
        self.scratch.is_kept = true;
        self.held
    }

    /// Ends the look. The store stays locked as long as what this returns lives.
    pub(crate) fn close(self) -> Option<Mirrored> {
        self.held
    }
}

/// Opens a store, and reads it from its begin to its end.
fn open(path: &Path) -> Result<Store, Fault> {
    let engine = DiskEngine::open(path, Options::default())?;
    let mut store = Store::open(Box::new(engine))?;
    while store.scrub(PIECE_BYTES)?.is_some_and(|scrubbed| !scrubbed.cycle_ended) {}
    Ok(store)
}

/// A directory for a while.
struct Scratch {
    path: PathBuf,
    is_kept: bool,
}

impl Scratch {
    /// Makes it anew: what is in there was left by a look that was cut off.
    fn new(path: PathBuf) -> Result<Self, String> {
        remove_directory(&path)
            .and_then(|()| fs::create_dir_all(path.join(NEW)))
            .map_err(|error| format!("can't make {}: {error}", path.display()))?;
        Ok(Self { path, is_kept: false })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            // The next look removes it if this one can't.
            let _ = remove_directory(&self.path);
        }
    }
}
