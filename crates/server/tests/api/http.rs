//! The pages.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, put, within};
use crate::web;

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
    let lines = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n\
                 [+]non_learner ok\nok\n";
    assert_eq!(get(&cluster, "/readyz?verbose").await, (200, lines.to_owned()));
    let fewer =
        "/readyz?verbose&exclude=linearizable_read&exclude=non_learner&exclude=data_corruption";
    let line = "[+]serializable_read ok\nok\n".to_owned();
    assert_eq!(get(&cluster, fewer).await, (200, line.clone()));
    assert_eq!(get(&cluster, "/livez/serializable_read?verbose").await, (200, line));
    for check in ["data_corruption", "serializable_read", "linearizable_read", "non_learner"] {
        assert_eq!(get(&cluster, &format!("/readyz/{check}")).await, ok, "{check}");
    }
    assert_eq!(get(&cluster, "/livez/linearizable_read").await.0, 404);
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
    assert!(lines.ends_with("[+]non_learner ok\n\n"), "all are told: {lines}");
    assert_eq!(get(&cluster, "/readyz?exclude=linearizable_read").await.0, 200);
    assert_eq!(get(&cluster, "/readyz/linearizable_read").await.0, 503);
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

/// The names and types that the dashboards and alerts of etcd ask for.
const NAMES: &[(&str, &str)] = &[
    ("etcd_server_has_leader", "gauge"),
    ("etcd_server_is_leader", "gauge"),
    ("etcd_server_is_learner", "gauge"),
    ("etcd_server_leader_changes_seen_total", "counter"),
    ("etcd_server_proposals_committed_total", "gauge"),
    ("etcd_server_proposals_applied_total", "gauge"),
    ("etcd_server_proposals_pending", "gauge"),
    ("etcd_server_proposals_failed_total", "counter"),
    ("etcd_server_quota_backend_bytes", "gauge"),
    ("etcd_mvcc_db_total_size_in_bytes", "gauge"),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge"),
    ("etcd_disk_wal_fsync_duration_seconds", "histogram"),
    ("etcd_disk_backend_commit_duration_seconds", "histogram"),
    ("etcd_network_client_grpc_received_bytes_total", "counter"),
    ("etcd_network_client_grpc_sent_bytes_total", "counter"),
    ("etcd_network_peer_received_bytes_total", "counter"),
    ("etcd_network_peer_sent_bytes_total", "counter"),
    ("etcd_network_peer_sent_failures_total", "counter"),
    ("grpc_server_started_total", "counter"),
    ("grpc_server_handled_total", "counter"),
    ("grpc_server_msg_received_total", "counter"),
    ("grpc_server_msg_sent_total", "counter"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_cpu_seconds_total", "counter"),
    ("process_open_fds", "gauge"),
    ("process_max_fds", "gauge"),
    ("process_start_time_seconds", "gauge"),
    ("etcd_server_version", "gauge"),
    ("etcd_cluster_version", "gauge"),
    ("etcd_server_id", "gauge"),
    ("etcd_server_health_success", "counter"),
    ("etcd_server_health_failures", "counter"),
    ("etcd_server_healthcheck", "gauge"),
    ("etcd_server_healthchecks_total", "counter"),
    ("etcd_network_active_peers", "gauge"),
    ("etcd_network_known_peers", "gauge"),
    ("etcd_disk_wal_write_bytes_total", "gauge"),
    ("quorate_raft_term", "gauge"),
];

/// What a page says of a metric, with exactly these labels; 0 if it says nothing.
pub(crate) fn number(page: &str, sample: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0.0, |number| number.parse().expect("a number"))
}

/// How much a page says that a metric has grown since another.
#[track_caller]
fn assert_grew(before: &str, after: &str, sample: &str) {
    let (before, now) = (number(before, sample), number(after, sample));
    assert!(before < now, "{sample}: {before} and {now}");
}

