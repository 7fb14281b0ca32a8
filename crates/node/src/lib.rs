//! Many Raft groups on one node, as a pure state machine.
#![no_std]

extern crate alloc;

pub mod machine;

pub use machine::*;
