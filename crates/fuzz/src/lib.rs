//! What a fuzzer gives bytes to.
//!
//! A [`Target`] is a function that takes any bytes. Whatever it does with them, it must come back: without a panic, with
//! no more memory than [`MEMORY_BYTES_MAX`], and soon. Some of them also compare: what was read with what is written
//! of it again, or what two ways of doing the same came to.
//!
//! ```text
//!  cargo xtask fuzz ──► main.rs (libFuzzer) ──┐
//!                                             ├──► TARGETS ──► host, wal, bolt, mvcc, server
//!  cargo test ────► tests/corpus.rs ──────────┘
//!                   every file of corpus/
//! ```
//!
//! libFuzzer changes inputs and keeps those that reach what none reached before; the best of them are in `corpus`, by
//! the name of the target, and each of them is a test that everybody runs. How to run it, and what to do with a
//! finding: `docs/fuzzing.md`. Why it is built as it is: `docs/adr/0013-fuzzing.md`.
//!
//! # Where the functions are
//!
//! What is public is called from here. What is not has a door where it is, in a file `fuzz.rs` behind the feature `fuzz`
//! of its crate, which no server is built with.
//!
//! # What is not here
//!
//! No sockets and no threads: hyper, rustls and h2 are fuzzed in their own houses. No engine on disk: what is in its
//! files is in blocks with checksums, and its own tests change every bit of them.

mod draw;
mod memory;
mod requests;
mod targets;

pub use draw::Draw;
pub use memory::{MEMORY_BYTES_MAX, within};
pub use targets::{TARGETS, Target};
