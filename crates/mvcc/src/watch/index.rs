//! Which watchers watch a key, without asking each.
//!
//! Watchers of one key are in an ordered map. Watchers of ranges are in a sorted list with, over it,
//! a balanced tree of the furthest ends (an interval tree laid out in place): all ranges around a
//! key are found in logarithmic time for each. The list is rebuilt now and then, and not at every
//! change: new ranges wait in a short list of their own, removed ones stay as empty sets.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::key::KeyRange;

/// Watchers by what they watch.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    points: BTreeMap<Bytes, BTreeSet<i64>>,
    /// Sorted by beginning and end.
    spans: Vec<Span>,
    /// Not sorted yet.
    waiting: Vec<Span>,
    /// How many of `spans` have no watcher any more.
    empty: usize,
}

/// A range and who watches it.
#[derive(Debug)]
struct Span {
    from: Bytes,
    /// `None` if it is open.
    to: Option<Bytes>,
    ids: BTreeSet<i64>,
    /// The furthest end in the subtree of which this is the root.
    furthest: Option<Bytes>,
}

/// How many ranges may wait, whatever the number of the others.
const WAITING_MAX: usize = 32;

impl KeyIndex {
    /// Adds a watcher.
    pub(super) fn insert(&mut self, range: &KeyRange, id: i64) {
        let (from, to) = match range {
            KeyRange::Point(key) => {
                self.points.entry(key.clone()).or_default().insert(id);
                return;
            }
            KeyRange::Span { from, to } => (from.clone(), Some(to.clone())),
            KeyRange::From(from) => (from.clone(), None),
        };
        if let Some(span) = self.find(&from, to.as_ref()) {
            let was_empty = span.ids.is_empty();
            span.ids.insert(id);
            self.empty -= usize::from(was_empty);
            return;
        }
        self.waiting.push(Span { furthest: to.clone(), from, to, ids: BTreeSet::from([id]) });
        if self.waiting.len() > WAITING_MAX + self.spans.len() / 8 {
            self.rebuild();
        }
    }

    /// Removes a watcher that was added with this range.
    pub(super) fn remove(&mut self, range: &KeyRange, id: i64) {
        let (from, to) = match range {
            KeyRange::Point(key) => {
                let ids = self.points.get_mut(key).expect("the key is watched");
                assert!(ids.remove(&id), "{id} watches it");
                if ids.is_empty() {
                    self.points.remove(key);
                }
                return;
            }
            KeyRange::Span { from, to } => (from, Some(to)),
            KeyRange::From(from) => (from, None),
        };
        let span = self.find(from, to).expect("the range is watched");
        assert!(span.ids.remove(&id), "{id} watches it");
        self.empty += usize::from(span.ids.is_empty());
        if self.empty > WAITING_MAX + self.spans.len() / 2 {
            self.rebuild();
        }
    }

    /// Calls with every watcher of a key, in no order, each once.
    pub(super) fn watchers(&self, key: &[u8], mut found: impl FnMut(i64)) {
        let mut all = |ids: &BTreeSet<i64>| ids.iter().for_each(|&id| found(id));
        if let Some(ids) = self.points.get(key) {
            all(ids);
        }
        self.waiting.iter().filter(|span| span.contains(key)).for_each(|span| all(&span.ids));
        stab(&self.spans, key, &mut all);
    }

    fn find(&mut self, from: &Bytes, to: Option<&Bytes>) -> Option<&mut Span> {
        match self.spans.binary_search_by(|span| span.order(from, to)) {
            Ok(at) => Some(&mut self.spans[at]),
            Err(_) => self.waiting.iter_mut().find(|span| span.order(from, to).is_eq()),
        }
    }

    fn rebuild(&mut self) {
        self.spans.append(&mut self.waiting);
        self.spans.retain(|span| !span.ids.is_empty());
        self.spans.sort_by(|a, b| a.order(&b.from, b.to.as_ref()));
        self.empty = 0;
        set_furthest(&mut self.spans);
    }
}

impl Span {
    fn contains(&self, key: &[u8]) -> bool {
        self.from.as_ref() <= key && is_before(key, self.to.as_ref())
    }

    fn order(&self, from: &Bytes, to: Option<&Bytes>) -> core::cmp::Ordering {
        // Any order of the ends will do; open ones are first.
        self.from.cmp(from).then_with(|| self.to.as_ref().cmp(&to))
    }
}

fn is_before(key: &[u8], end: Option<&Bytes>) -> bool {
    end.is_none_or(|end| key < end.as_ref())
}

/// Fills in the furthest ends of a subtree, whose root is its middle. Returns that of the root.
fn set_furthest(spans: &mut [Span]) -> Option<Option<Bytes>> {
    let middle = spans.len() / 2;
    let (left, rest) = spans.split_at_mut(middle);
    let (root, right) = rest.split_first_mut()?;
    root.furthest = root.to.clone();
    for child in [set_furthest(left), set_furthest(right)].into_iter().flatten() {
        let further = match (&root.furthest, &child) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(here), Some(there)) => there > here,
        };
        if further {
            root.furthest = child;
        }
    }
    Some(root.furthest.clone())
}

/// Finds the ranges of a subtree that contain a key.
fn stab(spans: &[Span], key: &[u8], found: &mut impl FnMut(&BTreeSet<i64>)) {
    let (left, rest) = spans.split_at(spans.len() / 2);
    let Some((root, right)) = rest.split_first() else { return };
    if !is_before(key, root.furthest.as_ref()) {
        return;
    }
    stab(left, key, found);
    if root.from.as_ref() <= key {
        if root.contains(key) {
            found(&root.ids);
        }
        stab(right, key, found);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(0..4u8, 1..4).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            key().prop_map(KeyRange::Point),
            key().prop_map(KeyRange::From),
            (key(), key()).prop_map(|(from, to)| KeyRange::Span { from, to }),
        ]
    }

    proptest! {
        /// Against asking each watcher, with enough of them for several rebuilds.
        #[test]
        fn it_finds_whom_asking_each_would_find(
            ranges in prop::collection::vec((range(), any::<bool>()), 1..300),
            keys in prop::collection::vec(key(), 1..20),
        ) {
            let mut index = KeyIndex::default();
            let mut watching = vec![];
            for (id, (range, stays)) in (0..).zip(ranges) {
                index.insert(&range, id);
                watching.push((range, id));
                if !stays {
                    let (range, id) = watching.swap_remove(watching.len() / 2);
                    index.remove(&range, id);
                }
            }
            for key in keys {
                let mut found = vec![];
                index.watchers(&key, |id| found.push(id));
                found.sort_unstable();
                let mut expected: Vec<i64> = vec![];
                expected.extend(
                    watching.iter().filter(|(range, _)| range.contains(&key)).map(|(_, id)| id),
                );
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
