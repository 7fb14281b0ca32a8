//! How rows are laid out in the tree: the table is the first byte of the key.

use bytes::Bytes;
use lsm_tree::Slice;
use quorate_mvcc::engine::{EngineError, KeyBounds, ROW_KEY_BYTES_MAX, Table};
use quorate_raft::EntryId;
use std::ops::Bound;

/// The row that holds the applied position. No [`Table`] has this tag, and it sorts behind all.
pub(crate) const APPLIED_KEY: [u8; 1] = [0xff];

/// Values above this length are shared with the block or memtable that holds them; below it, a
/// copy is cheaper than the reference and does not keep a whole block alive.
const SHARE_BYTES_MIN: usize = 1024;

/// The bounds of a scan in the tree.
pub(crate) type TreeBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

// The tree stores lengths in 16 bits, and one byte names the table.
const _: () = assert!(1 + ROW_KEY_BYTES_MAX == u16::MAX as usize);

/// The key of a row in the tree.
///
/// # Panics
/// If the key is longer than [`ROW_KEY_BYTES_MAX`].
pub(crate) fn tagged(table: Table, key: &[u8]) -> Vec<u8> {
    assert!(key.len() <= ROW_KEY_BYTES_MAX, "a key of {} bytes was let in", key.len());
    let mut tagged = Vec::with_capacity(1 + key.len());
    tagged.push(table as u8);
    tagged.extend_from_slice(key);
    tagged
}

/// The bounds of a scan in the tree, or `None` if nothing can lie between them.
pub(crate) fn tagged_bounds(table: Table, (from, to): KeyBounds<'_>) -> Option<TreeBounds> {
    let lower = match shortened(from, Bound::Excluded) {
        Bound::Included(key) => Bound::Included(tagged(table, key)),
        Bound::Excluded(key) => Bound::Excluded(tagged(table, key)),
        Bound::Unbounded => Bound::Included(vec![table as u8]),
    };
    let upper = match shortened(to, Bound::Included) {
        Bound::Included(key) => Bound::Included(tagged(table, key)),
        Bound::Excluded(key) => Bound::Excluded(tagged(table, key)),
        Bound::Unbounded => Bound::Excluded(vec![table as u8 + 1]),
    };
    let (Bound::Included(first) | Bound::Excluded(first)) = &lower else { return None };
    let (Bound::Included(last) | Bound::Excluded(last)) = &upper else { return None };
    let both_included = matches!((&lower, &upper), (Bound::Included(_), Bound::Included(_)));
    (first < last || first == last && both_included).then_some((lower, upper))
}

/// A bound may be longer than any key: what a client asks for is not what it may store. Such a bound
/// lies directly behind its own beginning, the longest key there is. Cut to that, a lower bound
/// excludes it and an upper one includes it.
fn shortened<'a>(
    bound: Bound<&'a [u8]>,
    cut: impl Fn(&'a [u8]) -> Bound<&'a [u8]>,
) -> Bound<&'a [u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) if key.len() > ROW_KEY_BYTES_MAX => {
            cut(&key[..ROW_KEY_BYTES_MAX])
        }
        other => other,
    }
}

/// The key of a row without its table.
pub(crate) fn untagged(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key.get(1..).unwrap_or_default())
}

/// A value of the tree as the data model takes it.
pub(crate) fn value(value: Slice) -> Bytes {
    if value.len() < SHARE_BYTES_MIN {
        Bytes::copy_from_slice(&value)
    } else {
        Bytes::from_owner(value)
    }
}

/// The value of the applied row: term, then index, big-endian.
pub(crate) fn encode_applied(applied: EntryId) -> [u8; 16] {
    let mut encoded = [0; 16];
    encoded[..8].copy_from_slice(&applied.term.0.to_be_bytes());
    encoded[8..].copy_from_slice(&applied.index.0.to_be_bytes());
    encoded
}

/// Reads what [`encode_applied`] wrote.
///
/// # Errors
/// If the value has another length, or names a position that no log reaches.
pub(crate) fn decode_applied(value: &[u8]) -> Result<EntryId, EngineError> {
    let (term, index) = value
        .split_first_chunk::<8>()
        .and_then(|(term, rest)| Some((term, <&[u8; 8]>::try_from(rest).ok()?)))
        .ok_or_else(|| {
            EngineError::Corrupt(format!("the applied row has {} bytes, not 16", value.len()))
        })?;
    let (term, index) = (u64::from_be_bytes(*term), u64::from_be_bytes(*index));
    if term.max(index) > i64::MAX.unsigned_abs() {
        return Err(EngineError::Corrupt(format!("no log reaches {index} of term {term}")));
    }
    Ok(EntryId::new(term, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applied_row_round_trips_and_rejects_other_lengths() {
        let applied = EntryId::new(3, 0x0102_0304_0506_0708);
        assert_eq!(decode_applied(&encode_applied(applied)), Ok(applied));
        let last = EntryId::new(u64::MAX >> 1, u64::MAX >> 1);
        assert_eq!(decode_applied(&encode_applied(last)), Ok(last));
        for beyond in [EntryId::new(1 << 63, 1), EntryId::new(1, 1 << 63)] {
            assert!(decode_applied(&encode_applied(beyond)).is_err(), "{beyond} was accepted");
        }
        for length in (0..40).filter(|length| *length != 16) {
            assert!(decode_applied(&vec![1; length]).is_err(), "{length} bytes were accepted");
        }
    }

    #[test]
    fn bounds_that_enclose_nothing_are_recognised() {
        let bounds = |from, to| tagged_bounds(Table::Key, (from, to));
        assert_eq!(bounds(Bound::Included(b"b"), Bound::Excluded(b"a")), None);
        assert_eq!(bounds(Bound::Included(b"a"), Bound::Excluded(b"a")), None);
        assert_eq!(bounds(Bound::Excluded(b"a"), Bound::Included(b"a")), None);
        assert!(bounds(Bound::Included(b"a"), Bound::Included(b"a")).is_some());
        assert!(bounds(Bound::Unbounded, Bound::Unbounded).is_some());
    }
}
