//! The data model as plainly as it can be said: a whole map of keys for every revision.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, Command, Compare, CompareOperand, CompareResult,
    DeleteRangeRequest, DeleteRangeResponse, Error, Event, EventKind, KeyRange, KeyValue,
    PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, Response, ResponseOp,
    SortOrder, SortTarget, TxnRequest, TxnResponse,
};

type Keys = BTreeMap<Bytes, KeyValue>;

pub(crate) struct Model {
    /// The keys at each revision; the first is that of revision 1.
    states: Vec<Keys>,
    /// The events of each revision, from revision 1 on, which has none.
    pub(crate) events: Vec<Vec<Event>>,
    pub(crate) compacted: i64,
    pub(crate) leases: BTreeMap<i64, i64>,
    /// Each with its mark.
    pub(crate) alarms: BTreeMap<(AlarmKind, u64), Option<u64>>,
}

/// A command under way.
struct Draft<'m> {
    model: &'m Model,
    keys: Keys,
    events: Vec<Event>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let (states, events) = (vec![Keys::new()], vec![Vec::new()]);
        let (leases, alarms) = (BTreeMap::new(), BTreeMap::new());
        Self { states, events, compacted: -1, leases, alarms }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.states.len() as i64
    }

    pub(crate) fn keys_at(&self, revision: i64) -> &Keys {
        &self.states[revision as usize - 1]
    }

    fn keys(&self) -> &Keys {
        self.keys_at(self.revision())
    }

    pub(crate) fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        self.keys().values().filter(|kv| kv.lease == id).map(|kv| kv.key.clone()).collect()
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Result<Response, Error> {
        if let Command::Alarm(command) = command {
            return Ok(Response::Alarm(self.alarm(*command)));
        }
        let is_raised = |kind| self.alarms.keys().any(|(raised, _)| *raised == kind);
        if is_raised(AlarmKind::Corrupt) {
            return Err(Error::CorruptCluster);
        }
        let grows = match command {
            Command::Put(_) | Command::LeaseGrant { .. } => true,
            Command::Txn(txn) => format!("{txn:?}").contains("Put("),
            _ => false,
        };
        if grows && is_raised(AlarmKind::NoSpace) {
            return Err(Error::NoSpace);
        }
        let mut draft = Draft { model: self, keys: self.keys().clone(), events: Vec::new() };
        let response = match command {
            Command::Put(put) => {
                put.check()?;
                self.check_put(put)?;
                Response::Put(draft.put(put))
            }
            Command::DeleteRange(delete) => Response::DeleteRange(draft.delete(delete)),
            Command::Txn(txn) => {
                txn.check(usize::MAX)?;
                self.check_txn(txn)?;
                let mut response = draft.txn(txn)?;
                response.revision = draft.revision();
                Response::Txn(response)
            }
            Command::LeaseRevoke { id } => {
                if !self.leases.contains_key(id) {
                    return Err(Error::LeaseNotFound);
                }
                for key in self.lease_keys(*id) {
                    let range = KeyRange::Point(key);
                    draft.delete(&DeleteRangeRequest { range, prev_kv: false });
                }
                Response::LeaseRevoke
            }
            Command::Compact { revision } => {
                if *revision <= self.compacted {
                    return Err(Error::Compacted);
                }
                if *revision > self.revision() {
                    return Err(Error::FutureRevision);
                }
                Response::Compact
            }
            Command::LeaseGrant { id, ttl } => {
                if self.leases.contains_key(id) {
                    return Err(Error::LeaseExists);
                }
                Response::LeaseGrant { id: *id, ttl: *ttl }
            }
            other => panic!("the model knows nothing of {other:?}"),
        };
        let Draft { keys, events, .. } = draft;
        if !events.is_empty() {
            self.states.push(keys);
            self.events.push(events);
        }
        match command {
            Command::Compact { revision } => self.compacted = *revision,
            Command::LeaseGrant { id, ttl } => drop(self.leases.insert(*id, *ttl)),
            Command::LeaseRevoke { id } => drop(self.leases.remove(id)),
            _ => {}
        }
        Ok(response)
    }

    fn alarm(&mut self, command: AlarmCommand) -> Option<Alarm> {
        let (kind, member) = match command {
            AlarmCommand::Activate(Alarm { member, kind, .. })
            | AlarmCommand::Deactivate { member, kind } => (kind, member),
            AlarmCommand::Clear { member, .. } => (AlarmKind::NoSpace, member),
        };
        let before = self.alarms.remove(&(kind, member));
        let (is_raised, clears_below) = match command {
            AlarmCommand::Activate(Alarm { clears_below, .. }) => {
                (true, if before == Some(None) { None } else { clears_below })
            }
            AlarmCommand::Deactivate { .. } => (false, before.flatten()),
            AlarmCommand::Clear { clears_below, .. } => {
                (before.is_some() && before != Some(Some(clears_below)), before.flatten())
            }
        };
        if is_raised {
            self.alarms.insert((kind, member), clears_below);
        }
        let is_told = match command {
            AlarmCommand::Activate(_) => true,
            AlarmCommand::Deactivate { .. } => before.is_some(),
            AlarmCommand::Clear { .. } => before.is_some() && !is_raised,
        };
        is_told.then_some(Alarm { member, kind, clears_below })
    }

    fn check_put(&self, put: &PutRequest) -> Result<(), Error> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Error::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && !self.keys().contains_key(&put.key) {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }

    fn branch<'t>(&self, txn: &'t TxnRequest) -> (bool, &'t [RequestOp]) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    /// What is wrong with the operations that will run; a put comes before a range.
    fn check_txn(&self, txn: &TxnRequest) -> Result<(), Error> {
        let mut ops = Vec::new();
        self.flatten(txn, &mut ops);
        for op in &ops {
            if let RequestOp::Put(put) = op {
                let kept = put.ignore_value || put.ignore_lease;
                if kept && !self.keys().contains_key(&put.key) {
                    return Err(Error::KeyNotFound);
                }
                self.check_put(put)?;
            }
        }
        for op in &ops {
            if let RequestOp::Range(range) = op {
                if range.revision > self.revision() {
                    return Err(Error::FutureRevision);
                }
                if range.revision != 0 && range.revision < self.compacted {
                    return Err(Error::Compacted);
                }
            }
        }
        Ok(())
    }

    fn flatten<'t>(&self, txn: &'t TxnRequest, ops: &mut Vec<&'t RequestOp>) {
        for op in self.branch(txn).1 {
            match op {
                RequestOp::Txn(txn) => self.flatten(txn, ops),
                RequestOp::Range(_) | RequestOp::Put(_) | RequestOp::DeleteRange(_) => ops.push(op),
            }
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let missing = KeyValue::default();
        let mut kvs: Vec<&KeyValue> =
            self.keys().values().filter(|kv| compare.range.contains(&kv.key)).collect();
        if kvs.is_empty() {
            if matches!(compare.operand, CompareOperand::Value(_)) {
                return false;
            }
            kvs.push(&missing);
        }
        kvs.into_iter().all(|kv| {
            let order = match &compare.operand {
                CompareOperand::Version(given) => kv.version.cmp(given),
                CompareOperand::Create(given) => kv.create_revision.cmp(given),
                CompareOperand::Mod(given) => kv.mod_revision.cmp(given),
                CompareOperand::Lease(given) => kv.lease.cmp(given),
                CompareOperand::Value(given) => kv.value.cmp(given),
                CompareOperand::Unknown => Ordering::Equal,
            };
            match compare.result {
                CompareResult::Equal => order == Ordering::Equal,
                CompareResult::Greater => order == Ordering::Greater,
                CompareResult::Less => order == Ordering::Less,
                CompareResult::NotEqual => order != Ordering::Equal,
                CompareResult::Unknown => true,
            }
        })
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.range_in(request, self.keys(), self.revision())
    }

    /// A range when the newest keys are these, at this revision.
    fn range_in(
        &self,
        request: &RangeRequest,
        newest: &Keys,
        revision: i64,
    ) -> Result<RangeResponse, Error> {
        let keys = match request.revision {
            ..=0 => newest,
            at if at > revision => return Err(Error::FutureRevision),
            at if at < self.compacted => return Err(Error::Compacted),
            at if at > self.revision() => newest,
            at => self.keys_at(at),
        };
        let mut kvs: Vec<KeyValue> =
            keys.values().filter(|kv| request.range.contains(&kv.key)).cloned().collect();
        let count = kvs.len() as u64;
        if request.count_only {
            return Ok(RangeResponse { revision, kvs: Vec::new(), more: false, count });
        }
        let bounds = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        let limit = request.limit as usize;
        // The first keys only, where nothing but a target is asked for.
        if limit > 0 && request.sort_order == SortOrder::None && bounds == [0; 4] {
            kvs.truncate(limit + 1);
        }
        kvs.retain(|kv| {
            (bounds[0] == 0 || kv.mod_revision >= bounds[0])
                && (bounds[1] == 0 || kv.mod_revision <= bounds[1])
                && (bounds[2] == 0 || kv.create_revision >= bounds[2])
                && (bounds[3] == 0 || kv.create_revision <= bounds[3])
        });
        kvs.sort_by(|a, b| {
            let order = match request.sort_target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if request.sort_order == SortOrder::Descend { order.reverse() } else { order }
        });
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(RangeResponse { revision, kvs, more, count })
    }

    /// What is still stored at the compacted revision or after: of each key the last put before, and
    /// everything since.
    pub(crate) fn kept(&self) -> BTreeSet<(i64, Bytes)> {
        let old =
            if self.compacted > 0 { self.keys_at(self.compacted).clone() } else { Keys::new() };
        let new = self.events.iter().flatten().filter(|event| {
            let at = event.kv.mod_revision;
            at > self.compacted || (at == self.compacted && event.kind == EventKind::Delete)
        });
        let new = new.map(|event| (event.kv.mod_revision, event.kv.key.clone()));
        old.values().map(|kv| (kv.mod_revision, kv.key.clone())).chain(new).collect()
    }
}

