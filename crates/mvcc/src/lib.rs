//! The data model of etcd v3 as a deterministic state machine.
#![no_std]

extern crate alloc;

mod codec;
pub mod command;
pub mod engine;
pub mod error;
pub mod key;
pub mod mem;
pub mod request;
pub mod response;

pub use command::Command;
pub use error::{Error, ReadError};
pub use key::KeyRange;
pub use request::*;
pub use response::*;
