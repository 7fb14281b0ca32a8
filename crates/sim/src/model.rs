//! The sequential specification: what the data model must answer to one command after another.
//!
//! A second and deliberately plain statement of the few commands that the clients of a run use. It
//! remembers every state it went through, so a read can be judged by the state it claims to have
//! seen.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_mvcc::{
    Command, Compare, CompareOperand, CompareResult, DeleteRangeRequest, DeleteRangeResponse,
    Error, Event, EventKind, KeyRange, KeyValue, Outcome, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, Response, ResponseOp, TxnRequest, TxnResponse,
};
use quorate_raft::Index;

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
}

impl Request {
    /// The command for the log; a read has none.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        Some(match self.clone() {
            Self::Put { key, value } => Command::Put(put(key, value)),
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
                success: vec![RequestOp::Put(put(key.clone(), value))],
                failure: vec![RequestOp::Range(RangeRequest::new(KeyRange::Point(key)))],
            }),
            Self::Compact { revision } => Command::Compact { revision },
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
            Command::Put(put) => Self::Put { key: put.key.clone(), value: put.value.clone() },
            Command::DeleteRange(delete) => Self::Delete { key: single(&delete.range)? },
            Command::Txn(txn) => match (&txn.compare[..], &txn.success[..]) {
                ([compare], [RequestOp::Put(put)]) => {
                    let CompareOperand::Mod(expected) = compare.operand else { return None };
                    Self::Swap { key: put.key.clone(), expected, value: put.value.clone() }
                }
                _ => return None,
            },
            Command::Compact { revision } => Self::Compact { revision: *revision },
            _ => return None,
        })
    }
}

fn put(key: Bytes, value: Bytes) -> PutRequest {
    PutRequest { key, value, prev_kv: true, ..PutRequest::default() }
}

/// All states from the first entry of the log on.
#[derive(Debug)]
pub struct Model {
    revision: i64,
    compacted: i64,
    /// Each key's changes, by position in the log.
    keys: BTreeMap<Bytes, BTreeMap<Index, Option<KeyValue>>>,
    /// The store's revision after each entry that changed it.
    revisions: BTreeMap<Index, i64>,
    /// All changes in their order, without what was there before.
    events: Vec<Event>,
}

impl Default for Model {
    fn default() -> Self {
        // etcd's empty store is at revision 1.
        Self {
            revision: 1,
            compacted: -1,
            keys: BTreeMap::new(),
            revisions: BTreeMap::new(),
            events: Vec::new(),
        }
    }
}

impl Model {
    /// Carries out the command at this position.
    pub fn apply(&mut self, index: Index, request: &Request) -> Outcome {
        let result = match request {
            Request::Put { key, value } => Ok(Response::Put(self.put(index, key, value, true))),
            Request::Delete { key } => Ok(Response::DeleteRange(self.delete(index, key))),
            Request::Swap { key, expected, value } => {
                Ok(Response::Txn(self.swap(index, key, *expected, value)))
            }
            Request::Compact { revision } => self.compact(*revision),
            Request::Read { .. } => unreachable!("a read is no command"),
        };
        Outcome { revision: self.revision, result }
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

    fn put(&mut self, index: Index, key: &Bytes, value: &Bytes, _prev: bool) -> PutResponse {
        self.revision += 1;
        let prev_kv = self.present(key);
        let revision = self.revision;
        let kv = KeyValue {
            key: key.clone(),
            create_revision: prev_kv.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: prev_kv.as_ref().map_or(1, |kv| kv.version + 1),
            value: value.clone(),
            lease: 0,
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
            ResponseOp::Put(self.put(index, key, value, true))
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
        ] {
            let command = request.command().expect("it is no read");
            assert_eq!(Request::of_command(&command), Some(request));
        }
        assert_eq!(Request::Read { key: key() }.command(), None);
    }

    #[test]
    fn old_states_stay_readable() {
        let mut model = Model::default();
        model.apply(Index(2), &Request::Put { key: key(), value: value("a") });
        model.apply(Index(4), &Request::Delete { key: key() });
        model.apply(Index(5), &Request::Delete { key: key() });
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
        assert!(succeeded(model.apply(Index(1), &swap(0, "a"))));
        assert!(!succeeded(model.apply(Index(2), &swap(0, "b"))));
        assert!(succeeded(model.apply(Index(3), &swap(2, "c"))));
        assert_eq!(model.revision(), 3);
    }
}
