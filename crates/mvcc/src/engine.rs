//! The ordered key-value engine beneath the data model: what is asked of a disk, and nothing more.
//!
//! Rows live in a few [`Table`]s. One writer changes them; what it wrote is visible to itself at
//! once and to everybody else from [`Engine::commit`] on, all of a batch together. Readers hold a
//! [`View`]: a state that never changes, that costs nothing to take, and that keeps no writer
//! waiting.
//!
//! Durability is *lazy*. The Raft log has every command on disk before it is applied, so an engine
//! may collect many batches and write them in bulk. What it may not do is to write a part of a
//! batch: after a crash it holds exactly the batches up to [`Engine::durable`].

use alloc::boxed::Box;
use alloc::string::String;
use core::any::Any;
use core::fmt;
use core::ops::Bound;

use bytes::Bytes;
pub use quorate_node::Scrubbed;
use quorate_raft::EntryId;

#[cfg(feature = "suite")]
pub mod suite;

/// A family of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Facts about the store as a whole.
    Meta = 0,
    /// Keys, and for each its revisions, newest first, with the values.
    Key = 1,
    /// Revisions in order, each with its key, for history.
    Revision = 2,
    /// Leases.
    Lease = 3,
    /// The keys attached to each lease.
    LeaseKey = 4,
}

impl Table {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Meta, Self::Key, Self::Revision, Self::Lease, Self::LeaseKey];
}

impl TryFrom<u8> for Table {
    type Error = u8;

    fn try_from(number: u8) -> Result<Self, u8> {
        Self::ALL.into_iter().find(|table| *table as u8 == number).ok_or(number)
    }
}

/// The longest key of a row, in bytes, that an engine has to take. Who writes refuses what would
/// become longer; scans and reads may ask for anything.
pub const ROW_KEY_BYTES_MAX: usize = 65_534;

/// The bounds of a scan, bytewise. Bounds that contain nothing give no rows, also where the lower
/// is above the upper.
pub type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The bounds around every key.
pub const ALL_KEYS: KeyBounds<'static> = (Bound::Unbounded, Bound::Unbounded);

/// Whether bounds can't contain a key because they are crossed; such bounds make the ranges of the
/// standard library panic.
#[must_use]
pub fn bounds_are_empty(bounds: KeyBounds<'_>) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

/// A row of a scan: key and value.
pub type Row = Result<(Bytes, Bytes), EngineError>;

/// Rows in ascending order of their keys, or descending from the other end.
pub type Rows<'a> = Box<dyn DoubleEndedIterator<Item = Row> + 'a>;

/// Reads rows.
pub trait Reader {
    /// The value of a row.
    ///
    /// # Errors
    /// If the disk can't be read, or what it holds is not what was written.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// The rows of a table within bounds. Lazy: costs what is consumed.
    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a>;

    /// The first row within bounds where rows come in *descending* order: whenever a row was written
    /// within them, it was put before all that were there then. Deletions are free: any row may have
    /// been removed, and a removed first one may have been written anew. So the first row is the one
    /// written last of those that are left, and an engine with layers may look at the newest layer
    /// and leave the others alone, where that one's first row is not a removal.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    fn newest(
        &self,
        table: Table,
        bounds: KeyBounds<'_>,
    ) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        self.scan(table, bounds).next().transpose()
    }
}

/// A committed state that never changes. Shared among threads.
pub type View = alloc::sync::Arc<dyn Reader + Send + Sync>;

/// The writer's side. Reading through it sees what it wrote, committed or not.
///
/// [`Any`] lets a simulation find its own engine again in a store that it takes apart.
pub trait Engine: Reader + Send + Any {
    /// Writes a row.
    ///
    /// # Errors
    /// If the engine has failed.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError>;

    /// Removes a row, if it is there.
    ///
    /// # Errors
    /// If the engine has failed.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError>;

    /// Ends a batch: what was written since the last one becomes visible to new views, together
    /// with `applied`, up to where the log is now reflected in the rows.
    ///
    /// # Errors
    /// If the engine has failed.
    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError>;

    /// The position of the last commit.
    fn applied(&self) -> EntryId;

    /// The position of the last commit that a crash would leave. Grows by itself.
    fn durable(&self) -> EntryId;

    /// Makes everything committed durable before it returns.
    ///
    /// # Errors
    /// If the disk refuses; the engine must not be used after that.
    fn flush(&mut self) -> Result<(), EngineError>;

    /// Begins to make everything committed durable. [`Engine::durable`] tells when it is.
    ///
    /// # Errors
    /// As for [`Engine::flush`].
    fn begin_flush(&mut self) -> Result<(), EngineError> {
        self.flush()
    }

    /// The last committed state.
    fn view(&self) -> View;

    /// Begins to collect a new content, and drops one that was begun before.
    ///
    /// # Errors
    /// If the engine has failed.
    fn replace_begin(&mut self) -> Result<(), EngineError>;

    /// Adds a row to the new content. Rows come in ascending order of table and key.
    ///
    /// # Errors
    /// If the disk refuses, or the row is out of order.
    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError>;

    /// Puts the new content in the place of the old, atomically and durably. Views taken before keep
    /// the old one.
    ///
    /// # Errors
    /// If the disk refuses.
    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError>;

    /// How much the content takes.
    fn size(&self) -> EngineSize;

    /// Begins to give back whatever space there is to win: the disk is nearly full. An engine may leave
    /// garbage lie otherwise, since it costs less to take it away together with more.
    ///
    /// # Errors
    /// If the engine has failed.
    fn reclaim(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Reads on, at most so many bytes, in a cycle over everything that is on disk, and verifies it.
    /// `None` if there is no disk.
    ///
    /// # Errors
    /// If something is not what was written, or the disk refuses; the engine has failed then.
    fn scrub(&mut self, bytes_max: usize) -> Result<Option<Scrubbed>, EngineError> {
        let _ = bytes_max;
        Ok(None)
    }
}

/// How much an engine's content takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineSize {
    /// Bytes on disk, garbage included.
    pub disk_bytes: u64,
    /// Bytes in memory that are not yet on disk.
    pub memory_bytes: u64,
}

/// Why an engine can't go on. Every one is fatal for the member: nothing here depends on what a
/// client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// The disk returned other bytes than were written.
    Corrupt(String),
    /// The disk has no room left.
    Full(String),
    /// The disk refused otherwise.
    Io(String),
    /// The disk holds what another version of this program wrote.
    Version(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(what) => write!(f, "the store is damaged: {what}"),
            Self::Full(what) => write!(f, "the store's disk is full: {what}"),
            Self::Io(what) => write!(f, "the store's disk failed: {what}"),
            Self::Version(what) => {
                write!(f, "the store is of another version of this program: {what}")
            }
        }
    }
}

impl core::error::Error for EngineError {}
