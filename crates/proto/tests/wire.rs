//! The bytes of the messages, written by hand: for every message with fields, each field holds a
//! value of its own.
//!
//! A wrong number or type in a `.proto` file compiles, passes every test that uses our own client
//! on our own server, and breaks with the first real client. Here the expected bytes do not come
//! from the `.proto` files. The structs are written out without `..Default::default()`, so that a
//! new field has to be added here before this compiles.
//!
//! To read the bytes: each field begins with its number times 8, plus 0 for a number or 2 for a
//! length and so many bytes. Thus `08` is the number in field 1, `0a 01 6b` the text `k` in field
//! 1, and `5a` the length of field 11.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use quorate_proto::{authpb, etcdserverpb::*, mvccpb, v3electionpb, v3lockpb};

/// The header of all responses below, and its bytes as their field 1: the revision 9, which is
/// field 3.
const HEADER: &str = "0a 02 18 09";

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: 0, member_id: 0, revision: 9, raft_term: 0 })
}

/// The key `k` with nothing else, whose bytes are `0a 01 6b`.
fn key() -> mvccpb::KeyValue {
    mvccpb::KeyValue { key: "k".into(), ..mvccpb::KeyValue::default() }
}

/// Checks that the message is written as these bytes, and that these bytes are read as the message.
#[track_caller]
fn check<M: Message + Default + PartialEq + Debug>(message: M, expected: &str) {
    let bytes: Vec<u8> = expected
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect();
    assert_eq!(message.encode_to_vec(), bytes, "{message:?}");
    assert_eq!(M::decode(bytes.as_slice()).expect("what is expected can be read"), message);
}

/// As [`check`], for a response whose field 1 is the header.
#[track_caller]
fn check_headed<M: Message + Default + PartialEq + Debug>(message: M, rest: &str) {
    check(message, &format!("{HEADER} {rest}"));
}

#[test]
fn shared() {
    check(
        ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 },
        "08 01  10 02  18 03  20 04",
    );
    check(
        mvccpb::KeyValue {
            key: "k".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 4,
            value: "v".into(),
            lease: 6,
        },
        "0a 01 6b  10 02  18 03  20 04  2a 01 76  30 06",
    );
    check(
        mvccpb::Event {
            r#type: mvccpb::event::EventType::Delete.into(),
            kv: Some(key()),
            prev_kv: Some(mvccpb::KeyValue { version: 7, ..Default::default() }),
        },
        "08 01  12 03 0a 01 6b  1a 02 20 07",
    );
}

/// Numbers are plain variable-length ones: seven bits a byte, and ten bytes for a negative one.
#[test]
fn numbers() {
    check(LeaseRevokeRequest { id: 300 }, "08 ac 02");
    check(LeaseRevokeRequest { id: -1 }, "08 ff ff ff ff ff ff ff ff ff 01");
    check(MemberRemoveRequest { id: u64::MAX }, "08 ff ff ff ff ff ff ff ff ff 01");
    check(LeaseRevokeRequest { id: 0 }, "");
}

#[test]
fn ranges() {
    check(
        RangeRequest {
            key: "k".into(),
            range_end: "z".into(),
            limit: 3,
            revision: 4,
            sort_order: range_request::SortOrder::Descend.into(),
            sort_target: range_request::SortTarget::Value.into(),
            serializable: true,
            keys_only: true,
            count_only: true,
            min_mod_revision: 10,
            max_mod_revision: 11,
            min_create_revision: 12,
            max_create_revision: 13,
        },
        "0a 01 6b  12 01 7a  18 03  20 04  28 02  30 04  38 01  40 01  48 01  \
         50 0a  58 0b  60 0c  68 0d",
    );
    let response = RangeResponse { header: header(), kvs: vec![key()], more: true, count: 4 };
    check_headed(response.clone(), "12 03 0a 01 6b  18 01  20 04");
    check(
        RangeStreamResponse { range_response: Some(response) },
        "0a 0d  0a 02 18 09  12 03 0a 01 6b  18 01  20 04",
    );
}

