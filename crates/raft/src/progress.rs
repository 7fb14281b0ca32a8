//! What a leader knows about one follower, and how much it may send.
//!
//! ```text
//!                 accepted                      rejected, or compacted away
//!     ┌───────────────────────────► Replicate ───────────────┐
//!     │                                 ▲                    │
//!   Probe ◄─────────────────────────────┼────────────────────┘
//!     │                                 │ installed
//!     └───────────────────────────► Snapshot ── silent for an election timeout ──► Probe
//!       its next entry is compacted
//! ```

use alloc::collections::VecDeque;

use crate::snapshot::Outgoing;
use crate::types::{DiskId, Index, Time};

/// From where on the word of a follower counts; from the beginning as a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CountsFrom {
    /// The first entry whose acknowledgement counts.
    pub(crate) index: Index,
    /// The first round of heartbeats whose answer counts.
    pub(crate) round: u64,
}

/// One follower (or learner) as the leader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The last position at which its log is believed to equal the leader's *and* to be on its disk:
    /// what it is sent begins after this. Starts at zero in each term, and begins there again when
    /// the follower lost its disk.
    pub(crate) matched: Index,
    /// The same, as the commit rule counts it: without what it said while its word did not count (see
    /// `rejoin.rs`).
    pub(crate) counted: Index,
    /// Where this leader gave it a vote with a new disk: what is below may come from the disk before.
    pub(crate) counts_from: CountsFrom,
    /// Its new disk, if it said last that it is rejoining.
    pub(crate) rejoining: Option<DiskId>,
    /// What it said of its disk when it acknowledged most.
    pub(crate) matched_on: Option<DiskId>,
    /// Whether it was not begun again with since the last heartbeat. Answers to a whole pipeline of
    /// appends may say that it lacks what it acknowledged, most of them late.
    pub(crate) may_begin_again: bool,
    /// Whether a rejection may end the pipeline: if none has since the last heartbeat, or since
    /// something more counted as acknowledged. Where appends overtake one another and the disk is slow, each of
    /// them is rejected or acknowledged without any news, and a window sent again for each such pair
    /// makes hundreds more of them.
    pub(crate) may_probe: bool,
    /// The most appends that may be on the way to it, if the configured limit is not less. Without a bound
    /// until one is rejected; then half of what was on the way, and one more for each that is acknowledged,
    /// which doubles it with each round trip (the slow start of TCP, RFC 5681 §3.1). Where appends overtake one
    /// another, each that comes too early is rejected and all that follow are sent again: the fewer there
    /// are, the better. Never below [`Peer::APPENDS_MIN`].
    pub(crate) appends_max: usize,
    /// The commit index it was told last.
    pub(crate) commit_sent: Index,
    /// The newest read round it answered.
    pub(crate) round: u64,
    /// The last round in which it agreed to be quiet; 0 if it never did.
    pub(crate) quiet_round: u64,
    /// When it was heard last, in this term.
    pub(crate) heard: Option<Time>,
    /// When it said last what shows that it is of use: its disk gets on, or has nothing to do. What else
    /// it says, it may say without a disk.
    pub(crate) confirmed: Option<Time>,
    /// How it is brought up to date.
    pub(crate) progress: Progress,
}

impl Peer {
    /// Two appends may always be on the way: the second is rejected where the first was lost, and so tells of
    /// that before the next heartbeat asks.
    pub(crate) const APPENDS_MIN: usize = 2;

    /// A follower at the start of a term: nothing is known, and the log is tried from its end.
    pub(crate) fn new(next: Index) -> Self {
        Self {
            matched: Index(0),
            counted: Index(0),
            counts_from: CountsFrom::default(),
            rejoining: None,
            matched_on: None,
            may_begin_again: true,
            may_probe: true,
            appends_max: usize::MAX,
            commit_sent: Index(0),
            round: 0,
            quiet_round: 0,
            heard: None,
            confirmed: None,
            progress: Progress::probe(next),
        }
    }

    /// A follower that has the whole log up to `last`, and nothing is on the way to it or from it.
    pub(crate) fn in_step(last: Index, heard: Time) -> Self {
        let mut peer = Self {
            matched: last,
            counted: last,
            commit_sent: last,
            progress: Progress::Replicate(Inflight::new(last.next())),
            ..Self::new(last.next())
        };
        peer.settle(heard);
        peer
    }

    /// Whether it is that follower, but for what [`Peer::settle`] sets.
    pub(crate) fn is_in_step(&self, last: Index) -> bool {
        (self.matched, self.counted, self.commit_sent) == (last, last, last)
            && self.counts_from == CountsFrom::default()
            && (self.rejoining, self.matched_on) == (None, None)
            && matches!(&self.progress, Progress::Replicate(way)
                if way.messages() == 0 && way.next == last.next())
    }

