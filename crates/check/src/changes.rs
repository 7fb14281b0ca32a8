//! All changes that were ever made to a store, revision by revision: what replay and the checks of
//! watches hold answers against.
//!
//! They come from a watch of everything from the first revision on, or from the log itself. Whoever
//! gives them vouches for them; what can be checked about them alone is checked here.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_mvcc::{Event, EventKind, KeyRange, KeyValue};

use crate::Violation;
use crate::range::Range;

/// See the module. Begins with an empty store at revision 1.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// What each revision changed, from 2 on.
    revisions: Vec<Vec<Event>>,
    /// The changes of each key: what it is from a revision on.
    keys: BTreeMap<Bytes, BTreeMap<i64, Option<KeyValue>>>,
    /// Up to which revision the history may have been compacted.
    compacted: i64,
}

/// The first revision that changes anything: an empty store is at the one before.
const FIRST: i64 = 2;

impl Changes {
    /// Changes in the order in which they were made.
    ///
    /// # Errors
    /// If they can't be all: a revision is missing, or a key does not follow from what it was.
    pub fn new(events: impl IntoIterator<Item = Event>) -> Result<Self, Violation> {
        let mut changes = Self::default();
        for event in events {
            changes.add(event).map_err(|what| Violation::new("changes", what))?;
        }
        Ok(changes)
    }

    /// Notes that the history up to a revision may be gone.
    pub fn compacted(&mut self, revision: i64) {
        self.compacted = self.compacted.max(revision);
    }

    fn add(&mut self, event: Event) -> Result<(), alloc::string::String> {
        let revision = event.kv.mod_revision;
        if revision != self.last() && revision != self.last() + 1 || revision < FIRST {
            return Err(format!("revision {revision} follows {}", self.last()));
        }
        let key = &event.kv.key;
        let before = self.at(key, revision);
        let after = match event.kind {
            EventKind::Put => {
                let follows = before
                    .map_or((revision, 1), |kv| (kv.create_revision, kv.version.saturating_add(1)));
                let is = (event.kv.create_revision, event.kv.version);
                if is != follows {
                    return Err(format!(
                        "{key:?} becomes (creation, version) {is:?} at {revision}, and {follows:?} \
                         would follow from {before:?}"
                    ));
                }
                Some(event.kv.clone())
            }
            EventKind::Delete if before.is_none() => {
                return Err(format!("{key:?} is deleted at {revision} and was not there"));
            }
            EventKind::Delete => None,
        };
        self.keys.entry(key.clone()).or_default().insert(revision, after);
        if revision > self.last() {
            self.revisions.push(Vec::new());
        }
        self.revisions.last_mut().expect("it was pushed").push(event);
        Ok(())
    }

    /// The last revision.
    #[must_use]
    pub fn last(&self) -> i64 {
        FIRST - 1 + self.revisions.len() as i64
    }

    /// What a revision changed, in order; nothing of one that is not known.
    #[must_use]
    pub fn of(&self, revision: i64) -> &[Event] {
        let at = usize::try_from(revision.saturating_sub(FIRST)).ok();
        at.and_then(|at| self.revisions.get(at)).map_or(&[], Vec::as_slice)
    }

    /// All changes of these revisions, in order.
    pub fn between(&self, from: i64, through: i64) -> impl Iterator<Item = &Event> {
        (from.max(FIRST)..=through.min(self.last())).flat_map(|revision| self.of(revision))
    }

    /// A key as it was after a revision.
    #[must_use]
    pub fn at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        self.keys.get(key)?.range(..=revision).next_back()?.1.as_ref()
    }

    /// The keys of a range as they were after a revision, in order.
    #[must_use]
    pub fn range_at(&self, range: &KeyRange, revision: i64) -> Vec<KeyValue> {
        let range = Range::of(range);
        self.keys
            .range(range.from.clone()..)
            .take_while(|(key, _)| range.contains(key))
            .filter_map(|(key, _)| self.at(key, revision).cloned())
            .collect()
    }

    /// Whether what was there after a revision may be gone.
    #[must_use]
    pub fn may_be_compacted(&self, revision: i64) -> bool {
        revision < self.compacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, revision: i64, create_revision: i64, version: i64) -> Event {
        let kv = KeyValue {
            key: Bytes::from_static(key.as_bytes()),
            create_revision,
            mod_revision: revision,
            version,
            ..KeyValue::default()
        };
        Event { kind: EventKind::Put, kv, prev_kv: None }
    }

    fn delete(key: &'static str, revision: i64) -> Event {
        Event { kind: EventKind::Delete, ..put(key, revision, 0, 0) }
    }

    #[test]
    fn old_states_are_found_again() {
        let events = [
            put("a", 2, 2, 1),
            put("b", 2, 2, 1),
            put("a", 3, 2, 2),
            delete("a", 4),
            put("a", 5, 5, 1),
        ];
        let changes = Changes::new(events).expect("they follow from one another");
        assert_eq!(changes.last(), 5);
        let versions: Vec<Option<i64>> =
            (1..=6).map(|at| changes.at(b"a", at).map(|kv| kv.version)).collect();
        assert_eq!(versions, [None, Some(1), Some(2), None, Some(1), Some(1)]);
        let all = KeyRange::prefix(Bytes::new());
        assert_eq!(changes.range_at(&all, 4).len(), 1);
        assert_eq!(changes.between(2, 3).count(), 3);
    }

    #[test]
    fn what_does_not_follow_is_noticed() {
        let rejected = |events: &[Event]| Changes::new(events.iter().cloned()).is_err();
        assert!(rejected(&[put("a", 3, 3, 1)]), "revision 2 is missing");
        assert!(rejected(&[put("a", 2, 2, 1), put("a", 4, 2, 2)]), "revision 3 is missing");
        assert!(rejected(&[put("a", 2, 2, 1), put("a", 3, 2, 3)]), "a version is missing");
        assert!(rejected(&[put("a", 2, 2, 1), put("a", 3, 3, 1)]), "it was not created again");
        assert!(rejected(&[delete("a", 2)]), "it was not there");
    }
}
