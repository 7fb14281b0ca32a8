//! Reads of this node's clients, from the request until the local state may be read.
//!
//! Reads that arrive together share one confirmation by the leader (thesis §6.4, step 3 amortised).
//! A confirmation that fails or stays unanswered is asked for anew, *under a new id*: an old answer
//! must never stand for a new question. A few may be under way at once, so that a read does not
//! wait for the whole round before it.
//!
//! # Reads that may be stale
//! A confirmation proves something for ever: *a state with its index contains everything that was acknowledged
//! anywhere before the confirmation was asked for*. When that was, this member's own clock tells, and no other is
//! asked or trusted. So once the index is given to the applier, whatever is read here after that is at most as stale
//! as that moment is past. A read with a bound ([`Freshness::AtMost`]) is answered at once if the newest such proof
//! is within it; waits for a confirmation that is under way, if that will do; and is queued like any other if not. So
//! a member is asked by its clients as often as they like, and asks its leader once in the time that they allow.
//! Nothing is asked where nobody reads. A read of at least a position ([`Freshness::AtLeast`]) waits for that alone.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use quorate_planted::planted;
use quorate_raft::{Index, ReadError, ReadId, ReadOutcome, Time};

use crate::effects::{Freshness, RequestError};

/// The confirmations that may be under way at once.
const ROUNDS: usize = 4;

/// A reader and the end of its wait.
#[derive(Debug)]
struct Reader<W> {
    waiter: W,
    deadline: Time,
    /// When it asked.
    asked: Time,
    /// For what.
    freshness: Freshness,
}

impl<W> Reader<W> {
    /// Whether a state will do that contains what was acknowledged before this moment.
    fn is_content_with(&self, as_of: Time) -> bool {
        match self.freshness {
            Freshness::AtMost(bound) => self.asked.since(as_of) <= bound,
            Freshness::Linearizable | Freshness::AtLeast(_) => false,
        }
    }
}

/// The proofs that may wait for the local log. More are worth little: the first is reached first.
const PROOFS: usize = 64;

/// Readers that share a confirmation.
#[derive(Debug)]
struct Round<W> {
    readers: Vec<Reader<W>>,
    /// When it was asked for.
    began: Time,
    /// When it counts as lost.
    lost: Time,
}

/// What is remembered while no read is on its way: see [`Reads`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadsAsleep {
    counter: u64,
    not_before: Time,
    proven: Option<Time>,
}

/// All reads on their way.
#[derive(Debug)]
pub(crate) struct Reads<W> {
    /// This process; part of every id.
    incarnation: u64,
    /// The number of the last id.
    counter: u64,
    /// Readers without a confirmation under way.
    queued: Vec<Reader<W>>,
    /// When to ask next, after a failure.
    not_before: Time,
    /// Confirmations under way.
    rounds: BTreeMap<ReadId, Round<W>>,
    /// Readers that wait for the local log to commit up to an index.
    confirmed: BTreeMap<Index, Vec<Reader<W>>>,
    /// Readers that may be stale, and wait for a proof that is under way.
    content: Vec<Reader<W>>,
    /// For each index, as of when a state with it contains everything; of those that the local log has not
    /// reached.
    proofs: BTreeMap<Index, Time>,
    /// As of when the local state contains everything that was acknowledged anywhere.
    proven: Option<Time>,
    /// Readers in all four.
    count: usize,
    /// No wait is over before this, but for readers in a round, which are looked at when it ends. A
    /// reader that is answered does not move it, so it may be too early; it is set right when it
    /// comes.
    expiry: Time,
}

