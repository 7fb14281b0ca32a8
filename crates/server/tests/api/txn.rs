//! Transactions.

use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;
use quorate_proto::etcdserverpb as pb;
use tonic::Code;

use crate::cluster::{Cluster, assert_refused, delete, get, put};

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn put_op(key: &str, value: &str) -> pb::RequestOp {
    op(Request::RequestPut(put(key, value)))
}

fn get_op(key: &str) -> pb::RequestOp {
    op(Request::RequestRange(get(key)))
}

fn if_mod(key: &str, revision: i64) -> pb::Compare {
    pb::Compare {
        key: key.to_owned().into(),
        target: CompareTarget::Mod.into(),
        result: CompareResult::Equal.into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Default::default()
    }
}

/// The shapes that Kubernetes uses: create, update, delete, each if the revision is what it was.
#[tokio::test]
async fn compare_and_swap() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let create = || pb::TxnRequest {
        compare: vec![if_mod("a", 0)],
        success: vec![put_op("a", "1")],
        failure: vec![],
    };
    let answer = kv.txn(create()).await.expect("done").into_inner();
    assert!(answer.succeeded);
    assert_eq!(answer.header.expect("a header").revision, 2);
    let Some(Response::ResponsePut(put)) = &answer.responses[0].response else { panic!("a put") };
    let inner = put.header.as_ref().expect("answers inside have headers");
    assert_eq!((inner.revision, inner.cluster_id, inner.member_id, inner.raft_term), (2, 0, 0, 0));

    let again = kv.txn(create()).await.expect("done").into_inner();
    assert!(!again.succeeded && again.responses.is_empty());
    assert_eq!(again.header.expect("a header").revision, 2);

    let update = pb::TxnRequest {
        compare: vec![if_mod("a", 1)],
        success: vec![put_op("a", "2")],
        failure: vec![get_op("a")],
    };
    let answer = kv.txn(update).await.expect("done").into_inner();
    assert!(!answer.succeeded);
    let Some(Response::ResponseRange(range)) = &answer.responses[0].response else { panic!() };
    assert_eq!(range.kvs[0].mod_revision, 2);

    let end = pb::TxnRequest {
        compare: vec![if_mod("a", 2)],
        success: vec![op(Request::RequestDeleteRange(delete("a")))],
        failure: vec![get_op("a")],
    };
    let answer = kv.txn(end).await.expect("done").into_inner();
    assert!(answer.succeeded);
    let Some(Response::ResponseDeleteRange(gone)) = &answer.responses[0].response else { panic!() };
    assert_eq!((gone.deleted, gone.header.as_ref().expect("a header").revision), (1, 3));
}

#[tokio::test]
async fn operations_see_each_other_and_inner_transactions_run() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let inner = pb::TxnRequest { success: vec![put_op("b", "2")], ..Default::default() };
    let txn = pb::TxnRequest {
        success: vec![put_op("a", "1"), get_op("a"), op(Request::RequestTxn(inner))],
        ..Default::default()
    };
    let answer = kv.txn(txn).await.expect("done").into_inner();
    let Some(Response::ResponseRange(range)) = &answer.responses[1].response else { panic!() };
    assert_eq!((range.kvs[0].value.as_ref(), range.kvs[0].mod_revision), (&b"1"[..], 2));
    let Some(Response::ResponseTxn(inner)) = &answer.responses[2].response else { panic!() };
    assert_eq!(inner.header.as_ref().expect("present, and empty").revision, 0);
    assert_eq!(kv.range(get("b")).await.expect("read").get_ref().kvs[0].mod_revision, 2);
}

#[tokio::test]
async fn what_only_reads_has_no_revision_of_its_own() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    kv.put(put("a", "1")).await.expect("written");
    let applied = cluster.status(0).await.raft_applied_index;
    for serializable in [false, true] {
        let range = pb::RangeRequest { serializable, ..get("a") };
        let txn = pb::TxnRequest {
            compare: vec![if_mod("a", 2)],
            success: vec![op(Request::RequestRange(range))],
            failure: vec![],
        };
        let answer = kv.txn(txn).await.expect("done").into_inner();
        assert!(answer.succeeded);
        assert_eq!(answer.header.expect("a header").revision, 2);
    }
    assert_eq!(cluster.status(0).await.raft_applied_index, applied, "nothing went into the log");
}

#[tokio::test]
async fn refusals_have_the_words_of_etcd() {
    let cluster = Cluster::start_with(1, &["--max-txn-ops=3"]).await;
    let mut kv = cluster.kv(0).await;
    let of = |success: Vec<pb::RequestOp>| pb::TxnRequest { success, ..Default::default() };
    let inner = |ops: Vec<pb::RequestOp>| op(Request::RequestTxn(of(ops)));
    let no_key = "etcdserver: key is not provided";
    let many = "etcdserver: too many operations in txn request";
    let twice = "etcdserver: duplicate key given in txn request";
    for (txn, text) in [
        (of(vec![get_op("")]), no_key),
        (pb::TxnRequest { compare: vec![if_mod("", 0)], ..Default::default() }, no_key),
        (of(vec![pb::RequestOp { request: None }]), "etcdserver: key not found"),
        (of(vec![get_op("a"); 4]), many),
        // Too many is said before what is wrong with each.
        (of(vec![get_op(""); 4]), many),
        (of(vec![get_op("a"), get_op("a"), inner(vec![get_op("a"), get_op("b")])]), many),
        (of(vec![put_op("a", "1"), put_op("a", "2")]), twice),
        (of(vec![put_op("a", "1"), op(Request::RequestDeleteRange(delete("a")))]), twice),
    ] {
        assert_refused(kv.txn(txn).await, Code::InvalidArgument, text);
    }
    let range = pb::RangeRequest { revision: 50, ..get("a") };
    let txn = of(vec![op(Request::RequestRange(range)), put_op("a", "1")]);
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_refused(kv.txn(txn).await, Code::OutOfRange, text);
    assert_eq!(kv.range(get("a")).await.expect("read").get_ref().count, 0, "nothing was done");
}
