//! The checkers, on what the real data model does: they share no code with it, and must have nothing to
//! say.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use quorate_check::changes::Changes;
use quorate_check::history::{Operation, Outcome, Reply, Request, Response};
use quorate_check::linearizability::check;
use quorate_check::model::Model;
use quorate_check::watch::{Watch, violations};
use quorate_check::{lease, replay};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::watch::{NO_WATCHER, WatchCreateRequest, WatchLimits, WatchRing, WatchStream};
use quorate_mvcc::{
    Command, Compare, CompareOperand, CompareResult, DeleteRangeRequest, Event, KeyRange,
    PutRequest, RangeRequest, ReadError, RequestOp, SortOrder, SortTarget, Store, TxnRequest,
};
use quorate_node::Machine;
use quorate_raft::EntryId;

/// Draws requests that use all of what can be asked.
struct Asker(
    Chance,
    /// The last lease that was granted: each id is used once, as by a server that chooses them.
    i64,
);

impl Asker {
    fn one_in(&mut self, number: u64) -> bool {
        self.0.below(number) == 0
    }

    fn key(&mut self) -> String {
        ["a", "ab", "b", "ba", "c"][self.0.below(5) as usize].to_owned()
    }

    /// One that was granted lately, or never.
    fn lease(&mut self) -> i64 {
        (self.1 + 1 - self.0.below(4) as i64).max(0)
    }

    fn range(&mut self) -> KeyRange {
        let key = bytes(&self.key());
        match self.0.below(6) {
            0 => KeyRange::prefix(key),
            1 => KeyRange::From(key),
            2 => KeyRange::Span { from: key, to: bytes(&self.key()) },
            _ => KeyRange::Point(key),
        }
    }

    fn read(&mut self, revision: i64) -> RangeRequest {
        let mut request = RangeRequest::new(self.range());
        if self.one_in(3) {
            request.revision = self.0.below(revision as u64 + 2) as i64;
        }
        if self.one_in(4) {
            request.limit = self.0.below(3);
            request.sort_order =
                [SortOrder::None, SortOrder::Ascend, SortOrder::Descend][self.0.below(3) as usize];
            request.sort_target = [
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ][self.0.below(5) as usize];
        }
        if self.one_in(5) {
            request.min_mod_revision = self.0.below(revision as u64) as i64;
            request.max_create_revision = self.0.below(revision as u64) as i64;
        }
        request.serializable = self.one_in(4);
        request.keys_only = self.one_in(6);
        request.count_only = self.one_in(8);
        request
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.one_in(8), self.one_in(8));
        PutRequest {
            key: bytes(&self.key()),
            value: if ignore_value { bytes("") } else { bytes(&self.0.below(4).to_string()) },
            lease: if ignore_lease || self.one_in(2) { 0 } else { self.lease() },
            prev_kv: self.one_in(2),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        DeleteRangeRequest { range: self.range(), prev_kv: self.one_in(2) }
    }

    fn compare(&mut self, revision: i64) -> Compare {
        let number = self.0.below(revision as u64 + 1) as i64;
        let operand = match self.0.below(6) {
            0 => CompareOperand::Version(number.min(3)),
            1 => CompareOperand::Create(number),
            2 => CompareOperand::Mod(number),
            3 => CompareOperand::Value(bytes(&self.0.below(4).to_string())),
            4 => CompareOperand::Lease(number.min(3)),
            _ => CompareOperand::Unknown,
        };
        let result = [
            CompareResult::Equal,
            CompareResult::NotEqual,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::Unknown,
        ][self.0.below(5) as usize];
        Compare { range: self.range(), result, operand }
    }

    fn op(&mut self, revision: i64, depth: u32) -> RequestOp {
        match self.0.below(8) {
            0..=2 => RequestOp::Range(self.read(revision)),
            3 => RequestOp::DeleteRange(self.delete()),
            4 if depth < 2 => RequestOp::Txn(self.txn(revision, depth + 1)),
            _ => RequestOp::Put(self.put()),
        }
    }

