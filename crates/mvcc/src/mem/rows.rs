//! A sorted table whose copies are cheap and stay as they are.
//!
//! The rows lie in pages, and a copy shares the pages: it costs a pointer for every thirty rows or so,
//! when one of the two is first written to, and a write copies the one page that it changes. A tree of
//! the standard library would be copied row by row, for every commit that somebody looks at.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use crate::engine::KeyBounds;

/// A page with more rows is split. The first write to a page after a copy costs its rows, and each copy that
/// is written to costs the pages: this is about right for some thousands of rows.
const PAGE_ROWS_MAX: usize = 32;

/// A key and its value.
type Row = (Bytes, Bytes);

/// See the module. No page is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedRows {
    pages: Arc<Vec<Arc<Vec<Row>>>>,
}

impl SharedRows {
    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        let page = self.pages.get(self.page_of(key))?;
        let at = page.binary_search_by(|(other, _)| other[..].cmp(key)).ok()?;
        Some(&page[at].1)
    }

    /// Sets the value of a key.
    pub(super) fn insert(&mut self, key: Bytes, value: Bytes) {
        let at = self.page_of(&key);
        let pages = Arc::make_mut(&mut self.pages);
        let Some(page) = pages.get_mut(at) else {
            return pages.push(Arc::new(Vec::from([(key, value)])));
        };
        let rows = Arc::make_mut(page);
        match rows.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(row) => rows[row].1 = value,
            Err(row) => rows.insert(row, (key, value)),
        }
        if rows.len() > PAGE_ROWS_MAX {
            // Keys that come in order fill their pages.
            let is_last = at + 1 == pages.len();
            let rows = Arc::make_mut(&mut pages[at]);
            let half = if is_last { rows.len() - 1 } else { rows.len() / 2 };
            let upper = rows.split_off(half);
            pages.insert(at + 1, Arc::new(upper));
        }
    }

    /// Removes a key, if it is there.
    pub(super) fn remove(&mut self, key: &[u8]) {
        if self.get(key).is_none() {
            return;
        }
        let at = self.page_of(key);
        let pages = Arc::make_mut(&mut self.pages);
        let rows = Arc::make_mut(&mut pages[at]);
        rows.retain(|(other, _)| other != key);
        if rows.is_empty() {
            pages.remove(at);
        }
    }

    /// The rows in these bounds, ascending.
    pub(super) fn range<'a>(
        &'a self,
        (from, to): KeyBounds<'_>,
    ) -> impl DoubleEndedIterator<Item = &'a Row> + use<'a> {
        let is_before = move |row: &Row| match from {
            Bound::Included(from) => row.0 < from,
            Bound::Excluded(from) => row.0 <= from,
            Bound::Unbounded => false,
        };
        let (first, page) = match from {
            Bound::Included(key) | Bound::Excluded(key) => {
                let first = self.page_of(key);
                (first, self.pages.get(first).map_or(0, |page| page.partition_point(is_before)))
            }
            Bound::Unbounded => (0, 0),
        };
        let end = self.position(to);
        let pages = self.pages.get(first..).unwrap_or_default().iter().enumerate();
        pages.flat_map(move |(offset, rows)| {
            let begin = if offset == 0 { page } else { 0 };
            let stop = match (first + offset).cmp(&end.0) {
                core::cmp::Ordering::Less => rows.len(),
                core::cmp::Ordering::Equal => end.1,
                core::cmp::Ordering::Greater => 0,
            };
            rows.get(begin..stop).unwrap_or_default()
        })
    }

    /// All rows, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// Where the rows within an upper bound end: a page, and how many of its rows.
    fn position(&self, to: Bound<&[u8]>) -> (usize, usize) {
        match to {
            Bound::Unbounded => (self.pages.len(), 0),
            Bound::Included(key) | Bound::Excluded(key) => {
                let page = self.page_of(key);
                let takes_equal = matches!(to, Bound::Included(_));
                let is_within = |row: &Row| row.0 < key || takes_equal && row.0 == key;
                let rows = self.pages.get(page).map_or(0, |page| page.partition_point(is_within));
                (page, rows)
            }
        }
    }

    /// The page in which a key is or would be.
    fn page_of(&self, key: &[u8]) -> usize {
        let after = self.pages.partition_point(|page| page[0].0[..] <= *key);
        after.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn key(number: u16) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    fn bound(number: u16, kind: u8) -> Bound<Bytes> {
        match kind % 3 {
            0 => Bound::Included(key(number)),
            1 => Bound::Excluded(key(number)),
            _ => Bound::Unbounded,
        }
    }

    proptest! {
        #[test]
        fn a_table_is_a_map_and_its_copies_stay(
            actions in vec((0..600_u16, 0..4_u8), 0..1_200),
            looks in vec((0..600_u16, 0..600_u16, any::<u8>(), any::<u8>()), 1..8),
        ) {
            let (mut rows, mut map) = (SharedRows::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (step, (number, kind)) in actions.into_iter().enumerate() {
                if kind == 0 {
                    rows.remove(&key(number));
                    map.remove(&key(number));
                } else {
                    let value = key(step as u16);
                    rows.insert(key(number), value.clone());
                    map.insert(key(number), value);
                }
                if step % 100 == 0 {
                    copies.push((rows.clone(), map.clone()));
                }
            }
            copies.push((rows, map));
            for (rows, map) in copies {
                let expected = map.iter().map(|(key, value)| (key.clone(), value.clone()));
                prop_assert!(rows.iter().cloned().eq(expected));
                for (from, to, from_kind, to_kind) in &looks {
                    let (low, high) = ((*from).min(*to), (*from).max(*to) + 1);
                    let (low, high) = (bound(low, *from_kind), bound(high, *to_kind));
                    let bounds = (low.as_ref().map(|key| &key[..]), high.as_ref().map(|key| &key[..]));
                    let expected = map.range::<[u8], _>(bounds);
                    let expected = expected.map(|(key, value)| (key.clone(), value.clone()));
                    prop_assert!(rows.range(bounds).cloned().eq(expected.clone()));
                    prop_assert!(rows.range(bounds).rev().cloned().eq(expected.rev()));
                    prop_assert_eq!(rows.get(&key(*from)), map.get(&key(*from)));
                }
            }
        }
    }
}
