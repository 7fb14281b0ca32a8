//! The search itself, without recursion: a stack of steps, each with what else could have been tried.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use quorate_mvcc::Error;

use super::evidence::Evidence;
use super::fingerprint::Fingerprint;
use super::pending::Pending;
use crate::history::{Operation, Outcome, Request};
use crate::model::{Model, Undo, fits};

/// How a search ended.
#[derive(Debug)]
pub(super) enum Found {
    /// An order.
    Order(Vec<usize>),
    /// There is none.
    Nothing,
    /// It was given up.
    OutOfBudget,
}

/// The longest order that was found of some of the operations, where nothing led any further.
#[derive(Debug)]
pub(super) struct Deepest {
    /// How many operations with a reply were left.
    pub(super) left: usize,
    /// The order.
    pub(super) order: Vec<usize>,
    /// The operations with a reply, one of which would have had to be next.
    pub(super) next: Vec<usize>,
}

pub(super) struct Search<'a> {
    history: &'a [Operation],
    model: Model,
    pending: Pending,
    evidence: Evidence,
    /// By operation: the one revision that it can have made.
    pinned: Vec<Option<i64>>,
    /// By operation: of those that can be exchanged for one another, a number that they share.
    alike: Vec<usize>,
    fingerprint: Fingerprint,
    visited: BTreeSet<Fingerprint>,
    stack: Vec<Step>,
    deepest: Deepest,
    steps: u64,
    /// Whether to go on where it is known already that there is no order.
    is_hopeless: bool,
}

/// A configuration on the way.
struct Step {
    /// How it was reached; nothing for the first.
    by: Option<(usize, Undo)>,
    /// What may be next and was not tried yet; the next one last.
    untried: Vec<usize>,
}

impl<'a> Search<'a> {
    /// A search among what had happened by a time.
    pub(super) fn new(history: &'a [Operation], until: u64, start: &Model) -> Self {
        let pending = Pending::new(history, until);
        let returned = |it: &&Operation| it.returned().is_some_and(|returned| returned <= until);
        let evidence = Evidence::of(history.iter().filter(returned));
        let mut pinned = alloc::vec![None; history.len()];
        let unknown: Vec<&Operation> = pending.unknown().map(|at| &history[at]).collect();
        for (at, revision) in pending.unknown().zip(evidence.pinned(&unknown)) {
            pinned[at] = revision;
        }
        let mut alike = alloc::vec![0; history.len()];
        for (at, kind) in pending.unknown().zip(evidence.alike(&unknown)) {
            alike[at] = kind;
        }
        let deepest = Deepest { left: usize::MAX, order: Vec::new(), next: Vec::new() };
        Self {
            history,
            model: start.clone(),
            pending,
            evidence,
            pinned,
            alike,
            fingerprint: Fingerprint::default(),
            visited: BTreeSet::new(),
            stack: Vec::new(),
            deepest,
            steps: 0,
            is_hopeless: false,
        }
    }

    /// Searches. Tells also how many steps it took.
    pub(super) fn run(mut self, budget: u64) -> (Found, u64) {
        let found = self.search(budget);
        (found, self.steps)
    }

    /// Goes as far as it can among what is known to have no order. A search for an order turns back as
    /// soon as it has passed the revision of something left; this one does not, and so arrives where
    /// that has to be next at the latest.
    pub(super) fn explain(mut self, budget: u64) -> Deepest {
        self.is_hopeless = true;
        let _found = self.search(budget);
        while !self.stack.is_empty() {
            self.leave();
        }
        self.deepest
    }

    fn search(&mut self, budget: u64) -> Found {
        self.enter(None);
        while !self.pending.is_done() {
            if self.steps >= budget {
                return Found::OutOfBudget;
            }
            let Some(step) = self.stack.last_mut() else { return Found::Nothing };
            match step.untried.pop() {
                Some(operation) => {
                    self.steps += 1;
                    if let Some(undo) = self.carry_out(operation) {
                        self.enter(Some((operation, undo)));
                    }
                }
                None => self.leave(),
            }
        }
        Found::Order(self.order())
    }

    fn order(&self) -> Vec<usize> {
        self.stack.iter().filter_map(|step| step.by.as_ref()).map(|(taken, _)| *taken).collect()
    }