    fn txn(&mut self, revision: i64, depth: u32) -> TxnRequest {
        let compare = (0..self.0.below(3)).map(|_| self.compare(revision)).collect();
        let success = (0..self.0.below(4)).map(|_| self.op(revision, depth)).collect();
        let failure = (0..self.0.below(3)).map(|_| self.op(revision, depth)).collect();
        TxnRequest { compare, success, failure }
    }

    /// A request that is not refused for its form.
    fn request(&mut self, revision: i64) -> Request {
        loop {
            let request = match self.0.below(20) {
                0..=4 => Request::Range(self.read(revision)),
                5..=10 => Request::Put(self.put()),
                11..=12 => Request::DeleteRange(self.delete()),
                13..=16 => Request::Txn(self.txn(revision, 0)),
                17 => {
                    self.1 += 1;
                    Request::LeaseGrant { id: self.1, ttl: 60 }
                }
                18 => Request::LeaseRevoke { id: self.lease() },
                _ => Request::Compact { revision: self.0.below(revision as u64 + 2) as i64 },
            };
            match &request {
                Request::Put(put) if put.check().is_err() => {}
                Request::Txn(txn) if txn.check(128).is_err() => {}
                _ => return request,
            }
        }
    }
}

fn refused<T>(result: Result<T, ReadError>) -> Result<T, quorate_mvcc::Error> {
    result.map_err(|error| match error {
        ReadError::Refused(error) => error,
        ReadError::Engine(error) => panic!("{error}"),
    })
}

/// Carries a request out as a server does.
fn ask(store: &mut Store, request: &Request) -> Reply {
    let command = match request.clone() {
        Request::Range(range) => {
            return refused(store.read_state().range(&range)).map(Response::Range);
        }
        Request::Txn(txn) if txn.is_read_only() => {
            return refused(store.read_state().txn(&txn)).map(Response::Txn);
        }
        Request::Txn(txn) => Command::Txn(txn),
        Request::Put(put) => Command::Put(put),
        Request::DeleteRange(delete) => Command::DeleteRange(delete),
        Request::LeaseGrant { id, ttl } => Command::LeaseGrant { id, ttl },
        Request::LeaseRevoke { id } => Command::LeaseRevoke { id },
        Request::Compact { revision } => Command::Compact { revision },
    };
    let entry = EntryId::new(1, store.applied().index.0 + 1);
    let outcome = store.apply(entry, &command.encode()).expect("the engine works");
    store.commit(entry).expect("the engine works");
    outcome.result.map(|response| match response {
        quorate_mvcc::Response::Put(put) => Response::Put(put),
        quorate_mvcc::Response::DeleteRange(delete) => Response::DeleteRange(delete),
        quorate_mvcc::Response::Txn(txn) => Response::Txn(txn),
        quorate_mvcc::Response::LeaseGrant { id, .. } => Response::LeaseGrant { id },
        quorate_mvcc::Response::LeaseRevoke => Response::LeaseRevoke,
        quorate_mvcc::Response::Compact => Response::Compact,
        other => panic!("nobody asked for {other:?}"),
    })
}

/// The watches of one stream, as a client records them.
struct Watcher {
    ring: WatchRing,
    stream: WatchStream,
    watches: BTreeMap<i64, Watch>,
}

impl Watcher {
    fn watch(&mut self, asker: &mut Asker, revision: i64) {
        let (key, range_end) = asker.range().to_pair();
        let request = WatchCreateRequest {
            key,
            range_end,
            start_revision: asker.0.below(revision as u64 + 3) as i64,
            progress_notify: asker.one_in(2),
            no_put: asker.one_in(6),
            no_delete: asker.one_in(6),
            prev_kv: asker.one_in(2),
            watch_id: 0,
            fragment: asker.one_in(2),
        };
        let created = self.stream.create(request.clone(), self.ring.state().revision());
        if created.cancel.is_none() {
            let watch = Watch { request, responses: vec![created.clone()] };
            self.watches.insert(created.watch_id, watch);
        }
    }

