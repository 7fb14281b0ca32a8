//! What readers hold: a committed state that never changes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

use bytes::Bytes;
use quorate_node::Fingerprint;
use quorate_raft::EntryId;

use crate::alarm::Alarms;
use crate::apply;
use crate::auth::{Auth, Caller, Rights};
use crate::engine::{ALL_KEYS, EngineError, Reader, Table, View};
use crate::error::{Error, ReadError};
use crate::hash::{self, HashKv};
use crate::key::KeyRange;
use crate::range::Snapshot;
use crate::request::{MemberAttributes, RangeRequest, TxnRequest};
use crate::response::{
    ANSWER_BYTES_MAX, Event, EventKind, KeyValue, Lease, Page, RangeResponse, RevisionEvents, Room,
    TxnResponse,
};
use crate::revision::Revision;
use crate::rows::{self, Change};
use crate::store::State;
use crate::txn;

/// A committed state. Cheap to clone, shared among threads, and as lasting as its holder: what is
/// written, compacted or replaced after it was taken does not show in it.
#[derive(Clone)]
pub struct ReadState {
    view: View,
    state: State,
    auth: Arc<Auth>,
    alarms: Arc<Alarms>,
    applied: EntryId,
}

impl fmt::Debug for ReadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { view: _, state, auth: _, alarms: _, applied } = self;
        f.debug_struct("ReadState").field("state", state).field("applied", applied).finish()
    }
}

impl ReadState {
    pub(crate) fn new(
        view: View,
        state: State,
        auth: Arc<Auth>,
        alarms: Arc<Alarms>,
        applied: EntryId,
    ) -> Self {
        Self { view, state, auth, alarms, applied }
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.state.revision
    }

