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
