//! Snapshots on their way (Raft §7): which piece is next, on either side.
//!
//! The core never sees what is in a snapshot. The leader's host reads pieces from its machine and
//! the follower's host writes them to its own; here is only the order. One piece is under way at a
//! time, and each names where it begins by a cursor, so a lost, repeated or late piece is recognised
//! by its cursor and a transfer resumes wherever the follower says it stands.

use bytes::Bytes;

use crate::message::{SnapshotChunk, SnapshotMeta};
use crate::types::{EntryId, Term};

/// A snapshot that a leader sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    /// The snapshot, once its first piece was read.
    pub(crate) last: Option<EntryId>,
    /// Where the present piece begins.
    pub(crate) cursor: Bytes,
    /// The present piece; `None` while the host reads it.
    pub(crate) sent: Option<SnapshotChunk>,
    /// Heartbeats since the piece was sent or answered. The second one repeats it: the first may
    /// come at once.
    pub(crate) unanswered: u32,
}

impl Outgoing {
    /// Turns to the piece at `cursor`, which the host is asked for.
    pub(crate) fn seek(&mut self, cursor: Bytes) {
        self.cursor = cursor;
        self.sent = None;
        self.unanswered = 0;
    }

    /// Takes the piece that was asked for, or the first piece of another snapshot where the machine
    /// had to begin anew. Refuses any other, as what a request before this one left behind.
    pub(crate) fn take(&mut self, chunk: SnapshotChunk) -> Option<&SnapshotChunk> {
        let expected =
            chunk.cursor == self.cursor && self.last.is_none_or(|l| l == chunk.meta.last);
        if self.sent.is_some() || !(expected || chunk.cursor.is_empty()) {
            return None;
        }
        self.last = Some(chunk.meta.last);
        self.cursor = chunk.cursor.clone();
        self.unanswered = 0;
        Some(self.sent.insert(chunk))
    }
}

/// A snapshot that a follower receives. Belongs to the member and not to its role: the machine goes
/// on installing whatever becomes of the leader.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// The snapshot.
    pub(crate) meta: SnapshotMeta,
    /// The term of the leader who sends it: cursors of another leader mean something else.
    pub(crate) term: Term,
    /// Which piece is next.
    pub(crate) stage: Stage,
}

/// Which piece is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The piece that begins here.
    Expecting(Bytes),
    /// None: all of them were handed to the host, and it is installing them. Until it has answered
    /// no entry is handed out for application, for the machine is about to be elsewhere.
    Installing,
}