    /// The oldest revision that can be read; -1 if nothing was ever compacted.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.state.compacted
    }

    /// The compacted revision whose space is back: a compaction asked for as `physical` is finished
    /// when this has reached it.
    #[must_use]
    pub fn physically_compacted(&self) -> i64 {
        self.state.removal.done
    }

    /// The last log entry whose effect it contains.
    #[must_use]
    pub fn applied(&self) -> EntryId {
        self.applied
    }

    /// The [fingerprint](crate::fingerprint) of this state: costs nothing.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.state.sums.fingerprint(self.state.revision, self.state.compacted)
    }

    /// What keys, their history and leases take, in bytes, without what was removed and whatever the engine needs
    /// besides. Members with the same history have the same, once the space of all compactions is back.
    #[must_use]
    pub fn bytes_in_use(&self) -> u64 {
        self.state.bytes
    }

    /// Users, roles and rights.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The alarms that are raised.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// What a caller may read of this state.
    ///
    /// # Errors
    /// [`Error::UserEmpty`], [`Error::AuthOldRevision`], [`Error::PermissionDenied`].
    pub fn rights(&self, caller: &Caller) -> Result<Rights<'_>, Error> {
        Rights::of(&self.auth, &*self.view, caller)
    }

    fn snapshot(&self) -> Snapshot<'_> {
        let State { revision, compacted, .. } = self.state;
        Snapshot { reader: &*self.view, revision, compacted }
    }

    pub(crate) fn reader(&self) -> &dyn Reader {
        &*self.view
    }

    /// Answers a range.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`], [`Error::AnswerTooLarge`], or a failed engine.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        self.range_within(request, ANSWER_BYTES_MAX)
    }

    /// The same, if the answer takes no more than so many bytes. No more than about that is in memory at any time.
    ///
    /// # Errors
    /// As for [`ReadState::range`].
    pub fn range_within(
        &self,
        request: &RangeRequest,
        bytes_max: usize,
    ) -> Result<RangeResponse, ReadError> {
        let mut room = Room::of(bytes_max);
        let response = self.snapshot().range(request, &mut room)?;
        room.check()?;
        Ok(response)
    }

    /// The next keys of a range at a revision, 0 for the newest: up to so many of them, and until they take so many
    /// bytes. Unlike [`ReadState::range`] it counts nothing, so pages of a long range cost what they hold.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`], or a failed engine.
    pub fn page(
        &self,
        range: &KeyRange,
        revision: i64,
        keys_max: usize,
        bytes_max: usize,
    ) -> Result<Page, ReadError> {
        self.snapshot().page(range, revision, keys_max, bytes_max)
    }

    /// Answers a transaction that [can only read](TxnRequest::is_read_only).
    ///
    /// # Errors
    /// As for [`ReadState::range`].
    ///
    /// # Panics
    /// If the transaction could write.
    pub fn txn(&self, request: &TxnRequest) -> Result<TxnResponse, ReadError> {
        self.txn_within(request, ANSWER_BYTES_MAX)
    }

    /// The same, if the answer takes no more than so many bytes.
    ///
    /// # Errors
    /// As for [`ReadState::range`].
    ///
    /// # Panics
    /// If the transaction could write.
    pub fn txn_within(
        &self,
        request: &TxnRequest,
        bytes_max: usize,
    ) -> Result<TxnResponse, ReadError> {
        txn::read(request, &self.snapshot(), Room::of(bytes_max))
    }

    /// The hash of all that can be read up to a revision, 0 for the newest. Equal to that of an etcd
    /// with the same history. Reads everything.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`], or a failed engine.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, ReadError> {
        let up_to = self.snapshot().revision_to_read(revision)?;
        let everything = KeyRange::From(Bytes::new());
        let request =
            RangeRequest { count_only: true, revision: up_to, ..RangeRequest::new(everything) };
        let lives = self.range(&request)?.count > 0;
        Ok(hash::hash_kv(self, up_to, lives)?)
    }

    /// A lease, if there is one with this id.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn lease(&self, id: i64) -> Result<Option<Lease>, EngineError> {
        let row = Bytes::copy_from_slice(&rows::lease_row(id));
        let Some(record) = self.view.get(Table::Lease, &row)? else { return Ok(None) };
        let (id, ttl) = rows::read_lease(&row, &record)?;
        Ok(Some(Lease { id, ttl }))
    }

    /// All leases.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn leases(&self) -> Result<Vec<Lease>, EngineError> {
        let rows = self.view.scan(Table::Lease, ALL_KEYS);
        rows.map(|row| {
            let (row, record) = row?;
            let (id, ttl) = rows::read_lease(&row, &record)?;
            Ok(Lease { id, ttl })
        })
        .collect()
    }

    /// The keys attached to a lease, in order.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn lease_keys(&self, id: i64) -> Result<Vec<Bytes>, EngineError> {
        apply::attached_keys(&*self.view, id, &[]).collect()
    }

    /// What members told about themselves.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn members(&self) -> Result<Vec<MemberAttributes>, EngineError> {
        State::members(&*self.view)
    }

    /// Who belongs to the group that replicates the store, as that encodes it; nothing as long as it never changed.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn membership(&self) -> Result<Option<Bytes>, EngineError> {
        crate::store::membership(&*self.view)
    }

    /// The events of up to `revisions_max` revisions from `from` on, each with its
    /// [`Event::prev_kv`].
    ///
    /// # Errors
    /// [`Error::Compacted`] if events from `from` on may be gone, or a failed engine.
    pub fn history(
        &self,
        from: i64,
        revisions_max: usize,
    ) -> Result<Vec<RevisionEvents>, ReadError> {
        if from < self.compacted() {
            return Err(Error::Compacted.into());
        }
        let mut history = Vec::new();
        let mut events: Vec<Event> = Vec::new();
        let mut revision = 0;
        for change in self.changes(from) {
            let change = change?;
            if change.revision.main != revision && !events.is_empty() {
                history.push(RevisionEvents { revision, events: events.split_off(0).into() });
                if history.len() == revisions_max {
                    return Ok(history);
                }
            }
            revision = change.revision.main;
            let event = self.event(&change)?;
            events.push(Event { prev_kv: self.prev_kv(&event)?, ..event });
        }
        if !events.is_empty() && history.len() < revisions_max {
            history.push(RevisionEvents { revision, events: events.into() });
        }
        Ok(history)
    }

    /// The changes from a revision on, in order.
    pub(crate) fn changes(
        &self,
        from: i64,
    ) -> impl Iterator<Item = Result<Change, EngineError>> + '_ {
        let from = Revision { main: from.max(0), sub: 0 }.to_bytes();
        let rows = self.view.scan(Table::Revision, (Bound::Included(&from), Bound::Unbounded));
        rows.map(|row| row.and_then(|(row, record)| rows::read_change(&row, &record)))
    }

    /// The key as a change, which is not a deletion, left it.
    pub(crate) fn put_of(&self, change: &Change) -> Result<KeyValue, EngineError> {
        let row = Bytes::from(rows::key_row(&change.key, change.revision));
        let record = self.view.get(Table::Key, &row)?;
        let record = record.ok_or_else(|| rows::damaged("Key", &row))?;
        rows::read_put(&rows::split_key_row(&row)?.0, change.revision, &record)
    }

    /// A change as an event, without the key as it was before.
    pub(crate) fn event(&self, change: &Change) -> Result<Event, EngineError> {
        let (kind, kv) = if change.deletion {
            let (key, mod_revision) = (change.key.clone(), change.revision.main);
            (EventKind::Delete, KeyValue { key, mod_revision, ..KeyValue::default() })
        } else {
            (EventKind::Put, self.put_of(change)?)
        };
        Ok(Event { kind, kv, prev_kv: None })
    }

    /// The [`Event::prev_kv`] of an event.
    pub(crate) fn prev_kv(&self, event: &Event) -> Result<Option<KeyValue>, EngineError> {
        let KeyValue { key, create_revision, mod_revision, .. } = &event.kv;
        let at = mod_revision - 1;
        let creates = event.kind == EventKind::Put && create_revision == mod_revision;
        // What was compacted may be there still, on this member; the answer must not depend on it.
        // No change is at revision 0, but for those that another member or a backup made up.
        if creates || at < self.compacted().max(0) {
            return Ok(None);
        }
        let prefix = Bytes::from(rows::key_prefix(key));
        let newest = rows::prefix_row(&prefix, Revision { main: at, sub: Revision::SUB_MAX });
        let after = rows::after_prefix(&prefix);
        let bounds = (Bound::Included(&newest[..]), Bound::Excluded(&after[..]));
        let Some(row) = self.view.scan(Table::Key, bounds).next() else { return Ok(None) };
        let (row, record) = row?;
        if rows::is_deletion(&record)? {
            return Ok(None);
        }
        rows::read_put(&prefix, rows::split_key_row(&row)?.1, &record).map(Some)
    }
}
