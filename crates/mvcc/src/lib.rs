//! Placeholder while the crate is being written.
#![no_std]
extern crate alloc;
