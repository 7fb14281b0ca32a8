//! The on-disk engine behind the data model: [`quorate_mvcc::engine::Engine`] on a log-structured
//! merge tree.
//!
//! # The idea
//!
//! The Raft log has every command on disk before it is applied. So this engine needs no journal of
//! its own and no sync per batch; it may lose any number of the last batches in a crash, if it
//! loses them whole and says where it stands. That is the shape of a merge tree without its log:
//!
//! ```text
//!   put, delete ──► memtable ──seal──► sealed memtables ──flush──► tables ──compact──► tables
//!   commit: one more batch is visible     (at most a few)   one synced switch of the manifest
//! ```
//!
//! A memtable is sealed between two batches, never within one, and its last row is the position in
//! the log that it reaches. The flush makes the table files durable, then switches the manifest in
//! one step; so the rows on disk and [`durable`](quorate_mvcc::engine::Engine::durable) belong
//! together by construction.
//!
//! A view is a reference to the memtables and tables of one moment, and a sequence number that hides
//! what came later. It costs a few counters to take and keeps nothing alive but what it can read:
//! old table files vanish with their last reader.
//!
//! # The rooms
//!
//! [`DiskEngine`] in `engine.rs` is the writer's side · `shared.rs` is what writer, readers and the
//! two background threads have in common, and the order of its locks · `flush.rs` and
//! `compaction.rs` are those threads · `memtable.rs` is the memory layer · `generation.rs` is one
//! tree in its directory · `view.rs` reads · `restore.rs` replaces the whole content by a snapshot ·
//! `files.rs` is the lock and the pointer to the current generation · `check.rs` verifies what the
//! tree would trust when it opens · `reading.rs` tells what a disk can't give back · `scrub.rs` reads what nobody reads · `mirror.rs` lets one look
//! into a store without touching it · `row.rs` lays rows out.
//!
//! # What is not here
//!
//! No retry of a sync: the first that fails poisons the engine, because the kernel drops the pages that
//! it could not write and a second sync would claim success (Rebello et al., ATC 2020). Only a disk
//! without room is tried again, with other files and from the beginning. No
//! repair either: damage is an error, told apart from a disk that refuses, and whoever runs the member
//! has the state of another one.

mod check;
mod compaction;
mod engine;
mod error;
mod files;
mod flush;
mod generation;
mod memtable;
mod mirror;
mod reading;
mod restore;
mod row;
mod scrub;
mod shared;
mod view;

pub use engine::{DiskEngine, Options};
pub use mirror::Mirrored;
