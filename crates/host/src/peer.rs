//! Streams to other members.
//!
//! Each member keeps one connection *to* each other member and writes on it; what it hears arrives
//! on the connections that the others made. A connection has thus one writer and one reader, a
//! thread each, and nothing to multiplex. The writer lends it to others while it has nothing to do.
//!
//! Members come and go, and with them connections (`directory.rs`).
//!
//! Nothing here is reliable, and nothing needs to be: Raft takes the loss of any message. A queue
//! that is full, or leads nowhere, therefore drops what comes on top, and says so in the counts.

mod directory;
mod incoming;
mod outgoing;

pub(crate) use directory::{Dialing, Directory, Peer, addresses};
pub(crate) use incoming::{Incoming, Listening};
pub(crate) use outgoing::{Outgoing, Queue};
