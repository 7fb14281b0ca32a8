//! The commands that clients of this node wait for, from the request to the committed entry.
//!
//! A command is *queued* until a leader is known, and *sent* once it was given to the leader of a
//! term (this node itself or another). From there it ends in one of these ways:
//!
//! - Its entry is committed: the waiter goes with it to the applier.
//! - An entry of a *later term* is committed first. Terms never descend along a log, and this node
//!   has seen every entry before that one, so the command is in none of them and can't come after:
//!   whatever happened to it, it never takes effect. It is queued again, for the leader of now. A
//!   client sees a pause and no error, and nothing is done twice.
//! - Whoever led that term gives it back: it held it, as one does while the lead is handed over, and lost the lead
//!   before it proposed it. Nobody else may propose it in that term, so it never takes effect either, and is queued for
//!   the leader of a later one.
//! - A snapshot takes this node past entries that it never saw. The command may be among them:
//!   nobody can tell, and the client is told so.
//! - The leader refuses it, or its time is up.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::{Term, Time};

use crate::effects::RequestError;

/// A command on its way.
#[derive(Debug)]
struct Waiting<W> {
    /// Who waits.
    waiter: W,
    /// When the wait ends.
    deadline: Time,
    /// The command, kept for another try.
    command: Bytes,
    /// To the leader of which term it was given, if it was; and when it is given to it once more.
    sent: Option<(Term, Time)>,
    /// The last term whose leader gave it back.
    returned: Term,
}

/// All commands on their way, by number. Numbers ascend, and so do the deadlines.
#[derive(Debug)]
pub(crate) struct Waiters<W> {
    /// The next number.
    next: u64,
    /// The commands that have not ended.
    waiting: BTreeMap<u64, Waiting<W>>,
    /// Their bytes.
    bytes: usize,
    /// The numbers of those that are queued.
    queued: BTreeSet<u64>,
    /// When to look for sent commands that their leader should be given again; may be early.
    resend: Time,
}

impl<W> Waiters<W> {
    pub(crate) fn new() -> Self {
        Self::beginning_with(1)
    }

    /// The number of the next command.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Nobody waits, and the next command has this number.
    pub(crate) fn beginning_with(next: u64) -> Self {
        Self {
            next,
            waiting: BTreeMap::new(),
            bytes: 0,
            queued: BTreeSet::new(),
            resend: Time::NEVER,
        }
    }

    /// The number of commands on their way.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any command waits to be given to a leader.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Queues a command.
    pub(crate) fn push(&mut self, command: Bytes, waiter: W, deadline: Time) {
        let number = self.next;
        self.next += 1;
        self.bytes += command.len();
        self.queued.insert(number);
        self.waiting
            .insert(number, Waiting { waiter, deadline, command, sent: None, returned: Term(0) });
    }

    /// The next moment at which [`Waiters::expire`] has something to do.
    pub(crate) fn expiry(&self) -> Time {
        self.waiting.first_key_value().map_or(Time::NEVER, |(_, w)| w.deadline)
    }

    /// The next moment at which [`Waiters::take_queued`] has something to give to the same leader
    /// again. Lies in the past for as long as no other member is known to lead.
    pub(crate) fn resend(&self) -> Time {
        self.resend
    }

    /// Marks every queued command as sent to the leader of `term` and returns them, ascending. Those
    /// that it was given before and that have no answer at `now` come with them once more.
    pub(crate) fn take_queued(&mut self, term: Term, now: Time, again: Time) -> Vec<(u64, Bytes)> {
        if now >= self.resend {
            let is_free = |sent| sent == term || planted!(RetriedWhileUnknown);
            let unanswered =
                |w: &Waiting<W>| w.sent.is_some_and(|(sent, at)| is_free(sent) && at <= now);
            let due = self.waiting.iter().filter(|(_, waiting)| unanswered(waiting));
            self.queued.extend(due.map(|(&number, _)| number));
            self.resend = again;
        }
        let mut taken = Vec::with_capacity(self.queued.len());
        for number in core::mem::take(&mut self.queued) {
            let waiting = self.waiting.get_mut(&number).expect("what is queued is waiting");
            if term <= waiting.returned {
                // This node has yet to hear of the leader after that one.
                self.queued.insert(number);
                continue;
            }
            self.resend = self.resend.min(again);
            waiting.sent = Some((term, again));
            taken.push((number, waiting.command.clone()));
        }
        taken
    }

    /// Ends a command whose entry is committed, and returns who waits for it, if anybody still does.
    pub(crate) fn committed(&mut self, number: u64) -> Option<W> {
        self.remove(number)
    }

    /// An entry of `term` is committed: queues again what was sent in earlier terms, which can't take
    /// effect any more.
    pub(crate) fn term_committed(&mut self, term: Term) {
        for (&number, waiting) in &mut self.waiting {
            if waiting.sent.is_some_and(|(sent, _)| sent < term) {
                waiting.sent = None;
                self.queued.insert(number);
            }
        }
    }

    /// The node that led `term` gives a command back, which it never proposed.
    pub(crate) fn returned(&mut self, term: Term, number: u64) {
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        if waiting.sent.is_some_and(|(sent, _)| sent == term) {
            waiting.sent = None;
            waiting.returned = term;
            self.queued.insert(number);
        }
    }