#[test]
fn puts_and_deletes() {
    check(
        PutRequest {
            key: "k".into(),
            value: "v".into(),
            lease: 3,
            prev_kv: true,
            ignore_value: true,
            ignore_lease: true,
        },
        "0a 01 6b  12 01 76  18 03  20 01  28 01  30 01",
    );
    check_headed(PutResponse { header: header(), prev_kv: Some(key()) }, "12 03 0a 01 6b");
    check(
        DeleteRangeRequest { key: "k".into(), range_end: "z".into(), prev_kv: true },
        "0a 01 6b  12 01 7a  18 01",
    );
    check_headed(
        DeleteRangeResponse { header: header(), deleted: 2, prev_kvs: vec![key()] },
        "10 02  1a 03 0a 01 6b",
    );
    check(CompactionRequest { revision: 1, physical: true }, "08 01  10 01");
}

#[test]
fn comparisons() {
    use compare::{CompareResult, CompareTarget, TargetUnion};

    // The end of the range is field 64, whose key takes two bytes.
    let compare = |target: CompareTarget, union| Compare {
        result: CompareResult::NotEqual.into(),
        target: target.into(),
        key: "k".into(),
        target_union: Some(union),
        range_end: "z".into(),
    };
    check(
        compare(CompareTarget::Version, TargetUnion::Version(4)),
        "08 03  1a 01 6b  20 04  82 04 01 7a",
    );
    check(
        compare(CompareTarget::Create, TargetUnion::CreateRevision(5)),
        "08 03  10 01  1a 01 6b  28 05  82 04 01 7a",
    );
    check(
        compare(CompareTarget::Mod, TargetUnion::ModRevision(6)),
        "08 03  10 02  1a 01 6b  30 06  82 04 01 7a",
    );
    check(
        compare(CompareTarget::Value, TargetUnion::Value("v".into())),
        "08 03  10 03  1a 01 6b  3a 01 76  82 04 01 7a",
    );
    check(
        compare(CompareTarget::Lease, TargetUnion::Lease(8)),
        "08 03  10 04  1a 01 6b  40 08  82 04 01 7a",
    );
}

/// Inside a oneof a zero is written, which is how `version = 0`, "the key does not exist", is told
/// from no comparison.
#[test]
fn a_zero_that_was_given_is_written() {
    let absent = Compare {
        key: "k".into(),
        target_union: Some(compare::TargetUnion::Version(0)),
        ..Compare::default()
    };
    check(absent, "1a 01 6b  20 00");
}

#[test]
fn transactions() {
    use request_op::Request;
    use response_op::Response;

    let read = RangeRequest { limit: 1, ..Default::default() };
    let put = PutRequest { lease: 1, ..Default::default() };
    let delete = DeleteRangeRequest { prev_kv: true, ..Default::default() };
    let inner = TxnRequest {
        compare: vec![Compare { key: "k".into(), ..Default::default() }],
        ..Default::default()
    };
    let op = |request| RequestOp { request: Some(request) };
    check(op(Request::RequestRange(read.clone())), "0a 02 18 01");
    check(op(Request::RequestPut(put.clone())), "12 02 18 01");
    check(op(Request::RequestDeleteRange(delete)), "1a 02 18 01");
    check(op(Request::RequestTxn(inner.clone())), "22 05 0a 03 1a 01 6b");
    check(
        TxnRequest {
            compare: inner.compare,
            success: vec![op(Request::RequestRange(read))],
            failure: vec![op(Request::RequestPut(put))],
        },
        "0a 03 1a 01 6b  12 04 0a 02 18 01  1a 04 12 02 18 01",
    );

    let op = |response| ResponseOp { response: Some(response) };
    let read = RangeResponse { count: 1, ..Default::default() };
    let put = PutResponse { prev_kv: Some(key()), ..Default::default() };
    let delete = DeleteRangeResponse { deleted: 1, ..Default::default() };
    let inner = TxnResponse { succeeded: true, ..Default::default() };
    check(op(Response::ResponseRange(read.clone())), "0a 02 20 01");
    check(op(Response::ResponsePut(put)), "12 05 12 03 0a 01 6b");
    check(op(Response::ResponseDeleteRange(delete)), "1a 02 10 01");
    check(op(Response::ResponseTxn(inner)), "22 02 10 01");
    check_headed(
        TxnResponse {
            header: header(),
            succeeded: true,
            responses: vec![op(Response::ResponseRange(read))],
        },
        "10 01  1a 04 0a 02 20 01",
    );
}

