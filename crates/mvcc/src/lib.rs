//! The data model of etcd v3 as a deterministic state machine.
//!
//! **What it is.** Keys have values, and every change has a *revision*: one number for the whole
//! store, counted up by each command that changes something. Nothing is overwritten: a put adds a
//! revision to its key, a deletion adds one that says so, and a reader may ask for any revision until
//! *compaction* forgets those before some point. Out of this come transactions that compare
//! revisions, and watches that replay history. *Leases* are promises to delete keys unless renewed.
//!
//! **How it moves.** A server parses a request into the types of [`request`], checks it
//! ([`TxnRequest::check`], [`PutRequest::check`]), and proposes it as a [`Command`]. Where the log has
//! it, every member's [`Store`] applies it ([`apply`], the one deterministic entry) and gives an
//! [`Outcome`]. After each commit, the store hands out:
//!
//! - a [`ReadState`], with which other threads answer ranges and transactions that only read;
//! - the events, for a [`watch::WatchRing`], from which each client's [`watch::WatchStream`] makes its
//!   responses;
//! - the leases that came and went, for the [`Lessor`], the one who looks at a clock.
//!
//! **Where it lies.** In an [`engine::Engine`], an ordered map on a disk. The rows are described in
//! `rows.rs`; nothing in memory grows with the number of keys. [`mem::MemEngine`] is an engine without
//! a disk, and `engine::suite` says in tests what any engine must do.
//!
//! **How it ends and begins again.** A store outlives its cluster: where one member is left of it, its
//! store begins anew under other members ([`refound`]), at a revision that nobody has seen. What a store holds goes out
//! as etcd's own backend would hold it ([`record`]), and what such a backend holds comes in ([`import`]).
//!
//! **To add a replicated operation**: a variant and its bytes in `command.rs`, its effect in
//! `apply.rs`, a script in `tests/scripts`.
//!
//! **What is not here.** No clock, no randomness, no thread, no channel, no network: whoever needs
//! `now` is given it. No size limits and no quota: what is too large is refused before it is proposed, and who has a quota
//! raises an [`alarm`].
//! No error texts of etcd: [`Error`] is an enum, and its words are the server's. No
//! passwords and no tokens: [`auth`] has the hashes that servers make of them.
#![no_std]

extern crate alloc;

pub mod alarm;
pub mod apply;
pub mod auth;
mod codec;
pub mod command;
mod compact;
pub mod engine;
pub mod error;
pub mod fingerprint;
#[cfg(feature = "suite")]
pub mod forge;
pub mod hash;
pub mod import;
mod instalment;
pub mod key;
pub mod lease;
mod machine;
pub mod mem;
mod members;
mod range;
pub mod read;
pub mod record;
pub mod refound;
pub mod request;
pub mod response;
pub mod revision;
mod rows;
mod snapshot;
pub mod store;
pub mod txn;
pub mod watch;
mod wire;

pub use alarm::{Alarm, AlarmCommand, AlarmKind, Alarms};
pub use auth::{Auth, AuthCommand, Caller, Issued, Rights};
pub use command::{Command, Proposal};
pub use error::{Error, ReadError};
pub use hash::HashKv;
pub use import::{Beginning, Import, ImportError, Imported};
pub use key::KeyRange;
pub use lease::{LeaseAnswer, LeaseKeeper, Lessor, Remaining, Renewal};
pub use read::ReadState;
pub use record::Record;
pub use refound::{RefoundError, Refounding};
pub use request::*;
pub use response::*;
pub use store::{Store, membership};