    /// The numbers of all commands on their way.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.waiting.keys().copied().collect()
    }

    /// A snapshot hides entries from this node: ends everything that was sent.
    pub(crate) fn snapshot_installed(&mut self, failed: &mut Vec<(W, RequestError)>) {
        let sent: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.sent.is_some())
            .map(|(&number, _)| number)
            .collect();
        failed.extend(sent.into_iter().map(|number| {
            (self.remove(number).expect("it was found just now"), RequestError::Unknown)
        }));
    }

    /// The leader of `term` refused a command.
    pub(crate) fn refused(&mut self, term: Term, number: u64) -> Option<W> {
        let sent = self.waiting.get(&number)?.sent;
        if sent.is_some_and(|(sent, _)| sent == term) { self.remove(number) } else { None }
    }

    /// Ends every command whose time is up.
    pub(crate) fn expire(
        &mut self,
        now: Time,
        leader_known: bool,
        failed: &mut Vec<(W, RequestError)>,
    ) {
        while let Some((&number, waiting)) = self.waiting.first_key_value() {
            if waiting.deadline > now {
                break;
            }
            let error = match waiting.sent {
                None if !leader_known => RequestError::NoLeader,
                _ => RequestError::Timeout,
            };
            failed.push((self.remove(number).expect("it is the first"), error));
        }
    }

    fn remove(&mut self, number: u64) -> Option<W> {
        let Waiting { waiter, command, .. } = self.waiting.remove(&number)?;
        self.bytes -= command.len();
        self.queued.remove(&number);
        if self.waiting.is_empty() {
            self.resend = Time::NEVER;
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Time = Time(1_000);

    fn with_commands(count: u64) -> Waiters<u64> {
        let mut waiters = Waiters::new();
        for name in 1..=count {
            waiters.push(Bytes::from_static(b"command"), name, Time(10_000 + name));
        }
        waiters
    }

    fn numbers(taken: &[(u64, Bytes)]) -> Vec<u64> {
        taken.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_command_is_sent_once_and_again_only_when_nothing_is_heard() {
        let mut waiters = with_commands(2);
        assert_eq!(numbers(&waiters.take_queued(Term(1), Time(0), AGAIN)), [1, 2]);
        assert_eq!(numbers(&waiters.take_queued(Term(1), Time(1), AGAIN)), [0u64; 0]);
        assert_eq!(waiters.resend(), AGAIN);
        assert_eq!(numbers(&waiters.take_queued(Term(1), AGAIN, Time(2_000))), [1, 2]);
    }

    #[test]
    fn a_later_leader_is_not_given_what_may_still_commit() {
        let mut waiters = with_commands(1);
        waiters.take_queued(Term(1), Time(0), AGAIN);
        assert_eq!(numbers(&waiters.take_queued(Term(2), Time(5_000), Time(6_000))), [0u64; 0]);
        assert_eq!(waiters.resend(), Time(6_000), "and the clock is left in peace");
        waiters.term_committed(Term(1));
        assert!(!waiters.has_queued(), "an entry of its own term proves nothing");
        waiters.term_committed(Term(2));
        assert_eq!(numbers(&waiters.take_queued(Term(2), Time(5_001), Time(6_000))), [1]);
    }

    #[test]
    fn a_snapshot_ends_what_was_sent_and_keeps_what_was_not() {
        let mut waiters = with_commands(1);
        waiters.take_queued(Term(1), Time(0), AGAIN);
        waiters.push(Bytes::new(), 2, Time(20_000));
        let mut failed = Vec::new();
        waiters.snapshot_installed(&mut failed);
        assert_eq!(failed, [(1, RequestError::Unknown)]);
        assert_eq!((waiters.len(), waiters.bytes()), (1, 0));
        assert!(waiters.has_queued());
    }

    #[test]
    fn a_refusal_of_another_term_is_stale() {
        let mut waiters = with_commands(1);
        waiters.take_queued(Term(1), Time(0), AGAIN);
        waiters.term_committed(Term(2));
        assert_eq!(waiters.refused(Term(1), 1), None, "it is queued again");
        waiters.take_queued(Term(2), Time(1), AGAIN);
        assert_eq!(waiters.refused(Term(1), 1), None, "it was sent to another leader since");
        assert_eq!(waiters.refused(Term(2), 1), Some(1));
    }

    #[test]
    fn what_comes_back_goes_to_the_next_leader_at_once_and_to_no_other() {
        let mut waiters = with_commands(3);
        waiters.take_queued(Term(1), Time(0), AGAIN);
        waiters.returned(Term(1), 1);
        waiters.returned(Term(1), 9);
        waiters.returned(Term(2), 3);
        assert!(waiters.has_queued());
        let again = waiters.take_queued(Term(1), Time(1), AGAIN);
        assert_eq!(numbers(&again), [0u64; 0], "it would be silent, and the command lost for long");
        assert_eq!(numbers(&waiters.take_queued(Term(2), Time(2), Time(2_000))), [1]);
        waiters.returned(Term(1), 1);
        assert!(!waiters.has_queued(), "said again, of what another leader has");
        waiters.term_committed(Term(2));
        assert_eq!(numbers(&waiters.take_queued(Term(2), Time(3), Time(2_000))), [2, 3]);
    }

    #[test]
    fn time_ends_every_wait_and_says_what_is_known() {
        let mut waiters = with_commands(1);
        let mut failed = Vec::new();
        waiters.expire(Time(10_000), false, &mut failed);
        assert_eq!(failed, []);
        waiters.expire(Time(10_001), false, &mut failed);
        assert_eq!(failed, [(1, RequestError::NoLeader)]);

        let mut waiters = with_commands(1);
        waiters.take_queued(Term(1), Time(0), AGAIN);
        failed.clear();
        waiters.expire(Time(10_001), false, &mut failed);
        assert_eq!(failed, [(1, RequestError::Timeout)], "it was sent, so it may take effect");
        assert_eq!((waiters.expiry(), waiters.resend()), (Time::NEVER, Time::NEVER));
    }
}
