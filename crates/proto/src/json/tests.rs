use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::authpb::permission::Type;
use crate::etcdserverpb as pb;
use crate::mvccpb;

fn message(path: &str) -> &'static Message {
    Method::find(path).expect("a call").input()
}

fn range() -> &'static Message {
    message("/etcdserverpb.KV/Range")
}

/// Reads a request of a range.
#[track_caller]
fn read_range(json: &str) -> pb::RangeRequest {
    let wire = read(range(), json.as_bytes()).expect(json);
    pb::RangeRequest::decode(wire.as_slice()).expect("our own bytes")
}

/// The JSON of an answer.
fn written<M: prost::Message>(path: &str, answer: &M) -> String {
    let mut json = String::new();
    let output = Method::find(path).expect("a call").output();
    write(output, &answer.encode_to_vec(), &mut json).expect("our own bytes");
    json
}

#[test]
fn either_name_of_a_field_is_read() {
    let expected =
        pb::RangeRequest { key: "a".into(), range_end: "b".into(), limit: 5, ..Default::default() };
    assert_eq!(read_range(r#"{"key":"YQ==","range_end":"Yg==","limit":"5"}"#), expected);
    assert_eq!(read_range(r#"{"key":"YQ==","rangeEnd":"Yg==","limit":5}"#), expected);
    let unknown = r#"{"x":[{"y":[1.5,null]}],"key":"YQ==","range_end":"Yg==","limit":5e0}"#;
    assert_eq!(read_range(unknown), expected);
    // Names that are in capitals on purpose.
    let wire = read(message("/etcdserverpb.Lease/LeaseGrant"), br#"{"TTL":20,"ID":"7"}"#);
    let grant = pb::LeaseGrantRequest::decode(wire.expect("read").as_slice());
    assert_eq!(grant, Ok(pb::LeaseGrantRequest { ttl: 20, id: 7 }));
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(read_range("{}"), pb::RangeRequest::default());
    assert_eq!(read_range(" {\"key\":null,\n\"limit\":null} "), pb::RangeRequest::default());
}

#[test]
fn bytes_of_either_alphabet() {
    let bytes = Bytes::from_static(&[0xfb, 0xff, 0xfe, 0x01]);
    for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ"] {
        assert_eq!(read_range(&format!("{{\"key\":\"{text}\"}}")).key, bytes, "{text}");
    }
    let answer = pb::RangeResponse {
        kvs: vec![mvccpb::KeyValue { key: bytes, ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(written("/etcdserverpb.KV/Range", &answer), r#"{"kvs":[{"key":"+//+AQ=="}]}"#);
}

#[test]
fn names_of_enumerations_and_their_numbers() {
    let order = |json: &str| read_range(json).sort_order;
    assert_eq!(order(r#"{"sort_order":"DESCEND"}"#), 2);
    assert_eq!(order(r#"{"sortOrder":1}"#), 1);
    // The server refuses it, as in gRPC.
    assert_eq!(order(r#"{"sort_order":77}"#), 77);
    assert_eq!(order(r#"{"sort_order":-1}"#), -1);
    let alarm = |alarm| pb::AlarmMember { member_id: u64::MAX, alarm };
    let answer = pb::AlarmResponse { header: None, alarms: vec![alarm(1), alarm(9)] };
    assert_eq!(
        written("/etcdserverpb.Maintenance/Alarm", &answer),
        "{\"alarms\":[{\"memberID\":\"18446744073709551615\",\"alarm\":\"NOSPACE\"},\
         {\"memberID\":\"18446744073709551615\",\"alarm\":9}]}"
    );
}

#[test]
fn lists_and_choices() {
    let json = r#"{"create_request":{"key":"YQ==","filters":["NODELETE",0],"watch_id":"-3"}}"#;
    let wire = read(message("/etcdserverpb.Watch/Watch"), json.as_bytes()).expect("read");
    let request = pb::WatchRequest::decode(wire.as_slice()).expect("our own bytes");
    let create = pb::WatchCreateRequest {
        key: "a".into(),
        filters: vec![1, 0],
        watch_id: -3,
        ..Default::default()
    };
    let create = pb::watch_request::RequestUnion::CreateRequest(create);
    assert_eq!(request, pb::WatchRequest { request_union: Some(create) });
    // An arm that is empty is chosen all the same.
    let wire = read(message("/etcdserverpb.Watch/Watch"), br#"{"progress_request":{}}"#);
    let request = pb::WatchRequest::decode(wire.expect("read").as_slice()).expect("our own bytes");
    let progress = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    assert_eq!(request, pb::WatchRequest { request_union: Some(progress) });
}

#[test]
fn what_is_refused() {
    for json in [
        "",
        "null",
        "[]",
        "3",
        "\"key\"",
        "{",
        "{\"key\":}",
        "{} {}",
        "{}x",
        "{'key':'YQ=='}",
        r#"{"key":5}"#,
        r#"{"key":["YQ=="]}"#,
        r#"{"key":"Y"}"#,
        r#"{"key":"!!!!"}"#,
        r#"{"key":"+_+_"}"#,
        r#"{"key":"YQ==","key":"YQ=="}"#,
        r#"{"range_end":"YQ==","rangeEnd":"YQ=="}"#,
        r#"{"limit":1.5}"#,
        r#"{"limit":true}"#,
        r#"{"limit":"1 "}"#,
        r#"{"limit":"+1"}"#,
        r#"{"limit":""}"#,
        r#"{"limit":9223372036854775808}"#,
        r#"{"limit":"9223372036854775808"}"#,
        r#"{"limit":1e19}"#,
        r#"{"limit":1e999}"#,
        r#"{"limit":{}}"#,
        r#"{"serializable":"true"}"#,
        r#"{"serializable":1}"#,
        r#"{"sort_order":"DOWN"}"#,
        r#"{"sort_order":2147483648}"#,
        "{\"key\":\"\u{1}\"}",
    ] {
        assert!(read(range(), json.as_bytes()).is_err(), "{json}");
    }
    assert!(read(range(), b"{\"\xff\":1}").is_err(), "no text");
    let watch = message("/etcdserverpb.Watch/Watch");
    assert!(read(watch, br#"{"create_request":{},"cancel_request":{}}"#).is_err(), "two arms");
    assert!(read(watch, br#"{"create_request":{},"cancel_request":null}"#).is_ok(), "one arm");
    let txn = message("/etcdserverpb.KV/Txn");
    assert!(read(txn, br#"{"success":[null]}"#).is_err());
    assert!(read(txn, br#"{"success":{}}"#).is_err());
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let nested = |levels: usize| {
        let open = r#"{"success":[{"request_txn":"#.repeat(levels);
        format!("{open}{{}}{}", "}]}".repeat(levels))
    };
    let txn = message("/etcdserverpb.KV/Txn");
    assert!(read(txn, nested(10).as_bytes()).is_ok());
    assert!(read(txn, nested(100_000).as_bytes()).is_err());
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let json = format!("{{\"x\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
        // It may be skipped or refused, and ends either way.
        let _ = read(txn, json.as_bytes());
    }
}

#[test]
fn a_reason_is_short() {
    let json = format!("{{\"success\":\"{}\"}}", "x".repeat(1 << 20));
    let why = read(message("/etcdserverpb.KV/Txn"), json.as_bytes()).expect_err("no list");
    assert!(
        why.to_string().len() <= 4 * Malformed::CHARACTERS_MAX,
        "{} bytes",
        why.to_string().len()
    );
}

#[test]
fn what_is_written() {
    let header =
        Some(pb::ResponseHeader { cluster_id: 1, member_id: u64::MAX, revision: -1, raft_term: 0 });
    let answer = pb::RangeResponse { header, kvs: Vec::new(), more: true, count: 3 };
    assert_eq!(
        written("/etcdserverpb.KV/Range", &answer),
        "{\"header\":{\"cluster_id\":\"1\",\"member_id\":\"18446744073709551615\",\"revision\":\"-1\"},\
         \"more\":true,\"count\":\"3\"}"
    );
    let hash =
        pb::HashResponse { header: Some(pb::ResponseHeader::default()), hash: 4_000_000_000 };
    let json = written("/etcdserverpb.Maintenance/Hash", &hash);
    assert_eq!(json, r#"{"header":{},"hash":4000000000}"#);
    let users = vec!["a\"\\\n\u{1}ä".to_owned(), String::new()];
    let users = pb::AuthUserListResponse { header: None, users };
    let json = written("/etcdserverpb.Auth/UserList", &users);
    assert_eq!(json, "{\"users\":[\"a\\\"\\\\\\n\\u0001ä\",\"\"]}");
    let permission = crate::authpb::Permission {
        perm_type: Type::Readwrite.into(),
        key: "a".into(),
        range_end: Bytes::new(),
    };
    let role = pb::AuthRoleGetResponse { header: None, perm: vec![permission] };
    let json = written("/etcdserverpb.Auth/RoleGet", &role);
    assert_eq!(json, r#"{"perm":[{"permType":"READWRITE","key":"YQ=="}]}"#);
    let inner = pb::PutResponse { header: Some(pb::ResponseHeader::default()), prev_kv: None };
    let inner = pb::response_op::Response::ResponsePut(inner);
    let txn = pb::TxnResponse {
        header: None,
        succeeded: true,
        responses: vec![pb::ResponseOp { response: Some(inner) }, pb::ResponseOp::default()],
    };
    let json = written("/etcdserverpb.KV/Txn", &txn);
    assert_eq!(json, r#"{"succeeded":true,"responses":[{"response_put":{"header":{}}},{}]}"#);
}

#[test]
fn bytes_that_are_no_message() {
    let output = Method::find("/etcdserverpb.KV/Range").expect("a call").output();
    for wire in [&b"\x0a"[..], b"\x0a\x05a", b"\x08\x01", b"\x21", b"\xff", b"\x12\x02\x0a\x05"] {
        assert!(write(output, wire, &mut String::new()).is_err(), "{wire:?}");
    }
    // Deeper than prost goes.
    let txn = Method::find("/etcdserverpb.KV/Txn").expect("a call").output();
    let mut wire = Vec::new();
    for _ in 0..2000 {
        for key in [0x22_u8, 0x1a] {
            let mut outer = vec![key];
            prost::encoding::encode_varint(wire.len() as u64, &mut outer);
            outer.extend_from_slice(&wire);
            wire = outer;
        }
    }
    assert!(write(txn, &wire, &mut String::new()).is_err());
}

/// Texts with some bytes that are others: whatever is read is a message, and whatever is a message is written.
#[test]
fn whatever_is_read_is_a_message() {
    let txn = r#"{"compare":[{"target":"MOD","result":"LESS","key":"YQ==","mod_revision":"12","rangeEnd":"-_8"}],
        "success":[{"request_put":{"key":"YWI=","value":"","lease":-3,"prev_kv":true}},{"request_range":null}],
        "failure":[{"requestTxn":{"success":[{"request_delete_range":{"key":"x","x":[1.5e3,{"\u00e4":null}]}}]}}]}"#;
    let table = message("/etcdserverpb.KV/Txn");
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut read_ones, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut text = txn.as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(text.len());
            match random(4) {
                0 => text[at] = random(256) as u8,
                1 => text[at] = b"{}[],:\"\\0-"[random(10)],
                2 => drop(text.remove(at)),
                _ => text.insert(at, txn.as_bytes()[random(txn.len())]),
            }
        }
        match read(table, &text) {
            Err(_) => refused += 1,
            Ok(wire) => {
                read_ones += 1;
                let txn = pb::TxnRequest::decode(wire.as_slice()).expect("a message");
                let mut json = String::new();
                write(table, &txn.encode_to_vec(), &mut json).expect("our own bytes");
                let again = read(table, json.as_bytes()).expect("our own text");
                assert_eq!(pb::TxnRequest::decode(again.as_slice()), Ok(txn));
            }
        }
        // And bytes that are no message are none for long.
        let _ = write(table, &text, &mut String::new());
    }
    assert!(read_ones > 500 && refused > 500, "{read_ones} and {refused}");
}

/// Whatever is written is read as the same, in every message that goes both ways.
#[test]
fn what_is_written_is_read() {
    let range = pb::RangeRequest {
        key: vec![0, 255].into(),
        range_end: "z".into(),
        limit: i64::MIN,
        sort_order: 2,
        sort_target: 4,
        serializable: true,
        max_create_revision: i64::MAX,
        ..Default::default()
    };
    let put = pb::PutRequest { value: "v".into(), prev_kv: true, ..Default::default() };
    let compare = pb::Compare {
        result: 3,
        target: 0,
        key: "k".into(),
        range_end: "l".into(),
        target_union: Some(pb::compare::TargetUnion::Version(0)),
    };
    let op = |request| pb::RequestOp { request: Some(request) };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![
            op(pb::request_op::Request::RequestRange(range)),
            op(pb::request_op::Request::RequestPut(put)),
            pb::RequestOp::default(),
        ],
        failure: Vec::new(),
    };
    let outer = op(pb::request_op::Request::RequestTxn(txn));
    let txn = pb::TxnRequest { failure: vec![outer], ..Default::default() };
    let table = message("/etcdserverpb.KV/Txn");
    let mut json = String::new();
    write(table, &txn.encode_to_vec(), &mut json).expect("our own bytes");
    let wire = read(table, json.as_bytes()).expect(&json);
    assert_eq!(pb::TxnRequest::decode(wire.as_slice()), Ok(txn), "{json}");
}
