//! The sequential specification: what the data model must answer to one command after another.
//!
//! A second and deliberately plain statement of the few commands that the clients of a run use. It
//! remembers every state it went through, so a read can be judged by the state it claims to have
//! seen.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, Command, Compare, CompareOperand, CompareResult,
    DeleteRangeRequest, DeleteRangeResponse, Error, Event, EventKind, KeyRange, KeyValue, Outcome,
    PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, Response, ResponseOp,
    TxnRequest, TxnResponse,
};
use quorate_raft::{EntryId, Index};

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Write a key.
    Put {
        /// The key.
        key: Bytes,
        /// The value, which no other request writes.
        value: Bytes,
    },
    /// Delete a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Write a key if its last change was at this revision; else read it.
    Swap {
        /// The key.
        key: Bytes,
        /// The revision expected; 0 for a key that is not there.
        expected: i64,
        /// The value, which no other request writes.
        value: Bytes,
    },
    /// Forget the history before a revision.
    Compact {
        /// The revision.
        revision: i64,
    },
    /// Read a key, without a command.
    Read {
        /// The key.
        key: Bytes,
    },
    /// Create a lease.
    Grant {
        /// Its id, which no other request grants.
        id: i64,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// Write a key that goes with a lease.
    Attach {
        /// The key.
        key: Bytes,
        /// The value, which no other request writes.
        value: Bytes,
        /// The lease.
        lease: i64,
    },
    /// End a lease.
    Revoke {
        /// Its id.
        id: i64,
    },
    /// End a lease that ran out by the clock of the leader of a term, unless another leads by now. No
    /// client asks for it, members do.
    Expire {
        /// Its id.
        id: i64,
        /// The term.
        term: u64,
    },
    /// Raise an alarm or take one back.
    Alarm(AlarmCommand),
}

impl Request {
    /// The key that it writes or deletes, if it does so to one.
    #[must_use]
    pub fn written(&self) -> Option<&Bytes> {
        match self {
            Self::Put { key, .. }
            | Self::Attach { key, .. }
            | Self::Delete { key }
            | Self::Swap { key, .. } => Some(key),
            Self::Compact { .. }
            | Self::Read { .. }
            | Self::Grant { .. }
            | Self::Revoke { .. }
            | Self::Expire { .. }
            | Self::Alarm(_) => None,
        }
    }

    /// The command for the log; a read has none.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        Some(match self.clone() {
            Self::Put { key, value } => Command::Put(put(key, value, 0)),
            Self::Attach { key, value, lease } => Command::Put(put(key, value, lease)),
            Self::Grant { id, ttl } => Command::LeaseGrant { id, ttl },
            Self::Revoke { id } => Command::LeaseRevoke { id },
            Self::Expire { id, term } => Command::LeaseExpire { id, term },
            Self::Delete { key } => Command::DeleteRange(DeleteRangeRequest {
                range: KeyRange::Point(key),
                prev_kv: true,
            }),
            Self::Swap { key, expected, value } => Command::Txn(TxnRequest {
                compare: vec![Compare {
                    range: KeyRange::Point(key.clone()),
                    result: CompareResult::Equal,
                    operand: CompareOperand::Mod(expected),
                }],
                success: vec![RequestOp::Put(put(key.clone(), value, 0))],
                failure: vec![RequestOp::Range(RangeRequest::new(KeyRange::Point(key)))],
            }),
            Self::Compact { revision } => Command::Compact { revision },
            Self::Alarm(command) => Command::Alarm(command),
            Self::Read { .. } => return None,
        })
    }

    /// Reads back a command that a client of the run made.
    #[must_use]
    pub fn of_command(command: &Command) -> Option<Self> {
        let single = |range: &KeyRange| match range {
            KeyRange::Point(key) => Some(key.clone()),
            _ => None,
        };
        Some(match command {
            Command::Put(put) => {
                let (key, value) = (put.key.clone(), put.value.clone());
                match put.lease {
                    0 => Self::Put { key, value },
                    lease => Self::Attach { key, value, lease },
                }
            }
            Command::LeaseGrant { id, ttl } => Self::Grant { id: *id, ttl: *ttl },
            Command::LeaseRevoke { id } => Self::Revoke { id: *id },
            Command::LeaseExpire { id, term } => Self::Expire { id: *id, term: *term },
            Command::DeleteRange(delete) => Self::Delete { key: single(&delete.range)? },
            Command::Txn(txn) => match (&txn.compare[..], &txn.success[..]) {
                ([compare], [RequestOp::Put(put)]) => {
                    let CompareOperand::Mod(expected) = compare.operand else { return None };
                    Self::Swap { key: put.key.clone(), expected, value: put.value.clone() }
                }
                _ => return None,
            },
            Command::Compact { revision } => Self::Compact { revision: *revision },
            Command::Alarm(command) => Self::Alarm(*command),
            _ => return None,
        })
    }
}

