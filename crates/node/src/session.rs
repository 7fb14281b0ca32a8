//! Exactly-once forwarding: what the leader of a term has taken from each node.
//!
//! A [`Forward`](crate::Forward) may arrive twice: the network repeats it, or its sender does
//! because it has heard nothing. It names its term, and only the leader of that term may propose
//! from it, so it is enough to remember the numbers seen *within the term, by this process*: a
//! leader that restarts never leads the same term again.
//!
//! Numbers of one sender ascend but arrive out of order, so the memory is a window: a floor below
//! which everything counts as seen, and the set of the numbers seen above it.

use alloc::collections::{BTreeMap, BTreeSet};

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
            let largest = self.windows.values_mut().max_by_key(|window| window.seen.len());
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
    /// The numbers seen at or above the floor.
    seen: BTreeSet<u64>,
}

impl Window {
    fn first(&mut self, number: u64) -> bool {
        number >= self.floor && self.seen.insert(number)
    }

    /// Forgets the lowest number by counting it, and all below it, as seen.
    fn raise(&mut self) {
        let lowest = self.seen.pop_first().expect("a window that is raised is not empty");
        // The largest window holds many, so its lowest number is not the last that there is.
        self.floor = lowest.checked_add(1).expect("there are larger numbers in the window");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_once_in_any_order() {
        let mut sessions = Sessions::default();
        let mut take = |number| sessions.first(Term(2), NodeId(1), 7, number);
        assert!(take(5) && take(3) && take(4));
        assert!(!take(5) && !take(3) && !take(4));
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
        let kept: usize = sender.windows.values().map(|window| window.seen.len()).sum();
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
