//! The calls in JSON.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::{Duration, sleep};

use crate::cluster::{Cluster, within};
use crate::http::page;
use crate::web;

/// Makes a call. Returns the status and what was answered.
async fn call(cluster: &Cluster, path: &str, body: &Value) -> (u16, Value) {
    call_as(cluster, path, &[], body.to_string().as_bytes()).await
}

async fn call_as(cluster: &Cluster, path: &str, headers: &[&str], body: &[u8]) -> (u16, Value) {
    let answer = web::send(cluster.address(0), "POST", path, headers, body).await;
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let status = answer.status;
    let body = answer.body().await;
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

/// Makes a call that is carried out.
async fn good(cluster: &Cluster, path: &str, body: Value) -> Value {
    let (status, answer) = call(cluster, path, &body).await;
    assert_eq!(status, 200, "{path} {body}: {answer}");
    answer
}

/// Opens a stream.
async fn stream(cluster: &Cluster, path: &str, body: &str) -> web::Answer {
    web::send(cluster.address(0), "POST", path, &[], body.as_bytes()).await
}

/// In base64: `a` and `b`, and `1` and `2`.
const A: &str = "YQ==";
const B: &str = "Yg==";
const ONE: &str = "MQ==";

#[tokio::test]
async fn every_path_answers() {
    let cluster = Cluster::start(1).await;
    // With the status that an empty request has.
    for (path, expected) in [
        ("kv/range", 400),
        ("kv/put", 400),
        ("kv/deleterange", 400),
        ("kv/txn", 200),
        ("kv/compaction", 200),
        ("lease/grant", 200),
        ("lease/revoke", 404),
        ("lease/timetolive", 200),
        ("lease/leases", 200),
        ("kv/lease/revoke", 404),
        ("kv/lease/timetolive", 200),
        ("kv/lease/leases", 200),
        ("cluster/member/add", 400),
        ("cluster/member/remove", 404),
        ("cluster/member/update", 400),
        ("cluster/member/list", 200),
        ("cluster/member/promote", 404),
        ("maintenance/alarm", 200),
        ("maintenance/status", 200),
        ("maintenance/defragment", 200),
        ("maintenance/hash", 200),
        ("maintenance/hashkv", 200),
        ("maintenance/transfer-leadership", 400),
        ("maintenance/downgrade", 0),
        ("auth/enable", 400),
        ("auth/disable", 200),
        ("auth/status", 200),
        ("auth/authenticate", 400),
        ("auth/user/add", 400),
        ("auth/user/get", 400),
        ("auth/user/list", 200),
        ("auth/user/delete", 400),
        ("auth/user/changepw", 400),
        ("auth/user/grant", 400),
        ("auth/user/revoke", 400),
        ("auth/role/add", 400),
        ("auth/role/get", 400),
        ("auth/role/list", 200),
        ("auth/role/delete", 400),
        ("auth/role/grant", 400),
        ("auth/role/revoke", 400),
        ("lock/lock", 0),
        ("lock/unlock", 0),
        ("election/proclaim", 500),
        // The lock above is a candidate of the same name.
        ("election/leader", 200),
        ("election/resign", 500),
    ] {
        let (status, answer) = call(&cluster, &format!("/v3/{path}"), &json!({})).await;
        let is_answer = if status == 200 { answer.is_object() } else { answer["code"].is_u64() };
        assert!(is_answer, "{path}: {answer}");
        assert!(expected == 0 || status == expected, "{path}: {status} {answer}");
        if status != 200 {
            assert_eq!(answer["error"], answer["message"], "{path}: {answer}");
        }
    }
    // The old prefix, and no body at all.
    assert_eq!(call(&cluster, "/v3beta/maintenance/status", &json!({})).await.0, 200);
    assert_eq!(call_as(&cluster, "/v3/maintenance/status", &[], b"").await.0, 200);
    let nothing = json!({"error": "Not Found", "code": 5, "message": "Not Found"});
    for path in ["/v3/kv", "/v3/kv/range/", "/v3/", "/v3/kv/rangestream"] {
        assert_eq!(call(&cluster, path, &json!({})).await, (404, nothing.clone()), "{path}");
    }
    let answer = web::send(cluster.address(0), "GET", "/v3/kv/range", &[], b"").await;
    assert_eq!(answer.status, 405);
    assert_eq!(
        web::send(cluster.address(0), "POST", "/v3alpha/kv/range", &[], b"").await.status,
        404
    );
}

#[tokio::test]
async fn keys_and_values() {
    let cluster = Cluster::start(1).await;
    let first = good(&cluster, "/v3/kv/put", json!({"key": A, "value": ONE})).await;
    let header = &first["header"];
    for (field, is_there) in [("cluster_id", true), ("member_id", true), ("raft_term", true)] {
        let number = header[field].as_str().map(|number| number.parse::<u64>().is_ok());
        assert_eq!(number, Some(is_there), "{header}");
    }
    assert_eq!(header["revision"], "2");
    let put = json!({"key": "YQ", "value": "-_8", "prevKv": true, "lease": 0, "what": [{}]});
    let second = good(&cluster, "/v3/kv/put", put).await;
    let kv = json!({
        "key": A, "create_revision": "2", "mod_revision": "2", "version": "1", "value": ONE
    });
    assert_eq!(second["prev_kv"], kv);
    let range = json!({"key": A, "range_end": "AA==", "sort_order": "DESCEND", "limit": "5"});
    let answer = good(&cluster, "/v3/kv/range", range).await;
    let kv = json!({
        "key": A, "create_revision": "2", "mod_revision": "3", "version": "2", "value": "+/8="
    });
    assert_eq!(answer["kvs"], json!([kv]));
    assert_eq!((&answer["count"], &answer["more"]), (&json!("1"), &Value::Null));
    // What is empty is left out.
    let answer = good(&cluster, "/v3/kv/range", json!({"key": B})).await;
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{answer}");

    let txn = json!({
        "compare": [{"target": "VERSION", "key": A, "version": "2"}],
        "success": [
            {"request_put": {"key": B, "value": ONE}},
            {"requestRange": {"key": B}},
            {"request_txn": {"failure": [], "success": [{"request_delete_range": {"key": A}}]}},
        ],
    });
    let answer = good(&cluster, "/v3/kv/txn", txn).await;
    assert_eq!(answer["succeeded"], true);
    let responses = &answer["responses"];
    assert_eq!(responses[0], json!({"response_put": {"header": {"revision": "4"}}}));
    assert_eq!(responses[1]["response_range"]["kvs"][0]["value"], ONE);
    let inner = &responses[2]["response_txn"]["responses"][0]["response_delete_range"];
    assert_eq!(inner["deleted"], "1");
    let answer = good(&cluster, "/v3/kv/deleterange", json!({"key": B, "prev_kv": true})).await;
    assert_eq!((&answer["deleted"], &answer["prev_kvs"][0]["key"]), (&json!("1"), &json!(B)));
    good(&cluster, "/v3/kv/compaction", json!({"revision": 4, "physical": true})).await;
    let old = call(&cluster, "/v3/kv/range", &json!({"key": A, "revision": "2"})).await;
    let text = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(old, (400, json!({"error": text, "code": 11, "message": text})));
}

#[tokio::test]
async fn what_gives_requests_a_bad_name() {
    let cluster = Cluster::start(1).await;
    let deep = format!("{{\"key\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    let txns = r#"{"success":[{"request_txn":"#.repeat(50_000);
    let txns = format!("{txns}{{}}{}", "}]}".repeat(50_000));
    for body in [
        "garbage",
        "[]",
        "null",
        "\u{0}",
        "{",
        "{\"key\":\"YQ==\"} {}",
        "{\"key\":\"YQ==\"}]",
        r#"{"key":5}"#,
        r#"{"key":"!"}"#,
        r#"{"key":"YQ==","key":"YQ=="}"#,
        r#"{"key":"YQ==","lease":1e30}"#,
        r#"{"key":"YQ==","lease":99999999999999999999}"#,
        r#"{"key":"YQ==","lease":[1]}"#,
        r#"{"key":"YQ==","prev_kv":"yes"}"#,
        &deep,
    ] {
        let (status, answer) = call_as(&cluster, "/v3/kv/put", &[], body.as_bytes()).await;
        let shown = body.get(..40).unwrap_or(body);
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{shown}: {answer}");
        let message = answer["message"].as_str().expect("a text");
        assert!(message.starts_with("invalid JSON: ") && message.len() < 400, "{message}");
    }
    let (status, answer) = call_as(&cluster, "/v3/kv/txn", &[], txns.as_bytes()).await;
    assert_eq!((status, &answer["code"]), (400, &json!(3)), "{answer}");
    let bad = call_as(&cluster, "/v3/kv/put", &[], b"{\"\xff\":1}").await;
    assert_eq!(bad.0, 400);
    // What nobody asked for is skipped, however deep it is.
    let skipped = deep.replacen("key", "x", 1).replacen('{', "{\"key\":\"YQ==\",", 1);
    assert_eq!(call_as(&cluster, "/v3/kv/put", &[], skipped.as_bytes()).await.0, 200);
    // The server is as it was.
    good(&cluster, "/v3/kv/put", json!({"key": A})).await;
}

/// What fits in gRPC fits in JSON, and what does not is refused in the same words.
#[tokio::test]
async fn large_requests() {
    let cluster = Cluster::start(1).await;
    let put = |letters: usize| json!({"key": A, "value": "A".repeat(letters)});
    // Four letters are three bytes.
    good(&cluster, "/v3/kv/put", put(1_572_000 / 3 * 4)).await;
    let (status, answer) = call(&cluster, "/v3/kv/put", &put(1_600_000 / 4 * 4 / 3 * 4)).await;
    assert_eq!((status, &answer["message"]), (400, &json!("etcdserver: request is too large")));
    let (status, answer) = call(&cluster, "/v3/kv/put", &put(3_000_000)).await;
    let text = "grpc: received message larger than max (2250008 vs. 2097152)";
    assert_eq!((status, &answer["message"]), (429, &json!(text)));
    // Nobody waits for the end of something that large.
    let body = format!("{{\"key\":\"{}", "A".repeat(5 << 20));
    let answer = stream(&cluster, "/v3/kv/put", &body).await;
    assert_eq!(answer.status, 429);
    assert!(answer.body().await.contains("vs. 4194304)"));
}

#[tokio::test]
async fn leases() {
    let cluster = Cluster::start(1).await;
    let granted = good(&cluster, "/v3/lease/grant", json!({"TTL": 20, "ID": "0"})).await;
    assert_eq!(granted["TTL"], "20");
    let id = granted["ID"].as_str().expect("a text").to_owned();
    good(&cluster, "/v3/kv/put", json!({"key": A, "lease": id})).await;
    let asked = json!({"ID": id, "keys": true});
    let left = good(&cluster, "/v3/kv/lease/timetolive", asked).await;
    assert_eq!((&left["grantedTTL"], &left["keys"]), (&json!("20"), &json!([A])));
    // Two questions in a body are answered by two lines, and that is all.
    let body = format!("{{\"ID\":{id}}}\n{{\"ID\":\"7\"}}");
    let mut answers = stream(&cluster, "/v3/lease/keepalive", &body).await;
    assert_eq!(answers.status, 200);
    let first = answers.line().await.expect("an answer");
    assert_eq!((&first["result"]["ID"], &first["result"]["TTL"]), (&json!(id), &json!("20")));
    let second = answers.line().await.expect("an answer");
    assert_eq!((&second["result"]["ID"], &second["result"]["TTL"]), (&json!("7"), &Value::Null));
    assert_eq!(answers.line().await, None);
    good(&cluster, "/v3/lease/revoke", json!({"ID": id})).await;
    let text = "etcdserver: requested lease not found";
    let gone = call(&cluster, "/v3/lease/revoke", &json!({"ID": id})).await;
    assert_eq!(gone, (404, json!({"error": text, "code": 5, "message": text})));
    let leases = good(&cluster, "/v3/lease/leases", json!({})).await;
    assert_eq!(leases["leases"], Value::Null);
}

#[tokio::test]
async fn watches_end_with_their_connection() {
    let cluster = Cluster::start(1).await;
    let body = r#"{"create_request":{"key":"YQ==","prev_kv":true}}"#;
    let mut answers = stream(&cluster, "/v3/watch", body).await;
    assert_eq!(answers.status, 200);
    let created = answers.line().await.expect("an answer");
    assert_eq!(created["result"]["created"], true);
    assert_eq!(created["result"]["watch_id"], Value::Null, "0");
    good(&cluster, "/v3/kv/put", json!({"key": A, "value": ONE})).await;
    good(&cluster, "/v3/kv/deleterange", json!({"key": A})).await;
    let kv = json!({
        "key": A, "create_revision": "2", "mod_revision": "2", "version": "1", "value": ONE
    });
    let put = answers.line().await.expect("an event");
    assert_eq!(put["result"]["events"], json!([{"kv": kv}]));
    let deleted = answers.line().await.expect("an event");
    let expected =
        json!([{"type": "DELETE", "kv": {"key": A, "mod_revision": "3"}, "prev_kv": kv}]);
    assert_eq!(deleted["result"]["events"], expected);
    let streams = async |number: u64| {
        let line = format!("etcd_debugging_mvcc_watch_stream_total {number}");
        within(async {
            while !page(&cluster, 0, "/metrics").await.1.lines().any(|have| have == line) {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    streams(1).await;
    drop(answers);
    streams(0).await;
}

/// As much of a body as has come is read: a client can create, cancel and ask on one connection.
#[tokio::test]
async fn the_requests_of_a_watch_come_one_by_one() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(0);
    let chunked = ["transfer-encoding: chunked"];
    let mut connection = web::open(address, "POST", "/v3/watch", &chunked, b"").await;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let create = chunk(r#"{"create_request":{"key":"YQ==","watch_id":"5"}}{"cancel_"#);
    connection.write_all(create.as_bytes()).await.expect("sent");
    let (read, mut write) = connection.into_split();
    let mut answers = within(web::head(read)).await;
    let created = answers.line().await.expect("an answer");
    assert_eq!(created["result"]["watch_id"], "5");
    let cancel = chunk(r#"request":{"watch_id":5}}"#);
    write.write_all(cancel.as_bytes()).await.expect("sent");
    let canceled = answers.line().await.expect("an answer");
    assert_eq!(
        (&canceled["result"]["canceled"], &canceled["result"]["watch_id"]),
        (&json!(true), &json!("5"))
    );
    // What can't be read ends the stream, with the reason.
    write.write_all(chunk("{\"create_request\":5}").as_bytes()).await.expect("sent");
    let end = answers.line().await.expect("an end");
    assert_eq!(end["error"]["code"], 3, "{end}");
    assert_eq!(answers.line().await, None);
    // And if it comes first, there is still a status to say it with.
    let refused = stream(&cluster, "/v3/watch", "garbage").await;
    assert_eq!(refused.status, 400);
    let refused: Value = serde_json::from_str(&refused.body().await).expect("JSON");
    assert_eq!(refused["error"]["code"], 3, "{refused}");
}

#[tokio::test]
async fn locks_and_elections() {
    let cluster = Cluster::start(1).await;
    let lease = good(&cluster, "/v3/lease/grant", json!({"TTL": 60})).await["ID"].clone();
    let locked = good(&cluster, "/v3/lock/lock", json!({"name": A, "lease": lease})).await;
    good(&cluster, "/v3/lock/unlock", json!({"key": locked["key"]})).await;

    let campaign = json!({"name": B, "lease": lease, "value": ONE});
    let won = good(&cluster, "/v3/election/campaign", campaign).await;
    let leader = won["leader"].clone();
    assert_eq!(leader["lease"], lease);
    let mut leaders = stream(&cluster, "/v3/election/observe", r#"{"name":"Yg=="}"#).await;
    let seen = leaders.line().await.expect("a leader");
    assert_eq!(seen["result"]["kv"]["value"], ONE);
    good(&cluster, "/v3/election/proclaim", json!({"leader": leader, "value": A})).await;
    let seen = leaders.line().await.expect("what it proclaims");
    assert_eq!(seen["result"]["kv"]["value"], A);
    good(&cluster, "/v3/election/resign", json!({"leader": leader})).await;
    let nobody = call(&cluster, "/v3/election/leader", &json!({"name": B})).await;
    assert_eq!((nobody.0, &nobody.1["message"]), (500, &json!("election: no leader")));
}

#[tokio::test]
async fn rights_are_those_of_grpc() {
    let cluster = Cluster::start(1).await;
    for (path, body) in [
        ("user/add", json!({"name": "root", "password": "pässword of root"})),
        ("role/add", json!({"name": "root"})),
        ("user/grant", json!({"user": "root", "role": "root"})),
        ("user/add", json!({"name": "u", "password": "password of u"})),
        ("role/add", json!({"name": "r"})),
        ("user/grant", json!({"user": "u", "role": "r"})),
        ("role/grant", json!({"name": "r", "perm": {"permType": "READWRITE", "key": A}})),
        ("enable", json!({})),
    ] {
        good(&cluster, &format!("/v3/auth/{path}"), body).await;
    }
    let put = json!({"key": A, "value": ONE}).to_string();
    let text = "etcdserver: user name is empty";
    let expected = (400, json!({"error": text, "code": 3, "message": text}));
    assert_eq!(call_as(&cluster, "/v3/kv/put", &[], put.as_bytes()).await, expected);

    let login = json!({"name": "u", "password": "password of u"});
    let token = good(&cluster, "/v3/auth/authenticate", login).await["token"].clone();
    let token = token.as_str().expect("a token");
    for header in [
        format!("Authorization: {token}"),
        format!("authorization: Bearer {token}"),
        format!("Grpc-Metadata-Token: {token}"),
    ] {
        let (status, answer) = call_as(&cluster, "/v3/kv/put", &[&header], put.as_bytes()).await;
        assert_eq!(status, 200, "{header}: {answer}");
    }
    let header = format!("Authorization: {token}");
    let other = json!({"key": B}).to_string();
    let denied = call_as(&cluster, "/v3/kv/put", &[&header], other.as_bytes()).await;
    assert_eq!((denied.0, &denied.1["message"]), (403, &json!("etcdserver: permission denied")));
    let add = json!({"name": "x"}).to_string();
    let denied = call_as(&cluster, "/v3/auth/role/add", &[&header], add.as_bytes()).await;
    assert_eq!(denied.0, 403);
    let wrong = call_as(&cluster, "/v3/kv/put", &["Authorization: x.1"], put.as_bytes()).await;
    assert_eq!((wrong.0, &wrong.1["message"]), (401, &json!("etcdserver: invalid auth token")));
    let wrong = json!({"name": "u", "password": "another"});
    assert_eq!(call(&cluster, "/v3/auth/authenticate", &wrong).await.0, 400);
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let cluster = Cluster::start_with(1, &["--enable-grpc-gateway=false"]).await;
    let answer = stream(&cluster, "/v3/kv/range", "{}").await;
    assert_eq!((answer.status, answer.body().await.as_str()), (404, "404 page not found\n"));
}

/// Scripts of any site may ask, as in etcd.
#[tokio::test]
async fn browsers_may_ask() {
    let cluster = Cluster::start(1).await;
    let allowed = "access-control-allow-origin: *\r\n";
    for (method, path) in [("OPTIONS", "/v3/kv/range"), ("POST", "/v3/kv/txn"), ("GET", "/health")]
    {
        let answer = web::send(cluster.address(0), method, path, &[], b"").await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains(allowed), "{}", answer.head);
    }
}

#[tokio::test]
async fn an_alarm_is_seen_by_probes() {
    let cluster = Cluster::start(1).await;
    let raise = json!({"action": "ACTIVATE", "alarm": "CORRUPT", "memberID": "7"});
    let raised = good(&cluster, "/v3/maintenance/alarm", raise).await;
    assert_eq!(raised["alarms"], json!([{"memberID": "7", "alarm": "CORRUPT"}]));
    let (status, lines) = page(&cluster, 0, "/readyz/data_corruption").await;
    assert_eq!(
        (status, lines.as_str()),
        (503, "[-]data_corruption failed: alarm activated: CORRUPT\n\n")
    );
    assert_eq!(page(&cluster, 0, "/health").await.0, 503);
    let (_, numbers) = page(&cluster, 0, "/metrics").await;
    assert!(numbers.lines().any(|line| line == "etcd_server_health_failures 1"));
}
