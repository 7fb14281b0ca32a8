//! Points in the history of the store.

use core::fmt;

/// The largest number that counts what happened (revisions, changes, versions of a key) and is
/// believed when it is read. No store gets there in a million years, and a larger one would leave no
/// room for the next. Of a peer only half as much is believed, so that what comes after it can be
/// read again.
pub(crate) const COUNT_MAX: i64 = 1 << 62;

/// One change. All changes of one command share `main`, the revision that clients see; `sub` counts
/// them from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The command, counted from 2: an empty store is at 1. Never negative.
    pub main: i64,
    /// The change within it. Never negative.
    pub sub: i64,
}

impl Revision {
    /// Above every change of a revision.
    pub(crate) const SUB_MAX: i64 = i64::MAX;

    /// The length of its bytes.
    pub(crate) const LENGTH: usize = 16;

    /// Sixteen bytes whose order is that of revisions.
    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        assert!(self.main >= 0 && self.sub >= 0, "revisions count from 0: {self}");
        let bytes = u128::from(self.main.cast_unsigned()) << 64 | self.sub.cast_unsigned() as u128;
        bytes.to_be_bytes()
    }

    /// Reads [`Revision::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = u128::from_be_bytes(bytes.try_into().ok()?);
        let main = i64::try_from((number >> 64) as u64).ok()?;
        let sub = i64::try_from(number as u64).ok()?;
        (main <= COUNT_MAX && sub <= COUNT_MAX).then_some(Self { main, sub })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}
