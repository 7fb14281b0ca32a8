//! The pages.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, put, within};

/// Asks over HTTP/1.1, on the port that serves gRPC too. Returns the status and the body.
async fn ask(cluster: &Cluster, at: usize, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(cluster.address(at)).await.expect("a connection");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// A page of one of the members.
pub(crate) async fn page(cluster: &Cluster, at: usize, path: &str) -> (u16, String) {
    ask(cluster, at, "GET", path).await
}

async fn get(cluster: &Cluster, path: &str) -> (u16, String) {
    page(cluster, 0, path).await
}

#[tokio::test]
async fn pages_for_probes() {
    let cluster = Cluster::start(1).await;
    let healthy = (200, "{\"health\":\"true\",\"reason\":\"\"}".to_owned());
    assert_eq!(get(&cluster, "/health").await, healthy);
    assert_eq!(get(&cluster, "/health?serializable=true").await, healthy);
    let ok = (200, "ok\n".to_owned());
    assert_eq!(get(&cluster, "/livez").await, ok);
    assert_eq!(get(&cluster, "/readyz").await, ok);
    let verbose =
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n".to_owned();
    assert_eq!(get(&cluster, "/readyz?verbose").await, (200, verbose));
    let (status, version) = get(&cluster, "/version").await;
    assert_eq!(status, 200);
    assert!(version.starts_with("{\"etcdserver\":\"3.6."), "{version}");
    assert_eq!(get(&cluster, "/nothing").await, (404, "404 page not found\n".to_owned()));
    assert_eq!(ask(&cluster, 0, "POST", "/health").await.0, 405);
}

#[tokio::test]
async fn a_member_alone_is_unhealthy() {
    let flags = ["--heartbeat-interval=20", "--election-timeout=200"];
    let mut cluster = Cluster::start_with(2, &flags).await;
    cluster.stop(1).await;
    // While it still believes in a leader, it would wait for one.
    within(async {
        while cluster.status(0).await.leader != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let no_leader = (503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}".to_owned());
    assert_eq!(get(&cluster, "/health").await, no_leader);
    assert_eq!(get(&cluster, "/livez").await.0, 200, "the member itself lives");
    assert_eq!(get(&cluster, "/health?serializable=true").await.0, 200);
    let (status, lines) = get(&cluster, "/readyz").await;
    assert_eq!(status, 503);
    assert!(lines.contains("[-]linearizable_read failed: etcdserver: request timed out\n"));
}

#[tokio::test]
async fn numbers_for_dashboards() {
    let cluster = Cluster::start(1).await;
    cluster.kv(0).await.put(put("a", "1")).await.expect("written");
    cluster.kv(0).await.put(put("", "1")).await.expect_err("refused");
    let (status, page) = get(&cluster, "/metrics").await;
    assert_eq!(status, 200);
    let service = "grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    for line in [
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_server_quota_backend_bytes 2147483648",
        "quorate_quota_nearly_reached 0",
        "etcd_debugging_mvcc_current_revision 2",
        "# TYPE etcd_disk_wal_fsync_duration_seconds histogram",
        &format!("grpc_server_started_total{{grpc_method=\"Put\",{service}}} 2"),
        &format!("grpc_server_handled_total{{grpc_code=\"OK\",grpc_method=\"Put\",{service}}} 1"),
        &format!(
            "grpc_server_handled_total{{grpc_code=\"InvalidArgument\",grpc_method=\"Put\",\
             {service}}} 1"
        ),
    ] {
        assert!(page.lines().any(|have| have == line), "{line} is missing in\n{page}");
    }
    assert!(page.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2));
}

#[tokio::test]
async fn how_the_other_members_look() {
    let flags = [
        "--heartbeat-interval=100",
        "--election-timeout=1000",
        "--zone=here/a",
        "--leader-priority=7",
    ];
    let mut cluster = Cluster::start_with(2, &flags).await;
    let page_says = async |cluster: &Cluster, path, words: &[&str]| {
        within(async {
            loop {
                let (status, page) = get(cluster, path).await;
                assert_eq!(status, 200);
                if words.iter().all(|word| page.contains(word)) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let about = "\"zone\":\"here/a\",\"leader_priority\":7";
    let there = ["\"state\":\"active\"", about, &version, "\"connected\":true"];
    page_says(&cluster, "/peers", &there).await;
    let info = format!("version=\"{}\",zone=\"here/a\"}} 1\n", env!("CARGO_PKG_VERSION"));
    let numbers = ["state=\"active\"} 1\n", &info, "quorate_peer_last_contact_seconds{To=\""];
    page_says(&cluster, "/metrics", &numbers).await;
    // It says so before it ends, and is not taken for failed however long it is gone.
    cluster.stop(1).await;
    let gone = ["\"state\":\"leaving\"", "\"connected\":false"];
    page_says(&cluster, "/peers", &gone).await;
}
