//! The operations that are left to be placed, and which of them may be next.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::takes_part;
use crate::claim::Claim;
use crate::history::Operation;

/// No event.
const NONE: usize = usize::MAX;

/// The calls and returns of all operations with a reply, in the order of time, as a list from which an
/// operation is taken and to which it is given back in constant time (Lowe's, after Knuth's dancing
/// links); and beside it those without a reply, which are left for ever.
#[derive(Debug)]
pub(super) struct Pending {
    /// Events with their neighbours. The event before the first and after the last is the last one
    /// here, which belongs to no operation.
    events: Vec<Event>,
    /// By operation: its call and its return. Of operations that are not in the list, `NONE`.
    places: Vec<(usize, usize)>,
    claims: Vec<Claim>,
    /// The operations in the list, by the highest revision at which they can be carried out.
    latest: BTreeSet<(i64, usize)>,
    /// The operations without a reply, by call.
    unknown: Vec<(u64, usize)>,
    taken: Vec<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    operation: usize,
    at: u64,
    is_call: bool,
    before: usize,
    after: usize,
}

impl Pending {
    /// The operations called and returned up to a time. What returned later has not returned, and what
    /// was called later is not there.
    pub(super) fn new(history: &[Operation], until: u64) -> Self {
        let mut places = alloc::vec![(NONE, NONE); history.len()];
        let mut claims = alloc::vec![Claim::Silent; history.len()];
        let mut latest = BTreeSet::new();
        let mut unknown = Vec::new();
        let mut times = Vec::new();
        for (operation, it) in history.iter().enumerate() {
            if !takes_part(it) || it.call > until {
                continue;
            }
            match it.returned() {
                Some(returned) if returned <= until => {
                    assert!(it.call <= returned, "operation {operation} returns before its call");
                    // Calls first: what begins at the moment at which another ends is concurrent to it.
                    times.push((it.call, false, operation));
                    times.push((returned, true, operation));
                    claims[operation] = Claim::of(it);
                    latest.insert((claims[operation].latest(), operation));
                }
                _ => unknown.push((it.call, operation)),
            }
        }
        times.sort_unstable();
        unknown.sort_unstable();
        let root = times.len();
        let mut events: Vec<Event> = Vec::with_capacity(root + 1);
        for (index, &(at, is_return, operation)) in times.iter().enumerate() {
            let before = index.checked_sub(1).unwrap_or(root);
            events.push(Event { operation, at, is_call: !is_return, before, after: index + 1 });
            let place = &mut places[operation];
            *(if is_return { &mut place.1 } else { &mut place.0 }) = index;
        }
        let before = root.checked_sub(1).unwrap_or(root);
        events.push(Event { operation: NONE, at: u64::MAX, is_call: false, before, after: 0 });
        let taken = alloc::vec![false; history.len()];
        Self { events, places, claims, latest, unknown, taken }
    }

    /// Whether every operation with a reply has been placed.
    pub(super) fn is_done(&self) -> bool {
        self.latest.is_empty()
    }

    /// How many operations with a reply are left.
    pub(super) fn left(&self) -> usize {
        self.latest.len()
    }

    /// Whether an operation with a reply is left that can only be carried out before this revision.
    pub(super) fn is_behind(&self, revision: i64) -> bool {
        self.latest.first().is_some_and(|&(latest, _)| latest < revision)
    }

    /// The operations with a reply that nothing left had to precede: all that were called before the
    /// first return.
    pub(super) fn next_known(&self) -> impl Iterator<Item = usize> {
        let root = self.events.len() - 1;
        let mut at = self.events[root].after;
        core::iter::from_fn(move || {
            let event = self.events[at];
            at = event.after;
            event.is_call.then_some(event.operation)
        })
    }

    /// The operations without a reply that may be next.
    pub(super) fn next_unknown(&self) -> impl Iterator<Item = usize> {
        let root = self.events.len() - 1;
        let mut at = self.events[root].after;
        while self.events[at].is_call {
            at = self.events[at].after;
        }
        let first_return = self.events[at].at;
        self.unknown
            .iter()
            .take_while(move |(call, _)| *call <= first_return)
            .map(|&(_, operation)| operation)
            .filter(|&operation| !self.taken[operation])
    }

    /// All operations without a reply.
    pub(super) fn unknown(&self) -> impl Iterator<Item = usize> {
        self.unknown.iter().map(|&(_, operation)| operation)
    }

    /// Whether the operation has a reply.
    pub(super) fn is_known(&self, operation: usize) -> bool {
        self.places[operation].0 != NONE
    }

    /// What its reply says, if it has one.
    pub(super) fn claim(&self, operation: usize) -> Claim {
        self.claims[operation]
    }

    /// Takes an operation out. Operations come back in the opposite order.
    pub(super) fn take(&mut self, operation: usize) {
        assert!(!self.taken[operation], "an operation is placed once");
        self.taken[operation] = true;
        let (call, returned) = self.places[operation];
        if call == NONE {
            return;
        }
        for place in [call, returned] {
            let Event { before, after, .. } = self.events[place];
            self.events[before].after = after;
            self.events[after].before = before;
        }
        self.latest.remove(&(self.claims[operation].latest(), operation));
    }

    /// Puts the operation that was taken last back.
    pub(super) fn give_back(&mut self, operation: usize) {
        assert!(self.taken[operation], "only what was taken comes back");
        self.taken[operation] = false;
        let (call, returned) = self.places[operation];
        if call == NONE {
            return;
        }
        for place in [returned, call] {
            let Event { before, after, .. } = self.events[place];
            self.events[before].after = place;
            self.events[after].before = place;
        }
        self.latest.insert((self.claims[operation].latest(), operation));
    }
}
