//! The other side of healing: what a member gives to one whose storage is damaged.
//!
//! Entries are answered at once, from memory. Pieces of snapshots are read by the applier, one at a time
//! for each member that asks, however often it asks.

use alloc::collections::BTreeMap;
use core::time::Duration;

use bytes::Bytes;
use quorate_raft::{EntryId, Found, GroupId, Index, Lost, NodeId, SnapshotPiece, Term, Time};

use crate::effects::{ApplyJob, Effects, Envelope, EnvelopeBody, Heal, HealAnswer, HealSnapshot};

/// The members that read a snapshot here.
#[derive(Debug, Default)]
pub(crate) struct HealSource {
    readers: BTreeMap<NodeId, Reader>,
}

/// A member that reads.
#[derive(Debug)]
struct Reader {
    incarnation: u64,
    /// Whether the applier reads a piece for it.
    is_served: bool,
    /// When its snapshot is released, should it not ask again.
    until: Time,
}

impl HealSource {
    /// Whether nobody reads.
    pub(crate) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// Asks the applier for a piece.
    pub(crate) fn read<W>(
        &mut self,
        group: GroupId,
        to: NodeId,
        incarnation: u64,
        (last, cursor): (Option<EntryId>, Bytes),
        until: Time,
        out: &mut Effects<W>,
    ) {
        let reader =
            self.readers.entry(to).or_insert(Reader { incarnation, is_served: false, until });
        (reader.incarnation, reader.until) = (incarnation, until);
        if !core::mem::replace(&mut reader.is_served, true) {
            let request = HealSnapshot::Read { to, last, cursor };
            out.apply.push((group, ApplyJob::HealSnapshot(request)));
        }
    }

    /// The answer to a member for which this piece was read; nothing if it was read when this member still
    /// healed itself.
    pub(crate) fn answer(
        &mut self,
        group: GroupId,
        from: NodeId,
        piece: SnapshotPiece,
        term: Term,
    ) -> Option<Envelope> {
        let SnapshotPiece { to, chunk } = piece;
        let reader = self.readers.get_mut(&to).filter(|reader| reader.is_served)?;
        reader.is_served = false;
        let answer =
            HealAnswer { incarnation: reader.incarnation, body: Heal::Snapshot { chunk, term } };
        Some(Envelope { group, from, to, body: EnvelopeBody::HealAnswer(answer) })
    }

    /// Releases the snapshots of those who ask no more.
    pub(crate) fn expire<W>(&mut self, group: GroupId, now: Time, out: &mut Effects<W>) {
        self.readers.retain(|to, reader| {
            let stays = reader.is_served || now < reader.until;
            if !stays {
                let release = HealSnapshot::Release { to: *to };
                out.apply.push((group, ApplyJob::HealSnapshot(release)));
            }
            stays
        });
    }

    /// When [`HealSource::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Time {
        let idle = self.readers.values().filter(|reader| !reader.is_served);
        idle.map(|reader| reader.until).min().unwrap_or(Time::NEVER)
    }
}

/// How long a snapshot is kept for a member that does not ask for the next piece.
pub(crate) fn reader_patience(election_timeout: Duration) -> Duration {
    election_timeout * 10
}

/// Whether a peer may ask for these.
pub(crate) fn is_sensible(asked: Lost) -> bool {
    asked.first.0 > 0 && asked.first <= asked.last.index && is_believable(asked.last)
}

/// Whether there can be such an entry, or such a snapshot. What a peer says is data, not truth.
pub(crate) fn is_believable(id: EntryId) -> bool {
    id.term.0 > 0 && id.term <= Term::BELIEVABLE_MAX && id.index <= Index::BELIEVABLE_MAX
}

/// The answer to who lost entries.
pub(crate) fn entries_answer(
    group: GroupId,
    (from, to): (NodeId, NodeId),
    incarnation: u64,
    asked: Lost,
    found: Found,
) -> Envelope {
    let body = Heal::Entries { asked, found };
    let body = EnvelopeBody::HealAnswer(HealAnswer { incarnation, body });
    Envelope { group, from, to, body }
}