    /// Arrives at a configuration and sees what may be next.
    fn enter(&mut self, by: Option<(usize, Undo)>) {
        if let Some((operation, undo)) = &by {
            self.pending.take(*operation);
            self.toggle(*operation, undo);
        }
        self.stack.push(Step { by, untried: Vec::new() });
        let is_late = !self.is_hopeless && self.pending.is_behind(self.model.revision());
        if self.pending.is_done() || is_late {
            return;
        }
        if let Some(read) = self.fitting_read() {
            self.stack.last_mut().expect("it was pushed").untried.push(read);
            return;
        }
        if !self.visited.insert(self.fingerprint) {
            return;
        }
        // Last comes first: those whose outcome is known before the others, and of those the one
        // that was called first.
        let mut untried = Vec::new();
        let next = self.model.revision() + 1;
        let is_claimed = self.evidence.is_claimed(next);
        let known: Vec<usize> = self.pending.next_known().collect();
        let needs_compaction = known.iter().any(|&operation| self.was_compacted_for(operation));
        let mut kinds = BTreeSet::new();
        for operation in self.pending.next_unknown() {
            let elsewhere = self.pinned[operation].is_some_and(|pinned| pinned != next);
            let hopeless = match &self.history[operation].request {
                Request::Put(_) => is_claimed,
                Request::Compact { .. } => !needs_compaction,
                _ => false,
            };
            if !elsewhere && !hopeless && kinds.insert(self.alike[operation]) {
                untried.push(operation);
            }
        }
        untried.reverse();
        untried.extend(known.into_iter().rev());
        self.stack.last_mut().expect("it was pushed").untried = untried;
    }

    /// Goes back to where the configuration was reached from.
    fn leave(&mut self) {
        if self.pending.left() < self.deepest.left {
            self.deepest = Deepest {
                left: self.pending.left(),
                order: self.order(),
                next: self.pending.next_known().collect(),
            };
        }
        let step = self.stack.pop().expect("only what was entered is left");
        if let Some((operation, undo)) = step.by {
            self.toggle(operation, &undo);
            self.model.undo(undo);
            self.pending.give_back(operation);
        }
    }

    /// An operation with a reply that fits now and changes nothing.
    fn fitting_read(&mut self) -> Option<usize> {
        let known: Vec<usize> = self.pending.next_known().collect();
        known.into_iter().find(|&operation| {
            self.steps += 1;
            match self.carry_out(operation) {
                Some(undo) if undo.is_empty() => true,
                Some(undo) => {
                    self.model.undo(undo);
                    false
                }
                None => false,
            }
        })
    }

    /// Carries out an operation if it fits here.
    fn carry_out(&mut self, operation: usize) -> Option<Undo> {
        if !self.pending.claim(operation).allows(self.model.revision()) {
            return None;
        }
        let it = &self.history[operation];
        let (reply, undo) = self.model.apply(&it.request);
        let fits = match &it.outcome {
            Outcome::Known { reply: told, .. } if self.pending.is_known(operation) => {
                fits(&it.request, told, &reply)
            }
            // One that changes nothing need not be carried out.
            _ => {
                let made = undo.made;
                !undo.is_empty()
                    && made.is_none_or(|made| !self.evidence.is_claimed(made))
                    && self.pinned[operation].is_none_or(|pinned| made == Some(pinned))
                    && self.evidence.permits(&undo, &self.model)
            }
        };
        if fits {
            return Some(undo);
        }
        self.model.undo(undo);
        None
    }

    /// Whether a client was told that what it asked for was compacted. Only this needs a compaction of
    /// unknown outcome: where another compaction comes between, that one will do, or both are void.
    fn was_compacted_for(&self, operation: usize) -> bool {
        let outcome = &self.history[operation].outcome;
        matches!(outcome, Outcome::Known { reply: Err(Error::Compacted), .. })
    }

    fn toggle(&mut self, operation: usize, undo: &Undo) {
        self.fingerprint.toggle(Fingerprint::operation(operation));
        for (at, (key, before)) in undo.keys.iter().enumerate() {
            // A request may change a key more than once.
            if undo.keys[..at].iter().any(|(earlier, _)| earlier == key) {
                continue;
            }
            for kv in before.iter().chain(self.model.get(key)) {
                self.fingerprint.toggle(Fingerprint::key(kv));
            }
        }
        for (id, _) in &undo.leases {
            self.fingerprint.toggle(Fingerprint::lease(*id));
        }
        if let Some(made) = undo.made {
            self.fingerprint.toggle(Fingerprint::revision(made - 1));
            self.fingerprint.toggle(Fingerprint::revision(made));
        }
        if let Some(before) = undo.compacted {
            self.fingerprint.toggle(Fingerprint::compacted(before));
            self.fingerprint.toggle(Fingerprint::compacted(self.model.compacted()));
        }
    }
}
