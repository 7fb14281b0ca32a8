//! The sequential specification: what etcd's store answers to one request after another.
//!
//! A second and deliberately plain statement of the data model: one ordered map of what is there now.
//! It shares the words with `quorate_mvcc`, and no line of what makes an answer. Sources: etcd's API
//! reference, and the behaviour of its `server/etcdserver/txn` where the reference is silent.

mod fits;
mod range;
mod txn;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_mvcc::{
    DeleteRangeRequest, DeleteRangeResponse, Error, Event, EventKind, KeyRange, KeyValue,
    PutRequest, PutResponse,
};

pub(crate) use fits::fits;
pub(crate) use range::answer;

use crate::history::{Reply, Request, Response};
use crate::range::Range;

/// A store between two requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    revision: i64,
    compacted: i64,
    keys: BTreeMap<Bytes, KeyValue>,
    leases: BTreeSet<i64>,
}

impl Default for Model {
    /// An empty store, which is at revision 1.
    fn default() -> Self {
        Self { revision: 1, compacted: -1, keys: BTreeMap::new(), leases: BTreeSet::new() }
    }
}

/// What one request changed, so that it can be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undo {
    /// The revision that it made, if it made one.
    pub(crate) made: Option<i64>,
    /// What was there before, of each key that it wrote or deleted, in order of the changes.
    pub(crate) keys: Vec<(Bytes, Option<KeyValue>)>,
    /// Each lease that came or went, and whether it was there before.
    pub(crate) leases: Vec<(i64, bool)>,
    /// The revision compacted before.
    pub(crate) compacted: Option<i64>,
}

