//! The data model of etcd v3 as a deterministic state machine.
#![no_std]

extern crate alloc;

pub mod apply;
mod codec;
pub mod command;
mod compact;
pub mod engine;
pub mod error;
pub mod hash;
pub mod key;
pub mod lease;
mod machine;
pub mod mem;
mod range;
pub mod read;
pub mod request;
pub mod response;
pub mod revision;
mod rows;
mod snapshot;
pub mod store;
pub mod txn;
pub mod watch;
mod wire;

pub use command::Command;
pub use error::{Error, ReadError};
pub use hash::HashKv;
pub use key::KeyRange;
pub use lease::{Lessor, Remaining, Renewal};
pub use read::ReadState;
pub use request::*;
pub use response::*;
pub use store::Store;
