//! Where all clients note what they asked for and what they were told, by one clock.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use quorate_check::history::{Operation, Outcome, Request, Response};
use quorate_check::lease::LeaseHistory;
use quorate_mvcc::Event;

use crate::checks::blackbox::watchers::Watched;
use crate::checks::blackbox::wire;
use crate::checks::client::Client;

/// See the module.
pub(crate) struct Recorder {
    start: Instant,
    /// Whether the clients are to end.
    pub(crate) over: AtomicBool,
    /// Numbers that are given once.
    next: AtomicU64,
    history: Mutex<Vec<Operation>>,
    watches: Mutex<Vec<Watched>>,
    /// All changes from the first on, as far as somebody was told of them.
    changes: Mutex<Vec<Event>>,
    /// The latest revision that anybody wanted to compact.
    compacted: AtomicI64,
    leases: Mutex<Vec<LeaseHistory>>,
    unsettled: Mutex<Vec<(u64, u64)>>,
    /// The revision that watchers still have to see when it is over, and until when they may.
    last: OnceLock<(i64, Instant)>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no client panicked")
}

/// The revision of the last change; that of an empty store if there was none.
fn last_of(changes: &[Event]) -> i64 {
    changes.last().map_or(1, |event| event.kv.mod_revision)
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            over: AtomicBool::new(false),
            next: AtomicU64::new(1),
            history: Mutex::default(),
            watches: Mutex::default(),
            changes: Mutex::default(),
            compacted: AtomicI64::new(0),
            leases: Mutex::default(),
            unsettled: Mutex::default(),
            last: OnceLock::new(),
        }
    }

    /// The clock, in nanoseconds.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a check ends within centuries")
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A number that nobody else gets.
    pub(crate) fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Since a moment there may have been no leader, or another one.
    pub(crate) fn unsettled_since(&self, from: u64) {
        held(&self.unsettled).push((from, self.now()));
    }

    /// Watchers may end once they have seen this revision, and have to when the time is over.
    pub(crate) fn end_watches(&self, last: i64, patience: Duration) {
        self.last.set((last, Instant::now() + patience)).expect("watches end once");
    }

    /// Whether a watcher that has seen all up to a revision may end.
    pub(crate) fn has_seen_enough(&self, revision: i64) -> bool {
        self.last.get().is_some_and(|(last, end)| revision >= *last || Instant::now() > *end)
    }

    /// Asks, and notes what came of it. `None` if that is not known, or nothing.
    pub(crate) async fn ask(
        &self,
        who: u64,
        client: &Client,
        request: Request,
    ) -> Option<Response> {
        if let Request::Compact { revision } = request {
            self.compacted.fetch_max(revision, Ordering::SeqCst);
        }
        let call = self.now();
        let answer = wire::send(client, &request).await;
        let returned = self.now();
        let (outcome, response) = match answer {
            Ok(response) => {
                (Outcome::Known { returned, reply: Ok(response.clone()) }, Some(response))
            }
            Err(status) => match wire::refusal(&status) {
                Some(reply) => (Outcome::Known { returned, reply }, None),
                // A read changes nothing, whatever became of it.
                None if matches!(request, Request::Range(_)) => (Outcome::Failed, None),
                None if wire::is_without_effect(&status) => (Outcome::Failed, None),
                None => (Outcome::Unknown, None),
            },
        };
        self.note(Operation { client: who, call, request, outcome });
        response
    }

    pub(crate) fn note(&self, operation: Operation) {
        held(&self.history).push(operation);
    }

    pub(crate) fn note_watch(&self, watched: Watched) {
        let told = watched.watch.responses.len();
        assert_eq!(watched.compacted.len(), told, "each response was heard");
        held(&self.watches).push(watched);
    }

    /// Somebody who watches everything was told of these, together. What is news, and leaves nothing out, is
    /// kept.
    pub(crate) fn told(&self, events: &[Event]) {
        let mut changes = held(&self.changes);
        let before = last_of(&changes);
        for event in events.iter().filter(|event| event.kv.mod_revision > before) {
            if event.kv.mod_revision > last_of(&changes) + 1 {
                return;
            }
            changes.push(event.clone());
        }
    }

    /// The revision up to which all changes are known, whatever is compacted.
    pub(crate) fn known(&self) -> i64 {
        last_of(&held(&self.changes))
    }

    /// The latest revision that anybody has wanted to compact until now; 0 if there was none.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::SeqCst)
    }

    pub(crate) fn note_lease(&self, lease: LeaseHistory) {
        held(&self.leases).push(lease);
    }

    pub(crate) fn history(&self) -> Vec<Operation> {
        held(&self.history).clone()
    }

    pub(crate) fn watches(&self) -> Vec<Watched> {
        held(&self.watches).clone()
    }

    pub(crate) fn changes(&self) -> Vec<Event> {
        held(&self.changes).clone()
    }

    pub(crate) fn leases(&self) -> Vec<LeaseHistory> {
        held(&self.leases).clone()
    }

    pub(crate) fn unsettled(&self) -> Vec<(u64, u64)> {
        held(&self.unsettled).clone()
    }
}

#[cfg(test)]
mod tests {
    use quorate_mvcc::{EventKind, KeyValue};

    use super::*;

    #[test]
    fn what_is_known_has_no_gap() {
        let event = |mod_revision| Event {
            kind: EventKind::Put,
            kv: KeyValue { mod_revision, ..KeyValue::default() },
            prev_kv: None,
        };
        let recorder = Recorder::new();
        let told = |revisions: &[i64]| {
            recorder.told(&revisions.iter().copied().map(event).collect::<Vec<_>>());
            recorder.known()
        };
        assert_eq!(recorder.known(), 1, "an empty store is at the first revision");
        assert_eq!(told(&[3]), 1, "2 was left out");
        assert_eq!(told(&[2, 2, 3]), 3);
        assert_eq!(told(&[2, 3, 3]), 3, "that is no news");
        assert_eq!(told(&[3, 4, 6]), 4);
        let revisions = recorder.changes().iter().map(|it| it.kv.mod_revision).collect::<Vec<_>>();
        assert_eq!(revisions, [2, 2, 3, 4]);
    }
}