impl<W> Reads<W> {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            counter: 0,
            queued: Vec::new(),
            not_before: Time(0),
            rounds: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            content: Vec::new(),
            proofs: BTreeMap::new(),
            proven: None,
            count: 0,
            expiry: Time::NEVER,
        }
    }

    /// What is to be remembered if no read is on its way.
    pub(crate) fn asleep(&self) -> Option<ReadsAsleep> {
        let Self { counter, not_before, proven, .. } = *self;
        let is_idle = self.count == 0 && self.rounds.is_empty() && self.proofs.is_empty();
        is_idle.then_some(ReadsAsleep { counter, not_before, proven })
    }

    /// The one that remembers this.
    pub(crate) fn woken(incarnation: u64, asleep: ReadsAsleep) -> Self {
        let ReadsAsleep { counter, not_before, proven } = asleep;
        Self { counter, not_before, proven, ..Self::new(incarnation) }
    }

    /// The number of reads on their way.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Queues a read.
    pub(crate) fn push(&mut self, waiter: W, freshness: Freshness, asked: Time, deadline: Time) {
        self.count += 1;
        self.expiry = self.expiry.min(deadline);
        let reader = Reader { waiter, deadline, asked, freshness };
        match freshness {
            Freshness::Linearizable => self.queued.push(reader),
            Freshness::AtMost(_) => self.content.push(reader),
            Freshness::AtLeast(index) => self.confirmed.entry(index).or_default().push(reader),
        }
    }

    /// Queues those who might be content with less, and for whom nothing is known or under way that would do.
    fn queue_discontent(&mut self) {
        let known = self.proven.iter().chain(self.proofs.values()).copied();
        let known: Vec<Time> = known.chain(self.rounds.values().map(|round| round.began)).collect();
        let is_discontent =
            |reader: &mut Reader<W>| !known.iter().any(|as_of| reader.is_content_with(*as_of));
        self.queued.extend(self.content.extract_if(.., is_discontent));
    }

    /// Begins a confirmation for everybody queued, if there is somebody and it is time.
    pub(crate) fn begin(&mut self, now: Time, patience: Duration) -> Option<ReadId> {
        if !self.content.is_empty() {
            self.queue_discontent();
        }
        if self.queued.is_empty() || now < self.not_before || self.rounds.len() >= ROUNDS {
            return None;
        }
        let is_used = |counter| self.rounds.keys().any(|id| id.counter == counter);
        if !planted!(ReadIdReused) || is_used(self.counter) {
            self.counter += 1;
        }
        let incarnation = if planted!(ReadIdOfAnotherProcess) { 0 } else { self.incarnation };
        let id = ReadId { incarnation, counter: self.counter };
        let readers = core::mem::take(&mut self.queued);
        self.rounds.insert(id, Round { readers, began: now, lost: now + patience });
        Some(id)
    }

    /// A confirmation ended.
    pub(crate) fn outcome(&mut self, outcome: ReadOutcome, now: Time, pause: Duration) {
        let Some(round) = self.rounds.remove(&outcome.id) else {
            return; // It counted as lost, and its readers are in another one.
        };
        self.expiry = self.expiry.min(earliest(&round.readers));
        match outcome.result {
            Ok(index) => {
                let as_of = if planted!(StaleSinceTheAnswer) { now } else { round.began };
                self.prove(index, as_of);
                self.confirmed.entry(index).or_default().extend(round.readers);
            }
            Err(ReadError::LeaderChanged | ReadError::NoLeader | ReadError::Overloaded) => {
                self.queued.extend(round.readers);
                self.not_before = now + pause;
            }
        }
    }

    /// A state with this index contains what was acknowledged before this moment.
    fn prove(&mut self, index: Index, as_of: Time) {
        if self.proofs.len() >= PROOFS && !self.proofs.contains_key(&index) {
            self.proofs.pop_last();
        }
        let known = self.proofs.entry(index).or_insert(as_of);
        *known = as_of.max(*known);
    }

    /// Takes out the readers who may read when what was given to the applier up to `given` is applied, each with
    /// how much older than its request the state is at most, if that is known.
    pub(crate) fn ready(&mut self, given: Index) -> Vec<(W, Option<Duration>)> {
        while let Some(proof) = self.proofs.first_entry() {
            if *proof.key() > given && !planted!(ProofBeforeItsIndex) {
                break;
            }
            self.proven = self.proven.max(Some(proof.remove()));
        }
        let proven = self.proven;
        let mut ready = Vec::new();
        if let Some(as_of) = proven {
            let content = self.content.extract_if(.., |reader| reader.is_content_with(as_of));
            ready.extend(content.map(|reader| (reader.waiter, Some(reader.asked.since(as_of)))));
        }
        while let Some(entry) = self.confirmed.first_entry() {
            if *entry.key() > given {
                break;
            }
            ready.extend(entry.remove().into_iter().map(|reader| {
                let staleness = match reader.freshness {
                    // Its confirmation was asked for after it.
                    Freshness::Linearizable | Freshness::AtMost(_) => Some(Duration::ZERO),
                    Freshness::AtLeast(_) => proven.map(|as_of| reader.asked.since(as_of)),
                };
                (reader.waiter, staleness)
            }));
        }
        self.count -= ready.len();
        ready
    }

    /// Queues the readers of lost confirmations again, and ends the waits that are over.
    pub(crate) fn expire(
        &mut self,
        now: Time,
        leader_known: bool,
        failed: &mut Vec<(W, RequestError)>,
    ) {
        let lost: Vec<ReadId> =
            self.rounds.iter().filter(|(_, r)| r.lost <= now).map(|(&id, _)| id).collect();
        for id in lost {
            let round = self.rounds.remove(&id).expect("it was found just now");
            self.expiry = self.expiry.min(earliest(&round.readers));
            self.queued.extend(round.readers);
        }
        if now < self.expiry {
            return;
        }
        let before = failed.len();
        let error = if leader_known { RequestError::Timeout } else { RequestError::NoLeader };
        let mut end = |readers: &mut Vec<Reader<W>>, error| {
            let over = readers.extract_if(.., |reader| reader.deadline <= now);
            failed.extend(over.map(|reader| (reader.waiter, error)));
        };
        end(&mut self.queued, error);
        end(&mut self.content, error);
        for readers in self.confirmed.values_mut() {
            end(readers, RequestError::Timeout);
        }
        self.confirmed.retain(|_, readers| !readers.is_empty());
        self.count -= failed.len() - before;
        let waiting = self.queued.iter().chain(&self.content);
        let waiting = waiting.chain(self.confirmed.values().flatten());
        self.expiry = earliest(waiting);
    }

    /// The next moment at which [`Reads::begin`] or [`Reads::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Time {
        if self.count == 0 {
            return Time::NEVER;
        }
        let begin =
            (!self.queued.is_empty() && self.rounds.len() < ROUNDS).then_some(self.not_before);
        let lost = self.rounds.values().map(|round| round.lost).min();
        [begin, lost].into_iter().flatten().fold(self.expiry, Time::min)
    }
}

