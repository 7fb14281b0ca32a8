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

/// The numbers remembered for one sender. More than it may have under way, so that the floor rises
/// only over numbers that were answered long ago.
const WINDOW: usize = 65_536;

/// The senders remembered. Each restart of a node makes a new one.
const SENDERS: usize = 1_024;

/// What the leader of a term has taken from each sender.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// The term that `senders` speaks of.
    term: Term,
    /// What was seen, by node and incarnation.
    senders: BTreeMap<(NodeId, u64), Window>,
}

impl Sessions {
    /// Whether the command is seen for the first time; from now on it is not. Called by the leader of
    /// `term` only.
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
        let key = (origin, incarnation);
        if !self.senders.contains_key(&key) && self.senders.len() == SENDERS {
            // An unknown sender with a full table: to take it could be to take it twice.
            return false;
        }
        self.senders.entry(key).or_default().first(number)
    }
}

/// The numbers seen from one sender.
#[derive(Debug, Default)]
struct Window {
    /// Every number below counts as seen.
    floor: u64,
    /// The numbers seen at or above the floor.
    seen: BTreeSet<u64>,
}

impl Window {
    fn first(&mut self, number: u64) -> bool {
        if number < self.floor || !self.seen.insert(number) {
            return false;
        }
        while self.seen.len() > WINDOW {
            let lowest = self.seen.pop_first().expect("the set is not empty");
            self.floor = lowest + 1;
        }
        true
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
    fn the_window_forgets_by_refusing() {
        let mut window = Window::default();
        let last = WINDOW as u64 + 10;
        for number in 1..=last {
            assert!(window.first(number));
        }
        assert_eq!(window.seen.len(), WINDOW, "the memory is bounded");
        assert!((1..=last).all(|number| !window.first(number)), "nothing is taken twice");
    }

    #[test]
    fn a_stranger_is_refused_when_the_table_is_full() {
        let mut sessions = Sessions::default();
        for incarnation in 0..SENDERS as u64 {
            assert!(sessions.first(Term(1), NodeId(1), incarnation, 1));
        }
        assert!(!sessions.first(Term(1), NodeId(1), SENDERS as u64, 1));
        assert!(sessions.first(Term(1), NodeId(1), 0, 2), "known ones go on");
    }
}
