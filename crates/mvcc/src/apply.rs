//! **The one deterministic entry**: a command and the state give the next state and an answer.
//!
//! Everything here is a function of the replicated rows and the entry. Refusals come before the
//! first write, so that a refused command has changed nothing; after the first write only the
//! engine can fail, and that ends the member.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;
use quorate_planted::planted;

use crate::alarm::Alarms;
use crate::auth::{self, Auth, Issued};
use crate::command::{Command, Proposal};
use crate::engine::{Engine, EngineError, Reader, Table};
use crate::error::{Error, ReadError};
use crate::fingerprint::{self, Item, Sums};
use crate::instalment::{self, Instalments};
use crate::key::KeyRange;
use crate::range::Snapshot;
use crate::request::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use crate::response::{
    DeleteRangeResponse, Event, EventKind, KeyValue, Lease, LeaseChange, PutResponse, Response,
    ResponseOp, Room,
};
use crate::revision::Revision;
use crate::rows;
use crate::store::State;
use crate::txn::{self, Operations, Path};

/// The longest time to live of a lease, in seconds (etcd's: about 285 years).
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// How many bytes of events are kept for watchers, of one command and of one batch. Of what is
/// larger, watchers read the history.
pub(crate) const EVENT_BYTES_MAX: usize = 16 << 20;

/// How many keys are looked up at once to be deleted.
const DELETED_AT_ONCE: usize = 512;

/// What a command did besides its answer.
#[derive(Default)]
pub(crate) struct Changes {
    /// How many keys it changed, those counted twice that it changed twice.
    pub(crate) count: usize,
    /// The changes in order; none if they take more than [`EVENT_BYTES_MAX`].
    pub(crate) events: Vec<Event>,
    /// The memory that they take, or would take.
    pub(crate) event_bytes: usize,
    pub(crate) leases: Vec<LeaseChange>,
    pub(crate) issued: Option<Issued>,
    /// What it changed in the fingerprint.
    pub(crate) sums: Sums,
    /// By how much it changed [`State::bytes`].
    pub(crate) bytes: i64,
    /// What the answer left of its room. An answer that is too large changes nothing else.
    pub(crate) room: Room,
}

impl Changes {
    fn add(&mut self, event: Event) {
        self.count += 1;
        self.event_bytes = self.event_bytes.saturating_add(event.memory_bytes());
        if self.event_bytes <= EVENT_BYTES_MAX {
            self.events.push(event);
        } else {
            self.events = Vec::new();
        }
    }
}

/// What a store is besides its rows.
pub(crate) struct Parts<'a> {
    pub(crate) engine: &'a mut dyn Engine,
    pub(crate) instalments: &'a mut Instalments,
    pub(crate) state: &'a mut State,
    pub(crate) auth: &'a mut Arc<Auth>,
    pub(crate) alarms: &'a mut Arc<Alarms>,
}

