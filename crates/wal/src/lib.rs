//! A durable log for many Raft groups on one disk.
//!
//! Raft promises nothing unless votes and entries survive a power cut (§5.1: "updated on stable
//! storage before responding to RPCs"). This crate is where that happens. All groups of a node
//! share one log, so that one sync makes the work of all of them durable:
//!
//! ```text
//!  g1: HardState ─┐
//!  g7: Append ────┼─► append ─► batch ─► commit: one write, ONE sync ─► acknowledge all
//!  g1: Append ────┘
//! ```
//!
//! | I want to … | open |
//! |---|---|
//! | see what a record looks like | `record.rs`, or byte by byte in `docs/wal.md` |
//! | see how a segment begins and how it is read | `segment.rs` |
//! | see what the log remembers of a group | `group.rs` |
//! | follow a commit | `wal.rs`, with `batch.rs` |
//! | know which segments are kept | `carry.rs` |
//! | know what happens after a power cut | `recover.rs` |
//! | know how damage is told from a torn tail | `mark.rs`, `recover.rs` |
//! | know why no vote is forgotten | `pledge.rs` |
//! | know what is still known of a damaged log | `standing.rs`, `survey.rs`, `salvage.rs` |
//! | make a damaged log whole | `heal.rs` |
//! | know what a log holds, and change nothing | `examine.rs` |
//! | find damage before it is needed | `scrub.rs` |
//! | find the sync | `disk.rs` |
//! | cut the power in a test | `memory.rs` |
//! | let the disk fail in a test | `faults.rs` |
//!
//! # What is not here, and why
//!
//! No thread and no clock: a call does its work and returns, so the simulator runs this very code on
//! a [`MemDisk`]. No read of single entries: Raft holds the tail since compaction in memory, and the
//! log is read once, by [`Wal::open`]. No word with other members: [`Damaged`] names what is lost, and
//! whoever can fetch it gives it to [`Damaged::heal`]. No retry of a failed sync: the pages may be gone
//! though marked clean, so the log accepts nothing from then on and the process has to end.

pub mod disk;
pub mod faults;
pub mod memory;

mod batch;
mod carry;
mod examine;
mod group;
mod heal;
mod mark;
mod pledge;
mod record;
mod recover;
mod salvage;
mod scrub;
mod segment;
mod standing;
mod survey;
mod wal;

pub use disk::{Disk, FileDisk, MARK_SLOT_BYTES, MARK_SLOTS, PLEDGE_SLOTS, create_directory};
pub use examine::{Examined, ExaminedGroup, LostRecord, examine};
pub use faults::{Call, Fault, Faults};
pub use heal::{Damaged, HealError, Healed};
pub use memory::{Fate, MemDisk, Unsynced};
pub use recover::{OpenError, Report};
pub use scrub::Scrubbed;
pub use wal::{Opened, Stats, Wal, WalError, WalOptions};
