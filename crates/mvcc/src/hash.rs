//! The hash by which members, and versions, compare what they hold.

use alloc::vec::Vec;

use crate::compact;
use crate::engine::EngineError;
use crate::read::ReadState;

/// CRC-32C (Castagnoli), continued from a checksum of what came before; 0 at the beginning.
#[must_use]
pub fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!before, |crc, byte| CRC32C_TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

const CRC32C_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            crc = crc >> 1 ^ carry;
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The hash of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The checksum.
    pub hash: u32,
    /// Up to which revision.
    pub hash_revision: i64,
    /// From which revision: -1 if nothing was ever compacted.
    pub compact_revision: i64,
}

/// Hashes what etcd's backend would hold up to a revision: the name of its bucket, then each record
/// in order, its key (`main`, `_`, `sub`, and `t` for a deletion) and its value (a `KeyValue`; of a
/// deletion with the key alone).
///
/// Of the records up to a compaction, etcd takes those that a compaction at `up_to` would let stay:
/// fewer than are there, but a number that does not depend on how far the removal is. Only if no key
/// `lives` at `up_to`, so that none of them would stay, it takes all that the compaction left.
pub(crate) fn hash_kv(state: &ReadState, up_to: i64, lives: bool) -> Result<HashKv, EngineError> {
    let compacted = state.compacted();
    let stays_at = if lives { up_to } else { compacted };
    let mut hash = crc32c(0, b"key");
    let mut record = Vec::new();
    for change in state.changes(0) {
        let change = change?;
        if change.revision.main > up_to {
            break;
        }
        let may_be_gone = change.revision.main <= compacted;
        if may_be_gone && !compact::is_kept(state.reader(), stays_at, &change)? {
            continue;
        }
        let change = state.record(change)?;
        record.clear();
        change.put_key(&mut record);
        change.put_value(&mut record);
        hash = crc32c(hash, &record);
    }
    Ok(HashKv { hash, hash_revision: up_to, compact_revision: compacted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_has_the_published_values() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(crc32c(0, b"1234"), b"56789"), 0xe306_9283);
    }
}
