//! Requests of gRPC, as any bytes.

use std::fmt::Debug;

use bytes::Bytes;
use http::HeaderMap;
use prost::Message;
use quorate_mvcc::{Command, KeyRange, Proposal};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::{grpc, quoratepb, v3electionpb, v3lockpb};
use tonic::metadata::MetadataMap;

use super::freshness::Wanted;
use super::{check_urls, convert, deadline, wants_leader, watch};

/// The most operations of a transaction.
const OPS_MAX: usize = 16;

/// Reads a message.
///
/// # Panics
/// If what was read is not what is written of it.
fn read<M: Message + Default + PartialEq + Debug>(wire: &Bytes) -> Option<M> {
    let message = M::decode(wire.clone()).ok()?;
    let again = M::decode(&message.encode_to_vec()[..]).expect("what was written is read");
    // No message has a number that is not equal to itself.
    assert_eq!(again, message);
    Some(message)
}

/// The same of one that is no more than its fields.
fn only<M: Message + Default + PartialEq + Debug>(wire: &Bytes) {
    let _ = read::<M>(wire);
}

/// What stands in the log of a command is the command.
fn logged(command: Command) {
    let entry = command.encode();
    assert_eq!(Proposal::decode(&entry).map(|proposal| proposal.command), Ok(command));
}

/// One after the other: a request of each kind with more to it than its fields, and all others.
type Kind = fn(&Bytes);

/// The kinds of requests.
const KINDS: &[Kind] = &[
    |wire| {
        let Some(request) = read::<pb::RangeRequest>(wire) else { return };
        let _ = convert::range_request(request);
    },
    |wire| {
        let Some(request) = read::<pb::PutRequest>(wire) else { return };
        if let Ok(put) = convert::put_request(request) {
            logged(Command::Put(put));
        }
    },
    |wire| {
        let Some(request) = read::<pb::DeleteRangeRequest>(wire) else { return };
        if let Ok(delete) = convert::delete_request(request) {
            logged(Command::DeleteRange(delete));
        }
    },
    |wire| {
        let Some(request) = read::<pb::TxnRequest>(wire) else { return };
        if let Ok(txn) = convert::txn_request(request, OPS_MAX) {
            assert_eq!(txn.check(OPS_MAX), Ok(()), "{txn:?}");
            logged(Command::Txn(txn));
        }
    },
    |wire| {
        let Some(request) = read::<pb::WatchRequest>(wire) else { return };
        if let Some(pb::watch_request::RequestUnion::CreateRequest(create)) = request.request_union
        {
            let create = watch::create_request(create);
            let _ = KeyRange::parse_watch(create.key, create.range_end);
        }
    },
    |wire| {
        let Some(request) = read::<pb::MemberAddRequest>(wire) else { return };
        let _ = check_urls(&request.peer_ur_ls);
    },
    |wire| {
        let Some(request) = read::<pb::MemberUpdateRequest>(wire) else { return };
        let _ = check_urls(&request.peer_ur_ls);
    },
    |wire| {
        let Some(request) = read::<pb::AuthRoleGrantPermissionRequest>(wire) else { return };
        if let Some(permission) = request.perm {
            let _ = KeyRange::parse(permission.key, permission.range_end);
        }
    },
    only::<pb::CompactionRequest>,
    only::<pb::LeaseGrantRequest>,
    only::<pb::LeaseKeepAliveRequest>,
    only::<pb::LeaseTimeToLiveRequest>,
    only::<pb::AlarmRequest>,
    only::<pb::DowngradeRequest>,
    only::<pb::HashKvRequest>,
    only::<pb::MoveLeaderRequest>,
    only::<pb::AuthenticateRequest>,
    only::<pb::AuthUserAddRequest>,
    only::<pb::AuthUserChangePasswordRequest>,
    only::<pb::AuthRoleRevokePermissionRequest>,
    only::<v3lockpb::LockRequest>,
    only::<v3electionpb::ResignRequest>,
    only::<v3electionpb::ProclaimRequest>,
    only::<quoratepb::ReconcileRequest>,
    only::<grpc::health::v1::HealthCheckRequest>,
    // What a server gets of another.
    only::<pb::RangeResponse>,
    only::<pb::TxnResponse>,
    only::<pb::WatchResponse>,
];

/// A request of some kind.
pub fn request(kind: u8, wire: &[u8]) {
    KINDS[usize::from(kind) % KINDS.len()](&Bytes::copy_from_slice(wire));
}

/// The metadata of a request.
pub fn metadata(headers: &HeaderMap) {
    let _ = wants_leader(headers);
    if let Some(deadline) = deadline(headers) {
        // Whoever waits adds it to a time.
        assert!(deadline.as_secs() < 1 << 40, "{deadline:?}");
    }
    let _ = Wanted::of(&MetadataMap::from_headers(headers.clone()));
}
