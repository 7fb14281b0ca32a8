//! A store that begins anew, under other members: what becomes of a cluster of which one member is left.
//!
//! That member may lack the last changes of the cluster that was, and it may have changes that were never
//! acknowledged. Programs outside remember revisions of that cluster, some of them beyond all that this
//! store has. Two things keep them from being fooled:
//!
//! ```text
//!  the cluster that was  1 ──────── 900 ─ ─ ─ 950         what came after 900 is lost
//!  the store that is left 1 ─────── 900
//!  the same, begun anew   1 ─────── 900   nothing   1000000900 ── 1000000901 …
//!                                                    ▲ compacted up to here
//! ```
//!
//! - The **revision moves** beyond every revision that the cluster can have given out, and one more, at which who
//!   had seen all of them would resume; so none of them ever names another change. How far that is nobody
//!   knows, as what was lost can't be counted. A thousand million is a day of writes at more than ten thousand
//!   a second, since the last that this store has.
//! - All before is **compacted**. A watcher that resumes at a revision of the cluster that was, is told so, and
//!   reads everything again. It would wait in silence otherwise, for events of revisions that come later, and
//!   would never hear of the changes that were undone.
//!
//! etcd does the same when it restores a backup, if it is asked to (`etcdutl snapshot restore --bump-revision
//! 1000000000 --mark-compacted`), but for an empty record at the new revision, which no client sees.
//!
//! Keys, values, versions and leases stay as they are. Leases have their whole time to live again, as with
//! every new leader. The members that had told their names are forgotten.
//!
//! What it is *not* is a command: the log of the cluster that was ends before it, and that of the new one begins
//! after it. So it can't be undone by a leader, repeated, or be seen by half of a cluster.

use core::fmt;

use bytes::Bytes;
use quorate_node::{Fault, Machine};
use quorate_planted::planted;
use quorate_raft::EntryId;

use crate::engine::EngineError;
use crate::members;
use crate::revision::COUNT_MAX;
use crate::store::{Store, fault};

/// How far the revision moves unless somebody says otherwise (the number that etcd's documentation gives for
/// `--bump-revision`).
pub const BUMP_DEFAULT: i64 = 1_000_000_000;

/// How far it moves at least, so that also who has seen everything that this store has is told.
pub const BUMP_MIN: i64 = 2;

/// The highest revision to move to. What a member has beyond that, no other would take as a snapshot.
const REVISION_MAX: i64 = COUNT_MAX / 2;

/// How a store begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refounding {
    /// Where it does: a position after everything that was applied, in a term above all that were known. The
    /// log of the new cluster begins after it.
    pub entry: EntryId,
    /// Who belongs to the new cluster: as for [`Machine::set_membership`].
    pub membership: Bytes,
    /// By how much the revision moves: at least [`BUMP_MIN`], and by more than there can have been changes in the
    /// cluster that was since the last that this store has. See [`BUMP_DEFAULT`].
    pub bump: i64,
}

/// Why a store does not begin anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefoundError {
    /// The revision can't move so far, or not by so little. Nothing was changed.
    Bump {
        /// The revision that the store has.
        revision: i64,
        /// By how much it was to move.
        bump: i64,
    },
    /// The engine has failed.
    Fault(Fault),
}

impl fmt::Display for RefoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bump { revision, bump } => {
                let most = REVISION_MAX - revision;
                write!(f, "revision {revision} moves by {BUMP_MIN} to {most}, and not by {bump}")
            }
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl core::error::Error for RefoundError {}

impl From<EngineError> for RefoundError {
    fn from(error: EngineError) -> Self {
        Self::Fault(fault(error))
    }
}

impl Store {
    /// Begins anew, in one batch that is durable when this returns, with the new revision: the oldest that can be
    /// read and the last that has happened. To be called between batches, on a store that nobody else serves.
    ///
    /// # Errors
    /// [`RefoundError`].
    ///
    /// # Panics
    /// If it is not between batches, or the position is not after everything that was applied.
    pub fn refound(&mut self, how: &Refounding) -> Result<i64, RefoundError> {
        assert_eq!(self.state, self.committed, "a store begins anew between batches");
        let before = self.state.revision;
        let revision = before.checked_add(how.bump).filter(|_| how.bump >= BUMP_MIN);
        let Some(revision) = revision.filter(|revision| *revision <= REVISION_MAX) else {
            return Err(RefoundError::Bump { revision: before, bump: how.bump });
        };
        self.set_membership(how.entry, &how.membership).map_err(RefoundError::Fault)?;
        let gone = members::forget(&mut *self.engine, |_| true)?;
        if !planted!(RefoundedSumsStale) {
            self.state.sums.add(gone);
        }
        if !planted!(RefoundedRevisionKept) {
            self.state.revision = revision;
        }
        if !planted!(RefoundedHistoryReadable) {
            let compacted = self.state.compact(self.state.revision);
            assert_eq!(compacted, Ok(()), "nobody has compacted what has just come to be");
        }
        self.commit(how.entry).map_err(RefoundError::Fault)?;
        self.flush().map_err(RefoundError::Fault)?;
        Ok(self.state.revision)
    }
}
