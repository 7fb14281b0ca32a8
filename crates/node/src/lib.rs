//! Many Raft groups on one node, as a pure state machine: what stands between the algorithm and
//! the clients.
//!
//! [`quorate_raft`] knows one group, proposes only where it leads, and gives out committed entries.
//! A [`Node`] holds many such groups and lets any client ask any member: a command goes to whoever
//! leads and its outcome comes back from the local state machine; a read is confirmed by whoever
//! leads and answered locally. An [`Applier`] drives a [`Machine`] through what was committed.
//!
//! ```text
//!   Propose, Read ─► Node::step ─► Node::flush ─► send, persist ─► (peers, log)
//!                        ▲                  └───► ApplyJob ─► Applier ─► outcomes, reads
//!                        └──────────── Feedback ◄────────────────┘
//! ```
//!
//! Members that apply the same log hold the same state. [`audit`] is how they make sure.
//!
//! # What is not here
//! No clock, no randomness, no file, no socket, no thread: a host supplies them, the real one and the
//! simulator alike, and holds nothing that matters for safety. No knowledge of what a command means.
#![no_std]

extern crate alloc;

pub mod applier;
pub mod audit;
mod begin;
pub mod effects;
mod foreign;
pub mod group;
mod heal;
mod heal_source;
mod healing;
pub mod machine;
pub mod node;
pub mod proposal;
mod reads;
mod session;
pub mod state;
pub mod status;
mod waiters;

pub use applier::{Applied, Applier, membership_of};
pub use audit::{AUDIT_INTERVAL, Report};
pub use begin::{Begin, Unfit, begin};
pub use effects::*;
pub use group::GroupConfig;
pub use heal::can_heal;
pub use machine::*;
pub use node::{Node, NodeConfig};
pub use state::{Keep, Kept, State};
pub use status::{GroupStatus, Healing};
