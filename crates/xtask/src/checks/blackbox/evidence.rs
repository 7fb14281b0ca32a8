//! All that a cluster was seen to do, held against the checkers.

use bytes::Bytes;
use quorate_check::changes::Changes;
use quorate_check::history::{Operation, Outcome, Request, Response};
use quorate_check::lease::{self, LeaseHistory, Rules};
use quorate_check::linearizability::{self, Verdict};
use quorate_check::model::Model;
use quorate_check::{Violation, replay, watch};
use quorate_mvcc::watch::Cancel;
use quorate_mvcc::{Event, EventKind, KeyRange, KeyValue};

use crate::checks::blackbox::WATCHERS;
use crate::checks::blackbox::leases::PREFIX;
use crate::checks::blackbox::watchers::{Watched, next_of};

/// How often the search may try an operation.
const BUDGET: u64 = 200_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    /// What clients asked for and were told.
    pub(crate) history: Vec<Operation>,
    /// What came to each watcher, in the order in which it watched.
    pub(super) watches: Vec<Watched>,
    pub(super) leases: Vec<LeaseHistory>,
    /// What the leases are judged by.
    pub(super) rules: Rules,
    /// All changes: as watchers were told of them first, and the last ones as one member tells them
    /// afterwards.
    pub(super) changes: Changes,
    /// What that member has of it all.
    pub(super) remains: Remains,
    /// The latest revision that anybody wanted to compact.
    pub(super) compacted: i64,
    /// The revision that every watcher was given the time to see.
    pub(super) last: i64,
}

/// What is left of the history after compaction.
#[derive(Clone, Debug)]
pub(crate) struct Remains {
    /// The oldest revision that is left.
    pub(super) from: i64,
    /// The keys at that revision.
    pub(super) keys: Vec<KeyValue>,
    /// All changes from there on.
    pub(super) changes: Vec<Event>,
}

impl Evidence {
    /// What is wrong, of everything; and how many answers could not be held against the changes.
    pub(crate) fn judge(&self) -> (Vec<Violation>, u64) {
        let (mut violations, not_judged) = match self.replay() {
            Ok(skipped) => (Vec::new(), skipped),
            Err(violation) => (vec![violation], 0),
        };
        violations.extend(self.history_left().err());
        violations.extend(self.linearizability());
        violations.extend(self.watches());
        violations.extend(self.leases());
        (violations, not_judged)
    }

    /// Looks for one order of all operations.
    pub(super) fn linearizability(&self) -> Option<Violation> {
        match linearizability::check(&self.history, &Model::default(), BUDGET) {
            Verdict::Linearizable(_) => None,
            Verdict::Illegal(illegal) => {
                Some(Violation::new("linearizability", illegal.to_string()))
            }
            Verdict::Unknown { steps } => {
                let what = format!("no verdict after {steps} steps");
                Some(Violation::new("linearizability_judged", what))
            }
        }
    }

    /// Holds every answer against the changes; how many that says nothing of.
    pub(super) fn replay(&self) -> Result<u64, Violation> {
        Ok(replay::check(&self.history, &self.changes)?.skipped)
    }

    /// Compaction takes what it says, no more and no less: what was confirmed is gone, what nobody asked for
    /// is not; the rest of the history is what watchers were told, and the keys are what became of all that
    /// was before it.
    pub(super) fn history_left(&self) -> Result<(), Violation> {
        let Remains { from, keys, changes } = &self.remains;
        let wrong = |what| Err(Violation::new("history_left", what));
        let confirmed = self.history.iter().filter_map(compacted_by).max().unwrap_or(1);
        let asked = self.compacted.max(1);
        if !(confirmed..=asked).contains(from) {
            return wrong(format!(
                "it begins at {from}; {confirmed} is compacted, and nobody asked for more than {asked}"
            ));
        }
        if *keys != self.changes.range_at(&KeyRange::prefix(Bytes::new()), *from) {
            return wrong(format!("the keys at revision {from}, the oldest, are {keys:?}"));
        }
        let own = |event: &Event| (event.kind, event.kv.clone());
        let mut told = self.changes.between(*from, self.changes.last());
        let mut left = changes.iter();
        loop {
            match (told.next().map(own), left.next().map(own)) {
                (None, None) => return Ok(()),
                (told, left) if told == left => {}
                (told, left) => return wrong(format!("{told:?} was told, and {left:?} is left")),
            }
        }
    }

