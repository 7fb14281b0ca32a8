//! Records: pieces of a stream of bytes, each with a tag that only who knows the key can make.
//!
//! ```text
//!   length u32 | bytes … | tag 32        the tag: HMAC-SHA-256 of number u64 | length u32 | bytes
//! ```
//!
//! Records are numbered from zero on in each direction, and each direction has a key of its own. The number is not on
//! the wire: one that comes twice, out of turn, or back to its sender has a tag that does not fit. Not a byte of a
//! record is handed on before its tag was compared, and no more than one record is kept until then, however long the
//! frame is that it begins.

use std::ops::Range;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::PeerError;

/// The most that a record holds, in bytes.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 10;

/// The bytes of a tag.
pub(super) const TAG_BYTES: usize = 32;

const LENGTH_BYTES: usize = 4;

/// What a record takes beside what it holds, in bytes.
pub(super) const OVERHEAD_BYTES: usize = LENGTH_BYTES + TAG_BYTES;

/// The key of one direction, and the number of its next record.
#[derive(Clone)]
struct Tagger {
    keyed: Hmac<Sha256>,
    number: u64,
}

impl Tagger {
    fn new(key: &[u8; 32]) -> Self {
        let keyed = Hmac::new_from_slice(key).expect("a key may have any length");
        Self { keyed, number: 0 }
    }

    /// The tag of the next record, yet to be finished.
    fn next(&mut self, body: &[u8]) -> Hmac<Sha256> {
        let mut tag = self.keyed.clone();
        tag.update(&self.number.to_le_bytes());
        tag.update(&length(body).to_le_bytes());
        tag.update(body);
        // Not in the lifetime of any connection.
        self.number = self.number.checked_add(1).expect("a number for each record");
        tag
    }
}

fn length(body: &[u8]) -> u32 {
    u32::try_from(body.len()).expect("a record is small")
}

/// Makes the records of one direction.
pub(super) struct Sealer(Tagger);

impl Sealer {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Tagger::new(key))
    }

    /// Appends these bytes, as as many records as it takes.
    pub(super) fn seal(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.reserve(bytes.len() + bytes.len().div_ceil(RECORD_BYTES_MAX) * OVERHEAD_BYTES);
        for body in bytes.chunks(RECORD_BYTES_MAX) {
            let tag = self.0.next(body).finalize().into_bytes();
            out.extend_from_slice(&length(body).to_le_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(&tag);
        }
    }
}

/// Reads the records of one direction.
pub(super) struct Opener(Tagger);

