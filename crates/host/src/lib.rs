//! Replicates a state of your own, on real threads, disks and sockets.
//!
//! Say what a command does to the state, and how the state is written down and read back. Everything else is
//! here: elections, a log that is synced before anything is acknowledged, connections between members,
//! snapshots for those who are behind, and linearizable reads.
//!
//! ```
//! use quorate_host::{HostConfig, Kept, NodeId, Replica, State};
//!
//! /// A set of names.
//! #[derive(Default)]
//! struct Names(std::collections::BTreeSet<String>);
//!
//! impl State for Names {
//!     type Outcome = bool;
//!
//!     /// Whether the name is new.
//!     fn apply(&mut self, command: &[u8]) -> bool {
//!         self.0.insert(String::from_utf8_lossy(command).into_owned())
//!     }
//!
//!     fn snapshot(&self) -> Vec<u8> {
//!         self.0.iter().flat_map(|name| [name.as_bytes(), b"\n"].concat()).collect()
//!     }
//!
//!     fn restore(snapshot: &[u8]) -> Option<Self> {
//!         Some(Self(str::from_utf8(snapshot).ok()?.lines().map(str::to_owned).collect()))
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let data_dir = folder.path();
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! // A cluster of one. For more, name the others in `peers`, and give it a listener for them.
//! let member: Replica<Kept<Names>> = Replica::open(HostConfig::new(NodeId(1), data_dir, Vec::new()))?;
//! # runtime.block_on(async {
//! assert!(member.propose("Ada").await?);
//! assert!(!member.propose("Ada").await?);
//! assert_eq!(member.read(|names| names.0.len()).await?, 1);
//! # Ok::<(), quorate_host::RequestError>(()) })?;
//! member.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `crates/host/examples/counter.rs` is the same with three members, in sixty lines.
//!
//! # What to implement
//!
//! | The state … | implement | and begin with |
//! |---|---|---|
//! | fits in memory, and in one write now and then | [`State`] | [`Replica::open`] |
//! | is larger, or has a storage of its own | [`Machine`] | [`Replica::start`] |
//! | is driven by a program that needs the parts one by one | [`Machine`] | [`Host::start`] |
//!
//! **Applying is a function of the state and the command alone.** Every member applies the same commands in the
//! same order, some of them years later, from a log or after a snapshot, and must come to the same state and
//! the same outcomes. So no clock and no randomness: whoever proposes puts the time or the id into the command.
//! No order of a hash map, no address, no environment, no setting that another member may have otherwise. No
//! error of this member alone either: a command that can't be carried out has an *outcome* that says so, and
//! what only this member suffers from, such as a bad disk, is a [`Fault`], with which it stops while
//! the others go on. A state with a [fingerprint](State::fingerprint) is compared between members as they
//! run, and one that differs from most of them stops.
//!
//! # What durable means
//!
//! A command is acknowledged when the logs of a majority have it on disk, synced, and the member that was asked
//! has applied it. From then on no crash of any number of members takes it back, and neither does the loss of
//! the disks of a minority. The state itself may lag behind on disk: the log keeps all that a machine would not
//! keep through a crash ([`Machine::durable`]), and it is applied again. A machine with a storage of
//! its own must write the position with the data, in one atomic write, or it would apply a command twice.
//!
//! What a member promised to others is in its log, so a member whose log is gone must not go on as if it were
//! new: it would vote a second time. A [`Replica`] notes that there is a log and refuses to start without it; who
//! uses [`Host`] keeps that note himself ([`HostConfig::has_begun`]). A member that lost its disk is
//! started on an empty one with [`HostConfig::rejoining`].
//!
//! # Propose and read
//!
//! Any member takes any command and any read: a follower sends a command on to the leader, and its outcome comes
//! from the local machine. Calls can be awaited from any executor.
//!
//! | Call | Shows | Costs |
//! |---|---|---|
//! | [`Replica::propose`] | the outcome of the command | one sync on a majority, and a round to it |
//! | [`Replica::read`] | at least all that anybody acknowledged before the call | a round to a majority, shared by all that wait |
//! | [`Replica::read_local`] | what this member has applied | nothing, and it may be stale |
//!
//! # When leaders change
//!
//! Requests wait for the next leader, up to [`HostConfig::request_timeout`]. A command that was on its way to a leader
//! that is no more is proposed again only if it is certain that it never took effect, so a call has its effect at
//! most once. [`RequestError`] says for each error which it is: after [`RequestError::NoLeader`],
//! [`RequestError::Overloaded`] and [`RequestError::TooLarge`] it will not, after the others it may.
//! Who then asks again gives each command a name, and has the state remember those that it has seen.
//!
//! # Testing a machine
//!
//! `quorate_sim::check` runs a machine of yours in simulated clusters, with crashes, lost disks, partitions, torn
//! writes and snapshots between members, and says from which seed on its copies differ or break what you say
//! must hold: `crates/sim/examples/bank.rs`.
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
//! | know the bytes between members | `wire.rs`, `handshake.rs`, `card.rs` |
//! | know who is heard, and what protects a connection | `transport.rs`, and what is below it |
//! | know to whom there are connections | `following.rs`, `peer/directory.rs` |
//! | know what happens when a peer is away | `peer/outgoing.rs` |
//! | know what a member checks before it starts | `host.rs` |
//! | know how a member ends that must not go on | `fatal.rs` |
//! | know what a full disk does | `space.rs` |
//! | know what can be saved where nobody else has it | `repair.rs` |
//! | see where a state that is written whole is kept | `replica.rs`, `whole_file.rs` |
//!
//! # What is not here
//!
//! Nothing that matters for safety: a host moves bytes and time. No async runtime: the threads block,
//! and handles can be awaited from any. No encryption: see [`Transport`] for where it goes, and
//! [`Authenticated`] for tags without it. No logging: see [`HostEvent`].