fn put(key: Bytes, value: Bytes, lease: i64) -> PutRequest {
    PutRequest { key, value, lease, prev_kv: true, ..PutRequest::default() }
}

/// All states from the first entry of the log on.
#[derive(Debug)]
pub struct Model {
    revision: i64,
    compacted: i64,
    /// The leases that there are, with their times to live.
    leases: BTreeMap<i64, i64>,
    /// The alarms that are raised, with their marks.
    alarms: BTreeMap<(AlarmKind, u64), Option<u64>>,
    /// Each key's changes, by position in the log.
    keys: BTreeMap<Bytes, BTreeMap<Index, Option<KeyValue>>>,
    /// The store's revision after each entry that changed it.
    revisions: BTreeMap<Index, i64>,
    /// All changes in their order, without what was there before.
    events: Vec<Event>,
    /// The revisions in which a lease took its keys along.
    lease_ends: BTreeSet<i64>,
}

impl Default for Model {
    fn default() -> Self {
        // etcd's empty store is at revision 1.
        Self {
            revision: 1,
            compacted: -1,
            leases: BTreeMap::new(),
            alarms: BTreeMap::new(),
            keys: BTreeMap::new(),
            revisions: BTreeMap::new(),
            events: Vec::new(),
            lease_ends: BTreeSet::new(),
        }
    }
}

impl Model {
    /// Carries out the command at this position.
    pub fn apply(&mut self, at: EntryId, request: &Request) -> Outcome {
        let index = at.index;
        let result = match request {
            Request::Alarm(command) => Ok(Response::Alarm(self.alarm(*command))),
            request if self.refuses(request) => Err(Error::NoSpace),
            Request::Put { key, value } => Ok(Response::Put(self.put(index, key, value, 0))),
            Request::Delete { key } => Ok(Response::DeleteRange(self.delete(index, key))),
            Request::Swap { key, expected, value } => {
                Ok(Response::Txn(self.swap(index, key, *expected, value)))
            }
            Request::Compact { revision } => self.compact(*revision),
            Request::Read { .. } => unreachable!("a read is no command"),
            Request::Attach { lease, .. } | Request::Revoke { id: lease }
                if !self.leases.contains_key(lease) =>
            {
                Err(Error::LeaseNotFound)
            }
            Request::Attach { key, value, lease } => {
                Ok(Response::Put(self.put(index, key, value, *lease)))
            }
            Request::Grant { id, ttl } => {
                let before = self.leases.insert(*id, *ttl);
                assert_eq!(before, None, "lease {id} is granted once");
                Ok(Response::LeaseGrant { id: *id, ttl: *ttl })
            }
            Request::Revoke { id } => {
                self.end_lease(index, *id);
                Ok(Response::LeaseRevoke)
            }
            Request::Expire { id, term } => {
                let revoked = at.term.0 == *term && self.leases.contains_key(id);
                if revoked {
                    self.end_lease(index, *id);
                }
                Ok(Response::LeaseExpire { revoked })
            }
        };
        Outcome { revision: self.revision, result }
    }

    /// Whether a request could make the store grow while there is an alarm. Of any other alarm no run has.
    fn refuses(&self, request: &Request) -> bool {
        let grows = match request {
            Request::Put { .. }
            | Request::Swap { .. }
            | Request::Attach { .. }
            | Request::Grant { .. } => true,
            Request::Delete { .. }
            | Request::Compact { .. }
            | Request::Read { .. }
            | Request::Revoke { .. }
            | Request::Expire { .. }
            | Request::Alarm(_) => false,
        };
        grows && !self.alarms.is_empty()
    }

    fn alarm(&mut self, command: AlarmCommand) -> Option<Alarm> {
        let raised = |(kind, member): (AlarmKind, u64), clears_below: Option<u64>| Alarm {
            member,
            kind,
            clears_below,
        };
        match command {
            AlarmCommand::Activate(Alarm { member, kind, clears_below }) => {
                let mark = self.alarms.entry((kind, member)).or_insert(clears_below);
                if mark.is_some() {
                    *mark = clears_below;
                }
                Some(raised((kind, member), *mark))
            }
            AlarmCommand::Deactivate { member, kind } => {
                let mark = self.alarms.remove(&(kind, member))?;
                Some(raised((kind, member), mark))
            }
            AlarmCommand::Clear { member, clears_below } => {
                let at = (AlarmKind::NoSpace, member);
                let mark = *self.alarms.get(&at)?;
                if mark != Some(clears_below) {
                    return None;
                }
                self.alarms.remove(&at);
                Some(raised(at, mark))
            }
        }
    }

