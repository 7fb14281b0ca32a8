//! Exactly-once forwarding: what the leader of a term has taken from each node.
//!
//! A [`Forward`](crate::Forward) may arrive twice: the network repeats it, or its sender does
//! because it has heard nothing. It names its term, and only the leader of that term may propose
//! from it, so it is enough to remember the numbers seen *within the term, by this process*: a
//! leader that restarts never leads the same term again.
//!
//! Numbers of one sender ascend but arrive out of order, so the memory is a window: a floor below
//! which everything counts as seen, and the set of the numbers seen above it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use quorate_raft::{NodeId, Term};

/// The numbers remembered of one node, whatever its processes. More than it may have under way, so
/// that the floors rise only over numbers that were answered long ago.
const NUMBERS: usize = 65_536;

/// The processes remembered of one node. Each of its restarts makes a new one.
const PROCESSES: usize = 1_024;

/// What the leader of a term has taken from each member. Bounded for each by itself, so that one that
/// floods this memory takes nothing from the others.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// The term that `senders` speaks of.
    term: Term,
    /// What was seen, by member.
    senders: BTreeMap<NodeId, Sender>,
}

impl Sessions {
    /// Whether the command of a member is seen for the first time; from now on it is not. Called by
    /// the leader of `term` only.
    pub(crate) fn first(
        &mut self,
        term: Term,
        origin: NodeId,
        incarnation: u64,
        number: u64,
    ) -> bool {
        assert!(term >= self.term, "a leader of {term} led {} before", self.term);
        if term > self.term {
            self.term = term;
            self.senders.clear();
        }
        self.senders.entry(origin).or_default().first(incarnation, number)
    }
}

/// What was seen from one member.
#[derive(Debug, Default)]
struct Sender {
    /// By its process.
    windows: BTreeMap<u64, Window>,
    /// The numbers in all windows.
    numbers: usize,
}

impl Sender {
    fn first(&mut self, incarnation: u64, number: u64) -> bool {
        if !self.windows.contains_key(&incarnation) && self.windows.len() == PROCESSES {
            // To take an unknown process with a full table could be to take its command twice.
            return false;
        }
        if !self.windows.entry(incarnation).or_default().first(number) {
            return false;
        }
        self.numbers += 1;
        if self.numbers > NUMBERS {
            let largest = self.windows.values_mut().max_by_key(|window| window.count);
            largest.expect("there are numbers, so there is a window").raise();
            self.numbers -= 1;
        }
        true
    }
}

/// The numbers seen from one process.
#[derive(Debug, Default)]
struct Window {
    /// Every number below counts as seen.
    floor: u64,
    /// The numbers seen at or above the floor, as runs: the last by the first of each. No two touch. Most of what a
    /// process sends is one.
    seen: BTreeMap<u64, u64>,
    /// How many numbers these are.
    count: usize,
}

impl Window {
    fn first(&mut self, number: u64) -> bool {
        let before = self.seen.range(..=number).next_back().map(|(&first, &last)| (first, last));
        if number < self.floor || before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let after = number.checked_add(1).and_then(|next| self.seen.remove(&next));
        let touched = before.filter(|(_, last)| *last + 1 == number);
        let first = touched.map_or(number, |(first, _)| first);
        self.seen.insert(first, after.unwrap_or(number));
        self.count += 1;
        true
    }

    /// Forgets the lowest number by counting it, and all below it, as seen.
    fn raise(&mut self) {
        let (lowest, last) = self.seen.pop_first().expect("a window that is raised is not empty");
        // The largest window holds many, so its lowest number is not the last that there is.
        self.floor = lowest.checked_add(1).expect("there are larger numbers in the window");
        if self.floor <= last {
            self.seen.insert(self.floor, last);
        }
        self.count -= 1;
    }
}

/// What was taken, in little memory: the term, and for each process of each member its node, its number, the
/// floor, how many runs there are, and each of them by its first and last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionsAsleep(Box<[u64]>);

impl Sessions {
    /// What is to be remembered, if anything was taken.
    pub(crate) fn asleep(&self) -> Option<SessionsAsleep> {
        if self.senders.is_empty() {
            return None;
        }
        let mut told = Vec::from([self.term.0]);
        for (node, sender) in &self.senders {
            for (process, Window { floor, seen, count: _ }) in &sender.windows {
                told.extend([node.0, *process, *floor, seen.len() as u64]);
                told.extend(seen.iter().flat_map(|(first, last)| [*first, *last]));
            }
        }
        Some(SessionsAsleep(told.into()))
    }

