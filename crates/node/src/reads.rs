//! Linearizable reads of this node's clients, from the request until the local state may be read.
//!
//! Reads that arrive together share one confirmation by the leader (thesis §6.4, step 3 amortised).
//! A confirmation that fails or stays unanswered is asked for anew, *under a new id*: an old answer
//! must never stand for a new question. A few may be under way at once, so that a read does not
//! wait for the whole round before it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use quorate_planted::planted;
use quorate_raft::{Index, ReadError, ReadId, ReadOutcome, Time};

use crate::effects::RequestError;

/// The confirmations that may be under way at once.
const ROUNDS: usize = 4;

/// A reader and the end of its wait.
#[derive(Debug)]
struct Reader<W> {
    waiter: W,
    deadline: Time,
}

/// Readers that share a confirmation.
#[derive(Debug)]
struct Round<W> {
    readers: Vec<Reader<W>>,
    /// When it counts as lost.
    lost: Time,
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
    /// Readers in all three.
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
            count: 0,
            expiry: Time::NEVER,
        }
    }

    /// The number of reads on their way.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Queues a read.
    pub(crate) fn push(&mut self, waiter: W, deadline: Time) {
        self.count += 1;
        self.expiry = self.expiry.min(deadline);
        self.queued.push(Reader { waiter, deadline });
    }

    /// Begins a confirmation for everybody queued, if there is somebody and it is time.
    pub(crate) fn begin(&mut self, now: Time, patience: Duration) -> Option<ReadId> {
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
        self.rounds.insert(id, Round { readers, lost: now + patience });
        Some(id)
    }

    /// A confirmation ended.
    pub(crate) fn outcome(&mut self, outcome: ReadOutcome, now: Time, pause: Duration) {
        let Some(round) = self.rounds.remove(&outcome.id) else {
            return; // It counted as lost, and its readers are in another one.
        };
        self.expiry = self.expiry.min(earliest(&round.readers));
        match outcome.result {
            Ok(index) => self.confirmed.entry(index).or_default().extend(round.readers),
            Err(ReadError::LeaderChanged | ReadError::NoLeader | ReadError::Overloaded) => {
                self.queued.extend(round.readers);
                self.not_before = now + pause;
            }
        }
    }

    /// Takes out the readers whose index is at most `given`, the last entry given to the applier.
    pub(crate) fn ready(&mut self, given: Index) -> Vec<W> {
        let mut ready = Vec::new();
        while let Some(entry) = self.confirmed.first_entry() {
            if *entry.key() > given {
                break;
            }
            ready.extend(entry.remove().into_iter().map(|reader| reader.waiter));
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
        for readers in self.confirmed.values_mut() {
            end(readers, RequestError::Timeout);
        }
        self.confirmed.retain(|_, readers| !readers.is_empty());
        self.count -= failed.len() - before;
        let waiting = self.queued.iter().chain(self.confirmed.values().flatten());
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
    const PAUSE: Duration = Duration::from_nanos(10);

    fn answer(id: ReadId, result: Result<u64, ReadError>) -> ReadOutcome {
        ReadOutcome { id, result: result.map(Index) }
    }

    #[test]
    fn readers_share_a_round_and_wait_for_its_index() {
        let mut reads = Reads::new(1);
        reads.push("a", Time(1_000));
        reads.push("b", Time(1_000));
        let id = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        assert_eq!(reads.begin(Time(0), PATIENCE), None);
        reads.outcome(answer(id, Ok(5)), Time(1), PAUSE);
        assert_eq!(reads.ready(Index(4)), [""; 0]);
        assert_eq!(reads.ready(Index(5)), ["a", "b"]);
        assert_eq!((reads.len(), reads.deadline()), (0, Time::NEVER));
    }

    #[test]
    fn a_lost_round_is_asked_for_under_a_new_id_and_its_late_answer_means_nothing() {
        let mut reads = Reads::new(1);
        reads.push("a", Time(1_000));
        let first = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        let mut failed = Vec::new();
        reads.expire(Time(100), true, &mut failed);
        let second = reads.begin(Time(100), PATIENCE).expect("its reader is queued again");
        assert_ne!(first, second);
        reads.outcome(answer(first, Ok(1)), Time(101), PAUSE);
        assert_eq!(reads.ready(Index(9)), [""; 0]);
        reads.outcome(answer(second, Ok(2)), Time(101), PAUSE);
        assert_eq!(reads.ready(Index(9)), ["a"]);
        assert_eq!(failed, []);
    }

    #[test]
    fn a_failed_round_is_repeated_after_a_pause() {
        let mut reads = Reads::new(1);
        reads.push("a", Time(1_000));
        let id = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        reads.outcome(answer(id, Err(ReadError::NoLeader)), Time(1), PAUSE);
        assert_eq!(reads.begin(Time(2), PATIENCE), None);
        assert_eq!(reads.deadline(), Time(11));
        assert!(reads.begin(Time(11), PATIENCE).is_some());
    }

    #[test]
    fn a_round_outlives_its_readers_without_a_spin() {
        let mut reads = Reads::new(1);
        reads.push("a", Time(50));
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
        reads.push("confirmed", Time(50));
        let id = reads.begin(Time(0), PATIENCE).expect("somebody is queued");
        reads.outcome(answer(id, Ok(5)), Time(1), PAUSE);
        reads.push("under way", Time(60));
        assert!(reads.begin(Time(2), PATIENCE).is_some());
        reads.push("queued", Time(70));
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
}
