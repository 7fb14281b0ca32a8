//! Many Raft groups on one node, as a pure state machine.
#![no_std]

extern crate alloc;

pub mod effects;
pub mod machine;

pub use effects::*;
pub use machine::*;