impl Opener {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Tagger::new(key))
    }

    /// How many bytes the record has with which these begin, as far as that can be told; not yet to be believed.
    pub(super) fn record_bytes(arrived: &[u8]) -> Result<Option<usize>, PeerError> {
        let Some(length) = arrived.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        match u32::from_le_bytes(*length) as usize {
            0 => Err(PeerError::Unauthentic("a record is empty")),
            1..=RECORD_BYTES_MAX => Ok(Some(u32::from_le_bytes(*length) as usize + OVERHEAD_BYTES)),
            _ => Err(PeerError::Unauthentic("a record is longer than any may be")),
        }
    }

    /// Where in these bytes the first record holds what it says, if it has arrived whole. After an error, nothing
    /// that comes is worth anything.
    pub(super) fn open(&mut self, arrived: &[u8]) -> Result<Option<Range<usize>>, PeerError> {
        let Some(bytes) = Self::record_bytes(arrived)? else { return Ok(None) };
        let Some(record) = arrived.get(..bytes) else { return Ok(None) };
        let body = LENGTH_BYTES..bytes - TAG_BYTES;
        let tag = self.0.next(&record[body.clone()]);
        // In constant time.
        match tag.verify_slice(&record[body.end..]) {
            Ok(()) => Ok(Some(body)),
            Err(_) => Err(PeerError::Unauthentic("the tag of a record is wrong")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const OTHER: [u8; 32] = [8; 32];

    fn sealed(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sealer = Sealer::new(&KEY);
        let record = |message: &Vec<u8>| {
            let mut out = Vec::new();
            sealer.seal(message, &mut out);
            out
        };
        messages.iter().map(record).collect()
    }

    /// What is believed of these bytes, and how that ends.
    fn opened(key: &[u8; 32], bytes: &[u8]) -> (Vec<u8>, Result<(), PeerError>) {
        let (mut opener, mut rest, mut out) = (Opener::new(key), bytes, Vec::new());
        loop {
            match opener.open(rest) {
                Ok(Some(body)) => {
                    out.extend_from_slice(&rest[body.clone()]);
                    rest = &rest[body.end + TAG_BYTES..];
                }
                Ok(None) => return (out, Ok(())),
                Err(error) => return (out, Err(error)),
            }
        }
    }

    fn messages() -> Vec<Vec<u8>> {
        vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
    }

    #[test]
    fn what_was_sealed_arrives() {
        assert_eq!(opened(&KEY, &sealed(&messages()).concat()), (b"onetwothree".to_vec(), Ok(())));
        let large: Vec<u8> = (0..3 * RECORD_BYTES_MAX + 5).map(|n| n as u8).collect();
        let records = sealed(&[large.clone(), Vec::new()]).concat();
        assert_eq!(records.len(), large.len() + 4 * OVERHEAD_BYTES, "nothing is no record");
        assert_eq!(opened(&KEY, &records), (large, Ok(())));
    }

    #[test]
    fn a_tag_is_that_of_hmac_sha_256() {
        // From another implementation: HMAC-SHA-256 of 8 zero bytes, 3 as u32 and "one", with 32 times the byte 7.
        let record = &sealed(&messages())[0];
        let hex: String = record[7..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "95fe047508c4a26536984c1400426c20cadc5bdf2fe062b490facf143f46bb1d");
    }

    #[test]
    fn a_record_is_believed_once_in_its_turn_and_in_its_direction() {
        let records = sealed(&messages());
        let [one, two, three] = &records[..] else { unreachable!("three") };
        let wrong = Err(PeerError::Unauthentic("the tag of a record is wrong"));
        for (what, bytes, believed) in [
            ("repeated", [&one[..], one].concat(), &b"one"[..]),
            ("repeated later", [&one[..], two, one].concat(), b"onetwo"),
            ("reordered", [&two[..], one].concat(), b""),
            ("left out", [&one[..], three].concat(), b"one"),
        ] {
            assert_eq!(opened(&KEY, &bytes), (believed.to_vec(), wrong.clone()), "{what}");
        }
        // What one side says has the key of that direction; sent back to it, it is heard with the other.
        assert_eq!(opened(&OTHER, one), (Vec::new(), wrong));
    }

    #[test]
    fn a_length_is_bounded_before_anything_arrives() {
        for length in [0, RECORD_BYTES_MAX as u32 + 1, u32::MAX] {
            let error = Opener::record_bytes(&length.to_le_bytes()).unwrap_err();
            assert!(matches!(error, PeerError::Unauthentic(_)), "{error}");
        }
        assert_eq!(Opener::record_bytes(&[1, 0, 0]), Ok(None));
        assert_eq!(Opener::record_bytes(&[1, 0, 0, 0]), Ok(Some(1 + OVERHEAD_BYTES)));
    }

    proptest! {
        /// Cut anywhere, what is believed is a beginning of what was said, of whole records; flipped anywhere, it is
        /// all before the record with the flipped bit.
        #[test]
        fn cuts_and_flips_take_away_and_never_change(
            messages in vec(vec(any::<u8>(), 1..200), 1..6),
            at in any::<prop::sample::Index>(),
            bits in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let records = sealed(&messages);
            let bytes = records.concat();
            let before = |at: usize| -> Vec<u8> {
                let mut end = 0;
                let whole = records.iter().take_while(|record| {
                    end += record.len();
                    end <= at
                });
                messages[..whole.count()].concat()
            };
            let cut = cut.index(bytes.len());
            prop_assert_eq!(opened(&KEY, &bytes[..cut]), (before(cut), Ok(())));
            let mut flipped = bytes.clone();
            let at = at.index(bytes.len());
            flipped[at] ^= bits;
            // A longer length may be waited for; what comes after it is not believed either.
            let (believed, end) = opened(&KEY, &flipped);
            prop_assert_eq!(&believed, &before(at));
            flipped.extend(vec![0; RECORD_BYTES_MAX + OVERHEAD_BYTES]);
            let (believed, later) = opened(&KEY, &flipped);
            prop_assert_eq!(believed, before(at));
            prop_assert!(later.is_err() && (end.is_err() || at < bytes.len()));
        }

        #[test]
        fn any_bytes_are_refused_or_waited_for(bytes in vec(any::<u8>(), 0..300)) {
            let (believed, _) = opened(&KEY, &bytes);
            prop_assert_eq!(believed, Vec::<u8>::new());
        }
    }
}
