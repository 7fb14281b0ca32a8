//! What holds for every call.

use std::time::Duration;

use quorate_proto::etcdserverpb as pb;
use tonic::{Code, Request};

use crate::cluster::{Cluster, assert_refused, get, put, within};

/// A request may be 1.5 MiB, and its message half a MiB more. The two bounds have two texts.
#[tokio::test]
async fn what_is_too_large() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let fits = put("k", &"v".repeat(1_572_864 - 100));
    kv.put(fits).await.expect("it fits");
    let text = "etcdserver: request is too large";
    let large = put("k", &"v".repeat(1_572_864));
    assert_refused(kv.put(large).await, Code::InvalidArgument, text);

    let larger = put("k", &"v".repeat(2_097_152));
    let size = 2_097_152 + 3 + 5;
    let text = format!("grpc: received message larger than max ({size} vs. 2097152)");
    assert_refused(kv.put(larger).await, Code::ResourceExhausted, &text);
    // The connection lives on.
    kv.range(get("k")).await.expect("read");
}

/// To the byte, on members that carry a command out themselves and on those that send it on: alone and
/// as one of many in a transaction.
#[tokio::test]
async fn the_largest_request_is_carried_out_and_one_byte_more_is_refused() {
    const REQUEST_BYTES_MAX: usize = 1000;
    let cluster = Cluster::start_with(3, &["--max-request-bytes=1000"]).await;
    for member in 0..3 {
        let mut kv = cluster.kv(member).await;
        for others in [0, 50] {
            // The largest value known to fit, and the smallest known not to.
            let (mut fits, mut exceeds) = (0, REQUEST_BYTES_MAX);
            while exceeds - fits > 1 {
                let length = fits.midpoint(exceeds);
                let answer = if others == 0 {
                    within(kv.put(put("k", &"v".repeat(length)))).await.map(drop)
                } else {
                    within(kv.txn(puts(others, length))).await.map(drop)
                };
                match answer {
                    Ok(()) => fits = length,
                    refused => {
                        let text = "etcdserver: request is too large";
                        assert_refused(refused, Code::InvalidArgument, text);
                        exceeds = length;
                    }
                }
            }
            let overhead = REQUEST_BYTES_MAX - fits;
            let expected = if others == 0 { 5..20 } else { others * 5..others * 12 };
            assert!(expected.contains(&overhead), "{overhead} beside {others} on member {member}");
        }
    }
}

/// A transaction of many small puts, and one of a value of this length.
fn puts(count: usize, length: usize) -> pb::TxnRequest {
    let put = |(number, length): (usize, usize)| {
        let put = put(&number.to_string(), &"v".repeat(length));
        pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
    };
    let small = (0..count).map(|number| (number, 0));
    let success = small.chain([(count, length)]).map(put).collect();
    pb::TxnRequest { success, ..Default::default() }
}

#[tokio::test]
async fn a_large_answer_has_no_bound() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await.max_decoding_message_size(usize::MAX);
    for number in 0..8 {
        kv.put(put(&format!("k{number}"), &"v".repeat(1 << 20))).await.expect("written");
    }
    let all = pb::RangeRequest { range_end: "l".into(), ..get("k") };
    let answer = within(kv.range(all)).await.expect("read").into_inner();
    assert_eq!(answer.kvs.len(), 8);
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let flags = ["--heartbeat-interval=20", "--election-timeout=200"];
    let mut cluster = Cluster::start_with(2, &flags).await;
    cluster.stop(1).await;
    let mut request = Request::new(put("k", "v"));
    request.set_timeout(Duration::from_millis(100));
    let refused = within(cluster.kv(0).await.put(request)).await.expect_err("no majority");
    // Whichever of the two clocks was first.
    assert!(matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled), "{refused:?}");
}

#[tokio::test]
async fn the_version_of_a_client_is_text() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let mut request = Request::new(get("k"));
    request.metadata_mut().insert("client-api-version", "3.6".parse().expect("text"));
    kv.range(request).await.expect("read");
}
