//! The Raft consensus algorithm for one group, as a pure state machine.
#![no_std]

extern crate alloc;

pub mod effects;
pub mod membership;
pub mod message;
pub mod types;

pub use effects::*;
pub use membership::Membership;
pub use message::*;
pub use types::*;
