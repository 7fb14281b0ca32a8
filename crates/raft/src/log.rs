//! The log in memory: every entry since the last compaction.
//!
//! The log on disk is written from here and read only at the start of a process, so the algorithm
//! needs no errors and no waiting. Entries are reference-counted bytes: to send one is to copy a
//! pointer. Memory is bounded by the leader's limit on uncommitted bytes and by compaction, as long as
//! the state machine keeps up.
//!
//! ```text
//!            base            commit     durable        last
//!   ──────────┼─────────────────┼──────────┼─────────────┤
//!   in the machine (durably)      entries, (base, last]
//! ```
//!
//! Invariants:
//! - Entries are consecutive: the first is at `base.index + 1`, the last is `last()`.
//! - Terms never descend from one entry to the next, beginning with `base.term`.
//! - `durable <= last().index`. It may lie before the base for a while: the machine holds what is before
//!   the base, but a member whose machine is lost has only the log to tell it how far it was.
//! - `leader_term` is the term of the leader that wrote to this log last. The log is a prefix of
//!   that leader's log (Log Matching, Raft §5.3), so its writes never truncate one another.
//! - `in_flight` holds the writes that are not known to be durable, by ascending number. Their marks
//!   ascend as well; only those of the present `leader_term` say something about the present
//!   entries.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use quorate_planted::planted;

use crate::message::Entry;
use crate::salvage::{Found, Lost, that_fit};
use crate::types::{EntryId, Index, LogMark, Seq, Term};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    base: EntryId,
    entries: VecDeque<Entry>,
    /// The sum of the entries' costs.
    bytes: usize,
    leader_term: Term,
    durable: Index,
    in_flight: VecDeque<(Seq, LogMark)>,
}

/// A log of which all is durable, in little memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogAsleep {
    base: EntryId,
    entries: Box<[Entry]>,
    leader_term: Term,
}

impl LogAsleep {
    /// The last entry, or the one before the first.
    pub(crate) fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, |entry| entry.id)
    }
}

impl Log {
    /// A log that was found on disk: all of it is durable.
    ///
    /// # Panics
    /// If there is a gap, or terms descend: whoever recovered it has checked that.
    pub(crate) fn recovered(base: EntryId, entries: Vec<Entry>) -> Self {
        let mut log = Self {
            base,
            entries: VecDeque::with_capacity(entries.len()),
            bytes: 0,
            leader_term: base.term,
            durable: base.index,
            in_flight: VecDeque::new(),
        };
        for entry in entries {
            log.push(entry);
        }
        log.leader_term = log.last().term;
        log.durable = log.last().index;
        log
    }

    /// Nothing is written for a while: keeps no more memory than it needs.
    pub(crate) fn rest(&mut self) {
        self.entries.shrink_to_fit();
        self.in_flight.shrink_to_fit();
    }

    /// What a log remembers of which all is durable; nothing if it is not, or holds more entries than those of a
    /// group that is to take little memory.
    pub(crate) fn asleep(&self, entries_max: usize) -> Option<LogAsleep> {
        let is_done = self.durable == self.last().index && self.in_flight.is_empty();
        (is_done && self.entries.len() <= entries_max).then(|| LogAsleep {
            base: self.base,
            entries: self.entries.iter().cloned().collect(),
            leader_term: self.leader_term,
        })
    }

    /// The log that remembers this.
    pub(crate) fn woken(asleep: LogAsleep) -> Self {
        let leader_term = asleep.leader_term;
        Self { leader_term, ..Self::recovered(asleep.base, asleep.entries.into_vec()) }
    }

    /// The entry before the first one held.
    pub(crate) fn base(&self) -> EntryId {
        self.base
    }

    /// The last entry.
    pub(crate) fn last(&self) -> EntryId {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    /// The last position known to be on disk.
    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    /// The term of the leader that wrote to this log last.
    pub(crate) fn leader_term(&self) -> Term {
        self.leader_term
    }

    /// What the entries cost, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the entries after this position cost, in bytes.
    pub(crate) fn bytes_after(&self, after: Index) -> usize {
        let skipped = usize::try_from(after.0.saturating_sub(self.base.index.0));
        self.entries.iter().skip(skipped.unwrap_or(usize::MAX)).map(Entry::cost).sum()
    }

    /// The term of the entry at this position, if the log still or already holds it. Known for the
    /// base too.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.id.term)
    }