    /// The one that remembers this.
    pub(crate) fn woken(SessionsAsleep(told): SessionsAsleep) -> Self {
        let mut told = told.iter().copied();
        let term = Term(told.next().expect("it begins with the term"));
        let mut senders: BTreeMap<NodeId, Sender> = BTreeMap::new();
        while let (Some(node), Some(process), Some(floor), Some(runs)) =
            (told.next(), told.next(), told.next(), told.next())
        {
            let runs = 0..runs;
            let mut next = || told.next().expect("it has as many numbers as it says");
            let seen: BTreeMap<u64, u64> = runs.map(|_| (next(), next())).collect();
            let count = seen.iter().map(|(first, last)| (last - first) as usize + 1).sum();
            let sender = senders.entry(NodeId(node)).or_default();
            sender.numbers += count;
            sender.windows.insert(process, Window { floor, seen, count });
        }
        Self { term, senders }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_command_is_taken_once_in_any_order() {
        let mut sessions = Sessions::default();
        let mut take = |number| sessions.first(Term(2), NodeId(1), 7, number);
        assert!(take(5) && take(3) && take(4));
        assert!(!take(5) && !take(3) && !take(4));
    }

    #[test]
    fn runs_are_the_set_of_the_numbers_and_sleep_changes_nothing() {
        let mut rng = quorate_raft::rng::Rng::new(7);
        for _ in 0..200 {
            let (mut sessions, mut seen) = (Sessions::default(), BTreeSet::new());
            for _ in 0..60 {
                let from = (NodeId(1 + rng.below(2)), rng.below(2));
                // Near the end of all numbers as well.
                let number =
                    if rng.below(2) == 0 { rng.below(24) } else { u64::MAX - rng.below(8) };
                let is_first = seen.insert((from, number));
                assert_eq!(sessions.first(Term(3), from.0, from.1, number), is_first);
                let windows = sessions.senders.values().flat_map(|sender| sender.windows.values());
                let numbers: usize = sessions.senders.values().map(|sender| sender.numbers).sum();
                assert_eq!(
                    (windows.map(|window| window.count).sum(), numbers),
                    (seen.len(), seen.len())
                );
                if rng.below(8) == 0 {
                    let before = alloc::format!("{sessions:?}");
                    sessions = Sessions::woken(sessions.asleep().expect("something was taken"));
                    assert_eq!(alloc::format!("{sessions:?}"), before);
                }
            }
        }
        assert_eq!(Sessions::default().asleep(), None);
    }

    #[test]
    fn senders_and_terms_are_apart() {
        let mut sessions = Sessions::default();
        assert!(sessions.first(Term(2), NodeId(1), 7, 1));
        assert!(sessions.first(Term(2), NodeId(1), 8, 1), "another process of the node");
        assert!(sessions.first(Term(2), NodeId(2), 7, 1), "another node");
        assert!(sessions.first(Term(3), NodeId(1), 7, 1), "another term");
        assert!(!sessions.first(Term(3), NodeId(1), 7, 1));
    }

    #[test]
    fn the_memory_of_a_member_forgets_by_refusing() {
        let mut sender = Sender::default();
        let last = NUMBERS as u64 + 10;
        // The largest there are, so that the arithmetic is seen to hold.
        for number in (0..last).map(|n| u64::MAX - last + 1 + n) {
            assert!(sender.first(7, number));
        }
        for incarnation in 100..200 {
            assert!(sender.first(incarnation, u64::MAX), "another process finds room");
        }
        let kept: usize = sender.windows.values().map(|window| window.count).sum();
        assert_eq!((kept, sender.numbers), (NUMBERS, NUMBERS), "the memory is bounded");
        assert!((0..last).all(|n| !sender.first(7, u64::MAX - n)), "nothing is taken twice");
        assert!((100..200).all(|incarnation| !sender.first(incarnation, u64::MAX)));
    }

    #[test]
    fn an_unknown_process_is_refused_when_the_table_is_full_and_other_members_are_not() {
        let mut sessions = Sessions::default();
        for incarnation in 0..PROCESSES as u64 {
            assert!(sessions.first(Term(1), NodeId(1), incarnation, 1));
        }
        assert!(!sessions.first(Term(1), NodeId(1), PROCESSES as u64, 1));
        assert!(sessions.first(Term(1), NodeId(1), 0, 2), "known ones go on");
        assert!(sessions.first(Term(1), NodeId(2), 5_000, 1), "and so does another member");
    }
}
