//! Fingerprints of configurations: which operations were carried out, and what the store is like.
//!
//! 128 bits, so that two of a million configurations share one with a chance of about 10⁻²⁷, which is
//! taken for never. A fingerprint is a sum of parts, and a step changes only a few of them.

use quorate_mvcc::KeyValue;

/// A sum of parts. Adding a part a second time takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    pub(super) fn toggle(&mut self, part: Self) {
        self.0 ^= part.0;
    }

    /// That an operation was carried out.
    pub(super) fn operation(index: usize) -> Self {
        Mixer::new(1).number(index as u64).finish()
    }

    /// That a key is there, like this.
    pub(super) fn key(kv: &KeyValue) -> Self {
        Mixer::new(2)
            .bytes(&kv.key)
            .bytes(&kv.value)
            .number(kv.create_revision as u64)
            .number(kv.mod_revision as u64)
            .number(kv.version as u64)
            .number(kv.lease as u64)
            .finish()
    }

    /// That the store is at this revision.
    pub(super) fn revision(revision: i64) -> Self {
        Mixer::new(4).number(revision as u64).finish()
    }

    /// That the store is compacted up to this revision.
    pub(super) fn compacted(revision: i64) -> Self {
        Mixer::new(5).number(revision as u64).finish()
    }

    /// That a lease is there.
    pub(super) fn lease(id: i64) -> Self {
        Mixer::new(3).number(id as u64).finish()
    }
}

/// Two lanes of multiply and shift, with odd constants of high entropy (the golden ratio and the
/// square root of 2).
struct Mixer(u64, u64);

impl Mixer {
    fn new(domain: u64) -> Self {
        Self(0, 0).number(domain)
    }

    fn number(self, number: u64) -> Self {
        let lane = |lane: u64, constant: u64| {
            let mixed = (lane ^ number).wrapping_mul(constant);
            let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(constant);
            (mixed ^ (mixed >> 29)).wrapping_add(constant)
        };
        Self(lane(self.0, 0x9e37_79b9_7f4a_7c15), lane(self.1, 0x6a09_e667_f3bc_c909))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let words = words.iter().chain((!rest.is_empty()).then_some(&last));
        words.fold(self.number(bytes.len() as u64), |mixer, word| {
            mixer.number(u64::from_le_bytes(*word))
        })
    }

    fn finish(self) -> Fingerprint {
        Fingerprint(u128::from(self.0) << 64 | u128::from(self.1))
    }
}