    /// Whether this entry is in the log, or is its base.
    pub(crate) fn contains(&self, id: EntryId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// The entry at this position.
    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        let position = index.0.checked_sub(self.base.index.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(position).ok()?)
    }

    /// The entries in `(after, last]`.
    ///
    /// # Panics
    /// If the log does not hold them all.
    pub(crate) fn span(&self, after: Index, last: Index) -> impl Iterator<Item = &Entry> {
        assert!(
            self.base.index <= after && after <= last && last <= self.last().index,
            "({after}, {last}] is not in a log from {} to {}",
            self.base,
            self.last()
        );
        self.entries.range(self.offset(after)..self.offset(last))
    }

    /// What the log knows of entries that another member lost, without a word.
    pub(crate) fn find(&self, asked: Lost, bytes_max: usize) -> Found {
        let start = asked.first.max(self.base.index.next());
        // Names of one term lie together.
        let held = self.may_match(asked.last).filter(|id| {
            let starts = self.term_at(start) == Some(asked.last.term);
            starts && start <= id.index && id.term == asked.last.term
        });
        let before = Index(start.0 - 1);
        let held_to = held.map_or(before, |id| id.index);
        let entries = match held {
            Some(_) => that_fit(self.span(before, held_to), bytes_max),
            None => Vec::new(),
        };
        Found { base: self.base, held_to, commit: Index(0), entries, word: None }
    }

    /// As many entries after this position as cost at most `bytes_max`, yet one at least if there
    /// is any.
    pub(crate) fn batch_after(&self, after: Index, bytes_max: usize) -> (Vec<Entry>, usize) {
        let mut bytes = 0_usize;
        let mut batch = Vec::new();
        for entry in self.span(after, self.last().index) {
            let cost = entry.cost();
            if !batch.is_empty() && bytes + cost > bytes_max {
                break;
            }
            bytes += cost;
            batch.push(entry.clone());
        }
        (batch, bytes)
    }

    /// The largest entry at or before `id.index` and of a term not above `id.term`: where a log
    /// that ends with `id` may still agree with this one. Terms never descend along a log, so all
    /// entries between cannot match, and a whole term is skipped at once (Raft §5.3, end). `None`
    /// if it would lie before the base.
    pub(crate) fn may_match(&self, id: EntryId) -> Option<EntryId> {
        if id.index < self.base.index || id.term < self.base.term {
            return None;
        }
        let by_term = self.entries.partition_point(|entry| entry.id.term <= id.term);
        let by_index = self.offset(id.index.min(self.last().index));
        let found = by_term.min(by_index);
        Some(found.checked_sub(1).map_or(self.base, |position| self.entries[position].id))
    }

    /// Appends what this member itself created as the leader of `term`.
    pub(crate) fn append_own(&mut self, term: Term, entries: &[Entry], seq: Seq) {
        assert!(
            self.leader_term <= term,
            "the leader of {term} found a log written in {}",
            self.leader_term
        );
        for entry in entries {
            self.push(entry.clone());
        }
        self.wrote(term, seq);
    }

    /// Appends what the leader of `leader_term` sent, after dropping every entry from the position
    /// of the first one on. Returns the position up to which entries were dropped, if any were.
    ///
    /// The caller has checked that the first entry is not in the log yet, that its predecessor is,
    /// and that nothing committed is dropped.
    pub(crate) fn replace_from(
        &mut self,
        leader_term: Term,
        entries: &[Entry],
        seq: Seq,
    ) -> Option<Index> {
        let first = entries.first().expect("there is an entry to append");
        let before = first.id.index.previous().expect("entries begin at 1");
        let old_last = self.last().index;
        let dropped = before < old_last;
        if dropped {
            assert!(
                self.leader_term < leader_term,
                "the leader of {leader_term} would replace at {} what it wrote itself",
                first.id.index
            );
            assert!(self.base.index <= before, "compacted entries can't be replaced");
            for entry in self.entries.drain(self.offset(before)..) {
                self.bytes -= entry.cost();
            }
            self.durable = self.durable.min(before);
        }
        for entry in entries {
            self.push(entry.clone());
        }
        self.wrote(leader_term, seq);
        dropped.then_some(old_last)
    }

