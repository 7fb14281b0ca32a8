//! Which keys a request means.

use core::ops::Bound;

use bytes::Bytes;

use crate::error::Error;

/// A set of keys, parsed once from the pair `key`, `range_end` of a request.
///
/// On the wire the second of the pair says what the first is: empty means one key, a single zero
/// byte means "and all that follow", and anything else is the exclusive end. Keys compare bytewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// One key.
    Point(Bytes),
    /// The keys from `from` up to and without `to`. Contains nothing if `to` is not above `from`.
    Span {
        /// The first key.
        from: Bytes,
        /// The key before which it ends. Neither empty nor a single zero byte, which say something
        /// else on the wire.
        to: Bytes,
    },
    /// This key and all that follow.
    From(Bytes),
}

/// What stands for "no end" in the place of a range's end.
const OPEN_END: &[u8] = &[0];

impl KeyRange {
    /// Reads the pair of a request.
    ///
    /// # Errors
    /// [`Error::EmptyKey`]: no stored key is empty, and etcd refuses to look for one.
    pub fn parse(key: Bytes, range_end: Bytes) -> Result<Self, Error> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        Ok(Self::of(key, range_end))
    }

    /// Reads the pair of a watch. There an empty key means the lowest one (etcd's rule), and a range
    /// that can't contain a key is refused.
    ///
    /// # Errors
    /// [`Error::WatchRangeEmpty`].
    pub fn parse_watch(key: Bytes, range_end: Bytes) -> Result<Self, Error> {
        let key = if key.is_empty() { Bytes::from_static(OPEN_END) } else { key };
        let range = Self::of(key, range_end);
        if range.is_empty() { Err(Error::WatchRangeEmpty) } else { Ok(range) }
    }

    fn of(key: Bytes, range_end: Bytes) -> Self {
        if range_end.is_empty() {
            Self::Point(key)
        } else if range_end == OPEN_END {
            Self::From(key)
        } else {
            Self::Span { from: key, to: range_end }
        }
    }

    /// The keys that begin with `prefix`; all keys if it is empty.
    #[must_use]
    pub fn prefix(prefix: Bytes) -> Self {
        let kept = prefix.iter().rposition(|&byte| byte != 0xff);
        match kept {
            None if prefix.is_empty() => Self::From(Bytes::from_static(OPEN_END)),
            None => Self::From(prefix),
            Some(last) => {
                let mut to = prefix[..=last].to_vec();
                to[last] += 1;
                Self::Span { from: prefix, to: to.into() }
            }
        }
    }

    /// Whether it can't contain a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Point(_) | Self::From(_) => false,
            Self::Span { from, to } => to <= from,
        }
    }

    /// Whether it contains a key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Point(point) => point == key,
            Self::Span { from, to } => from.as_ref() <= key && key < to.as_ref(),
            Self::From(from) => from.as_ref() <= key,
        }
    }

    /// The lowest key it may contain.
    #[must_use]
    pub fn first(&self) -> &Bytes {
        match self {
            Self::Point(key) | Self::From(key) | Self::Span { from: key, .. } => key,
        }
    }

    /// The bound above all its keys.
    #[must_use]
    pub fn end(&self) -> Bound<&[u8]> {
        match self {
            Self::Point(key) => Bound::Included(key),
            Self::Span { to, .. } => Bound::Excluded(to),
            Self::From(_) => Bound::Unbounded,
        }
    }

    /// What is left of it behind one of its keys, if it was more than that key.
    pub(crate) fn behind(&self, key: &[u8]) -> Option<Self> {
        let from = || Bytes::from([key, &[0]].concat());
        match self {
            Self::Point(_) => None,
            Self::Span { to, .. } => Some(Self::Span { from: from(), to: to.clone() }),
            Self::From(_) => Some(Self::From(from())),
        }
    }

    /// The pair of the wire again: key and range end.
    ///
    /// # Panics
    /// If it was not made by [`KeyRange::parse`] or the like, and has an end that would be read as
    /// something else.
    #[must_use]
    pub fn to_pair(&self) -> (Bytes, Bytes) {
        match self {
            Self::Point(key) => (key.clone(), Bytes::new()),
            Self::Span { from, to } => {
                assert!(!to.is_empty() && to != OPEN_END, "the end of a span is a key above zero");
                (from.clone(), to.clone())
            }
            Self::From(key) => (key.clone(), Bytes::from_static(OPEN_END)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn the_second_of_the_pair_says_what_the_first_is() {
        let parse = |key, end| KeyRange::parse(bytes(key), bytes(end));
        assert_eq!(parse("a", ""), Ok(KeyRange::Point(bytes("a"))));
        assert_eq!(parse("a", "\0"), Ok(KeyRange::From(bytes("a"))));
        assert_eq!(parse("a", "b"), Ok(KeyRange::Span { from: bytes("a"), to: bytes("b") }));
        assert_eq!(parse("", "b"), Err(Error::EmptyKey));
        assert!(parse("b", "a").expect("legal, and empty").is_empty());
    }

    #[test]
    fn a_watch_may_leave_the_key_out_and_may_not_be_empty() {
        let parse = |key, end| KeyRange::parse_watch(bytes(key), bytes(end));
        assert_eq!(parse("", ""), Ok(KeyRange::Point(bytes("\0"))));
        assert_eq!(parse("", "\0"), Ok(KeyRange::From(bytes("\0"))));
        assert_eq!(parse("b", "b"), Err(Error::WatchRangeEmpty));
        assert_eq!(parse("b", "a"), Err(Error::WatchRangeEmpty));
    }

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let to = |prefix: &'static [u8]| KeyRange::prefix(Bytes::from_static(prefix)).to_pair().1;
        assert_eq!(to(b"ab"), b"ac"[..]);
        assert_eq!(to(b"a\xff\xff"), b"b"[..]);
        assert_eq!(to(b"\xff\xff"), b"\0"[..]);
        assert_eq!(to(b""), b"\0"[..]);
        assert!(KeyRange::prefix(Bytes::new()).contains(b"\0"));
    }
}