#[cfg(museum)]
compile_error!("a build with planted bugs serves nobody: see crates/planted");

mod apply_thread;
mod ask;
mod asks;
mod card;
mod changes;
mod clock;
mod config;
mod driver;
mod error;
mod fatal;
mod following;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod handle;
mod handshake;
mod host;
mod inbox;
mod inquiry;
mod metrics;
mod open;
mod peer;
mod permits;
mod reconcile;
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
pub use card::{is_address, is_name};
pub use clock::{Clock, wall_clock};
pub use config::{HostConfig, HostEvent, Limits};
pub use error::{
    AskError, MembersError, PeerError, ReconcileError, RequestError, StartError, TransferError,
};
pub use fatal::Fatality;
pub use handle::Handle;
pub use host::Host;
pub use inquiry::{Found, inquire};
pub use metrics::{Counter, Histogram, Metrics, PeerMetrics};
pub use permits::{Admission, Lane, Permit, Permits, Turn};
pub use quorate_node::{About, PeerChange, PeerHealth, PeerState, Priority};
pub use quorate_node::{
    Desired, GroupView, Refusal, Replacement, Replacer, Seen, Standing, Step, Waiting,
};
pub use quorate_node::{Fault, FaultKind, Kept, Machine, State, Witness};
pub use quorate_raft::{ChangeError, DiskId, Membership, NodeId, RoleKind};
pub use quorate_wal::create_directory;
pub use repair::{IdleLog, Repair, Stretch, Verdict};
pub use replica::{Replica, open_witness};
pub use space::{Room, Space};
pub use status::{HostStatus, PeerStatus};
pub use transport::{Authenticated, Networks, PlainWithin, Protection, SECRET_BYTES_MIN};
pub use transport::{Connection, Hurried, Stream, Tcp, Transport};
pub use transport::{Secret, Secrets, SecretsEvent, WeakSecret};