#[test]
fn watch() {
    use watch_create_request::FilterType;
    use watch_request::RequestUnion;

    let request = |union| WatchRequest { request_union: Some(union) };
    let create = WatchCreateRequest {
        key: "k".into(),
        range_end: "z".into(),
        start_revision: 3,
        progress_notify: true,
        filters: vec![FilterType::Noput.into(), FilterType::Nodelete.into()],
        prev_kv: true,
        watch_id: 7,
        fragment: true,
    };
    // The filters are packed: one length, then both numbers.
    let bytes = "0a 01 6b  12 01 7a  18 03  20 01  2a 02 00 01  30 01  38 07  40 01";
    check(create.clone(), bytes);
    check(request(RequestUnion::CreateRequest(create)), &format!("0a 14 {bytes}"));
    let cancel = WatchCancelRequest { watch_id: 1 };
    check(request(RequestUnion::CancelRequest(cancel)), "12 02 08 01");
    check(request(RequestUnion::ProgressRequest(WatchProgressRequest {})), "1a 00");

    let event = mvccpb::Event { kv: Some(key()), ..Default::default() };
    check_headed(
        WatchResponse {
            header: header(),
            watch_id: 2,
            created: true,
            canceled: true,
            compact_revision: 5,
            cancel_reason: "r".into(),
            fragment: true,
            events: vec![event],
        },
        "10 02  18 01  20 01  28 05  32 01 72  38 01  5a 05 12 03 0a 01 6b",
    );
}

/// A writer may also send the filters one by one, which protobuf asks every reader to accept.
#[test]
fn filters_are_read_unpacked_too() {
    let request = WatchCreateRequest::decode([0x28, 0x00, 0x28, 0x01].as_slice());
    assert_eq!(request.expect("readable").filters, [0, 1]);
}

#[test]
fn leases() {
    check(LeaseGrantRequest { ttl: 1, id: 2 }, "08 01  10 02");
    check_headed(
        LeaseGrantResponse { header: header(), id: 2, ttl: 3, error: "e".into() },
        "10 02  18 03  22 01 65",
    );
    check(LeaseRevokeRequest { id: 1 }, "08 01");
    check(LeaseKeepAliveRequest { id: 1 }, "08 01");
    check_headed(LeaseKeepAliveResponse { header: header(), id: 2, ttl: 3 }, "10 02  18 03");
    check(LeaseTimeToLiveRequest { id: 1, keys: true }, "08 01  10 01");
    check_headed(
        LeaseTimeToLiveResponse {
            header: header(),
            id: 2,
            ttl: 3,
            granted_ttl: 4,
            keys: vec!["a".into(), "b".into()],
        },
        "10 02  18 03  20 04  2a 01 61  2a 01 62",
    );
    check_headed(
        LeaseLeasesResponse {
            header: header(),
            leases: vec![LeaseStatus { id: 1 }, LeaseStatus { id: 2 }],
        },
        "12 02 08 01  12 02 08 02",
    );
}

#[test]
fn members() {
    let urls = |urls: &[&str]| urls.iter().map(ToString::to_string).collect();
    let member = Member {
        id: 1,
        name: "n".into(),
        peer_ur_ls: urls(&["p", "q"]),
        client_ur_ls: urls(&["c"]),
        is_learner: true,
    };
    check(member, "08 01  12 01 6e  1a 01 70  1a 01 71  22 01 63  28 01");

    check(MemberAddRequest { peer_ur_ls: urls(&["p"]), is_learner: true }, "0a 01 70  10 01");
    let member = |id| Member { id, ..Default::default() };
    check_headed(
        MemberAddResponse { header: header(), member: Some(member(2)), members: vec![member(3)] },
        "12 02 08 02  1a 02 08 03",
    );
    check(MemberRemoveRequest { id: 1 }, "08 01");
    check(MemberUpdateRequest { id: 1, peer_ur_ls: urls(&["p"]) }, "08 01  12 01 70");
    check(MemberListRequest { linearizable: true }, "08 01");
    check(MemberPromoteRequest { id: 1 }, "08 01");
    let members = || vec![member(3)];
    check_headed(MemberRemoveResponse { header: header(), members: members() }, "12 02 08 03");
    check_headed(MemberUpdateResponse { header: header(), members: members() }, "12 02 08 03");
    check_headed(MemberListResponse { header: header(), members: members() }, "12 02 08 03");
    check_headed(MemberPromoteResponse { header: header(), members: members() }, "12 02 08 03");
}

