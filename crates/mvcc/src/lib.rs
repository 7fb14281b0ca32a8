//! The data model of etcd v3 as a deterministic state machine.
#![no_std]

extern crate alloc;

pub mod engine;