    /// The promises of watches, and that all came in the end: a stream that falls silent breaks none of
    /// them.
    pub(super) fn watches(&self) -> Vec<Violation> {
        let broken = self.watches.iter().map(|one| watch::violations(&one.watch, &self.changes));
        let mut violations: Vec<Violation> = broken.flatten().collect();
        violations.extend(self.watches.iter().filter_map(|one| self.compaction(one).err()));
        for watcher in 0..WATCHERS {
            let own = self.watches.iter().filter(|one| one.watcher == watcher);
            let events = own.flat_map(|one| one.watch.events());
            let seen = events.map(|event| event.kv.mod_revision).max().unwrap_or(0);
            if seen < self.last {
                let last = self.last;
                let what = format!("watcher {watcher} was told up to {seen}, and not of {last}");
                violations.push(Violation::new("watch_silent", what));
            }
        }
        violations
    }

    /// A watch suffers from a compaction only when somebody has asked for it, and if it is behind it: then it
    /// is ended, and nothing else ends it. Before, each event says what its key was.
    fn compaction(&self, one: &Watched) -> Result<(), Violation> {
        let Watched { watch, compacted, .. } = one;
        for (at, (response, compacted)) in watch.responses.iter().zip(compacted).enumerate() {
            if let Some(cancel) = &response.cancel {
                let next = next_of(&watch.request, &watch.responses[..at]);
                let may_be = |to| next < to && to <= self.remains.from.min(*compacted);
                if !matches!(cancel, Cancel::Compacted { compact_revision } if may_be(*compact_revision))
                {
                    let what = format!("at {next}, with {compacted} compacted at most: {cancel:?}");
                    return Err(Violation::new("watch_cancel", what));
                }
            }
            let lacks = response.events.iter().find(|event| {
                let before = event.kv.mod_revision - 1;
                watch.request.prev_kv
                    && event.prev_kv.is_none()
                    && before >= *compacted
                    && self.changes.at(&event.kv.key, before).is_some()
            });
            if let Some(event) = lacks {
                let what =
                    format!("{event:?} lacks what was before, {compacted} compacted at most");
                return Err(Violation::new("watch_prev_kv", what));
            }
        }
        Ok(())
    }

    /// The promises of leases, of each and of all with their keys.
    pub(super) fn leases(&self) -> Vec<Violation> {
        let broken = self.leases.iter().map(|one| lease::violations(one, &self.rules));
        let mut violations: Vec<Violation> = broken.flatten().collect();
        let is_of_client = |revision| {
            self.changes.of(revision).iter().any(|event| {
                event.kind == EventKind::Put || !event.kv.key.starts_with(PREFIX.as_bytes())
            })
        };
        violations.extend(lease::check_together(&self.changes, is_of_client).err());
        violations
    }

    /// How many leases were to be gone before a moment. Up to then somebody looked at each, so one that did
    /// not end would have been noticed.
    pub(super) fn leases_due(&self, before: u64) -> usize {
        let limits = self.leases.iter().filter_map(|one| lease::limit(one, &self.rules));
        limits.filter(|limit| *limit < before).count()
    }
}

/// The revision that a client was told to have compacted.
fn compacted_by(operation: &Operation) -> Option<i64> {
    match (&operation.request, &operation.outcome) {
        (Request::Compact { revision }, Outcome::Known { reply: Ok(Response::Compact), .. }) => {
            Some(*revision)
        }
        _ => None,
    }
}