    fn advance(&mut self, asker: &mut Asker) {
        if asker.one_in(3) {
            self.stream.request_progress();
        }
        let recent = self.ring.recent(self.stream.position());
        let mut responses = self.stream.advance(recent).expect("the engine works").responses;
        if asker.one_in(3) {
            responses.extend(self.stream.tick());
        }
        for response in responses {
            for (id, watch) in &mut self.watches {
                let is_over = watch.responses.iter().any(|response| response.cancel.is_some());
                let is_meant = response.watch_id == NO_WATCHER || response.watch_id == *id;
                if is_meant && !is_over {
                    watch.responses.push(response.clone());
                }
            }
        }
    }
}

#[test]
fn the_real_data_model_has_nothing_to_hide() {
    let (mut replies, mut skipped, mut events, mut leases) = (0, 0, 0, 0);
    for seed in 0..60 {
        let mut asker = Asker(Chance(seed), 0);
        let mut store = Store::open(Box::new(MemEngine::new())).expect("an empty engine opens");
        let limits =
            WatchLimits { fragment_bytes: 60, advance_bytes: 500, revision_bytes: 1 << 20 };
        let mut watcher = Watcher {
            ring: WatchRing::new(600, store.read_state()),
            stream: WatchStream::new(limits),
            watches: BTreeMap::new(),
        };
        let mut history = Vec::new();
        let mut all: Vec<Event> = Vec::new();
        let mut compacted = 0;
        for number in 0..300 {
            let revision = store.read_state().revision();
            let request = asker.request(revision);
            let reply = ask(&mut store, &request);
            let made = store.take_events();
            all.extend(made.iter().flat_map(|of| of.events.iter().cloned()));
            watcher.ring.publish(made, store.read_state());
            if let (Request::Compact { revision }, Ok(_)) = (&request, &reply) {
                compacted = *revision;
            }
            let call = 10 * number;
            // Half of them overlap with what comes next.
            let returned = call + asker.0.below(20);
            let outcome = Outcome::Known { returned, reply };
            history.push(Operation { client: 0, call, request, outcome });
            if asker.one_in(20) {
                watcher.watch(&mut asker, revision);
            }
            if asker.one_in(4) {
                watcher.advance(&mut asker);
            }
        }
        let verdict = check(&history, &Model::default(), 1_000_000);
        assert!(verdict.is_linearizable(), "seed {seed}: {verdict:#?}");
        let mut changes = Changes::new(all).expect("changes follow from one another");
        changes.compacted(compacted);
        let tally = replay::check(&history, &changes).unwrap_or_else(|it| panic!("{seed}: {it}"));
        (replies, skipped) = (replies + tally.checked, skipped + tally.skipped);
        for watch in watcher.watches.values() {
            assert_eq!(violations(watch, &changes), [], "seed {seed}: {watch:#?}");
            events += watch.events().count();
        }
        let of_revocations = revocations(&history, &changes);
        leases += of_revocations.len();
        lease::check_together(&changes, |revision| !of_revocations.contains(&revision))
            .unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
    assert!(
        replies > 10_000 && events > 3_000 && leases > 30,
        "{replies} replies, {skipped} not, {events} events, {leases} leases with keys"
    );
}

/// The revisions that no reply names: those of revocations.
fn revocations(history: &[Operation], changes: &Changes) -> BTreeSet<i64> {
    let mut left: BTreeSet<i64> = (2..=changes.last()).collect();
    for operation in history {
        let Outcome::Known { reply: Ok(response), .. } = &operation.outcome else { continue };
        let revision = match response {
            Response::Put(put) => put.revision,
            Response::DeleteRange(delete) if delete.deleted > 0 => delete.revision,
            Response::Txn(txn) => txn.revision,
            _ => continue,
        };
        left.remove(&revision);
    }
    left
}
