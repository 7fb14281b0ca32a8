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
//! Members that apply the same log hold the same state. [`audit`] is how they make sure. Which of the other nodes
//! seem to be there is told by the [`detector`]. How a group gets from the members that it has to those that it is to
//! have is told by [`reconcile`](mod@reconcile), and when a spare takes the place of a voter that has failed, by
//! [`replace`](mod@replace).
//!
//! # What a user writes
//! A [`Machine`]: [`machine`] says what it has to keep to. Or a [`State`], from which [`Kept`] makes a machine. Most
//! want the host around this crate as well, `quorate-host`, whose page teaches how to replicate a state.
//!
//! # What a host does
//! It gives what happened to the node, and does what the [`Effects`] ask for. This one has a log that is durable at
//! once, and a group of one member:
//!
//! ```
//! use bytes::Bytes;
//! use core::time::Duration;
//! use quorate_node::*;
//! use quorate_raft::{
//!     ElectionPolicy, EntryId, GroupId, Limits, Membership, NodeId, Recovered, Time,
//! };
//!
//! #[derive(Default)]
//! struct Length(usize);
//!
//! impl State for Length {
//!     type Outcome = usize;
//!
//!     fn apply(&mut self, command: &[u8]) -> usize {
//!         self.0 += command.len();
//!         self.0
//!     }
//!
//!     fn snapshot(&self) -> Vec<u8> {
//!         self.0.to_string().into_bytes()
//!     }
//!
//!     fn restore(snapshot: &[u8]) -> Option<Self> {
//!         str::from_utf8(snapshot).ok()?.parse().ok().map(Self)
//!     }
//! }
//!
//! /// Where a host has a file.
//! struct Nowhere;
//!
//! impl Keep for Nowhere {
//!     fn keep(&mut self, _image: &[u8]) -> Result<(), Fault> {
//!         Ok(())
//!     }
//! }
//!
//! let (id, group) = (NodeId(1), GroupId(1));
//! let membership = Membership::of_voters([id]);
//! let mut node = Node::new(NodeConfig::new(id, 1, 7));
//! let config = GroupConfig {
//!     group,
//!     membership: membership.clone(),
//!     heartbeat_interval: Duration::from_millis(100),
//!     election_timeout: Duration::from_secs(1),
//!     election_policy: ElectionPolicy::Adaptive,
//!     quiet_after: None,
//!     limits: Limits::default(),
//!     rejoining: None,
//!     lease: None,
//!     witness: false,
//! };
//! node.add_group(config, Recovered::default(), EntryId::ZERO, Time(0));
//! let machine = Kept::<Length>::open(None, Box::new(Nowhere))?;
//! let mut applier = Applier::new(Box::new(machine), membership);
//!
//! let (mut effects, mut applied) = (Effects::default(), Applied::default());
//! let command = Bytes::from_static(b"four");
//! node.step(Time(0), Input::Propose { group, command, waiter: "a client" }, &mut effects);
//! while applied.outcomes.is_empty() {
//!     let now = node.deadline();
//!     node.step(now, Input::Timeout, &mut effects);
//!     node.flush(now, &mut effects);
//!     let mut happened = Vec::new();
//!     for (group, persist) in effects.persist.drain(..) {
//!         happened.push(Input::Durable { group, seq: persist.seq });
//!     }
//!     for (group, job) in effects.apply.drain(..) {
//!         applier.run(job, &mut applied)?;
//!         let feedback = applied.feedback.drain(..);
//!         happened.extend(feedback.map(|feedback| Input::Applied { group, feedback }));
//!     }
//!     effects.clear();
//!     happened.into_iter().for_each(|input| node.step(now, input, &mut effects));
//! }
//! assert_eq!(applied.outcomes, [("a client", 4)]);
//! # Ok::<(), Fault>(())
//! ```
//!
//! # What is not here
//! No clock, no randomness, no file, no socket, no thread: a host supplies them, the real one and the
//! simulator alike, and holds nothing that matters for safety. No knowledge of what a command means.
#![no_std]

extern crate alloc;

pub mod applier;
pub mod audit;
mod begin;
pub mod detector;
pub mod effects;
mod footing;
mod foreign;
pub mod group;
mod heal;
mod heal_source;
mod healing;
pub mod lead;
pub mod machine;
mod neighbours;
pub mod node;
pub mod proposal;
mod reads;
pub mod reconcile;
pub mod replace;
mod session;
pub mod state;
pub mod status;
mod waiters;
pub mod witness;

pub use applier::{Applied, Applier, UNFLUSHED_BYTES_MAX, membership_of};
pub use audit::{AUDIT_INTERVAL, Report};
pub use begin::{Begin, Unfit, begin};
pub use detector::{
    About, Detector, Incarnation, News, PeerChange, PeerHealth, PeerState, Phi, View,
};
pub use effects::*;
pub use group::GroupConfig;
pub use heal::can_heal;
pub use lead::Priority;
pub use machine::*;
pub use node::{Node, NodeConfig};
pub use reconcile::{Desired, Refusal, Standing, Step, Waiting};
pub use replace::{GroupView, Replacement, Replacer, Seen};
pub use state::{Keep, Kept, State};
pub use status::{GroupStatus, Healing};
pub use witness::Witness;