/// Applies a command that stands in the log with this term.
pub(crate) fn apply(
    parts: Parts<'_>,
    term: u64,
    proposal: &Proposal,
    changes: &mut Changes,
) -> Result<Response, ReadError> {
    let Parts { engine, instalments, state, auth, alarms } = parts;
    let Proposal { caller, command } = proposal;
    auth::needs::check(auth, &*engine, caller, command)?;
    // Behind the rights, and before all else that a request could be refused for. In etcd it comes before the rights,
    // and so tells whoever has none that the store is full.
    alarms.check(command)?;
    let mut writer = Writer::new(engine, instalments, state, changes);
    let response = match command {
        Command::Put(put) => {
            put.check()?;
            txn::check_put(put, &writer.snapshot())?;
            Response::Put(writer.put(put)?)
        }
        Command::DeleteRange(delete) => Response::DeleteRange(writer.delete_range(delete)?),
        Command::Txn(txn) => writer.txn(txn)?,
        Command::Compact { revision } => {
            state.compact(*revision)?;
            Response::Compact
        }
        Command::LeaseGrant { id, ttl } => {
            let lease = Lease { id: *id, ttl: *ttl };
            changes.bytes += signed(grant(engine, lease)?);
            changes.sums.come(fingerprint::lease(lease));
            changes.leases.push(LeaseChange::Granted(lease));
            Response::LeaseGrant { id: *id, ttl: *ttl }
        }
        Command::LeaseRevoke { id } => {
            if !writer.revoke(*id)? {
                return Err(Error::LeaseNotFound.into());
            }
            changes.leases.push(LeaseChange::Revoked { id: *id });
            Response::LeaseRevoke
        }
        Command::LeaseExpire { id, term: proposed_in } => {
            let is_present = *proposed_in == term || planted!(LeaseExpiryUnfenced);
            let revoked = is_present && writer.revoke(*id)?;
            if revoked {
                changes.leases.push(LeaseChange::Revoked { id: *id });
            }
            Response::LeaseExpire { revoked }
        }
        Command::Member(member) => {
            let (row, record) = (State::member_row(member.id), State::member_record(member));
            if let Some(before) = engine.get(Table::Meta, &row)? {
                changes.sums.go(fingerprint::member(&row, &before));
            }
            engine.put(Table::Meta, &row, &record)?;
            changes.sums.come(fingerprint::member(&row, &record));
            Response::Member
        }
        Command::Auth(command) => {
            let done = auth::admin::apply(engine, auth, command)?;
            changes.sums.add(done.sums);
            changes.issued = done.issued;
            Response::Auth
        }
        Command::Alarm(command) => {
            let (alarm, sums) = Arc::make_mut(alarms).apply(engine, *command)?;
            changes.sums.add(sums);
            Response::Alarm(alarm)
        }
    };
    if changes.count > 0 {
        state.revision += 1;
    }
    state.sums.add(changes.sums);
    state.bytes = state.bytes.saturating_add_signed(changes.bytes);
    Ok(response)
}

/// A number of bytes, to be added or taken away.
fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("no row is so large")
}

/// Returns how many bytes that wrote.
fn grant(engine: &mut dyn Engine, lease: Lease) -> Result<usize, ReadError> {
    // No lease is 0: in a put that means none.
    if lease.id == 0 {
        return Err(Error::LeaseNotFound.into());
    }
    if lease.ttl > LEASE_TTL_MAX {
        return Err(Error::LeaseTtlTooLarge.into());
    }
    let row = rows::lease_row(lease.id);
    if engine.get(Table::Lease, &row)?.is_some() {
        return Err(Error::LeaseExists.into());
    }
    let record = rows::number_record(lease.ttl);
    engine.put(Table::Lease, &row, &record)?;
    Ok(row.len() + record.len())
}

/// What a change has to know of the key as it was before.
#[derive(Clone, Copy)]
struct Before {
    /// What it was attached to, or 0.
    lease: i64,
    item: Item,
}

impl Before {
    fn new(kv: &KeyValue) -> Self {
        Self { lease: kv.lease, item: fingerprint::put(kv) }
    }
}

/// Makes the changes of one command, all at one revision.
struct Writer<'a> {
    engine: &'a mut dyn Engine,
    /// The revision before the command. Its changes are at the next one.
    before: i64,
    compacted: i64,
    /// The changes made: the one before which there were `n` has sub-revision `n`.
    changes: &'a mut Changes,
    instalments: &'a mut Instalments,
}

impl<'a> Writer<'a> {
    fn new(
        engine: &'a mut dyn Engine,
        instalments: &'a mut Instalments,
        state: &State,
        changes: &'a mut Changes,
    ) -> Self {
        assert!(changes.count == 0, "each command begins with no changes");
        Self { engine, before: state.revision, compacted: state.compacted, changes, instalments }
    }

    /// The revision to tell a client now: the next one as soon as something has changed.
    fn revision(&self) -> i64 {
        self.before + i64::from(self.changes.count > 0)
    }

