//! Whether ranges, taken together, hold the whole of another one.

use alloc::vec::Vec;
use core::ops::Bound;

use quorate_planted::planted;

use crate::key::KeyRange;

/// Whether `ranges` together hold every key of `wanted`. One that can't contain a key counts as its first key, so that
/// nobody is let in by asking for nothing.
pub(super) fn covers(mut ranges: Vec<KeyRange>, wanted: &KeyRange) -> bool {
    if matches!(wanted, KeyRange::Point(_)) || wanted.is_empty() || planted!(FirstKeyIsChecked) {
        return ranges.iter().any(|range| range.contains(wanted.first()));
    }
    ranges.sort_by(|a, b| a.first().cmp(b.first()));
    let wanted_end = end(wanted);
    // All keys of `wanted` below this one are held.
    let mut reached = wanted.first().to_vec();
    for range in ranges {
        if *range.first() > reached {
            return false;
        }
        let Some(end) = end(&range) else { return true };
        reached = reached.max(end);
        if wanted_end.as_ref().is_some_and(|end| *end <= reached) {
            return true;
        }
    }
    false
}

/// The first key behind a range, if it ends.
fn end(range: &KeyRange) -> Option<Vec<u8>> {
    match range.end() {
        Bound::Included(last) => Some([last, &[0]].concat()),
        Bound::Excluded(end) => Some(end.to_vec()),
        Bound::Unbounded => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn span(from: &'static str, to: &'static str) -> KeyRange {
        KeyRange::Span { from: from.into(), to: to.into() }
    }

    fn point(key: &'static str) -> KeyRange {
        KeyRange::Point(key.into())
    }

    #[test]
    fn neighbours_join() {
        let all = || alloc::vec![span("c", "e"), span("a", "c"), point("e"), span("e\0", "g")];
        assert!(covers(all(), &span("a", "g")));
        assert!(covers(all(), &point("e")));
        assert!(!covers(all(), &span("a", "g\0")));
        assert!(!covers(all(), &KeyRange::From("a".into())));
        assert!(!covers(alloc::vec![span("a", "c"), span("c\0", "e")], &span("a", "d")));
        assert!(covers(alloc::vec![KeyRange::From("b".into())], &KeyRange::From("c".into())));
        assert!(!covers(alloc::vec![KeyRange::From("b".into())], &KeyRange::From("a".into())));
        assert!(!covers(Vec::new(), &span("b", "a")));
        assert!(!covers(alloc::vec![span("c", "d")], &span("b", "a")));
    }

    /// Keys of up to two letters out of two, and all there is between them: a model that counts them out.
    fn keys() -> Vec<Bytes> {
        let mut words: Vec<Vec<u8>> = alloc::vec![Vec::new()];
        for _ in 0..3 {
            let longer = |word: &Vec<u8>| [[&word[..], b"a"].concat(), [&word[..], b"b"].concat()];
            let longer: Vec<_> = words.iter().flat_map(longer).collect();
            words.extend(longer);
        }
        let mut keys = Vec::new();
        for word in words {
            keys.push(Bytes::from([&word[..], &[0]].concat()));
            keys.push(Bytes::from([&word[..], &[0, 0]].concat()));
            keys.push(Bytes::from(word));
        }
        keys.retain(|key| !key.is_empty());
        keys.sort();
        keys.dedup();
        keys
    }

    fn a_range() -> impl Strategy<Value = KeyRange> {
        let key = || proptest::sample::select(keys());
        prop_oneof![
            key().prop_map(KeyRange::Point),
            (key(), key())
                .prop_filter("an end", |(_, to)| to[..] != [0])
                .prop_map(|(from, to)| KeyRange::Span { from, to }),
            key().prop_map(KeyRange::From),
        ]
    }

    proptest! {
        /// What is said to be held is, key by key; and what is not has a key that shows it. Between two keys of the
        /// model there may be others that only a range holds, so the last of each are asked for too.
        #[test]
        fn as_counted(ranges in proptest::collection::vec(a_range(), 0..5), wanted in a_range()) {
            let held = covers(ranges.clone(), &wanted);
            let mut asked: Vec<Vec<u8>> = Vec::new();
            for key in keys() {
                // Itself, the first that follows it, and one that is behind all with it as a prefix.
                for tail in [&[][..], &[0], &[0, 0, 0], &[b'a', 0, 1], &[0xff; 4]] {
                    asked.push([&key[..], tail].concat());
                }
            }
            let missed = asked.iter().find(|key| {
                wanted.contains(key) && !ranges.iter().any(|range| range.contains(key))
            });
            if held {
                prop_assert_eq!(missed, None);
            } else if !wanted.is_empty() {
                prop_assert!(missed.is_some(), "every key of {:?} is in {:?}", wanted, ranges);
            }
        }
    }
}