    /// The alarms that are raised.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> + '_ {
        self.alarms.iter().map(|(&(kind, member), &clears_below)| Alarm {
            member,
            kind,
            clears_below,
        })
    }

    fn present(&self, key: &Bytes) -> Option<KeyValue> {
        self.keys.get(key)?.last_key_value()?.1.clone()
    }

    fn change(&mut self, index: Index, key: &Bytes, kv: Option<KeyValue>) {
        let deletion =
            KeyValue { key: key.clone(), mod_revision: self.revision, ..KeyValue::default() };
        self.events.push(Event {
            kind: if kv.is_some() { EventKind::Put } else { EventKind::Delete },
            kv: kv.clone().unwrap_or(deletion),
            prev_kv: None,
        });
        self.keys.entry(key.clone()).or_default().insert(index, kv);
        self.revisions.insert(index, self.revision);
    }

    /// A lease ends, and its keys with it, all in one revision.
    fn end_lease(&mut self, index: Index, id: i64) {
        self.leases.remove(&id);
        let hangs_on_it =
            |key: &&Bytes| self.present(key).is_some_and(|present| present.lease == id);
        let keys: Vec<Bytes> = self.keys.keys().filter(hangs_on_it).cloned().collect();
        if !keys.is_empty() {
            self.revision += 1;
            self.lease_ends.insert(self.revision);
        }
        for key in keys {
            self.change(index, &key, None);
        }
    }

    fn put(&mut self, index: Index, key: &Bytes, value: &Bytes, lease: i64) -> PutResponse {
        self.revision += 1;
        let prev_kv = self.present(key);
        let revision = self.revision;
        let kv = KeyValue {
            key: key.clone(),
            create_revision: prev_kv.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: prev_kv.as_ref().map_or(1, |kv| kv.version + 1),
            value: value.clone(),
            lease,
        };
        self.change(index, key, Some(kv));
        PutResponse { revision, prev_kv }
    }

    fn delete(&mut self, index: Index, key: &Bytes) -> DeleteRangeResponse {
        let prev_kvs: Vec<KeyValue> = self.present(key).into_iter().collect();
        if !prev_kvs.is_empty() {
            self.revision += 1;
            self.change(index, key, None);
        }
        DeleteRangeResponse { revision: self.revision, deleted: prev_kvs.len() as u64, prev_kvs }
    }

    fn swap(&mut self, index: Index, key: &Bytes, expected: i64, value: &Bytes) -> TxnResponse {
        let found = self.present(key);
        let succeeded = found.as_ref().map_or(0, |kv| kv.mod_revision) == expected;
        let response = if succeeded {
            ResponseOp::Put(self.put(index, key, value, 0))
        } else {
            ResponseOp::Range(range_response(self.revision, found))
        };
        TxnResponse { revision: self.revision, succeeded, responses: vec![response] }
    }

    fn compact(&mut self, revision: i64) -> Result<Response, Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        self.compacted = revision;
        Ok(Response::Compact)
    }

    /// What a read of this key answers in the state after this position of the log.
    #[must_use]
    pub fn read(&self, key: &Bytes, at: Index) -> RangeResponse {
        let revision = self.revisions.range(..=at).next_back().map_or(1, |(_, revision)| *revision);
        let changes = self.keys.get(key);
        let kv = changes.and_then(|changes| changes.range(..=at).next_back()?.1.clone());
        range_response(revision, kv)
    }

    /// All changes that were made, in their order, without what was there before.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The oldest revision that can be read; -1 if nothing was ever compacted.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Whether a revision was made by the end of a lease.
    #[must_use]
    pub fn is_end_of_lease(&self, revision: i64) -> bool {
        self.lease_ends.contains(&revision)
    }

    /// The leases that there are, with their times to live in seconds.
    #[must_use]
    pub fn leases(&self) -> &BTreeMap<i64, i64> {
        &self.leases
    }

    /// The store's present revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Every key that was ever written.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.keys()
    }
}