impl Undo {
    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Model {
    /// A store that holds these keys, and the leases they hang on, at this revision.
    #[must_use]
    pub fn new(revision: i64, kvs: impl IntoIterator<Item = KeyValue>) -> Self {
        let keys: BTreeMap<Bytes, KeyValue> =
            kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        let leases = keys.values().map(|kv| kv.lease).filter(|lease| *lease != 0).collect();
        Self { revision, keys, leases, ..Self::default() }
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that may be read; -1 if nothing was ever compacted.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// A key, if it is there.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// Takes over what a revision changed, as somebody else tells it. A lease that a key hangs on is
    /// one that was granted.
    pub(crate) fn follow(&mut self, revision: i64, events: &[Event]) {
        self.revision = revision;
        for Event { kind, kv, .. } in events {
            match kind {
                EventKind::Put => {
                    self.assume_lease(kv.lease);
                    self.keys.insert(kv.key.clone(), kv.clone());
                }
                EventKind::Delete => {
                    self.keys.remove(&kv.key);
                }
            }
        }
    }

    /// Takes it that a lease was granted.
    pub(crate) fn assume_lease(&mut self, id: i64) {
        if id != 0 {
            self.leases.insert(id);
        }
    }

    /// Carries out a request.
    ///
    /// Of a read at a past revision the answer has the right revision and no keys: what was there then
    /// is a question for [`crate::replay`].
    pub fn apply(&mut self, request: &Request) -> (Reply, Undo) {
        let mut undo = Undo::default();
        let reply = match request {
            Request::Range(range) => self.range(range).map(Response::Range),
            // Which of the two is missed first is the other way round in a transaction, as in etcd.
            Request::Put(put) => {
                self.check_lease(put).and_then(|()| self.check_kept(put)).map(|()| {
                    let made = self.next_revision(&mut undo);
                    Response::Put(self.put(put, made, &mut undo))
                })
            }
            Request::DeleteRange(delete) => {
                Ok(Response::DeleteRange(self.delete(delete, &mut undo)))
            }
            Request::Txn(txn) => self.txn(txn, &mut undo).map(Response::Txn),
            Request::LeaseGrant { id, .. } => self.grant(*id, &mut undo),
            Request::LeaseRevoke { id } => self.revoke(*id, &mut undo),
            Request::Compact { revision } => self.compact(*revision, &mut undo),
        };
        (reply, undo)
    }

    /// Takes back the last request that was carried out and not taken back.
    pub fn undo(&mut self, undo: Undo) {
        for (key, before) in undo.keys.into_iter().rev() {
            match before {
                Some(kv) => self.keys.insert(key, kv),
                None => self.keys.remove(&key),
            };
        }
        for (id, before) in undo.leases.into_iter().rev() {
            if before {
                self.leases.insert(id);
            } else {
                self.leases.remove(&id);
            }
        }
        if let Some(compacted) = undo.compacted {
            self.compacted = compacted;
        }
        if let Some(made) = undo.made {
            self.revision = made - 1;
        }
    }

    /// The revision of the changes of this request: a new one at the first of them.
    fn next_revision(&mut self, undo: &mut Undo) -> i64 {
        *undo.made.get_or_insert_with(|| {
            self.revision += 1;
            self.revision
        })
    }

    fn change(&mut self, key: &Bytes, to: Option<KeyValue>, undo: &mut Undo) -> Option<KeyValue> {
        let before = match to {
            Some(kv) => self.keys.insert(key.clone(), kv),
            None => self.keys.remove(key),
        };
        undo.keys.push((key.clone(), before.clone()));
        before
    }

    /// Whether the lease that a put names is there.
    fn check_lease(&self, put: &PutRequest) -> Result<(), Error> {
        let is_there = put.lease == 0 || self.leases.contains(&put.lease);
        if is_there { Ok(()) } else { Err(Error::LeaseNotFound) }
    }

    /// Whether what a put wants to keep is there.
    fn check_kept(&self, put: &PutRequest) -> Result<(), Error> {
        let is_there = !(put.ignore_value || put.ignore_lease) || self.keys.contains_key(&put.key);
        if is_there { Ok(()) } else { Err(Error::KeyNotFound) }
    }

    fn put(&mut self, put: &PutRequest, revision: i64, undo: &mut Undo) -> PutResponse {
        let before = self.keys.get(&put.key);
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: before.map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: before.map_or(0, |kv| kv.version) + 1,
            value: match before {
                Some(kv) if put.ignore_value => kv.value.clone(),
                _ => put.value.clone(),
            },
            lease: match before {
                Some(kv) if put.ignore_lease => kv.lease,
                _ => put.lease,
            },
        };
        let before = self.change(&put.key, Some(kv), undo);
        PutResponse { revision, prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, delete: &DeleteRangeRequest, undo: &mut Undo) -> DeleteRangeResponse {
        let deleted = self.keys_in(&delete.range);
        for kv in &deleted {
            self.next_revision(undo);
            self.change(&kv.key, None, undo);
        }
        DeleteRangeResponse {
            revision: self.revision,
            deleted: deleted.len() as u64,
            prev_kvs: if delete.prev_kv { deleted } else { Vec::new() },
        }
    }

    fn grant(&mut self, id: i64, undo: &mut Undo) -> Reply {
        if !self.leases.insert(id) {
            return Err(Error::LeaseExists);
        }
        undo.leases.push((id, false));
        Ok(Response::LeaseGrant { id })
    }

    fn revoke(&mut self, id: i64, undo: &mut Undo) -> Reply {
        if !self.leases.remove(&id) {
            return Err(Error::LeaseNotFound);
        }
        undo.leases.push((id, true));
        let attached: Vec<Bytes> =
            self.keys.values().filter(|kv| kv.lease == id).map(|kv| kv.key.clone()).collect();
        for key in attached {
            self.next_revision(undo);
            self.change(&key, None, undo);
        }
        Ok(Response::LeaseRevoke)
    }

    fn compact(&mut self, revision: i64, undo: &mut Undo) -> Reply {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        undo.compacted = Some(self.compacted);
        self.compacted = revision;
        Ok(Response::Compact)
    }

    fn keys_in(&self, range: &KeyRange) -> Vec<KeyValue> {
        let range = Range::of(range);
        self.keys
            .range(range.from.clone()..)
            .take_while(|(key, _)| range.contains(key))
            .map(|(_, kv)| kv.clone())
            .collect()
    }
}
