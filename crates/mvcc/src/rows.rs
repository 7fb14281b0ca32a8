//! How the data model lies in the rows of an engine.
//!
//! | table | key | value |
//! |---|---|---|
//! | `Key` | escaped key, end mark, inverted revision | a put with its value, or a deletion |
//! | `Revision` | revision | whether it deletes, key |
//! | `Lease` | id | time to live |
//! | `LeaseKey` | id, key | nothing |
//! | `Meta` | a name | see [`crate::store`] |
//!
//! Values lie with their keys: a range is one scan forwards, and the newest revision of a key comes
//! first since revisions are inverted (the measurement is in `docs/adr/0001`). Nothing in memory
//! grows with the number of keys.
//!
//! **Order of keys.** A user's key may be a prefix of another and may contain any byte, and the
//! revision behind it must not disturb the order. So a zero byte is written `00 ff` and the end of
//! the key `00 01`: where one key ends and a longer one goes on, the first has `00 01`, the second
//! `00 ff` or a byte above zero, and sorts after it, as it should.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use crate::codec::{self, Malformed, Source};
use crate::engine::{EngineError, ROW_KEY_BYTES_MAX};
use crate::key::KeyRange;
use crate::response::KeyValue;
use crate::revision::{COUNT_MAX, Revision};

const END_MARK: [u8; 2] = [0x00, 0x01];

/// The longest key that can be written, in bytes: its row fits even if every byte is escaped.
pub(crate) const KEY_BYTES_MAX: usize = (ROW_KEY_BYTES_MAX - END_MARK.len() - Revision::LENGTH) / 2;

/// Refuses a key, out of a row, that is longer than one that can be written.
pub(crate) fn check_key(key: &[u8]) -> Result<(), EngineError> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(());
    }
    let what = format!("a key of {} bytes, and {KEY_BYTES_MAX} is the limit", key.len());
    Err(EngineError::Corrupt(what))
}

/// The part of a row of `Table::Key` that all revisions of a key share.
pub(crate) fn key_prefix(key: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(key.len() + END_MARK.len() + Revision::LENGTH);
    for &byte in key {
        prefix.push(byte);
        if byte == 0 {
            prefix.push(0xff);
        }
    }
    prefix.extend_from_slice(&END_MARK);
    prefix
}

/// The key of the row of `Table::Key` of one change.
pub(crate) fn key_row(key: &[u8], revision: Revision) -> Vec<u8> {
    let mut row = key_prefix(key);
    push_inverted(&mut row, revision);
    row
}

/// The row that a change would have if it were of the key with this prefix.
pub(crate) fn prefix_row(prefix: &[u8], revision: Revision) -> Vec<u8> {
    let mut row = prefix.to_vec();
    push_inverted(&mut row, revision);
    row
}

fn push_inverted(row: &mut Vec<u8>, revision: Revision) {
    row.extend(revision.to_bytes().map(|byte| !byte));
}

/// The bound after all revisions of the key with this prefix.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    *after.last_mut().expect("a prefix ends with a mark") += 1;
    after
}

/// The bounds in `Table::Key` around all revisions of all keys of a range.
pub(crate) fn key_bounds(range: &KeyRange) -> (Vec<u8>, Bound<Vec<u8>>) {
    let first = key_prefix(range.first());
    let end = match range.end() {
        Bound::Included(_) => Bound::Excluded(after_prefix(&first)),
        Bound::Excluded(to) => Bound::Excluded(key_prefix(to)),
        Bound::Unbounded => Bound::Unbounded,
    };
    (first, end)
}

/// Takes the key of a row of `Table::Key` apart: the prefix, and the revision.
pub(crate) fn split_key_row(row: &Bytes) -> Result<(Bytes, Revision), EngineError> {
    let at = row.len().checked_sub(Revision::LENGTH).ok_or_else(|| damaged("Key", row))?;
    let mut revision: [u8; Revision::LENGTH] = row[at..].try_into().expect("the length is right");
    revision.iter_mut().for_each(|byte| *byte = !*byte);
    let revision = Revision::from_bytes(&revision).ok_or_else(|| damaged("Key", row))?;
    Ok((row.slice(..at), revision))
}