    /// As [`Log::replace_from`], but with what somebody else has of the log of the leader of `leader_term`, which may
    /// be an earlier one than wrote here last.
    ///
    /// What is in flight speaks of the log as it was, and is not told apart from this by its leader's term.
    /// This write comes after all of them, so what they would have said is known when it is durable.
    pub(crate) fn adopt(
        &mut self,
        leader_term: Term,
        entries: &[Entry],
        seq: Seq,
    ) -> Option<Index> {
        self.in_flight.clear();
        self.leader_term = Term(0);
        self.replace_from(leader_term, entries, seq)
    }

    /// Drops the entries up to and including this position, which becomes the base. The machine
    /// holds them durably; after the installation of a snapshot their own write may still be under
    /// way.
    pub(crate) fn compact(&mut self, through: Index) -> EntryId {
        let base = EntryId {
            term: self.term_at(through).expect("only what is in the log is compacted"),
            index: through,
        };
        assert!(!planted!(CompactionNeedsWrite) || through <= self.durable, "compacted too early");
        for entry in self.entries.drain(..self.offset(through)) {
            self.bytes -= entry.cost();
        }
        self.base = base;
        base
    }

    /// The last position up to `through` at which the log can be cut and still hold `bytes_min`.
    pub(crate) fn cut(&self, through: Index, bytes_min: usize) -> Index {
        let mut left = self.bytes;
        let mut at = self.base.index;
        for entry in self.entries.iter().take_while(|entry| entry.id.index <= through) {
            left -= entry.cost();
            if left < bytes_min {
                break;
            }
            at = entry.id.index;
        }
        at
    }

    /// Replaces the log by a snapshot that ends with `last`, on behalf of the leader of
    /// `leader_term`. The machine has the snapshot durably; that this log follows it is durable when this
    /// write is.
    pub(crate) fn reset(&mut self, last: EntryId, leader_term: Term, seq: Seq) {
        self.entries.clear();
        self.bytes = 0;
        self.in_flight.clear();
        self.base = last;
        self.durable = if planted!(SnapshotCalledDurable) { last.index } else { Index(0) };
        self.wrote(leader_term.max(self.leader_term), seq);
    }

    /// Every write up to and including this number is durable. Returns whether that says something
    /// new about the present entries.
    pub(crate) fn written(&mut self, seq: Seq) -> bool {
        let before = self.durable;
        while let Some((number, mark)) = self.in_flight.front() {
            if *number > seq {
                break;
            }
            // A mark of an older leader speaks of entries that may since have been replaced. It is
            // no loss: the write that made it older is in flight too, and covers them.
            if mark.leader_term == self.leader_term || planted!(MarkOfOlderLeaderCounts) {
                self.durable = self.durable.max(mark.index);
            }
            self.in_flight.pop_front();
        }
        assert!(self.durable <= self.last().index, "more is durable than was written");
        before < self.durable
    }

    fn wrote(&mut self, leader_term: Term, seq: Seq) {
        self.leader_term = leader_term;
        let mark = LogMark { leader_term, index: self.last().index };
        assert!(
            self.in_flight.back().is_none_or(|(number, old)| *number < seq && *old <= mark),
            "the mark {mark:?} of write {seq} is below the one before"
        );
        self.in_flight.push_back((seq, mark));
    }

    fn push(&mut self, entry: Entry) {
        let last = self.last();
        assert!(
            entry.id.index == last.index.next() && entry.id.term >= last.term,
            "{} does not follow {last}",
            entry.id
        );
        self.bytes += entry.cost();
        self.entries.push_back(entry);
    }