    /// It has a new disk. What it says counts from here on.
    pub(crate) fn count_from(&mut self, from: CountsFrom) {
        (self.counted, self.round, self.counts_from) = (Index(0), 0, from);
    }

    /// Nothing was said for long. What is about messages on their way begins anew, and it counts as heard at this
    /// moment, but has confirmed nothing: to forget that it did is never wrong.
    pub(crate) fn settle(&mut self, heard: Time) {
        self.may_begin_again = true;
        self.may_probe = true;
        self.appends_max = usize::MAX;
        self.round = 0;
        self.quiet_round = 0;
        self.heard = Some(heard);
        self.confirmed = None;
        if let Progress::Replicate(way) = &mut self.progress {
            way.moved = true;
        }
    }
}

/// How a follower is brought up to date.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Where its log agrees with the leader's is unknown: one append at a time, until one is
    /// accepted.
    Probe {
        /// The first entry of the append.
        next: Index,
        /// What became of the append.
        attempt: Attempt,
    },
    /// The logs agree: appends are sent without waiting for answers.
    Replicate(Inflight),
    /// Its next entry is compacted: it gets a snapshot, and no appends until that is installed.
    Snapshot(Outgoing),
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It may be sent, with entries: most probes succeed.
    Fresh,
    /// It is on the way.
    Sent,
    /// It is not answered in time and may be sent again. Without entries: the follower may be down
    /// for long, and to find out costs nothing this way.
    Again,
}

impl Progress {
    /// A probe from this position.
    pub(crate) fn probe(next: Index) -> Self {
        Self::Probe { next, attempt: Attempt::Fresh }
    }
}

/// The appends on the way to a follower: a window, bounded in messages and in bytes, as TCP's is.
#[derive(Clone, Debug)]
pub(crate) struct Inflight {
    /// The first entry that was not sent yet.
    pub(crate) next: Index,
    /// Whether an append was acknowledged since the last heartbeat. If none was while some are on
    /// the way, the last one may be lost, with nothing after it to reveal that.
    pub(crate) moved: bool,
    /// The appends that are not acknowledged, ascending.
    window: VecDeque<OnTheWay>,
    bytes: usize,
}

/// An append on the way.
#[derive(Clone, Copy, Debug)]
struct OnTheWay {
    /// Its last entry.
    last: Index,
    bytes: usize,
}

impl Inflight {
    /// Nothing is on the way, and `next` is sent first.
    pub(crate) fn new(next: Index) -> Self {
        Self { next, moved: true, window: VecDeque::new(), bytes: 0 }
    }

    /// Notes an append that ends with `last`.
    pub(crate) fn sent(&mut self, last: Index, bytes: usize) {
        assert!(self.next <= last, "an append that ends with {last} was sent already");
        self.next = last.next();
        self.bytes += bytes;
        self.window.push_back(OnTheWay { last, bytes });
    }

    /// Frees the appends that end at or before this position. Returns how many there were.
    pub(crate) fn acknowledged(&mut self, through: Index) -> usize {
        let before = self.window.len();
        while let Some(append) = self.window.front() {
            if append.last > through {
                break;
            }
            self.bytes -= append.bytes;
            self.moved = true;
            self.window.pop_front();
        }
        self.next = self.next.max(through.next());
        before - self.window.len()
    }

    /// Whether another append has to wait.
    pub(crate) fn is_full(&self, messages_max: usize, bytes_max: usize) -> bool {
        self.window.len() >= messages_max || self.bytes >= bytes_max
    }

    /// The number of appends on the way.
    pub(crate) fn messages(&self) -> usize {
        self.window.len()
    }

    /// What the appends on the way cost, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_bounded_in_messages_and_in_bytes() {
        let mut inflight = Inflight::new(Index(1));
        inflight.sent(Index(3), 60);
        assert!(!inflight.is_full(2, 100));
        inflight.sent(Index(4), 40);
        assert!(inflight.is_full(2, 1000) && inflight.is_full(9, 100));
        assert_eq!(inflight.acknowledged(Index(2)), 0, "half an append stays");
        assert_eq!((inflight.messages(), inflight.bytes()), (2, 100));
        assert_eq!(inflight.acknowledged(Index(3)), 1);
        assert_eq!((inflight.messages(), inflight.bytes()), (1, 40));
        assert_eq!(inflight.next, Index(5));
    }

    #[test]
    fn an_acknowledgement_beyond_what_was_sent_moves_next() {
        let mut inflight = Inflight::new(Index(1));
        inflight.acknowledged(Index(7));
        assert_eq!(inflight.next, Index(8));
    }
}
