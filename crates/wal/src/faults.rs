//! What can go wrong with a disk, for tests and for the simulator.
//!
//! A [`MemDisk`](crate::MemDisk) asks its [`Faults`] before each call what is to happen. Whoever answers
//! the same to the same calls gets the same run: a test counts calls, a simulator draws from its seed.
//! What happens to a disk while nobody calls it is not here: damage at rest is
//! [`MemDisk::damage`](crate::MemDisk::damage), loss of power is [`MemDisk::crash`](crate::MemDisk::crash).
//!
//! | fault | as in |
//! |---|---|
//! | [`Fault::Fails`] of a read | a sector that can't be read (`EIO`) |
//! | [`Fault::Fails`] of a create or write | a full disk (`ENOSPC`), a broken one |
//! | [`Fault::Fails`] of a sync | a system that counts pages as clean that it failed to write |
//! | [`Fault::Short`] | a full disk, in the midst of a write |
//! | [`Fault::Lost`] | a disk that acknowledges what it never writes |
//! | [`Fault::Misdirected`] | a disk that writes to another place |

use std::fmt::Debug;
use std::io;

/// A call of a disk that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Disk::segments`](crate::Disk::segments).
    Segments,
    /// [`Disk::create`](crate::Disk::create).
    Create {
        /// The segment.
        segment: u64,
        /// Its length.
        bytes: u64,
    },
    /// [`Disk::read`](crate::Disk::read).
    Read {
        /// The segment.
        segment: u64,
    },
    /// [`Disk::read_part`](crate::Disk::read_part).
    ReadPart {
        /// The segment.
        segment: u64,
        /// Where the part begins.
        offset: u64,
        /// The length of the part.
        bytes: usize,
    },
    /// [`Disk::write`](crate::Disk::write).
    Write {
        /// The segment.
        segment: u64,
        /// Where it begins.
        offset: u64,
        /// How many bytes are written.
        bytes: usize,
    },
    /// [`Disk::sync_segment`](crate::Disk::sync_segment).
    SyncSegment {
        /// The segment.
        segment: u64,
    },
    /// [`Disk::sync_directory`](crate::Disk::sync_directory).
    SyncDirectory,
    /// [`Disk::remove`](crate::Disk::remove).
    Remove {
        /// The segment.
        segment: u64,
    },
    /// [`Disk::write_mark`](crate::Disk::write_mark).
    WriteMark {
        /// The slot.
        slot: usize,
        /// How many bytes are written.
        bytes: usize,
    },
    /// [`Disk::read_mark`](crate::Disk::read_mark).
    ReadMark {
        /// The slot.
        slot: usize,
    },
    /// [`Disk::sync_pledge`](crate::Disk::sync_pledge).
    SyncPledge,
}

/// What happens instead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and does nothing. After a sync that fails, what it should have made durable counts as clean:
    /// readers see it, and no later sync writes it.
    Fails(io::ErrorKind),
    /// A write fails after its first bytes.
    Short {
        /// How many.
        written: usize,
        /// What is reported.
        kind: io::ErrorKind,
    },
    /// A write is acknowledged and seen by readers, and no sync makes it durable. A sync is acknowledged and
    /// makes nothing durable that was not.
    Lost,
    /// A write is acknowledged and seen by readers, and no sync makes it durable in its place; it is durable
    /// at once in another, as far as there is one.
    Misdirected {
        /// The other segment.
        segment: u64,
        /// The other place in it.
        offset: u64,
    },
}

/// Decides what goes wrong.
pub trait Faults: Send {
    /// Asked before each call; `None` for a call that works.
    fn before(&mut self, call: Call) -> Option<Fault>;
}

impl<F: FnMut(Call) -> Option<Fault> + Send> Faults for F {
    fn before(&mut self, call: Call) -> Option<Fault> {
        self(call)
    }
}
