//! Watches: which events go to which watcher, in what order, in which responses. No channels, no
//! threads: [`WatchRing`] keeps the recent events, a [`WatchStream`] turns them into responses.
//!
//! ```text
//!  store ── events of a commit ──► WatchRing ── Recent ──► WatchStream ── responses ──► client
//!    └───── ReadState ─────────────────┘                       ▲
//!                                            create, cancel, progress requests
//! ```
//!
//! The ring is shared by all streams and is looked at for a moment only, under the host's lock:
//! [`WatchRing::recent`] copies references. Everything else happens on the stream's own time, so a
//! writer never waits for a watcher. A stream that is too slow for the ring falls behind, and reads
//! what it missed from the history instead.
//!
//! What a stream promises (in the words of etcd's documentation): its events are *ordered*, *unique*,
//! *reliable* (none is missing between two that came), *atomic* (a revision comes in one response,
//! unless fragments were asked for) and *resumable*; and progress is *bookmarkable*: a progress
//! response with revision R means that every event up to R has been sent.

mod index;
mod ring;
mod stream;

pub use ring::{Recent, WatchRing};
pub use stream::{
    Advance, Cancel, NO_WATCHER, WatchCreateRequest, WatchLimits, WatchResponse, WatchStream,
};
