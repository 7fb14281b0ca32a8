//! Gives the same generated requests to a real etcd and to Quorate, and compares every answer:
//! revisions, versions, counts, keys and values, error codes and texts.
//!
//! No difference is known; one that has to stay would be listed here, with its reason. What is not
//! asked: sorting by values that several keys share, because etcd leaves the order of equals to
//! chance; remaining times of leases to the second.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::response_op::Response as OpResponse;
use quorate_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
    TxnResponse,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;
use crate::checks::dice::Dice;
use crate::checks::options;

/// One request.
#[derive(Clone, Debug)]
enum Call {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    TimeToLive(LeaseTimeToLiveRequest),
}

/// An answer, or the code and text of an error, in words that can be compared.
type Answer = Result<String, (tonic::Code, String)>;

/// Runs the comparison; `DIFFERENTIAL_REQUESTS` says how many requests, `DIFFERENTIAL_SEED` which.
pub(crate) fn run() -> io::Result<()> {
    let requests = options::number("DIFFERENTIAL_REQUESTS", 5_000)?;
    let seed = options::number("DIFFERENTIAL_SEED", 1)?;
    let etcd = Cluster::start(Program::etcd(), 1, &["--log-level", "error"])?;
    let ours = Cluster::start(Program::quorate()?, 3, &["--log-level", "error"])?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        wait_for_leader(&etcd).await?;
        wait_for_leader(&ours).await?;
        let (channel, followers) = (connect(&etcd.endpoint(0)), ours.endpoints());
        let followers: Vec<Channel> = followers.iter().map(|e| connect(e)).collect();
        let mut generator = Generator { dice: Dice::new(seed, 0), revision: 1, leases: Vec::new() };
        let mut errors = 0;
        for number in 0..requests {
            let call = generator.call();
            let theirs = answer(&channel, &call).await;
            // Any member serves any request.
            let ours = answer(&followers[number as usize % followers.len()], &call).await;
            if theirs == ours {
                errors += usize::from(ours.is_err());
            } else {
                return Err(io::Error::other(format!(
                    "request {number} of seed {seed} differs\n  request: {call:?}\n  etcd:    \
                     {theirs:?}\n  quorate: {ours:?}"
                )));
            }
            generator.learn(&theirs);
        }
        println!(
            "differential: {requests} requests, all answers equal ({errors} of them errors), seed {seed}"
        );
        Ok(())
    })
}

fn connect(endpoint: &str) -> Channel {
    Endpoint::from_shared(endpoint.to_owned())
        .expect("the harness makes well-formed addresses")
        .timeout(Duration::from_secs(30))
        .connect_lazy()
}

/// Makes requests that meet each other: few keys, small revisions, some of them wrong.
struct Generator {
    dice: Dice,
    revision: i64,
    leases: Vec<i64>,
}

impl Generator {
    fn learn(&mut self, answer: &Answer) {
        if let Ok(text) = answer {
            let revision = text.strip_prefix("revision ").and_then(|t| t.split(':').next());
            if let Some(revision) = revision.and_then(|text| text.parse().ok()) {
                self.revision = self.revision.max(revision);
            }
        }
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.dice.roll(count) == 0
    }

    fn call(&mut self) -> Call {
        match self.dice.roll(100) {
            0..25 => Call::Put(self.put()),
            25..55 => Call::Range(self.range()),
            55..65 => Call::Delete(self.delete()),
            65..88 => Call::Txn(self.txn(0)),
            88..91 => Call::Compact(CompactionRequest {
                revision: self.revision - 30 + self.dice.roll(32) as i64,
                physical: self.one_in(3),
            }),
            91..94 => {
                let id = 1 + self.dice.roll(12) as i64;
                self.leases.push(id);
                let ttl = [0, 600, 9_000_000_001][self.dice.roll(3) as usize];
                Call::Grant(LeaseGrantRequest { ttl: ttl.max(500 * i64::from(ttl == 0)), id })
            }
            94..96 => Call::Revoke(LeaseRevokeRequest { id: self.lease() }),
            _ => Call::TimeToLive(LeaseTimeToLiveRequest { id: self.lease(), keys: true }),
        }
    }

    fn key(&mut self) -> Bytes {
        const KEYS: [&[u8]; 12] = [
            b"a", b"a\0", b"a\0b", b"aa", b"ab", b"b", b"b/1", b"b/2", b"b\xff", b"c", b"\xff",
            b"\0",
        ];
        if self.one_in(60) {
            return Bytes::new();
        }
        Bytes::from_static(KEYS[self.dice.roll(KEYS.len() as u64) as usize])
    }

    fn range_end(&mut self) -> Bytes {
        match self.dice.roll(5) {
            0 | 1 => Bytes::new(),
            2 => Bytes::from_static(b"\0"),
            _ => self.key(),
        }
    }

    fn value(&mut self) -> Bytes {
        Bytes::from(format!("v{}", self.dice.roll(5)))
    }

    fn lease(&mut self) -> i64 {
        1 + self.dice.roll(14) as i64
    }

    fn some_revision(&mut self) -> i64 {
        self.revision - 40 + self.dice.roll(42) as i64
    }

