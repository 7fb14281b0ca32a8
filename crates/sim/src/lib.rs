//! A deterministic simulator of whole clusters.
//!
//! One seed is one run: a cluster of one to seven members with its disks, its network and its
//! clients, everything that goes wrong with them, and the order in which it all happens. The same
//! seed is the same run for ever, to the byte, so whatever a run finds can be looked at again.
//!
//! The members run the production code unchanged: [`quorate_node`] around [`quorate_raft`], the log
//! of [`quorate_wal`], the data model of [`quorate_mvcc`]. Only the edges are virtual: time, the
//! network, the disk beneath the log, and the engine beneath the data model.
//!
//! ```text
//!   swarm ──► options of the run                        invariants (figure 3 of the paper, …)
//!                │                                          ▲ every record, message, entry
//!   workload ─► world: a heap of events ─► process ─────────┤
//!                │          ▲                               ▼
//!               net       storage                        oracle (what clients were told)
//! ```
//!
//! - [`world`] moves time and lets things happen. Begin here.
//! - [`swarm`] draws the options and [`extremes`] the worst of them, [`sabotage`] breaks what no
//!   option may.
//! - [`quorate_check::invariants`] has one file for each safety property, as seen from inside.
//! - [`oracle`] judges what clients were told, with [`model`] as the specification; [`history`] has
//!   it judged a second time, without a look at the log.
//! - [`disk_faults`] draws what goes wrong with disks, and [`ills`] is what a disk suffers from.
//! - [`net`], [`clock`], [`storage`], [`process`], [`settings`], [`workload`]: the parts of a run.
//! - [`subject`]: machines of others, which ride along with the store and are judged by [`check`].
//! - [`watches`]: clients that look on, and are told of all that happens. [`leases`]: what ends by a
//!   clock, and whose.
//! - [`timeouts`] measures what the election policies are worth.
//! - [`coverage`] counts which fault met a member at which point of the protocol.
//!
//! # What is not here
//! No thread, no clock, no order of a hash map. No fault that the product does not promise to
//! survive: a disk may be lost, but never so many that no quorum has kept its own, and whoever starts
//! the member again says so. Except in runs that are *over the limit*: there nobody is asked to go on, and
//! everybody not to lie ([`disk_faults::OverLimit`]).

pub mod alarms;
pub mod chance;
pub mod clock;
pub mod coverage;
pub mod cuts;
pub mod disk_faults;
pub mod engine;
pub mod extremes;
pub mod fleet;
pub mod graphs;
pub mod history;
pub mod ills;
pub mod json;
pub mod leases;
pub mod links;
pub mod model;
pub mod net;
pub mod oracle;
pub mod parallel;
mod powered;
pub mod process;
pub mod quiet;
mod rider;
mod rot;
pub mod run;
pub mod sabotage;
pub mod scenario;
pub mod settings;
pub mod stale_reads;
pub mod storage;
pub mod subject;
pub mod summary;
pub mod swarm;
pub mod tenure;
pub mod timeouts;
pub mod trace;
pub mod watches;
pub mod workload;
pub mod world;

pub use chance::Chance;
pub use subject::{Subject, check, replay};