fn range_response(revision: i64, kv: Option<KeyValue>) -> RangeResponse {
    let kvs: Vec<KeyValue> = kv.into_iter().collect();
    RangeResponse { revision, count: kvs.len() as u64, more: false, kvs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Bytes {
        Bytes::from_static(b"k")
    }

    fn value(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn commands_are_read_back() {
        for request in [
            Request::Put { key: key(), value: value("a") },
            Request::Delete { key: key() },
            Request::Swap { key: key(), expected: 7, value: value("b") },
            Request::Compact { revision: 3 },
            Request::Grant { id: 5, ttl: 2 },
            Request::Attach { key: key(), value: value("c"), lease: 5 },
            Request::Revoke { id: 5 },
            Request::Expire { id: 5, term: 2 },
            Request::Alarm(AlarmCommand::Clear { member: 1, clears_below: 2 }),
        ] {
            let command = request.command().expect("it is no read");
            assert_eq!(Request::of_command(&command), Some(request));
        }
        assert_eq!(Request::Read { key: key() }.command(), None);
    }

    #[test]
    fn old_states_stay_readable() {
        let mut model = Model::default();
        model.apply(EntryId::new(1, 2), &Request::Put { key: key(), value: value("a") });
        model.apply(EntryId::new(1, 4), &Request::Delete { key: key() });
        model.apply(EntryId::new(1, 5), &Request::Delete { key: key() });
        let seen = |at| {
            let read = model.read(&key(), Index(at));
            (read.revision, read.kvs.first().map(|kv| kv.value.clone()))
        };
        assert_eq!(seen(1), (1, None));
        assert_eq!(seen(2), (2, Some(value("a"))));
        assert_eq!(seen(3), (2, Some(value("a"))));
        assert_eq!(seen(9), (3, None), "the second deletion found nothing");
    }

    #[test]
    fn a_swap_needs_the_revision_it_expects() {
        let mut model = Model::default();
        let swap = |expected, to| Request::Swap { key: key(), expected, value: value(to) };
        let succeeded = |outcome: Outcome| match outcome.result {
            Ok(Response::Txn(txn)) => txn.succeeded,
            other => panic!("{other:?}"),
        };
        assert!(succeeded(model.apply(EntryId::new(1, 1), &swap(0, "a"))));
        assert!(!succeeded(model.apply(EntryId::new(1, 2), &swap(0, "b"))));
        assert!(succeeded(model.apply(EntryId::new(1, 3), &swap(2, "c"))));
        assert_eq!(model.revision(), 3);
    }

    #[test]
    fn a_lease_takes_its_keys_along_in_its_own_term_only() {
        let mut model = Model::default();
        let other = Bytes::from_static(b"other");
        let mut step =
            |index, request: Request| model.apply(EntryId::new(3, index), &request).result;
        let attach = |key: Bytes, lease| Request::Attach { key, value: value("a"), lease };
        assert_eq!(step(1, attach(key(), 5)), Err(Error::LeaseNotFound));
        step(2, Request::Grant { id: 5, ttl: 2 }).expect("it is new");
        step(3, attach(key(), 5)).expect("the lease is there");
        step(4, attach(other.clone(), 5)).expect("the lease is there");
        let expired = |revoked| Ok(Response::LeaseExpire { revoked });
        assert_eq!(step(5, Request::Expire { id: 5, term: 2 }), expired(false));
        assert_eq!(step(6, Request::Expire { id: 5, term: 3 }), expired(true));
        assert_eq!(step(7, Request::Revoke { id: 5 }), Err(Error::LeaseNotFound));
        let deleted: Vec<_> = model.events().iter().filter(|it| it.kv.mod_revision == 4).collect();
        assert_eq!(deleted.len(), 2, "both keys in the revision after the two of their puts");
        assert_eq!((model.revision(), model.leases().len()), (4, 0));
        assert!(model.read(&other, Index(7)).kvs.is_empty());
    }

    #[test]
    fn what_would_grow_is_refused_while_an_alarm_is_raised() {
        let mut model = Model::default();
        let mut step = |index, request| model.apply(EntryId::new(1, index), &request).result;
        let put = || Request::Put { key: key(), value: value("a") };
        let alarm = Alarm { member: 2, kind: AlarmKind::NoSpace, clears_below: Some(9) };
        let raise = || Request::Alarm(AlarmCommand::Activate(alarm));
        let clear = |clears_below| Request::Alarm(AlarmCommand::Clear { member: 2, clears_below });
        step(1, put()).expect("no alarm is raised");
        assert_eq!(step(2, raise()), Ok(Response::Alarm(Some(alarm))));
        assert_eq!(step(3, put()), Err(Error::NoSpace));
        step(4, Request::Delete { key: key() }).expect("that needs no space");
        assert_eq!(step(5, clear(8)), Ok(Response::Alarm(None)));
        assert_eq!(step(6, put()), Err(Error::NoSpace));
        assert_eq!(step(7, clear(9)), Ok(Response::Alarm(Some(alarm))));
        step(8, put()).expect("no alarm is raised");
    }
}