#[test]
fn alarms_and_status() {
    check(
        AlarmRequest {
            action: alarm_request::AlarmAction::Deactivate.into(),
            member_id: 2,
            alarm: AlarmType::Nospace.into(),
        },
        "08 02  10 02  18 01",
    );
    let alarm = AlarmMember { member_id: 1, alarm: AlarmType::Corrupt.into() };
    check(alarm, "08 01  10 02");
    check_headed(AlarmResponse { header: header(), alarms: vec![alarm] }, "12 04 08 01 10 02");

    let downgrade = DowngradeInfo { enabled: true, target_version: "t".into() };
    check(downgrade.clone(), "08 01  12 01 74");
    check_headed(
        StatusResponse {
            header: header(),
            version: "v".into(),
            db_size: 3,
            leader: 4,
            raft_index: 5,
            raft_term: 6,
            raft_applied_index: 7,
            errors: vec!["e".into()],
            db_size_in_use: 9,
            is_learner: true,
            storage_version: "s".into(),
            db_size_quota: 12,
            downgrade_info: Some(downgrade),
        },
        "12 01 76  18 03  20 04  28 05  30 06  38 07  42 01 65  48 09  50 01  \
         5a 01 73  60 0c  6a 05 08 01 12 01 74",
    );
}

#[test]
fn maintenance() {
    check_headed(HashResponse { header: header(), hash: 2 }, "10 02");
    check(HashKvRequest { revision: 1 }, "08 01");
    check_headed(
        HashKvResponse { header: header(), hash: 2, compact_revision: 3, hash_revision: 4 },
        "10 02  18 03  20 04",
    );
    check_headed(
        SnapshotResponse {
            header: header(),
            remaining_bytes: 2,
            blob: "b".into(),
            version: "v".into(),
        },
        "10 02  1a 01 62  22 01 76",
    );
    check(MoveLeaderRequest { target_id: 1 }, "08 01");
    check(
        DowngradeRequest {
            action: downgrade_request::DowngradeAction::Cancel.into(),
            version: "v".into(),
        },
        "08 02  12 01 76",
    );
    check_headed(DowngradeResponse { header: header(), version: "v".into() }, "12 01 76");
}

#[test]
fn users() {
    check(authpb::UserAddOptions { no_password: true }, "08 01");
    check(
        authpb::User {
            name: "n".into(),
            password: "p".into(),
            roles: vec!["r".into()],
            options: Some(authpb::UserAddOptions { no_password: true }),
        },
        "0a 01 6e  12 01 70  1a 01 72  22 02 08 01",
    );
    check(AuthenticateRequest { name: "n".into(), password: "p".into() }, "0a 01 6e  12 01 70");
    check_headed(AuthenticateResponse { header: header(), token: "t".into() }, "12 01 74");
    check_headed(
        AuthStatusResponse { header: header(), enabled: true, auth_revision: 3 },
        "10 01  18 03",
    );
    check(
        AuthUserAddRequest {
            name: "n".into(),
            password: "p".into(),
            options: Some(authpb::UserAddOptions { no_password: true }),
            hashed_password: "h".into(),
        },
        "0a 01 6e  12 01 70  1a 02 08 01  22 01 68",
    );
    check(AuthUserGetRequest { name: "n".into() }, "0a 01 6e");
    check_headed(AuthUserGetResponse { header: header(), roles: vec!["r".into()] }, "12 01 72");
    check(AuthUserDeleteRequest { name: "n".into() }, "0a 01 6e");
    check(
        AuthUserChangePasswordRequest {
            name: "n".into(),
            password: "p".into(),
            hashed_password: "h".into(),
        },
        "0a 01 6e  12 01 70  1a 01 68",
    );
    check(AuthUserGrantRoleRequest { user: "u".into(), role: "r".into() }, "0a 01 75  12 01 72");
    check(AuthUserRevokeRoleRequest { name: "n".into(), role: "r".into() }, "0a 01 6e  12 01 72");
    check_headed(AuthUserListResponse { header: header(), users: vec!["u".into()] }, "12 01 75");
}

