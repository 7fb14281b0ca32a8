//! The memory layer: what was committed and is not yet on disk.
//!
//! A memtable is a concurrent ordered map from (key, sequence number) to value. One writer adds to
//! the newest; readers walk it at the same time and skip what is not for them. We keep the list of
//! memtables ourselves and not in the tree, because the tree guards its own list by a lock that it
//! holds while it syncs a manifest: a commit would wait for the disk.

use crate::row::{APPLIED_KEY, TreeBounds, encode_applied};
use lsm_tree::{InternalValue, Memtable, SeqNo, Slice, ValueType};
use quorate_raft::EntryId;
use std::{
    collections::VecDeque,
    ops::Bound::{self, Excluded, Included, Unbounded},
    sync::Arc,
};

/// Rows fetched from a memtable at a time, at most: each fetch costs a search.
const CHUNK_ROWS_MAX: usize = 64;

/// The row that holds the applied position. It ends a memtable and hides its predecessors, so it is
/// on disk exactly when the rows before it are.
pub(crate) fn applied_row(applied: EntryId, sequence: SeqNo) -> InternalValue {
    let value = encode_applied(applied);
    InternalValue::from_components(APPLIED_KEY, value, sequence, ValueType::Value)
}

/// The newest row of each key, in order. Of a sealed memtable no view that is still to come sees
/// another.
pub(crate) fn newest_rows(memtable: &Memtable) -> impl Iterator<Item = InternalValue> {
    let mut last: Option<Slice> = None;
    memtable.iter().filter(move |row| {
        let newest = last.as_ref() != Some(&row.key.user_key);
        if newest {
            last = Some(row.key.user_key.clone());
        }
        newest
    })
}

/// A copy of the rows below a sequence number; keys and values are shared and not copied.
pub(crate) fn frozen(memtable: &Memtable, bound: SeqNo) -> Memtable {
    let copy = Memtable::new(memtable.id());
    for row in memtable.iter().filter(|row| row.key.seqno < bound) {
        copy.insert(row);
    }
    copy
}

/// The first row within bounds and below a sequence number.
pub(crate) fn first(
    memtable: &Memtable,
    bounds: &TreeBounds,
    bound: SeqNo,
) -> Option<InternalValue> {
    let (lower, upper) = places(bounds);
    let keys = |bound: Bound<InternalValue>| bound.map(|row| row.key);
    let mut rows = memtable.items.range((keys(lower), keys(upper)));
    let entry = rows.find(|entry| entry.key().seqno < bound)?;
    Some(InternalValue { key: entry.key().clone(), value: entry.value().clone() })
}

/// Rows of a memtable within bounds and below a sequence number, from both ends.
///
/// Owns the memtable, so that a scan can outlive the view that began it. It therefore fetches rows
/// in chunks, which grow from one: a search for a single row costs no more than that row.
pub(crate) struct MemtableRows {
    memtable: Arc<Memtable>,
    bound: SeqNo,
    /// What is not fetched yet lies between these. Only their keys count.
    lower: Bound<InternalValue>,
    upper: Bound<InternalValue>,
    /// Fetched from the front, and from the back, each in the order in which it is to be given.
    front: VecDeque<InternalValue>,
    back: VecDeque<InternalValue>,
    /// How many the next fetch takes.
    chunk_rows: usize,
    /// Nothing is left to fetch.
    exhausted: bool,
}

/// The place of a key among the rows: before all its versions, or behind them.
fn place(key: &[u8], before_versions: bool) -> InternalValue {
    let sequence = if before_versions { SeqNo::MAX } else { 0 };
    InternalValue::from_components(key, [], sequence, ValueType::Value)
}

/// The places of bounds.
fn places(bounds: &TreeBounds) -> (Bound<InternalValue>, Bound<InternalValue>) {
    let lower = match &bounds.0 {
        Included(key) => Included(place(key, true)),
        Excluded(key) => Excluded(place(key, false)),
        Unbounded => Unbounded,
    };
    let upper = match &bounds.1 {
        Included(key) => Included(place(key, false)),
        Excluded(key) => Excluded(place(key, true)),
        Unbounded => Unbounded,
    };
    (lower, upper)
}

