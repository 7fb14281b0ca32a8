//! **The one deterministic entry**: a command and the state give the next state and an answer.
//!
//! Everything here is a function of the replicated rows and the entry. Refusals come before the
//! first write, so that a refused command has changed nothing; after the first write only the
//! engine can fail, and that ends the member.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::command::Command;
use crate::engine::{Engine, EngineError, Reader, Table};
use crate::error::{Error, ReadError};
use crate::key::KeyRange;
use crate::range::Snapshot;
use crate::request::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use crate::response::{
    DeleteRangeResponse, Event, EventKind, KeyValue, Lease, LeaseChange, PutResponse, Response,
    ResponseOp,
};
use crate::revision::Revision;
use crate::rows;
use crate::store::State;
use crate::txn::{self, Operations, Path};

/// The longest time to live of a lease, in seconds (etcd's: about 285 years).
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// What a command did besides its answer.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) events: Vec<Event>,
    pub(crate) leases: Vec<LeaseChange>,
}

/// Applies a command that stands in the log with this term.
pub(crate) fn apply(
    engine: &mut dyn Engine,
    state: &mut State,
    term: u64,
    command: &Command,
    changes: &mut Changes,
) -> Result<Response, ReadError> {
    let mut writer = Writer::new(engine, state, &mut changes.events);
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
            grant(engine, lease)?;
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
            let revoked = *proposed_in == term && writer.revoke(*id)?;
            if revoked {
                changes.leases.push(LeaseChange::Revoked { id: *id });
            }
            Response::LeaseExpire { revoked }
        }
        Command::Member(member) => {
            engine.put(
                Table::Meta,
                &State::member_row(member.id),
                &State::member_record(member),
            )?;
            Response::Member
        }
    };
    if !changes.events.is_empty() {
        state.revision += 1;
    }
    Ok(response)
}

fn grant(engine: &mut dyn Engine, lease: Lease) -> Result<(), ReadError> {
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
    engine.put(Table::Lease, &row, &rows::number_record(lease.ttl))?;
    Ok(())
}

/// Makes the changes of one command, all at one revision.
struct Writer<'a> {
    engine: &'a mut dyn Engine,
    /// The revision before the command. Its changes are at the next one.
    before: i64,
    compacted: i64,
    /// The changes made, in order: change `n` has sub-revision `n`.
    events: &'a mut Vec<Event>,
}

impl<'a> Writer<'a> {
    fn new(engine: &'a mut dyn Engine, state: &State, events: &'a mut Vec<Event>) -> Self {
        assert!(events.is_empty(), "each command begins with no events");
        Self { engine, before: state.revision, compacted: state.compacted, events }
    }

    /// The revision to tell a client now: the next one as soon as something has changed.
    fn revision(&self) -> i64 {
        self.before + i64::from(!self.events.is_empty())
    }

    /// The state as changed so far.
    fn snapshot(&self) -> Snapshot<'_> {
        let reader: &dyn Reader = &*self.engine;
        Snapshot { reader, revision: self.revision(), compacted: self.compacted }
    }

    /// Writes a change of a key, of which `record` is what is to be kept. Before, the key was attached
    /// to `lease_before`, or 0.
    fn write(&mut self, event: Event, lease_before: i64, record: &[u8]) -> Result<(), EngineError> {
        let sub = i64::try_from(self.events.len()).expect("a command makes few changes");
        let revision = Revision { main: self.before + 1, sub };
        assert_eq!(event.kv.mod_revision, revision.main, "all changes are at one revision");
        let (key, deletion) = (&event.kv.key, event.kind == EventKind::Delete);
        self.engine.put(Table::Key, &rows::key_row(key, revision), record)?;
        let change = rows::revision_record(deletion, key);
        self.engine.put(Table::Revision, &revision.to_bytes(), &change)?;
        if lease_before != event.kv.lease {
            if lease_before != 0 {
                self.engine.delete(Table::LeaseKey, &rows::lease_key_row(lease_before, key))?;
            }
            if event.kv.lease != 0 {
                self.engine.put(Table::LeaseKey, &rows::lease_key_row(event.kv.lease, key), &[])?;
            }
        }
        self.events.push(event);
        Ok(())
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
        let lease_before = before.as_ref().map_or(0, |before| before.lease);
        self.write(Event { kind: EventKind::Put, kv, prev_kv: None }, lease_before, &record)?;
        let prev_kv = before.filter(|_| put.prev_kv);
        Ok(PutResponse { revision: self.revision(), prev_kv })
    }

    fn delete_range(
        &mut self,
        delete: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, EngineError> {
        let mut kvs = Vec::new();
        let snapshot = self.snapshot();
        let mut live = snapshot.live(&delete.range);
        while let Some(found) = live.next()? {
            kvs.push(found.kv()?);
        }
        drop(live);
        let deleted = kvs.len() as u64;
        let prev_kvs = if delete.prev_kv { kvs.clone() } else { Vec::new() };
        for kv in kvs {
            self.delete(&kv.key, kv.lease)?;
        }
        Ok(DeleteRangeResponse { revision: self.revision(), deleted, prev_kvs })
    }

    /// Deletes a key that lives, attached to `lease` or 0.
    fn delete(&mut self, key: &[u8], lease: i64) -> Result<(), EngineError> {
        let key = Bytes::copy_from_slice(key);
        let kv = KeyValue { key, mod_revision: self.before + 1, ..KeyValue::default() };
        let event = Event { kind: EventKind::Delete, kv, prev_kv: None };
        self.write(event, lease, rows::DELETE_RECORD)
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
        if self.engine.get(Table::Lease, &row)?.is_none() {
            return Ok(false);
        }
        for key in attached_keys(&*self.engine, id)? {
            // The rows may have come from another member, so that they fit together is not certain.
            let attached = self
                .snapshot()
                .get(&key)?
                .filter(|attached| attached.lease == id)
                .ok_or_else(|| rows::damaged("LeaseKey", &rows::lease_key_row(id, &key)))?;
            self.delete(&attached.key, id)?;
        }
        self.engine.delete(Table::Lease, &row)?;
        Ok(true)
    }
}

impl Operations for Writer<'_> {
    type Failure = ReadError;

    fn operate(&mut self, op: &RequestOp) -> Result<ResponseOp, ReadError> {
        Ok(match op {
            RequestOp::Range(range) => ResponseOp::Range(self.snapshot().range(range)?),
            RequestOp::Put(put) => ResponseOp::Put(self.put(put)?),
            RequestOp::DeleteRange(delete) => ResponseOp::DeleteRange(self.delete_range(delete)?),
            RequestOp::Txn(_) => unreachable!("inner transactions are run by the outer one"),
        })
    }
}

/// The keys attached to a lease, in order.
pub(crate) fn attached_keys(reader: &dyn Reader, id: i64) -> Result<Vec<Bytes>, EngineError> {
    let all = KeyRange::prefix(Bytes::copy_from_slice(&rows::lease_row(id)));
    let bounds = (core::ops::Bound::Included(&all.first()[..]), all.end());
    let attached = reader.scan(Table::LeaseKey, bounds);
    attached.map(|row| row.map(|(row, _)| row.slice(rows::lease_row(id).len()..))).collect()
}
