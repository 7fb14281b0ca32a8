//! A second store with the same content, made of the same files, to look into one without touching it.
//!
//! To open a store is to change it: what an interrupted flush left is removed, and merges begin. The
//! files themselves are never written twice, though; a table is written once and removed, and what
//! points to tables is replaced by a new file of the same name. So a directory of hard links is a copy
//! that costs nothing, and whatever happens in there, the original keeps its files. Where the file
//! system has no links, they are copied.

use crate::{error::of_io, files::Files, files::LOCK, files::Lock};
use quorate_mvcc::engine::EngineError;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A store that is mirrored, locked against everybody else as long as this value lives.
pub struct Mirrored {
    _lock: Lock,
}

impl Mirrored {
    /// Makes a mirror of the store in `dir`, which is not open, in `mirror`, which does not exist.
    ///
    /// # Errors
    /// If somebody has the store open, or the disk refuses.
    pub fn new(dir: &Path, mirror: &Path) -> Result<Self, EngineError> {
        let lock = Files::lock(dir)?.share_lock();
        link_all(dir, mirror)?;
        Ok(Self { _lock: lock })
    }
}

/// Links everything in a directory, but for the lock, into a new one.
fn link_all(from: &Path, to: &Path) -> Result<(), EngineError> {
    let failed = |path: PathBuf| move |error: io::Error| of_io(path.display(), &error);
    fs::create_dir(to).map_err(failed(to.into()))?;
    for entry in fs::read_dir(from).map_err(failed(from.into()))? {
        let path = entry.map_err(failed(from.into()))?.path();
        let name = path.file_name().expect("an entry of a directory has a name");
        if name == LOCK {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() {
            link_all(&path, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).map(drop).map_err(failed(path))?;
        }
    }
    Ok(())
}
