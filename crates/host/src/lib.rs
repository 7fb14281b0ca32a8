//! Runs a node on real threads, disks and sockets.
//!
//! This crate, with `quorate-raft`, `quorate-wal` and `quorate-node` below it, is what another team
//! depends on to replicate a state machine of its own: implement [`quorate_node::Machine`], fill in a
//! [`HostConfig`], call [`Host::start`], and hold on to the [`Handle`].
//!
//! # Threads and queues
//!
//! ```text
//!                      ┌───────────── answers ◄─────────────┐
//!  callers ─ Handle ─► │                                    │
//!           (permits)  ▼        ┌──► wal thread ─► disk     │
//!  peers ─► reader ─► raft ─────┤       │ Durable           │
//!           threads   thread    ├──► apply thread ─► machine┘
//!                      ▲        │       │ Applied
//!                      │        └──► writer threads ─► peers
//!                      └────────────────┘
//! ```
//!
//! Each thread has one inbox, and nothing in the raft thread waits for anybody.
//!
//! To wake a thread takes tens of microseconds, as long as everything else that a small write needs
//! but the disk. Two of the arrows are therefore walked without it while there is little to do:
//! *into* the raft thread, by running its round in its place while it sleeps (`turn.rs`), and *to*
//! a peer, by writing on its connection while the writer has nothing to write (`peer/outgoing.rs`).
//! A lone write through three members then wakes, beside the two ends of each connection, the wal
//! threads and the leader's apply thread, and nobody else.
//!
//! What bounds the queues is told where they are: permits for callers, back pressure for peers
//! (`inbox.rs`), bytes under way for the log, and dropping for what goes to peers, which Raft takes.
//!
//! | I want to … | open |
//! |---|---|
//! | see what a caller can do | `handle.rs` |
//! | follow a round of the raft thread | `driver.rs` |
//! | know which thread runs it | `turn.rs`, `inbox.rs` |
//! | see one sync for many records | `wal_thread.rs` |
//! | see where answers leave | `apply_thread.rs` |
//! | know the bytes between members | `wire.rs`, `handshake.rs` |
//! | know what happens when a peer is away | `peer/outgoing.rs` |
//! | know what a member checks before it starts | `host.rs` |
//! | know how a member ends that must not go on | `fatal.rs` |
//! | know what a full disk does | `space.rs` |
//! | know what can be saved where nobody else has it | `repair.rs` |
//!
//! # What is not here
//!
//! Nothing that matters for safety: a host moves bytes and time. No async runtime: the threads block,
//! and handles can be awaited from any. No encryption: see [`Transport`] for where it goes. No
//! logging: see [`HostEvent`]. No change of members yet.

#[cfg(museum)]
compile_error!("a build with planted bugs serves nobody: see crates/planted");

mod apply_thread;
mod ask;
mod asks;
mod clock;
mod config;
mod driver;
mod error;
mod fatal;
mod handle;
mod handshake;
mod host;
mod inbox;
mod metrics;
mod open;
mod peer;
mod permits;
mod repair;
mod replica;
mod report;
mod scrub;
mod space;
mod status;
mod transfers;
mod transport;
mod turn;
mod wal_thread;
pub mod whole_file;
mod wire;

pub use ask::{AskHandler, Reply};
pub use clock::{Clock, wall_clock};
pub use config::{HostConfig, HostEvent, Limits};
pub use error::{AskError, PeerError, RequestError, StartError, TransferError};
pub use fatal::Fatality;
pub use handle::Handle;
pub use host::Host;
pub use metrics::{Counter, Histogram, Metrics, PeerMetrics};
pub use quorate_node::{Fault, FaultKind, Kept, Machine, State};
pub use quorate_raft::{NodeId, RoleKind};
pub use quorate_wal::create_directory;
pub use repair::{IdleLog, Repair, Stretch, Verdict};
pub use replica::Replica;
pub use space::{Room, Space};
pub use status::{HostStatus, PeerStatus};
pub use transport::{Connection, Stream, Tcp, Transport};