/// When the first of these waits is over.
fn earliest<'a, W: 'a>(readers: impl IntoIterator<Item = &'a Reader<W>>) -> Time {
    readers.into_iter().map(|reader| reader.deadline).min().unwrap_or(Time::NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_nanos(100);
    const NOBODY: [(&str, Option<Duration>); 0] = [];
    const FRESH: Option<Duration> = Some(Duration::ZERO);
    const PAUSE: Duration = Duration::from_nanos(10);

    fn answer(id: ReadId, result: Result<u64, ReadError>) -> ReadOutcome {
        ReadOutcome { id, result: result.map(Index) }
    }

    #[test]
    fn readers_share_a_round_and_wait_for_its_index() {
        let mut reads = Reads::new(1);
        reads.push("a", Freshness::Linearizable, Time(0), Time(1_000));
        reads.push("b", Freshness::Linearizable, Time(0), Time(1_000));
        let id = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        assert_eq!(reads.begin(Time(0), PATIENCE), None);
        reads.outcome(answer(id, Ok(5)), Time(1), PAUSE);
        assert_eq!(reads.ready(Index(4)), NOBODY);
        assert_eq!(reads.ready(Index(5)), [("a", FRESH), ("b", FRESH)]);
        assert_eq!((reads.len(), reads.deadline()), (0, Time::NEVER));
    }

    #[test]
    fn a_lost_round_is_asked_for_under_a_new_id_and_its_late_answer_means_nothing() {
        let mut reads = Reads::new(1);
        reads.push("a", Freshness::Linearizable, Time(0), Time(1_000));
        let first = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        let mut failed = Vec::new();
        reads.expire(Time(100), true, &mut failed);
        let second = reads.begin(Time(100), PATIENCE).expect("its reader is queued again");
        assert_ne!(first, second);
        reads.outcome(answer(first, Ok(1)), Time(101), PAUSE);
        assert_eq!(reads.ready(Index(9)), NOBODY);
        reads.outcome(answer(second, Ok(2)), Time(101), PAUSE);
        assert_eq!(reads.ready(Index(9)), [("a", FRESH)]);
        assert_eq!(failed, []);
    }

    #[test]
    fn a_failed_round_is_repeated_after_a_pause() {
        let mut reads = Reads::new(1);
        reads.push("a", Freshness::Linearizable, Time(0), Time(1_000));
        let id = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        reads.outcome(answer(id, Err(ReadError::NoLeader)), Time(1), PAUSE);
        assert_eq!(reads.begin(Time(2), PATIENCE), None);
        assert_eq!(reads.deadline(), Time(11));
        assert!(reads.begin(Time(11), PATIENCE).is_some());
    }

    #[test]
    fn a_round_outlives_its_readers_without_a_spin() {
        let mut reads = Reads::new(1);
        reads.push("a", Freshness::Linearizable, Time(0), Time(50));
        assert!(reads.begin(Time(0), PATIENCE).is_some());
        let mut failed = Vec::new();
        reads.expire(Time(60), true, &mut failed);
        assert_eq!((failed.len(), reads.deadline()), (0, Time(100)));
        reads.expire(Time(100), true, &mut failed);
        assert_eq!((failed.len(), reads.deadline()), (1, Time::NEVER));
    }

    #[test]
    fn every_wait_ends() {
        let mut reads = Reads::new(1);
        reads.push("confirmed", Freshness::Linearizable, Time(0), Time(50));
        let id = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        reads.outcome(answer(id, Ok(5)), Time(1), PAUSE);
        reads.push("under way", Freshness::Linearizable, Time(0), Time(60));
        assert!(reads.begin(Time(2), PATIENCE).is_some());
        reads.push("queued", Freshness::Linearizable, Time(0), Time(70));
        let mut failed = Vec::new();
        reads.expire(Time(1_000), false, &mut failed);
        failed.sort_unstable_by_key(|(name, _)| *name);
        let expected = [
            ("confirmed", RequestError::Timeout),
            ("queued", RequestError::NoLeader),
            ("under way", RequestError::NoLeader),
        ];
        assert_eq!(failed, expected);
        assert_eq!(reads.len(), 0);
    }

    fn at_most(nanos: u64) -> Freshness {
        Freshness::AtMost(Duration::from_nanos(nanos))
    }

    #[test]
    fn who_may_be_stale_is_answered_by_what_was_proven_and_told_how_stale() {
        let mut reads = Reads::new(1);
        reads.push("first", at_most(50), Time(10), Time(1_000));
        let id = reads.begin(Time(10), PATIENCE).expect("nothing is known yet");
        reads.outcome(answer(id, Ok(5)), Time(30), PAUSE);
        assert_eq!(reads.ready(Index(4)), NOBODY, "the index is not there");
        reads.push("waits", at_most(50), Time(40), Time(1_000));
        assert_eq!(reads.begin(Time(40), PATIENCE), None, "the proof will be there with the index");
        let stale = Some(Duration::from_nanos(30));
        assert_eq!(reads.ready(Index(5)), [("waits", stale), ("first", FRESH)]);

        reads.push("local", at_most(50), Time(60), Time(1_000));
        reads.push("strict", Freshness::Linearizable, Time(60), Time(1_000));
        let id = reads.begin(Time(60), PATIENCE).expect("one of them is linearizable");
        assert_eq!(reads.ready(Index(5)), [("local", Some(Duration::from_nanos(50)))]);
        reads.push("joins", at_most(10), Time(70), Time(1_000));
        assert_eq!(reads.begin(Time(70), PATIENCE), None, "what is under way will do");
        reads.push("too late", at_most(9), Time(70), Time(1_000));
        let own = reads.begin(Time(70), PATIENCE).expect("it won't do for this one");
        reads.outcome(answer(id, Ok(5)), Time(80), PAUSE);
        let joined = ("joins", Some(Duration::from_nanos(10)));
        assert_eq!(reads.ready(Index(5)), [joined, ("strict", FRESH)]);
        reads.outcome(answer(own, Ok(5)), Time(81), PAUSE);
        assert_eq!(reads.ready(Index(5)), [("too late", FRESH)]);
        assert_eq!((reads.len(), reads.deadline()), (0, Time::NEVER));
    }

    #[test]
    fn who_joined_what_failed_asks_itself_and_no_wait_is_without_end() {
        let mut reads = Reads::new(1);
        reads.push("strict", Freshness::Linearizable, Time(0), Time(1_000));
        let id = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        reads.push("joins", at_most(50), Time(10), Time(30));
        assert_eq!(reads.begin(Time(10), PATIENCE), None);
        assert_eq!(reads.deadline(), Time(30));
        reads.outcome(answer(id, Err(ReadError::NoLeader)), Time(11), PAUSE);
        assert!(reads.begin(Time(21), PATIENCE).is_some());
        reads.push("in vain", at_most(0), Time(22), Time(30));
        let mut failed = Vec::new();
        reads.expire(Time(30), false, &mut failed);
        assert_eq!(failed, [("in vain", RequestError::NoLeader)]);
        assert_eq!(reads.len(), 2);
    }

    #[test]
    fn who_wants_a_position_waits_for_it_and_for_nothing_else() {
        let mut reads = Reads::new(1);
        let at_least = |index| Freshness::AtLeast(Index(index));
        reads.push("there", at_least(3), Time(0), Time(1_000));
        reads.push("to come", at_least(7), Time(0), Time(1_000));
        assert_eq!(reads.begin(Time(0), PATIENCE), None);
        assert_eq!(reads.ready(Index(3)), [("there", None)], "nothing is known of its age");
        assert_eq!(reads.ready(Index(6)), NOBODY);
        assert_eq!(reads.ready(Index(8)), [("to come", None)]);
        reads.push("never", at_least(u64::MAX), Time(0), Time(50));
        let mut failed = Vec::new();
        reads.expire(Time(50), true, &mut failed);
        assert_eq!(failed, [("never", RequestError::Timeout)]);
    }

    #[test]
    fn proofs_that_wait_are_few() {
        let mut reads: Reads<()> = Reads::new(1);
        for index in 1..=1_000 {
            reads.prove(Index(index), Time(index));
        }
        assert_eq!(reads.proofs.len(), PROOFS);
        assert!(reads.ready(Index(2_000)).is_empty());
        assert_eq!(reads.proven, Some(Time(1_000)));
    }
}
