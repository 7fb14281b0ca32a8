//! All that a cluster was seen to do, held against the checkers.

use quorate_check::changes::Changes;
use quorate_check::history::Operation;
use quorate_check::lease::{self, LeaseHistory, Rules};
use quorate_check::linearizability::{self, Verdict};
use quorate_check::model::Model;
use quorate_check::watch::Watch;
use quorate_check::{Violation, replay, watch};
use quorate_mvcc::EventKind;

use crate::checks::blackbox::WATCHERS;
use crate::checks::blackbox::leases::PREFIX;

/// How often the search may try an operation.
const BUDGET: u64 = 200_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// What clients asked for and were told.
    pub(super) history: Vec<Operation>,
    /// What came to each watcher, by its number, in the order in which it watched.
    pub(super) watches: Vec<(u64, Watch)>,
    pub(super) leases: Vec<LeaseHistory>,
    /// What the leases are judged by.
    pub(super) rules: Rules,
    /// All changes, as one member tells them afterwards.
    pub(super) changes: Changes,
    /// The revision that every watcher was given the time to see.
    pub(super) last: i64,
}

impl Evidence {
    /// What is wrong, of everything; and how many answers could not be held against the changes.
    pub(super) fn judge(&self) -> (Vec<Violation>, u64) {
        let (mut violations, not_judged) = match self.replay() {
            Ok(skipped) => (Vec::new(), skipped),
            Err(violation) => (vec![violation], 0),
        };
        violations.extend(self.linearizability());
        violations.extend(self.watches());
        violations.extend(self.leases());
        (violations, not_judged)
    }

    /// Looks for one order of all operations.
    pub(super) fn linearizability(&self) -> Option<Violation> {
        let what = match linearizability::check(&self.history, &Model::default(), BUDGET) {
            Verdict::Linearizable(_) => return None,
            Verdict::Illegal(illegal) => illegal.to_string(),
            Verdict::Unknown { steps } => format!("no verdict after {steps} steps"),
        };
        Some(Violation::new("linearizability", what))
    }

    /// Holds every answer against the changes; how many that says nothing of.
    pub(super) fn replay(&self) -> Result<u64, Violation> {
        Ok(replay::check(&self.history, &self.changes)?.skipped)
    }

    /// The promises of watches, and that all came in the end: a stream that falls silent breaks none of
    /// them.
    pub(super) fn watches(&self) -> Vec<Violation> {
        let broken = self.watches.iter().map(|(_, one)| watch::violations(one, &self.changes));
        let mut violations: Vec<Violation> = broken.flatten().collect();
        for watcher in 0..WATCHERS {
            let own = self.watches.iter().filter(|(number, _)| *number == watcher);
            let events = own.flat_map(|(_, watch)| watch.events());
            let seen = events.map(|event| event.kv.mod_revision).max().unwrap_or(0);
            if seen < self.last {
                let last = self.last;
                let what = format!("watcher {watcher} was told up to {seen}, and not of {last}");
                violations.push(Violation::new("watch_silent", what));
            }
        }
        violations
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