/// The user's key of a prefix. Shares its memory unless the key contains a zero byte.
pub(crate) fn key_of_prefix(prefix: &Bytes) -> Result<Bytes, EngineError> {
    let at = prefix.len().checked_sub(END_MARK.len()).ok_or_else(|| damaged("Key", prefix))?;
    if prefix[at..] != END_MARK {
        return Err(damaged("Key", prefix));
    }
    let escaped = prefix.slice(..at);
    if !escaped.contains(&0) {
        return Ok(escaped);
    }
    let mut key = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(&byte) = rest.next() {
        if byte == 0 && rest.next() != Some(&0xff) {
            return Err(damaged("Key", prefix));
        }
        key.push(byte);
    }
    Ok(key.into())
}

const LIVE: u8 = 0;
const DELETED: u8 = 1;

/// What a put left, as the value of a row of `Table::Key`.
pub(crate) fn put_record(kv: &KeyValue) -> Vec<u8> {
    let mut out = Vec::with_capacity(kv.value.len() + 16);
    out.push(LIVE);
    codec::put_i64(&mut out, kv.create_revision);
    codec::put_i64(&mut out, kv.version);
    codec::put_i64(&mut out, kv.lease);
    out.extend_from_slice(&kv.value);
    out
}

/// What a deletion left.
pub(crate) const DELETE_RECORD: &[u8] = &[DELETED];

/// Whether a value of `Table::Key` is a deletion's.
pub(crate) fn is_deletion(record: &Bytes) -> Result<bool, EngineError> {
    match record.first() {
        Some(&LIVE) => Ok(false),
        Some(&DELETED) if record.len() == 1 => Ok(true),
        _ => Err(damaged("Key", record)),
    }
}

/// The key as a put left it. `record` must not be a deletion's.
pub(crate) fn read_put(
    prefix: &Bytes,
    revision: Revision,
    record: &Bytes,
) -> Result<KeyValue, EngineError> {
    let mut source = Source::new(record.clone());
    let mut read = || {
        if source.u8()? != LIVE {
            return Err(Malformed);
        }
        let (create, version, lease) = (source.i64()?, source.i64()?, source.i64()?);
        if version > COUNT_MAX {
            return Err(Malformed);
        }
        Ok((create, version, lease, source.remainder()))
    };
    let (create_revision, version, lease, value) = read().map_err(|_| damaged("Key", prefix))?;
    let key = key_of_prefix(prefix)?;
    Ok(KeyValue { key, create_revision, mod_revision: revision.main, version, value, lease })
}

/// The value of a row of `Table::Revision`.
pub(crate) fn revision_record(deletion: bool, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(if deletion { DELETED } else { LIVE });
    out.extend_from_slice(key);
    out
}

/// How many bytes that takes.
pub(crate) fn revision_record_bytes(key: &[u8]) -> usize {
    1 + key.len()
}

/// A change as `Table::Revision` knows it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    pub(crate) deletion: bool,
    pub(crate) key: Bytes,
}

/// Reads a row of `Table::Revision`.
pub(crate) fn read_change(row: &Bytes, record: &Bytes) -> Result<Change, EngineError> {
    let revision = Revision::from_bytes(row).ok_or_else(|| damaged("Revision", row))?;
    let deletion = match record.first() {
        Some(&LIVE) => false,
        Some(&DELETED) => true,
        _ => return Err(damaged("Revision", row)),
    };
    Ok(Change { revision, deletion, key: record.slice(1..) })
}

/// The key of a lease's row; also the beginning of its rows of `Table::LeaseKey`.
pub(crate) fn lease_row(id: i64) -> [u8; 8] {
    id.cast_unsigned().to_be_bytes()
}

/// The row that attaches a key to a lease.
pub(crate) fn lease_key_row(id: i64, key: &[u8]) -> Vec<u8> {
    [&lease_row(id), key].concat()
}

/// Takes a row of `Table::LeaseKey` apart: the lease, and the key.
pub(crate) fn split_lease_key_row(row: &Bytes) -> Result<(i64, Bytes), EngineError> {
    let id = row.first_chunk().ok_or_else(|| damaged("LeaseKey", row))?;
    Ok((u64::from_be_bytes(*id).cast_signed(), row.slice(id.len()..)))
}

/// Reads a lease's row.
pub(crate) fn read_lease(row: &Bytes, record: &Bytes) -> Result<(i64, i64), EngineError> {
    let id = row[..].try_into().map_err(|_| damaged("Lease", row))?;
    let ttl = read_number(record).ok_or_else(|| damaged("Lease", row))?;
    Ok((u64::from_be_bytes(id).cast_signed(), ttl))
}

