//! History in the form in which etcd's backend keeps it: what is hashed, what a backup holds, and what is imported.

use alloc::vec::Vec;

use crate::compact;
use crate::engine::EngineError;
use crate::read::ReadState;
use crate::response::KeyValue;
use crate::revision::{COUNT_MAX, Revision};
use crate::rows::Change;
use crate::wire;

/// What stands between the two numbers of a revision.
const BETWEEN: u8 = b'_';
/// What stands behind the revision of a deletion.
const TOMBSTONE: u8 = b't';
/// The length of a revision's key.
const REVISION_BYTES: usize = 17;

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub revision: Revision,
    /// Whether the key was deleted.
    pub deletion: bool,
    /// The key as it was left; of a deletion the key alone.
    pub kv: KeyValue,
}

impl Record {
    /// Appends the key under which etcd keeps it: `main`, `_` and `sub`, big-endian, and a `t` for a deletion.
    pub fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&revision_key(self.revision));
        if self.deletion {
            out.push(TOMBSTONE);
        }
    }

    /// Appends the value: a `mvccpb.KeyValue`.
    pub fn put_value(&self, out: &mut Vec<u8>) {
        wire::put_key_value(out, &self.kv);
    }
}

/// A revision as etcd writes it.
#[must_use]
pub fn revision_key(revision: Revision) -> [u8; REVISION_BYTES] {
    let mut key = [BETWEEN; REVISION_BYTES];
    key[..8].copy_from_slice(&revision.main.to_be_bytes());
    key[9..].copy_from_slice(&revision.sub.to_be_bytes());
    key
}

/// Reads the key of a record: the revision, and whether it is a deletion. `None` if etcd writes no such key, or its
/// numbers are larger than any that ever were.
#[must_use]
pub fn read_revision_key(key: &[u8]) -> Option<(Revision, bool)> {
    let (revision, mark) = key.split_at_checked(REVISION_BYTES)?;
    let deletion = match mark {
        [] => false,
        [TOMBSTONE] => true,
        _ => return None,
    };
    let number = |at: usize| Some(i64::from_be_bytes(*revision[at..].first_chunk()?));
    let (main, sub) = (number(0)?, number(9)?);
    // Only half as much as is believed, so that what comes after it can be read again.
    let numbers = 0..=COUNT_MAX / 2;
    let is_one = revision[8] == BETWEEN && numbers.contains(&main) && numbers.contains(&sub);
    is_one.then_some((Revision { main, sub }, deletion))
}

impl ReadState {
    /// All changes that still count, in order: those after the compacted revision, and of those up to it the ones that
    /// the compaction lets stay, however far the removal of the others is on this member. So members with the same
    /// history give the same.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, EngineError>> + '_ {
        self.changes(0).filter_map(|change| match change {
            Ok(change) => self.record_if_kept(change).transpose(),
            Err(error) => Some(Err(error)),
        })
    }

    fn record_if_kept(&self, change: Change) -> Result<Option<Record>, EngineError> {
        let compacted = self.compacted();
        // A watch may still begin at the compacted revision, and is told of deletions there.
        let is_kept = change.revision.main >= compacted && change.deletion
            || compact::is_kept(self.reader(), compacted, &change)?;
        if is_kept { self.record(change).map(Some) } else { Ok(None) }
    }

    /// What a change left.
    pub(crate) fn record(&self, change: Change) -> Result<Record, EngineError> {
        let kv = if change.deletion {
            KeyValue { key: change.key, ..KeyValue::default() }
        } else {
            self.put_of(&change)?
        };
        Ok(Record { revision: change.revision, deletion: change.deletion, kv })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_etcd() {
        let revision = Revision { main: 258, sub: 3 };
        let mut record = Record { revision, deletion: false, kv: KeyValue::default() };
        let mut key = Vec::new();
        record.put_key(&mut key);
        assert_eq!(key, b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(read_revision_key(&key), Some((revision, false)));
        record.deletion = true;
        key.clear();
        record.put_key(&mut key);
        assert_eq!(key, b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
        assert_eq!(read_revision_key(&key), Some((revision, true)));
        for wrong in [
            &b""[..],
            b"\0\0\0\0\0\0\x01\x02",
            b"\0\0\0\0\0\0\x01\x02-\0\0\0\0\0\0\0\x03",
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03x",
            b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03tt",
            b"\xff\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03",
            b"\x7f\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03",
        ] {
            assert_eq!(read_revision_key(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
