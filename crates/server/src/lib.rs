//! The etcd v3 API on a Quorate cluster.
//!
//! Everything below this crate would serve another purpose as well: `quorate-host` replicates any state
//! machine, and `quorate-mvcc` knows etcd's data model and no network. Here the two meet, and what
//! clients of etcd see is made true: the calls, their error texts, the headers, the flags, the log
//! lines and the pages.
//!
//! ```text
//!  client ── serve.rs ──┬───────────── rpc/ ─── member.rs ──┬── Handle ──► host: log, peers
//!                       ├─ gateway/ ────┘                   ├── published.rs ◄── machine.rs ◄── apply thread
//!                       └─ http.rs                          └── leases.rs ◄────────┘
//! ```
//!
//! # The rooms
//!
//! `config` reads flags and variables · `identity.rs` says who the member is, and `join.rs` how one finds that out that joins · `server.rs` starts
//! and ends it · `host.rs` sets the host up · `serve.rs` has the connections, `accept.rs` their beginning, `tls.rs`
//! their encryption, and `authority.rs` makes hyper accept those of old clients · `rpc/` answers calls,
//! a file for each service, which `gateway/` translates from JSON and back, with `rpc/error.rs` as the one table of
//! errors and `rpc/convert.rs` as the
//! gateway into the data model · `member.rs` is what the services talk to · `members.rs` changes who belongs to
//! the cluster, `members/caretaker.rs` where nobody asks, and `reconcile.rs` all at once · `witness.rs` is what a member without a store has · `machine.rs` wraps the store
//! for the apply thread and `published.rs` hands its states out · `leases.rs` runs the clock of leases ·
//! `rebuild.rs` puts a store aside that can't be believed, and `run.rs` starts its member again ·
//! `repair.rs` is what an operator can do about a member that is alone and lost something, and `recover.rs` about
//! a cluster that lost its majority; `look.rs` looks at a store for both · `backup.rs` makes snapshots, and members of
//! them and of what etcd has ·
//! `admission.rs` says who comes in when memory is short, and `rate.rs` who asks too often · `memory.rs` keeps memory out of the swap · `quota.rs` estimates, and
//! `quota/keeper.rs` raises the alarm and takes it back · `compactor.rs` compacts where nobody asks · `http.rs` and `metrics.rs` are the pages · `log.rs` writes lines.
//!
//! # What is not here
//!
//! No decision that safety rests on: those are in `quorate-raft` and `quorate-mvcc`, and simulated. No
//! encryption between members yet: such flags are refused by name.

#[cfg(museum)]
compile_error!("a build with planted bugs serves nobody: see crates/planted");

mod accept;
mod admission;
mod authority;
pub mod backup;
mod compactor;
pub mod config;
mod files;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gateway;
mod host;
mod http;
mod identity;
mod join;
mod leases;
pub mod log;
mod login;
mod look;
mod machine;
mod member;
mod members;
mod memory;
mod metrics;
mod peer_tls;
mod published;
mod quota;
mod rate;
mod rebuild;
mod reconcile;
pub mod recover;
pub mod repair;
mod rpc;
mod run;
mod serve;
mod server;
mod sha1;
mod shutdown;
mod tls;
mod version;
mod witness;

pub use config::Config;
pub use log::Log;
pub use run::{check, run};
pub use server::{Listeners, Server, StartError};