#[test]
fn roles() {
    let permission = authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite.into(),
        key: "k".into(),
        range_end: "z".into(),
    };
    let bytes = "08 02  12 01 6b  1a 01 7a";
    check(permission.clone(), bytes);
    check(
        authpb::Role { name: "n".into(), key_permission: vec![permission.clone()] },
        &format!("0a 01 6e  12 08 {bytes}"),
    );
    check(AuthRoleAddRequest { name: "n".into() }, "0a 01 6e");
    check(AuthRoleGetRequest { role: "r".into() }, "0a 01 72");
    check_headed(
        AuthRoleGetResponse { header: header(), perm: vec![permission.clone()] },
        &format!("12 08 {bytes}"),
    );
    check_headed(AuthRoleListResponse { header: header(), roles: vec!["r".into()] }, "12 01 72");
    check(AuthRoleDeleteRequest { role: "r".into() }, "0a 01 72");
    check(
        AuthRoleGrantPermissionRequest { name: "n".into(), perm: Some(permission) },
        &format!("0a 01 6e  12 08 {bytes}"),
    );
    check(
        AuthRoleRevokePermissionRequest {
            role: "r".into(),
            key: "k".into(),
            range_end: "z".into(),
        },
        "0a 01 72  12 01 6b  1a 01 7a",
    );
}

#[test]
fn locks_and_elections() {
    use v3electionpb::*;
    use v3lockpb::*;

    check(LockRequest { name: "n".into(), lease: 2 }, "0a 01 6e  10 02");
    check_headed(LockResponse { header: header(), key: "k".into() }, "12 01 6b");
    check(UnlockRequest { key: "k".into() }, "0a 01 6b");

    let leader = || Some(LeaderKey { name: "n".into(), key: "k".into(), rev: 3, lease: 4 });
    let bytes = "0a 01 6e  12 01 6b  18 03  20 04";
    check(leader().expect("given"), bytes);
    check(
        CampaignRequest { name: "n".into(), lease: 2, value: "v".into() },
        "0a 01 6e  10 02  1a 01 76",
    );
    check_headed(
        CampaignResponse { header: header(), leader: leader() },
        &format!("12 0a {bytes}"),
    );
    check(LeaderRequest { name: "n".into() }, "0a 01 6e");
    check_headed(LeaderResponse { header: header(), kv: Some(key()) }, "12 03 0a 01 6b");
    check(ResignRequest { leader: leader() }, &format!("0a 0a {bytes}"));
    check(
        ProclaimRequest { leader: leader(), value: "v".into() },
        &format!("0a 0a {bytes}  12 01 76"),
    );
}

#[test]
fn health() {
    use quorate_proto::grpc::health::v1::health_check_response::ServingStatus;
    use quorate_proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};

    check(HealthCheckRequest { service: "s".into() }, "0a 01 73");
    let status = |status: ServingStatus| HealthCheckResponse { status: status.into() };
    check(status(ServingStatus::Unknown), "");
    check(status(ServingStatus::Serving), "08 01");
    check(status(ServingStatus::NotServing), "08 02");
    check(status(ServingStatus::ServiceUnknown), "08 03");
}

/// The responses that are a header and nothing else.
#[test]
fn acknowledgements() {
    macro_rules! check_each {
        ($($message:path),* $(,)?) => { $({
            use $message as Message;
            check(Message { header: header() }, HEADER);
        })* };
    }
    check_each!(
        CompactionResponse,
        LeaseRevokeResponse,
        DefragmentResponse,
        MoveLeaderResponse,
        AuthEnableResponse,
        AuthDisableResponse,
        AuthUserAddResponse,
        AuthUserDeleteResponse,
        AuthUserChangePasswordResponse,
        AuthUserGrantRoleResponse,
        AuthUserRevokeRoleResponse,
        AuthRoleAddResponse,
        AuthRoleDeleteResponse,
        AuthRoleGrantPermissionResponse,
        AuthRoleRevokePermissionResponse,
        v3lockpb::UnlockResponse,
        v3electionpb::ResignResponse,
        v3electionpb::ProclaimResponse,
    );
}

