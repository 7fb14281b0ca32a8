//! The scrubber: reads what nobody reads, so that damage is found while other members are whole.
//!
//! A read notices a damaged block, and a compaction does. But most of a store may lie untouched for
//! months, and by then the copies of the other members may be damaged too. So every table file is
//! read once in a cycle, in small pieces, in the order of their numbers, and held against the
//! checksum that the manifest has of the *whole* file. That covers what block checksums do not: a
//! block that is intact but in the wrong place, and bytes that no read ever looks at. A cycle ends
//! with the manifest itself, and with what points to it.
//!
//! A cycle takes the tables that were there when it began. Those that come meanwhile have higher
//! numbers and belong to the next one: where more is written than is verified, there would always be
//! one more, and the cold tables would never come round again.
//!
//! What is verified is the disk, as far as the system can be asked for it, and not the pages that the
//! system has in memory: those may be whole while the medium is not.

use crate::{
    engine::DiskEngine,
    error::damaged,
    files::Files,
    generation::Generation,
    reading::{do_not_read_ahead, forget_cached, read_twice},
};
use quorate_mvcc::engine::{EngineError, Scrubbed};
use quorate_planted::planted;
use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};
use xxhash_rust::xxh3::Xxh3;

/// How far the cycle is.
#[derive(Default)]
pub(crate) struct Scrubber {
    /// The table that is being read.
    table: Option<OpenTable>,
    /// The cycle that is under way.
    cycle: Option<Cycle>,
}

/// One reading of everything.
struct Cycle {
    generation: u64,
    /// The number of the last table that was begun.
    last: Option<u64>,
    /// The highest number that there was when the cycle began.
    through: Option<u64>,
}

/// A table that is being read. The file stays until it is read, though a compaction may have removed
/// its name meanwhile.
struct OpenTable {
    path: PathBuf,
    file: File,
    /// Where to go on.
    offset: u64,
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
    fn read(
        &mut self,
        files: &Files,
        generation: &Generation,
        bytes_max: usize,
    ) -> Result<Scrubbed, EngineError> {
        assert!(bytes_max > 0, "a piece of nothing would never end");
        let total = generation.disk_bytes();
        if self.table.is_none() && !self.open_next(generation)? {
            self.cycle = None;
            generation.verify_manifest()?;
            files.verify_pointer(generation.number)?;
            return Ok(Scrubbed { bytes: 0, total, cycle_ended: true });
        }
        let table = self.table.as_mut().expect("it was opened just now");
        let mut piece = vec![0; bytes_max];
        let filled = table.read(&mut piece)?;
        table.hash.update(&piece[..filled]);
        table.offset += filled as u64;
        if filled < piece.len() {
            let table = self.table.take().expect("it is being read");
            if table.hash.digest128() != table.checksum {
                return Err(damaged(&table.path, "the file is not what was written"));
            }
        }
        Ok(Scrubbed { bytes: filled as u64, total, cycle_ended: false })
    }

    /// Opens the next table of the cycle, if there is one. What was merged meanwhile is not.
    fn open_next(&mut self, generation: &Generation) -> Result<bool, EngineError> {
        // Where a snapshot was installed, there are other tables.
        let number = generation.number;
        let cycle = match &mut self.cycle {
            Some(cycle) if cycle.generation == number => cycle,
            cycle => cycle.insert(Cycle {
                generation: number,
                last: None,
                through: generation.last_table(),
            }),
        };
        let Some(through) = cycle.through else { return Ok(false) };
        let through = if planted!(ScrubberFollowsWrites) { u64::MAX } else { through };
        let Some(table) = generation.open_table(cycle.last, through)? else { return Ok(false) };
        let TableFile { id, path, checksum, file } = table;
        do_not_read_ahead(&file);
        cycle.last = Some(id);
        self.table = Some(OpenTable { path, file, offset: 0, checksum, hash: Box::default() });
        Ok(true)
    }
}

impl OpenTable {
    /// Reads the next piece; says how long it is. It is full, unless the file ends.
    fn read(&self, piece: &mut [u8]) -> Result<usize, EngineError> {
        forget_cached(&self.file, self.offset, piece.len() as u64);
        read_twice(self.path.display(), || {
            let mut filled = 0;
            while filled < piece.len() {
                match self.file.read_at(&mut piece[filled..], self.offset + filled as u64) {
                    Ok(0) => break,
                    Ok(bytes) => filled += bytes,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(filled)
        })
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
        let scrubbed = self.scrubber.read(&self.files, &generation, bytes_max);
        scrubbed.map_err(|error| self.shared.fail(error))
    }
}
