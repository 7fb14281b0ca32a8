//! Which keys a pair of the wire means, stated a second time: this decides what belongs into an answer.

use bytes::Bytes;
use quorate_mvcc::KeyRange;

/// A key and what the end of its range says.
pub(crate) struct Range {
    /// The lowest key that may be in it.
    pub(crate) from: Bytes,
    end: Bytes,
}

impl Range {
    pub(crate) fn of(range: &KeyRange) -> Self {
        let (from, end) = range.to_pair();
        Self::between(from, end)
    }

    pub(crate) fn between(from: Bytes, end: Bytes) -> Self {
        Self { from, end }
    }

    /// etcd's rule: no end is one key, the end "\0" is none, and any other is the first key behind.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match &self.end[..] {
            [] => key == self.from,
            [0] => key >= &self.from[..],
            end => key >= &self.from[..] && key < end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_a_range_is() {
        let has = |end: &'static str| {
            let (from, end) = (Bytes::from_static(b"b"), Bytes::from_static(end.as_bytes()));
            ["a", "b", "ba", "c"]
                .map(|key| Range::between(from.clone(), end.clone()).contains(key.as_bytes()))
        };
        assert_eq!(has(""), [false, true, false, false]);
        assert_eq!(has("\0"), [false, true, true, true]);
        assert_eq!(has("c"), [false, true, true, false]);
        assert_eq!(has("a"), [false; 4], "it ends before it begins");
    }
}