    /// Where the entry *after* this position is in `entries`.
    fn offset(&self, index: Index) -> usize {
        usize::try_from(index.0 - self.base.index.0).expect("what is in memory can be counted")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::vec;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;
    use crate::message::Payload;

    /// A log that is nothing but a list, and a disk that holds a copy of it for each write.
    struct Model {
        log: Log,
        base: EntryId,
        entries: Vec<Entry>,
        /// The snapshot that replaced the log last, and what was compacted since then.
        began: EntryId,
        compacted: Vec<Entry>,
        leader_term: Term,
        seq: Seq,
        /// What the disk would hold after each write that is not durable.
        writes: Vec<(Seq, EntryId, Vec<Entry>)>,
        disk: (EntryId, Vec<Entry>),
    }

    impl Model {
        fn new() -> Self {
            Self {
                log: Log::recovered(EntryId::ZERO, Vec::new()),
                base: EntryId::ZERO,
                entries: Vec::new(),
                began: EntryId::ZERO,
                compacted: Vec::new(),
                leader_term: Term(0),
                seq: Seq(0),
                writes: Vec::new(),
                disk: (EntryId::ZERO, Vec::new()),
            }
        }

        fn last(&self) -> EntryId {
            self.entries.last().map_or(self.base, |entry| entry.id)
        }

        fn made(&self, after: EntryId, term: Term, count: usize) -> Vec<Entry> {
            (1..=count as u64)
                .map(|n| Entry {
                    id: EntryId { term, index: Index(after.index.0 + n) },
                    payload: Payload::Command(bytes::Bytes::from(vec![0; n as usize])),
                })
                .collect()
        }

        fn wrote(&mut self) {
            self.writes.push((self.seq, self.base, self.entries.clone()));
        }

        fn act(&mut self, kind: u8, size: u8) {
            let size = usize::from(size);
            match kind % 7 {
                // A leader's own entries, of its term or of a new one.
                0 => {
                    let term = Term(self.leader_term.0.max(1) + (size % 2) as u64);
                    let entries = self.made(self.last(), term, 1 + size % 3);
                    self.seq = self.seq.next();
                    self.log.append_own(term, &entries, self.seq);
                    self.entries.extend(entries);
                    self.leader_term = term;
                    self.wrote();
                }
                // A later leader's entries, from anywhere after the base on. Where they only go on, they may be older
                // than their leader.
                1 | 2 => {
                    let keep = size % (self.entries.len() + 1);
                    let term = self.leader_term.next();
                    let is_old = keep == self.entries.len() && kind < 128;
                    let made_in = if is_old { self.last().term.max(Term(1)) } else { term };
                    self.replace(keep, made_in, 1 + size % 4, term, Log::replace_from);
                }
                // Some of the writes become durable.
                3 => {
                    let count = (1 + size % 4).min(self.writes.len());
                    if let Some((seq, base, entries)) = self.writes.drain(..count).next_back() {
                        self.disk = (base, entries);
                        self.log.written(seq);
                    }
                }
                4 => {
                    let count = size % (self.entries.len() + 1);
                    if count > 0 {
                        self.compacted.extend(self.entries.drain(..count));
                        self.base = self.compacted.last().unwrap().id;
                        assert_eq!(self.log.compact(self.base.index), self.base);
                        self.seq = self.seq.next();
                        self.wrote();
                    }
                }
                // What a witness has of some leader's log. It is more up to date than this one, and that leader may
                // be an earlier one than wrote here last.
                5 => {
                    let of_last = self.last().term.max(Term(1));
                    let term = Term(of_last.0 + (size % 3) as u64);
                    let is_more_of_it = term == of_last || term == self.leader_term;
                    let kept_max = self.entries.len();
                    let keep = if is_more_of_it { kept_max } else { size / 3 % (kept_max + 1) };
                    self.replace(keep, term, 1 + size % 4, term, Log::adopt);
                }
                _ if size % 8 == 0 => {
                    let index = Index(self.last().index.0 + 3);
                    self.base = EntryId { term: self.leader_term.next(), index };
                    self.leader_term = self.base.term;
                    self.began = self.base;
                    self.compacted.clear();
                    self.entries.clear();
                    self.seq = self.seq.next();
                    self.log.reset(self.base, self.leader_term, self.seq);
                    self.wrote();
                }
                _ => {}
            }
        }

        /// Keeps some entries, and has the others replaced.
        fn replace(
            &mut self,
            keep: usize,
            made_in: Term,
            count: usize,
            leader_term: Term,
            how: fn(&mut Log, Term, &[Entry], Seq) -> Option<Index>,
        ) {
            let before = self.entries[..keep].last().map_or(self.base, |entry| entry.id);
            let entries = self.made(before, made_in, count);
            self.seq = self.seq.next();
            let last = self.last().index;
            let dropped = how(&mut self.log, leader_term, &entries, self.seq);
            assert_eq!(dropped, (keep < self.entries.len()).then_some(last));
            self.entries.truncate(keep);
            self.entries.extend(entries);
            self.leader_term = leader_term;
            self.wrote();
        }

        /// Up to where the disk agrees with the log.
        fn truly_durable(&self) -> Index {
            let (disk_base, disk) = &self.disk;
            if *disk_base < self.began {
                // It does not follow the snapshot yet that replaced it.
                return Index(0);
            }
            let mut durable = self.began.index;
            for entry in self.compacted.iter().chain(&self.entries) {
                let is_on_disk = disk.contains(entry)
                    || entry.id.index < disk_base.index
                    || entry.id == *disk_base;
                if !is_on_disk {
                    break;
                }
                durable = entry.id.index;
            }
            durable
        }

        fn check(&self) {
            assert_eq!(self.log.base(), self.base);
            assert_eq!(self.log.last(), self.last());
            assert_eq!(self.log.leader_term(), self.leader_term);
            let span = self.log.span(self.base.index, self.last().index).cloned();
            assert_eq!(span.collect::<Vec<_>>(), self.entries);
            let bytes: usize = self.entries.iter().map(Entry::cost).sum();
            assert_eq!(self.log.bytes(), bytes);
            assert!(self.log.durable() <= self.truly_durable(), "too much is called durable");
            if self.writes.is_empty() {
                assert_eq!(self.log.durable(), self.last().index, "all is durable in the end");
            }
            for index in 0..self.last().index.0 + 3 {
                let index = Index(index);
                let entry = self.entries.iter().find(|entry| entry.id.index == index);
                assert_eq!(self.log.get(index), entry);
                let base = (index == self.base.index).then_some(self.base.term);
                assert_eq!(self.log.term_at(index), entry.map(|entry| entry.id.term).or(base));
                if index >= self.base.index {
                    let after = self.entries.iter().filter(|entry| entry.id.index > index);
                    assert_eq!(self.log.bytes_after(index), after.map(Entry::cost).sum());
                }
                for term in 0..=self.leader_term.0 + 1 {
                    self.check_may_match(EntryId { term: Term(term), index });
                }
            }
        }

        fn check_may_match(&self, id: EntryId) {
            let fits = |own: EntryId| own.index <= id.index && own.term <= id.term;
            let newest = self.entries.iter().map(|entry| entry.id).rfind(|own| fits(*own));
            let expected = newest.or(fits(self.base).then_some(self.base));
            assert_eq!(self.log.may_match(id), expected, "what may match {id}");
        }
    }

    proptest! {
        #[test]
        fn a_log_is_a_list_and_a_disk(actions in vec_of(any::<(u8, u8)>(), 1..40)) {
            let mut model = Model::new();
            for (kind, size) in actions {
                model.act(kind, size);
                model.check();
            }
        }
    }

    #[test]
    fn a_batch_holds_one_entry_at_least_and_no_more_bytes_than_asked_for() {
        let mut log = Log::recovered(EntryId::ZERO, Vec::new());
        let model = Model::new();
        let entries = model.made(EntryId::ZERO, Term(1), 4);
        log.append_own(Term(1), &entries, Seq(1));
        let ids = |after, bytes| {
            let (batch, cost) = log.batch_after(Index(after), bytes);
            assert_eq!(cost, batch.iter().map(Entry::cost).sum::<usize>());
            batch.iter().map(|entry| entry.id.index.0).collect::<Vec<_>>()
        };
        // They cost 33, 34, 35 and 36 bytes.
        assert_eq!(ids(0, 1), [1]);
        assert_eq!(ids(0, 66), [1]);
        assert_eq!(ids(0, 67), [1, 2]);
        assert_eq!(ids(2, 1000), [3, 4]);
        assert_eq!(ids(4, 1000), [0_u64; 0]);
    }

    #[test]
    fn news_of_a_replaced_write_proves_nothing() {
        let model = Model::new();
        let mut log = Log::recovered(EntryId::ZERO, Vec::new());
        log.append_own(Term(1), &model.made(EntryId::ZERO, Term(1), 3), Seq(1));
        log.replace_from(Term(2), &model.made(EntryId::new(1, 1), Term(2), 1), Seq(2));
        assert!(!log.written(Seq(1)), "1@1 is durable, and 2@1 was replaced by 2@2");
        assert_eq!(log.durable(), Index(0));
        assert!(log.written(Seq(2)));
        assert_eq!(log.durable(), Index(2));
    }
}
