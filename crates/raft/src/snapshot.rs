//! Snapshots on their way (Raft §7): which piece is next, on either side.
//!
//! The core never sees what is in a snapshot. The leader's host reads pieces from its machine and
//! the follower's host writes them to its own; here is only the order. One piece is under way at a
//! time, and each names where it begins by a cursor, so a lost, repeated or late piece is recognised
//! by its cursor and a transfer resumes wherever the follower says it stands.

use alloc::boxed::Box;

use bytes::Bytes;
use quorate_planted::planted;

use crate::message::{SnapshotChunk, SnapshotMeta};
use crate::types::{EntryId, Index, Term};

/// A piece is repeated after so many intervals between heartbeats at the latest, as long as there is no
/// answer.
const REPEAT_EVERY_MAX: u32 = 64;

/// A snapshot that a leader sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    /// The snapshot, once its first piece was read.
    pub(crate) last: Option<EntryId>,
    /// Where the present piece begins.
    pub(crate) cursor: Bytes,
    /// The present piece; `None` while the host reads it.
    pub(crate) sent: Option<Box<SnapshotChunk>>,
    /// Heartbeats since the piece was asked of the host, sent or answered.
    pub(crate) unanswered: u32,
    /// Whether it was sent again out of turn since the last heartbeat.
    pub(crate) again: bool,
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
    pub(crate) fn take(&mut self, chunk: Box<SnapshotChunk>) -> Option<&SnapshotChunk> {
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

    /// Another heartbeat brought no answer to the piece. It is repeated by the second one, since the first
    /// may come at once; and then ever more rarely, up to a point: the last piece is answered only when it
    /// is installed, and a follower that does something else has to be found ready one day.
    pub(crate) fn still_unanswered(&mut self) -> Option<&SnapshotChunk> {
        self.unanswered = self.unanswered.saturating_add(1);
        self.again = false;
        let is_due = match self.unanswered {
            1 => false,
            count if count < REPEAT_EVERY_MAX || planted!(IgnoredPieceWaits) => {
                count.is_power_of_two()
            }
            count => count % REPEAT_EVERY_MAX == 0,
        };
        self.sent.as_deref().filter(|_| is_due)
    }

    /// The follower has installed a snapshot up to `durable`. If that was another one than this, of an earlier
    /// leader, it may have ignored the piece until now: it is due again, once between two heartbeats.
    pub(crate) fn after_another(&mut self, durable: Index) -> Option<&SnapshotChunk> {
        if self.again || self.last.is_none_or(|last| last.index <= durable) {
            return None;
        }
        self.again = true;
        self.unanswered = self.unanswered.min(2);
        self.sent.as_deref()
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::membership::Membership;
    use crate::types::NodeId;

    /// The one piece of a snapshot up to entry 5 is on its way.
    fn sending() -> Outgoing {
        let meta = SnapshotMeta {
            last: EntryId::new(1, 5),
            membership: Membership::of_voters([NodeId(1)]),
        };
        let (cursor, data) = (Bytes::new(), Bytes::new());
        let mut outgoing = Outgoing::default();
        outgoing
            .take(Box::new(SnapshotChunk { meta, cursor, data, next: None }))
            .expect("it was asked for");
        outgoing
    }

    #[test]
    fn an_unanswered_piece_is_repeated_ever_more_rarely_up_to_a_point() {
        let mut outgoing = sending();
        let repeats: Vec<u32> =
            (1..=256).filter(|_| outgoing.still_unanswered().is_some()).collect();
        assert_eq!(repeats, [2, 4, 8, 16, 32, 64, 128, 192, 256]);
    }

    #[test]
    fn a_piece_is_sent_again_after_another_snapshot_and_not_for_each_answer() {
        let mut outgoing = sending();
        assert!(outgoing.after_another(Index(5)).is_none(), "that is this one");
        assert!(outgoing.after_another(Index(4)).is_some());
        assert!(outgoing.after_another(Index(4)).is_none(), "a repeated answer");
        assert!(outgoing.still_unanswered().is_none());
        assert!(outgoing.after_another(Index(4)).is_some());
    }
}