/// The numbers and names of the enumerations: the numbers are in every message, the names in JSON.
#[test]
fn enumerations() {
    macro_rules! check_names {
        ($($enumeration:path: $($name:literal),*;)*) => { $({
            use $enumeration as Enumeration;
            let values = (0..).map_while(|number| Enumeration::try_from(number).ok());
            let names: Vec<&str> = values.map(|value| value.as_str_name()).collect();
            assert_eq!(names, [$($name),*]);
        })* };
    }
    check_names!(
        mvccpb::event::EventType: "PUT", "DELETE";
        authpb::permission::Type: "READ", "WRITE", "READWRITE";
        range_request::SortOrder: "NONE", "ASCEND", "DESCEND";
        range_request::SortTarget: "KEY", "VERSION", "CREATE", "MOD", "VALUE";
        compare::CompareResult: "EQUAL", "GREATER", "LESS", "NOT_EQUAL";
        compare::CompareTarget: "VERSION", "CREATE", "MOD", "VALUE", "LEASE";
        watch_create_request::FilterType: "NOPUT", "NODELETE";
        AlarmType: "NONE", "NOSPACE", "CORRUPT";
        alarm_request::AlarmAction: "GET", "ACTIVATE", "DEACTIVATE";
        downgrade_request::DowngradeAction: "VALIDATE", "ENABLE", "CANCEL";
    );
}

/// A field that a newer client sends is passed over.
#[test]
fn unknown_fields_are_passed_over() {
    let request = PutRequest::decode([0x0a, 0x01, 0x6b, 0xa0, 0x06, 0x01].as_slice());
    assert_eq!(request.expect("readable").key, "k");
}

/// What is read from a buffer points into it.
#[test]
fn values_are_not_copied() {
    let bytes = Bytes::from(
        PutRequest { value: "v".repeat(64).into(), ..Default::default() }.encode_to_vec(),
    );
    let request = PutRequest::decode(bytes.clone()).expect("readable");
    assert!(bytes.as_ptr_range().contains(&request.value.as_ptr()), "the value was copied");
}

/// A number that no enumeration knows is kept, for the server to refuse it in its own words.
#[test]
fn unknown_numbers_are_kept() {
    let request = RangeRequest::decode([0x28, 0x07].as_slice()).expect("readable");
    assert_eq!(request.sort_order, 7);
    assert!(range_request::SortOrder::try_from(request.sort_order).is_err());
}

/// A transaction nested a hundred thousand times is an error, and not the end of the stack.
#[test]
fn nesting_without_end_is_refused() {
    // From the innermost outwards: field 4 of a RequestOp in field 2 of a TxnRequest.
    let mut inside_out: Vec<u8> = Vec::new();
    for _ in 0..100_000 {
        for field in [0x22, 0x12] {
            let mut length = Vec::new();
            prost::encoding::encode_varint(inside_out.len() as u64, &mut length);
            inside_out.extend(length.iter().rev());
            inside_out.push(field);
        }
    }
    inside_out.reverse();
    let error = TxnRequest::decode(inside_out.as_slice()).expect_err("too deep");
    assert!(error.to_string().contains("recursion limit"), "{error}");
}

/// Whatever is cut off in the middle, or says that it is longer than it is, is an error.
#[test]
fn truncated_messages_are_refused() {
    let event = mvccpb::Event { kv: Some(key()), prev_kv: Some(key()), r#type: 1 };
    let whole = WatchResponse { events: vec![event], ..Default::default() }.encode_to_vec();
    for length in 1..whole.len() {
        WatchResponse::decode(&whole[..length]).expect_err("a part is not a message");
    }
    // Field 1 of a PutRequest, which claims 2^63 bytes and has none: refused without an allocation
    // of that size.
    let claim = [0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    PutRequest::decode(claim.as_slice()).expect_err("the claim is not fulfilled");
}