    fn range(&mut self) -> RangeRequest {
        let mut request = RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            ..RangeRequest::default()
        };
        if self.one_in(3) {
            request.limit = self.dice.roll(6) as i64;
        }
        if self.one_in(3) {
            request.revision = self.some_revision();
        }
        if self.one_in(3) {
            // Values and versions repeat, and etcd leaves the order of equals to chance; keys and
            // revisions of creation and modification don't (within one transaction they may).
            request.sort_order = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend]
                [self.dice.roll(3) as usize]
                .into();
            request.sort_target = SortTarget::Key.into();
        }
        request.keys_only = self.one_in(8);
        request.count_only = self.one_in(8);
        request.serializable = false;
        if self.one_in(6) {
            request.min_mod_revision = self.some_revision();
        }
        if self.one_in(6) {
            request.max_mod_revision = self.some_revision();
        }
        if self.one_in(6) {
            request.min_create_revision = self.some_revision();
        }
        if self.one_in(6) {
            request.max_create_revision = self.some_revision();
        }
        request
    }

    fn put(&mut self) -> PutRequest {
        let mut request = PutRequest {
            key: self.key(),
            value: self.value(),
            prev_kv: self.one_in(2),
            ..PutRequest::default()
        };
        if self.one_in(4) {
            request.lease = self.lease();
        }
        if self.one_in(8) {
            request.ignore_value = true;
            if !self.one_in(5) {
                request.value = Bytes::new();
            }
        }
        if self.one_in(8) {
            request.ignore_lease = true;
            if !self.one_in(5) {
                request.lease = 0;
            }
        }
        request
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let range_end = if self.one_in(4) { self.range_end() } else { Bytes::new() };
        DeleteRangeRequest { key: self.key(), range_end, prev_kv: self.one_in(2) }
    }

    fn txn(&mut self, depth: u64) -> TxnRequest {
        TxnRequest {
            compare: (0..self.dice.roll(3)).map(|_| self.compare()).collect(),
            success: (0..self.dice.roll(4)).map(|_| self.op(depth)).collect(),
            failure: (0..self.dice.roll(3)).map(|_| self.op(depth)).collect(),
        }
    }

    fn op(&mut self, depth: u64) -> RequestOp {
        let request = match self.dice.roll(10) {
            0..4 => Some(Op::RequestPut(self.put())),
            4..7 => Some(Op::RequestRange(self.range())),
            7..9 => Some(Op::RequestDeleteRange(self.delete())),
            _ if depth < 2 => Some(Op::RequestTxn(self.txn(depth + 1))),
            _ if self.one_in(10) => None,
            _ => Some(Op::RequestRange(self.range())),
        };
        RequestOp { request }
    }

    fn compare(&mut self) -> Compare {
        let (target, target_union) = match self.dice.roll(5) {
            0 => (CompareTarget::Version, TargetUnion::Version(self.dice.roll(4) as i64)),
            1 => (CompareTarget::Create, TargetUnion::CreateRevision(self.some_revision())),
            2 => (CompareTarget::Mod, TargetUnion::ModRevision(self.some_revision())),
            3 => (CompareTarget::Value, TargetUnion::Value(self.value())),
            _ => (CompareTarget::Lease, TargetUnion::Lease(self.lease())),
        };
        let result = [
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
        ][self.dice.roll(4) as usize];
        let range_end = if self.one_in(4) { self.range_end() } else { Bytes::new() };
        Compare {
            result: result.into(),
            target: target.into(),
            key: self.key(),
            target_union: Some(target_union),
            range_end,
        }
    }
}

async fn answer(channel: &Channel, call: &Call) -> Answer {
    let mut kv = KvClient::new(channel.clone());
    let mut lease = LeaseClient::new(channel.clone());
    let result = match call.clone() {
        Call::Range(request) => kv.range(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = blank(&mut r.header);
            (revision, format!("{r:?}"))
        }),
        Call::Put(request) => kv.put(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = blank(&mut r.header);
            (revision, format!("{r:?}"))
        }),
        Call::Delete(request) => kv.delete_range(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = blank(&mut r.header);
            (revision, format!("{r:?}"))
        }),
        Call::Txn(request) => kv.txn(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = r.header.as_ref().map_or(0, |header| header.revision);
            blank_txn(&mut r);
            (revision, format!("{r:?}"))
        }),
        Call::Compact(request) => kv.compact(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = blank(&mut r.header);
            (revision, format!("{r:?}"))
        }),
        Call::Grant(request) => lease.lease_grant(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = blank(&mut r.header);
            (revision, format!("{r:?}"))
        }),
        Call::Revoke(request) => lease.lease_revoke(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = blank(&mut r.header);
            (revision, format!("{r:?}"))
        }),
        Call::TimeToLive(request) => lease.lease_time_to_live(request).await.map(|r| {
            let mut r = r.into_inner();
            let revision = blank(&mut r.header);
            r.keys.sort();
            // The clocks of two servers need not agree to the second.
            r.ttl = r.ttl.min(0);
            (revision, format!("{r:?}"))
        }),
    };
    match result {
        Ok((revision, text)) => Ok(format!("revision {revision}: {text}")),
        Err(status) => Err(code_and_text(&status)),
    }
}

fn code_and_text(status: &Status) -> (tonic::Code, String) {
    (status.code(), status.message().to_owned())
}

/// Takes out of a header what names the cluster, and returns the revision.
pub(crate) fn blank(header: &mut Option<ResponseHeader>) -> i64 {
    let Some(header) = header else { return 0 };
    header.cluster_id = 0;
    header.member_id = 0;
    header.raft_term = 0;
    header.revision
}

pub(crate) fn blank_txn(response: &mut TxnResponse) {
    blank(&mut response.header);
    for response in &mut response.responses {
        if let Some(OpResponse::ResponseTxn(inner)) = &mut response.response {
            blank_txn(inner);
        }
    }
}