impl Draft<'_> {
    fn revision(&self) -> i64 {
        self.model.revision() + i64::from(!self.events.is_empty())
    }

    fn put(&mut self, put: &PutRequest) -> PutResponse {
        let revision = self.model.revision() + 1;
        let prev = self.keys.get(&put.key).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: prev.as_ref().map_or(revision, |prev| prev.create_revision),
            mod_revision: revision,
            version: prev.as_ref().map_or(0, |prev| prev.version) + 1,
            value: match &prev {
                Some(prev) if put.ignore_value => prev.value.clone(),
                _ => put.value.clone(),
            },
            lease: match &prev {
                Some(prev) if put.ignore_lease => prev.lease,
                _ => put.lease,
            },
        };
        self.keys.insert(put.key.clone(), kv.clone());
        let creates = kv.create_revision == kv.mod_revision;
        let prev_kv = self.model.keys().get(&put.key).filter(|_| !creates).cloned();
        self.events.push(Event { kind: EventKind::Put, kv, prev_kv });
        PutResponse { revision, prev_kv: prev.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> DeleteRangeResponse {
        let mut prev_kvs = Vec::new();
        self.keys.retain(|key, kv| {
            let goes = delete.range.contains(key);
            if goes {
                prev_kvs.push(kv.clone());
            }
            !goes
        });
        for prev in &prev_kvs {
            let mod_revision = self.model.revision() + 1;
            let kv = KeyValue { key: prev.key.clone(), mod_revision, ..KeyValue::default() };
            let kind = EventKind::Delete;
            let prev_kv = self.model.keys().get(&prev.key).cloned();
            self.events.push(Event { kind, kv, prev_kv });
        }
        let deleted = prev_kvs.len() as u64;
        if !delete.prev_kv {
            prev_kvs.clear();
        }
        DeleteRangeResponse { revision: self.revision(), deleted, prev_kvs }
    }

    fn txn(&mut self, txn: &TxnRequest) -> Result<TxnResponse, Error> {
        let (succeeded, ops) = self.model.branch(txn);
        let mut responses = Vec::new();
        for op in ops {
            responses.push(match op {
                RequestOp::Range(range) => {
                    let revision = self.revision();
                    ResponseOp::Range(self.model.range_in(range, &self.keys, revision)?)
                }
                RequestOp::Put(put) => ResponseOp::Put(self.put(put)),
                RequestOp::DeleteRange(delete) => ResponseOp::DeleteRange(self.delete(delete)),
                RequestOp::Txn(txn) => ResponseOp::Txn(self.txn(txn)?),
            });
        }
        Ok(TxnResponse { revision: 0, succeeded, responses })
    }
}