/// One number as a value.
pub(crate) fn number_record(number: i64) -> Vec<u8> {
    let mut out = Vec::new();
    codec::put_i64(&mut out, number);
    out
}

/// Reads [`number_record`].
pub(crate) fn read_number(record: &Bytes) -> Option<i64> {
    let mut source = Source::new(record.clone());
    let number = source.i64().ok()?;
    source.end().ok()?;
    Some(number)
}

/// The engine returned a row that this module did not write.
pub(crate) fn damaged(table: &str, row: &[u8]) -> EngineError {
    EngineError::Corrupt(format!("a row of table {table} makes no sense: {}", row.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn rows_sort_by_key_and_newest_first() {
        let keys: [&[u8]; 8] =
            [b"", b"\0", b"\0\0", b"\0\x01", b"\0\xff", b"a", b"a\0", b"a\0\x01b"];
        let mut rows = vec![];
        for key in keys {
            for (main, sub) in [(300, 1), (300, 0), (2, 0)] {
                rows.push((key, Revision { main, sub }));
            }
        }
        let encoded: Vec<Vec<u8>> = rows.iter().map(|(key, rev)| key_row(key, *rev)).collect();
        assert!(encoded.is_sorted_by(|a, b| a < b));
        for ((key, revision), row) in rows.iter().zip(encoded) {
            let (prefix, read) = split_key_row(&row.clone().into()).unwrap();
            assert_eq!(read, *revision);
            assert_eq!(key_of_prefix(&prefix).unwrap(), *key);
            assert!(row < after_prefix(&prefix) && row > prefix);
        }
    }

    #[test]
    fn the_longest_key_fits_even_if_it_is_all_zeroes() {
        let revision = Revision { main: 1, sub: 0 };
        let row = key_row(&vec![0; KEY_BYTES_MAX], revision);
        assert!(row.len() <= ROW_KEY_BYTES_MAX, "{} bytes", row.len());
        assert!(key_row(&vec![0; KEY_BYTES_MAX + 1], revision).len() > ROW_KEY_BYTES_MAX);
    }

    #[test]
    fn the_bounds_of_a_range_hold_its_keys_and_no_others() {
        let key = |bytes: &'static [u8]| Bytes::from_static(bytes);
        let ranges = [
            KeyRange::Point(key(b"a")),
            KeyRange::Point(key(b"a\0")),
            KeyRange::Span { from: key(b"a"), to: key(b"a\0") },
            KeyRange::Span { from: key(b"\0"), to: key(b"a\0\0") },
            KeyRange::Span { from: key(b"a\xff"), to: key(b"b") },
            KeyRange::From(key(b"a\0")),
        ];
        let keys: [&[u8]; 9] =
            [b"\0", b"\0\0", b"a", b"a\0", b"a\0\0", b"a\x01", b"a\xff", b"a\xff\xff", b"b"];
        for range in ranges {
            let (from, to) = key_bounds(&range);
            for key in keys {
                let row = key_row(key, Revision { main: 5, sub: 0 });
                let below = match &to {
                    Bound::Excluded(to) => row < *to,
                    _ => true,
                };
                assert_eq!(row >= from && below, range.contains(key), "{range:?} {key:?}");
            }
        }
    }

    #[test]
    fn a_row_that_nobody_wrote_is_damage() {
        let bytes = |bytes: &'static [u8]| Bytes::from_static(bytes);
        assert!(split_key_row(&bytes(b"short")).is_err());
        assert!(split_key_row(&bytes(b"k\x00\x01a revision below 0")).is_err());
        assert!(key_of_prefix(&bytes(b"no end mark")).is_err());
        assert!(key_of_prefix(&bytes(b"a\x00b\x00\x01")).is_err());
        assert!(is_deletion(&bytes(b"")).is_err());
        assert!(is_deletion(&bytes(b"\x07")).is_err());
        assert!(read_put(&bytes(b"k\x00\x01"), Revision::default(), &bytes(b"\x00\x80")).is_err());
        assert!(read_change(&bytes(b"short"), &bytes(b"\x00k")).is_err());
        assert!(read_lease(&bytes(b"short"), &bytes(b"\x05")).is_err());
    }
}