#[tokio::test]
async fn names_that_dashboards_know_and_numbers_that_move() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = cluster.roles().await;
    let (_, before) = page(&cluster, leader, "/metrics").await;
    for (name, kind) in NAMES {
        let head = format!("# TYPE {name} {kind}");
        assert_eq!(before.lines().filter(|line| *line == head).count(), 1, "{head}\n{before}");
    }
    let types = before.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut names: Vec<_> = types.collect();
    names.sort_unstable();
    let listed = names.len();
    names.dedup();
    assert_eq!(names.len(), listed, "each is told once");

    for number in 0..3 {
        cluster.kv(leader).await.put(put("k", &number.to_string())).await.expect("written");
    }
    for path in ["/health", "/readyz", "/readyz/non_learner"] {
        assert_eq!(page(&cluster, leader, path).await.0, 200);
    }
    let (_, after) = page(&cluster, leader, "/metrics").await;
    let call = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    let moved = |name: &str| number(&after, name) - number(&before, name);
    for name in ["started", "msg_received", "msg_sent"] {
        assert_eq!(moved(&format!("grpc_server_{name}_total{{{call}}}")), 3.0, "{name}");
    }
    assert_eq!(moved("etcd_server_proposals_committed_total"), 3.0);
    assert_eq!(moved("etcd_server_health_success"), 1.0);
    let check = "{type=\"readyz\",name=\"non_learner\"";
    assert_eq!(moved(&format!("etcd_server_healthchecks_total{check},status=\"success\"}}")), 2.0);
    assert_eq!(number(&after, &format!("etcd_server_healthcheck{check}}}")), 1.0);
    let to = format!("{:x}", cluster.member_id(follower.expect("there are three")));
    for sample in [
        "etcd_disk_wal_fsync_duration_seconds_count",
        "etcd_disk_backend_commit_duration_seconds_count",
        "etcd_disk_wal_write_bytes_total",
        "etcd_network_client_grpc_received_bytes_total",
        "etcd_network_client_grpc_sent_bytes_total",
        &format!("etcd_network_peer_sent_bytes_total{{To=\"{to}\"}}"),
        &format!("etcd_network_peer_received_bytes_total{{From=\"{to}\"}}"),
    ] {
        assert_grew(&before, &after, sample);
    }
    assert!(moved("etcd_disk_wal_write_bytes_total") > 100.0, "bytes, and not records");
    // This process is older than nothing and newer than 2020, and a few megabytes at least.
    assert!(number(&after, "process_start_time_seconds") > 1_577_000_000.0);
    assert!(number(&after, "process_resident_memory_bytes") > 1e6);
    assert!(number(&after, "process_open_fds") > 3.0);
    let local = format!("Local=\"{:x}\"", cluster.member_id(leader));
    let active = format!("etcd_network_active_peers{{{local},Remote=\"{to}\"}}");
    assert_eq!(number(&after, &active), 1.0);
    // Only whoever asks for it gets it.
    assert!(!after.contains("grpc_server_handling_seconds"));
}

#[tokio::test]
async fn how_long_calls_take() {
    let cluster = Cluster::start_with(1, &["--metrics=extensive"]).await;
    cluster.kv(0).await.put(put("a", "1")).await.expect("written");
    cluster.kv(0).await.put(put("", "1")).await.expect_err("refused");
    let (_, page) = get(&cluster, "/metrics").await;
    let name = "grpc_server_handling_seconds";
    let call = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    assert!(page.contains(&format!("# TYPE {name} histogram\n")));
    assert_eq!(number(&page, &format!("{name}_count{{{call}}}")), 2.0);
    assert_eq!(number(&page, &format!("{name}_bucket{{{call},le=\"+Inf\"}}")), 2.0);
    assert!(number(&page, &format!("{name}_sum{{{call}}}")) > 0.0);
}

#[tokio::test]
async fn a_listener_for_probes() {
    let cluster = Cluster::start_with(1, &["--listen-metrics-urls=http://127.0.0.1:0"]).await;
    let address = cluster.metrics_address(0);
    for (path, expected) in [
        ("/metrics", 200),
        ("/health", 200),
        ("/livez", 200),
        ("/readyz/serializable_read", 200),
        ("/version", 404),
        ("/peers", 404),
        ("/v3/kv/range", 404),
    ] {
        let answer = web::send(address, "GET", path, &[], b"").await;
        assert_eq!(answer.status, expected, "{path}");
    }
    assert_eq!(web::send(address, "POST", "/v3/kv/txn", &[], b"{}").await.status, 404);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
    let channel = within(endpoint.expect("a URL").connect()).await.expect("a connection");
    let mut kv = quorate_proto::etcdserverpb::kv_client::KvClient::new(channel);
    within(kv.put(put("a", "1"))).await.expect_err("it serves no calls");
    assert_eq!(get(&cluster, "/metrics").await.0, 200, "clients have it, too");
}

/// Whoever has no quorum is asked why.
#[tokio::test]
async fn probes_are_served_before_clients_are() {
    let flags = ["--listen-metrics-urls=http://127.0.0.1:0", "--initial-cluster-state=new"];
    let mut cluster = Cluster::start_with(2, &flags).await;
    cluster.stop(1).await;
    cluster.stop(0).await;
    cluster.restart_alone(0, &quorate_server::Log::to_stderr(quorate_server::log::Level::Fatal));
    let address = cluster.metrics_address(0);
    assert_eq!(web::send(address, "GET", "/livez", &[], b"").await.status, 200);
    let health = web::send(address, "GET", "/health", &[], b"").await;
    assert_eq!(health.status, 503);
    let reason = "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}";
    assert_eq!(health.body().await, reason);
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