    /// The state as changed so far.
    fn snapshot(&self) -> Snapshot<'_> {
        let reader: &dyn Reader = &*self.engine;
        Snapshot { reader, revision: self.revision(), compacted: self.compacted }
    }

    /// The same, with the room for what it is asked.
    fn snapshot_and_room(&mut self) -> (Snapshot<'_>, &mut Room) {
        let (revision, compacted) = (self.revision(), self.compacted);
        (Snapshot { reader: &*self.engine, revision, compacted }, &mut self.changes.room)
    }

    /// Writes a change of a key, of which `record` is what is to be kept.
    fn write(
        &mut self,
        event: Event,
        before: Option<Before>,
        record: &[u8],
    ) -> Result<(), EngineError> {
        self.sum_up(&event, before);
        let sub = i64::try_from(self.changes.count).expect("keys can be counted");
        let revision = Revision { main: self.before + 1, sub };
        assert_eq!(event.kv.mod_revision, revision.main, "all changes are at one revision");
        let (key, deletion) = (&event.kv.key, event.kind == EventKind::Delete);
        let row = rows::key_row(key, revision);
        self.engine.put(Table::Key, &row, record)?;
        let change = rows::revision_record(deletion, key);
        self.engine.put(Table::Revision, &revision.to_bytes(), &change)?;
        let lease_before = before.map_or(0, |before| before.lease);
        let moved = instalment::move_lease(self.engine, key, lease_before, event.kv.lease)?;
        let bytes = row.len() + record.len() + Revision::LENGTH + change.len();
        let attached = i64::from(event.kv.lease != 0) - i64::from(lease_before != 0);
        self.changes.bytes += signed(bytes) + attached * signed(rows::lease_key_row(0, key).len());
        self.changes.add(event);
        self.instalments.wrote(self.engine, moved + bytes)
    }

    /// Adds a change of a key to the fingerprint.
    fn sum_up(&mut self, event: &Event, before: Option<Before>) {
        let (sums, kv) = (&mut self.changes.sums, &event.kv);
        let happened = match event.kind {
            EventKind::Put => fingerprint::put(kv),
            EventKind::Delete => fingerprint::deletion(&kv.key, kv.mod_revision),
        };
        sums.happen(happened);
        if event.kind == EventKind::Put {
            sums.come(happened);
        }
        let lease_before = before.map_or(0, |before| before.lease);
        if let Some(before) = before {
            sums.go(before.item);
        }
        if lease_before != kv.lease {
            if lease_before != 0 {
                sums.go(fingerprint::lease_key(lease_before, &kv.key));
            }
            if kv.lease != 0 {
                sums.come(fingerprint::lease_key(kv.lease, &kv.key));
            }
        }
    }

    /// Puts a key. The request was checked.
    fn put(&mut self, put: &PutRequest) -> Result<PutResponse, EngineError> {
        let before = self.snapshot().get(&put.key)?;
        let revision = self.before + 1;
        let mut kv = KeyValue {
            key: put.key.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            value: put.value.clone(),
            lease: put.lease,
        };
        if let Some(before) = &before {
            kv.create_revision = before.create_revision;
            kv.version = before.version + 1;
            if put.ignore_value {
                kv.value = before.value.clone();
            }
            if put.ignore_lease {
                kv.lease = before.lease;
            }
        }
        let record = Bytes::from(rows::put_record(&kv));
        // The event shares the record, and not the command: that may be many times as large, and the
        // event will stay for a while.
        kv.key = Bytes::copy_from_slice(&kv.key);
        kv.value = record.slice(record.len() - kv.value.len()..);
        let lived = before.as_ref().map(Before::new);
        self.write(Event { kind: EventKind::Put, kv, prev_kv: None }, lived, &record)?;
        let prev_kv = before.filter(|_| put.prev_kv).filter(|kv| self.changes.room.take(kv.room()));
        Ok(PutResponse { revision: self.revision(), prev_kv })
    }

    fn delete_range(
        &mut self,
        delete: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, EngineError> {
        let (mut deleted, mut prev_kvs) = (0, Vec::new());
        let mut rest = Some(delete.range.clone());
        while let Some(range) = rest {
            // The keys to delete now, each with what has to be known of it. No values: all of them
            // together may be the whole store.
            let mut keys: Vec<(Bytes, Before)> = Vec::new();
            let (snapshot, room) = self.snapshot_and_room();
            let mut live = snapshot.live(&range);
            while keys.len() < DELETED_AT_ONCE
                && let Some(found) = live.next()?
            {
                let kv = found.kv()?;
                keys.push((kv.key.clone(), Before::new(&kv)));
                if delete.prev_kv && room.take(kv.room()) {
                    prev_kvs.push(kv);
                }
            }
            drop(live);
            for (key, before) in &keys {
                self.delete(key, *before)?;
            }
            deleted += keys.len() as u64;
            let more = keys.len() == DELETED_AT_ONCE;
            rest = keys.last().filter(|_| more).and_then(|(last, _)| range.behind(last));
        }
        Ok(DeleteRangeResponse { revision: self.revision(), deleted, prev_kvs })
    }

    /// Deletes a key that lives.
    fn delete(&mut self, key: &[u8], before: Before) -> Result<(), EngineError> {
        let key = Bytes::copy_from_slice(key);
        let kv = KeyValue { key, mod_revision: self.before + 1, ..KeyValue::default() };
        let event = Event { kind: EventKind::Delete, kv, prev_kv: None };
        self.write(event, Some(before), rows::DELETE_RECORD)
    }

    fn txn(&mut self, txn: &TxnRequest) -> Result<Response, ReadError> {
        // How many operations are too many is each server's own configuration, so it can't be asked
        // here, where all members must agree.
        txn.check(usize::MAX)?;
        let path = Path::plan(txn, &self.snapshot())?;
        let mut response = txn::run(txn, &path, self)?;
        response.revision = self.revision();
        Ok(Response::Txn(response))
    }

    /// Ends a lease and deletes its keys, in order. Says whether there was such a lease.
    fn revoke(&mut self, id: i64) -> Result<bool, EngineError> {
        let row = rows::lease_row(id);
        let Some(record) = self.engine.get(Table::Lease, &row)? else { return Ok(false) };
        let (_, ttl) = rows::read_lease(&Bytes::copy_from_slice(&row), &record)?;
        self.changes.sums.go(fingerprint::lease(Lease { id, ttl }));
        let mut last = Bytes::new();
        loop {
            let attached = attached_keys(&*self.engine, id, &last).take(DELETED_AT_ONCE);
            let keys: Vec<Bytes> = attached.collect::<Result<_, _>>()?;
            for key in &keys {
                // The rows may have come from another member, so that they fit together is not
                // certain.
                let attached = self.snapshot().get(key)?.filter(|kv| kv.lease == id);
                let Some(attached) = attached else {
                    let row = rows::lease_key_row(id, key);
                    return Err(rows::damaged("LeaseKey", &row));
                };
                self.delete(key, Before::new(&attached))?;
            }
            match keys.last() {
                Some(key) => last = key.clone(),
                None => break,
            }
        }
        // After the last change: see `instalment.rs`.
        self.engine.delete(Table::Lease, &row)?;
        self.changes.bytes -= signed(row.len() + record.len());
        Ok(true)
    }
}

