//! The Raft consensus algorithm for one group, as a pure state machine.
//!
//! # Raft in one page
//!
//! A group of members keeps copies of a log, so that it goes on while a majority of them can talk to
//! each other, and so that all of them apply the same commands in the same order. Time is cut into
//! [`Term`]s, each with at most one leader. Clients' commands go to the leader, which appends them
//! to its log as [`Entry`]s and sends them to the others; once an entry is on the disks of a
//! majority it is *committed*, which means that no later leader can lack it, and each member hands
//! it to its state machine.
//!
//! What makes this safe is a handful of rules, and each has one place here:
//!
//! - **One vote per member and term**, on disk before it is spoken, so two leaders of one term would
//!   need two majorities. `core.rs` holds back what must not be said yet.
//! - **Votes only for logs at least as complete as one's own**, so the winner has every committed
//!   entry: a majority voted, a majority had the entry, and the two share a member. `follower.rs`.
//! - **An append names the entry before it** and is rejected where that is missing, so two logs
//!   that share an entry share all before it. Followers give up entries that conflict with the
//!   leader's, and never others. `follower.rs`, `log.rs`.
//! - **A leader commits by counting only entries of its own term.** `commit.rs` says why.
//! - **The later term wins.** Whoever hears of one follows it. `raft.rs`, once for all roles.
//!
//! On top of the paper come what a system in use needs: preliminary votes, so that a member that was cut off does not
//! depose a good leader when it returns (`candidate.rs`); leaders that give up when they hear from no quorum, and
//! followers that stay loyal to one they hear (`leader.rs`, `follower.rs`); appends in a pipeline with a window for
//! each follower (`progress.rs`, `replication.rs`); reads without a log entry (`read.rs`), and where clocks are
//! trusted without a round (`lease.rs`); snapshots for those too far behind (`snapshot.rs`); leadership that moves on
//! request (`handover.rs`); timeouts that follow from what was measured (`timer.rs`, `pulse.rs`); and the return of a
//! voter that lost its disk (`rejoin.rs`), and voters that keep no state (`witness.rs`).
//!
//! Citations are of Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm
//! (Extended Version)", 2014, as *Raft*, and of Ongaro's dissertation of the same year as *thesis*.
//!
//! # How it is used
//!
//! Whoever has a state to replicate and no wish for a host of their own begins with the crate `quorate-host`, which
//! has one. `quorate-node` lies between the two. This page is for those who drive the algorithm themselves.
//!
//! A host makes a [`Raft`] and calls [`Raft::step`] with whatever happens: a message, a proposal, a
//! timer, a finished write. Each step adds to [`Effects`] what is to be done, under the three rules
//! that stand at the top of [`effects`]. [`Raft::deadline`] says when to come back if nothing
//! happens. That is the whole interface, and there are two hosts: the real one with threads and
//! disks, and a simulator where everything is virtual.
//!
//! ```
//! use core::time::Duration;
//! use quorate_raft::*;
//!
//! let mut raft = Raft::new(
//!     Config {
//!         id: NodeId(1),
//!         group: GroupId(1),
//!         membership: Membership::of_voters([NodeId(1)]),
//!         heartbeat_interval: Duration::from_millis(100),
//!         election_timeout: Duration::from_millis(1000),
//!         election_policy: ElectionPolicy::Adaptive,
//!         quiet_after: None,
//!         incarnation: 1,
//!         seed: 7,
//!         rejoining: None,
//!         lease: None,
//!         witness: false,
//!         limits: Limits::default(),
//!     },
//!     Recovered::default(),
//!     EntryId::ZERO,
//!     Time(0),
//! );
//! let mut effects = Effects::default();
//! // Alone in its group, it campaigns at once, and leads as soon as its vote is on disk.
//! raft.step(raft.deadline(), Input::Timeout, &mut effects);
//! let vote = effects.persist.pop().unwrap();
//! raft.step(Time(1), Input::Durable(vote.seq), &mut effects);
//! assert_eq!(raft.status().role, RoleKind::Leader);
//! ```
//!
//! # What is not here
//!
//! No clock, no randomness, no files, no sockets, no threads: time and a seed are arguments, and the
//! crate is `no_std`, so this is checked by the compiler. No storage trait: the log since the last
//! compaction is held in memory, so nothing here can fail or wait. No serialization: messages are
//! plain values, and what they look like on a wire is the host's affair. No logging: notable facts
//! are [`Event`]s. No state machine, and so no sessions, no deduplication of commands, and no
//! forwarding of proposals, which belong to whoever owns the machine. No read lease: it would make
//! the correctness of reads depend on clocks.

#![no_std]

extern crate alloc;

mod asleep;
mod attendance;
mod candidate;
mod change;
mod commit;
mod config;
mod core;
pub mod effects;
mod few;
mod follower;
mod handover;
mod leader;
mod lease;
mod log;
mod measure;
pub mod membership;
pub mod message;
mod progress;
mod pulse;
mod quiet;
pub mod quorum;
mod raft;
mod read;
mod rejoin;
mod replication;
pub mod rng;
mod role;
pub mod salvage;
mod snapshot;
mod status;
mod timer;
pub mod types;
mod validate;
mod witness;

pub use asleep::{Asleep, Commons};
pub use config::{Config, ConfigError, Limits};
pub use effects::*;
pub use lease::Lease;
pub use membership::Membership;
pub use message::*;
pub use raft::Raft;
pub use salvage::{Found, Lost, Misfit, Remembered, Salvage, Seal, Word};
pub use status::{PeerStatus, ProgressKind, RoleKind, Status};
pub use timer::ElectionPolicy;
pub use types::*;