impl MemtableRows {
    /// Begins a walk. The bounds are not crossed.
    pub(crate) fn new(memtable: Arc<Memtable>, bounds: &TreeBounds, bound: SeqNo) -> Self {
        let (lower, upper) = places(bounds);
        let (front, back) = (VecDeque::new(), VecDeque::new());
        Self { memtable, bound, lower, upper, front, back, chunk_rows: 1, exhausted: false }
    }

    /// Fetches the next rows from one end, and moves that end behind them.
    fn fetch(&mut self, from_front: bool) {
        if self.exhausted {
            return;
        }
        let keys = |bound: &Bound<InternalValue>| bound.as_ref().map(|row| row.key.clone());
        let mut rows = self.memtable.items.range((keys(&self.lower), keys(&self.upper)));
        let (chunk, end) = if from_front {
            (&mut self.front, &mut self.lower)
        } else {
            (&mut self.back, &mut self.upper)
        };
        while chunk.len() < self.chunk_rows {
            let Some(entry) = (if from_front { rows.next() } else { rows.next_back() }) else {
                self.exhausted = true;
                return;
            };
            let row = InternalValue { key: entry.key().clone(), value: entry.value().clone() };
            if row.key.seqno < self.bound {
                *end = Excluded(row.clone());
                chunk.push_back(row);
            }
        }
        self.chunk_rows = (self.chunk_rows * 2).min(CHUNK_ROWS_MAX);
    }
}

impl Iterator for MemtableRows {
    type Item = lsm_tree::Result<InternalValue>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.front.is_empty() {
            self.fetch(true);
        }
        // When the ends have met, what is left was fetched from the back.
        self.front.pop_front().or_else(|| self.back.pop_back()).map(Ok)
    }
}

impl DoubleEndedIterator for MemtableRows {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.back.is_empty() {
            self.fetch(false);
        }
        self.back.pop_front().or_else(|| self.front.pop_back()).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memtable(rows: &[(&str, SeqNo)]) -> Arc<Memtable> {
        let memtable = Memtable::new(0);
        for (key, sequence) in rows {
            let value = format!("{key}{sequence}");
            memtable.insert(InternalValue::from_components(
                key.as_bytes(),
                value.as_bytes(),
                *sequence,
                ValueType::Value,
            ));
        }
        Arc::new(memtable)
    }

    fn name(row: lsm_tree::Result<InternalValue>) -> String {
        String::from_utf8(row.expect("memory does not fail").value.to_vec()).expect("text")
    }

    #[test]
    fn rows_come_in_order_from_both_ends_until_they_meet() {
        let keys: Vec<String> = (0..500).map(|number| format!("{number:03}")).collect();
        let rows: Vec<(&str, SeqNo)> = keys.iter().map(|key| (key.as_str(), 1)).collect();
        let memtable = memtable(&rows);
        for from_back in [0, 1, 2, 3, 250, 499, 500, 501] {
            let mut walk = MemtableRows::new(Arc::clone(&memtable), &(Unbounded, Unbounded), 2);
            let back: Vec<String> = walk.by_ref().rev().take(from_back).map(name).collect();
            let mut found: Vec<String> = walk.map(name).collect();
            found.extend(back.into_iter().rev());
            let expected: Vec<String> = keys.iter().map(|key| format!("{key}1")).collect();
            assert_eq!(found, expected, "{from_back} rows from the back");
        }
    }

    #[test]
    fn bounds_mean_keys_and_not_versions() {
        let memtable = memtable(&[("a", 1), ("b", 1), ("b", 2), ("b", 3), ("c", 1)]);
        let walk = |lower, upper| {
            let bounds = (lower, upper);
            MemtableRows::new(Arc::clone(&memtable), &bounds, 3).map(name).collect::<Vec<_>>()
        };
        let b = || b"b".to_vec();
        assert_eq!(walk(Included(b()), Included(b())), ["b2", "b1"]);
        assert_eq!(walk(Excluded(b()), Unbounded), ["c1"]);
        assert_eq!(walk(Unbounded, Excluded(b())), ["a1"]);
    }

    #[test]
    fn only_the_newest_row_of_a_key_goes_to_disk() {
        let memtable = memtable(&[("a", 1), ("b", 1), ("b", 7), ("b", 3)]);
        let rows: Vec<String> = newest_rows(&memtable).map(|row| name(Ok(row))).collect();
        assert_eq!(rows, ["a1", "b7"]);
    }
}
