//! Checkers: what a correct cluster never does, held against what one was seen to do.
//!
//! A checker is a function of what was recorded. It has no clock, no randomness, no file and no
//! thread, and it shares no code with what it judges beyond the words: it speaks in the types of
//! [`quorate_raft`] and [`quorate_mvcc`], and states their meaning a second time, as plainly as it can.
//! So the same checkers serve the simulator, which sees everything, and the checks against real
//! processes, which see what a client sees.
//!
//! **Seen from inside**, by an observer at the boundary of every member:
//!
//! - [`invariants`] has one file for each safety property of the consensus; [`cluster`] is what they
//!   look at.
//!
//! **Seen from outside**, by clients who note what they asked for and what they were told:
//!
//! - [`linearizability`] looks for one order of all operations that explains every reply, in a
//!   [`history`], with [`model`] as the specification.
//!
//! - [`replay`] holds every reply against all [`changes`] that were made, whatever the time.
//! - [`watch`] has one file for each of the nine promises of a watch.
//! - [`lease`] has one file for each promise of a lease.
//! - [`staleness`] holds reads that may be stale against what they say of themselves.
//! - [`state_hash`] compares what members say of their states.
//!
//! **To add a checker**: a file that says what it demands, where that is written down, and a test in
//! which exactly this checker notices a corruption. A checker that never fired is decoration.
#![no_std]

extern crate alloc;

pub mod changes;
mod claim;
pub mod cluster;
pub mod history;
pub mod invariants;
pub mod lease;
pub mod linearizability;
pub mod model;
mod range;
pub mod replay;
pub mod staleness;
pub mod state_hash;
mod violation;
pub mod watch;

pub use violation::Violation;
