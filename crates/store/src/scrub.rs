//! The scrubber: reads what nobody reads, so that damage is found while other members are whole.
//!
//! A read notices a damaged block, and a compaction does. But most of a store may lie untouched for
//! months, and by then the copies of the other members may be damaged too. So every table file is
//! read once in a cycle, in small pieces, in the order of their numbers, and held against the
//! checksum that the manifest has of the *whole* file. That covers what block checksums do not: a
//! block that is intact but in the wrong place, and bytes that no read ever looks at. A cycle ends
//! with the manifest itself.
//!
//! What is verified is what a read would get. If the kernel has a page in memory, that is not the
//! disk; it is what the next read is answered from.

use crate::{
    engine::DiskEngine,
    error::{damaged, of_io},
    generation::Generation,
};
use quorate_mvcc::engine::{EngineError, Scrubbed};
use std::{fs::File, io::Read, path::PathBuf, sync::Arc};
use xxhash_rust::xxh3::Xxh3;

/// How far the cycle is.
#[derive(Default)]
pub(crate) struct Scrubber {
    /// The table that is being read.
    table: Option<OpenTable>,
    /// The generation and the number of the last table that was begun.
    last: Option<(u64, u64)>,
}

/// A table that is being read. The file stays until it is read, though a compaction may have removed
/// its name meanwhile.
struct OpenTable {
    path: PathBuf,
    file: File,
    checksum: u128,
    hash: Box<Xxh3>,
}

/// A table as the manifest names it.
pub(crate) struct TableFile {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    /// Of the whole file.
    pub(crate) checksum: u128,
    pub(crate) file: File,
}

impl Scrubber {
    /// Reads on, at most so many bytes.
    fn read(&mut self, generation: &Generation, bytes_max: usize) -> Result<Scrubbed, EngineError> {
        assert!(bytes_max > 0, "a piece of nothing would never end");
        let total = generation.disk_bytes();
        if self.table.is_none() && !self.open_next(generation)? {
            self.last = None;
            generation.verify_manifest()?;
            return Ok(Scrubbed { bytes: 0, total, cycle_ended: true });
        }
        let table = self.table.as_mut().expect("it was opened just now");
        let failed = |error: &std::io::Error| of_io(table.path.display(), error);
        let mut piece = vec![0; bytes_max];
        let mut filled = 0;
        while filled < piece.len() {
            match table.file.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        table.hash.update(&piece[..filled]);
        if filled < piece.len() {
            let table = self.table.take().expect("it is being read");
            if table.hash.digest128() != table.checksum {
                return Err(damaged(&table.path, "the file is not what was written"));
            }
        }
        Ok(Scrubbed { bytes: filled as u64, total, cycle_ended: false })
    }

    /// Opens the table after the last one, if there is one.
    fn open_next(&mut self, generation: &Generation) -> Result<bool, EngineError> {
        let after = match self.last {
            Some((number, id)) if number == generation.number => Some(id),
            // A snapshot was installed: other tables.
            _ => None,
        };
        let Some(TableFile { id, path, checksum, file }) = generation.open_table(after)? else {
            return Ok(false);
        };
        self.last = Some((generation.number, id));
        self.table = Some(OpenTable { path, file, checksum, hash: Box::new(Xxh3::new()) });
        Ok(true)
    }
}

impl DiskEngine {
    pub(crate) fn scrub_some(&mut self, bytes_max: usize) -> Result<Scrubbed, EngineError> {
        self.shared.check()?;
        // What the last commits removed may have become much by what was merged since.
        if self.gives_much_space_back() {
            self.seal_what_there_is()?;
        }
        let generation = Arc::clone(&self.generation);
        self.scrubber.read(&generation, bytes_max).map_err(|error| self.shared.fail(error))
    }
}