impl Operations for Writer<'_> {
    type Failure = ReadError;

    fn operate(&mut self, op: &RequestOp) -> Result<ResponseOp, ReadError> {
        Ok(match op {
            RequestOp::Range(range) => {
                let (snapshot, room) = self.snapshot_and_room();
                ResponseOp::Range(snapshot.range(range, room)?)
            }
            RequestOp::Put(put) => ResponseOp::Put(self.put(put)?),
            RequestOp::DeleteRange(delete) => ResponseOp::DeleteRange(self.delete_range(delete)?),
            RequestOp::Txn(_) => unreachable!("inner transactions are run by the outer one"),
        })
    }
}

/// The keys attached to a lease behind `after`, in order. No key is empty, so all are behind that.
pub(crate) fn attached_keys<'a>(
    reader: &'a dyn Reader,
    id: i64,
    after: &[u8],
) -> impl Iterator<Item = Result<Bytes, EngineError>> + use<'a> {
    let all = KeyRange::prefix(Bytes::copy_from_slice(&rows::lease_row(id)));
    let after = rows::lease_key_row(id, after);
    let attached = reader.scan(Table::LeaseKey, (Bound::Excluded(&after), all.end()));
    attached.map(move |row| row.map(|(row, _)| row.slice(rows::lease_row(id).len()..)))
}
