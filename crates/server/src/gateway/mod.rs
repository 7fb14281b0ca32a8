//! The JSON gateway: the calls of etcd over plain HTTP, for whoever has `curl` and no gRPC.
//!
//! ```text
//!  POST /v3/kv/put {"key":…} ──► request.rs ──► rpc/, as for gRPC ──► answer.rs ──► {"header":…}
//!                                JSON → frames                        frames → JSON
//! ```
//!
//! It is a translation and nothing else. A body of JSON becomes a body of gRPC as the service reads it, and the answer
//! becomes JSON as it is made: so rights, limits, deadlines, counts and errors are those of gRPC, by the same code,
//! and a call that is new there costs a line in [`CALLS`] here. Which JSON a message is, `quorate_proto::json` knows.
//!
//! The forms around the messages are grpc-gateway's, which etcd uses: the paths, the status for each code, the
//! lines of a stream, and headers that become metadata.

mod answer;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod objects;
mod request;
mod status;

use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use quorate_proto::json;
use tonic::Status;
use tonic::body::Body;

use self::request::JsonMessages;
pub(crate) use self::request::RequestBody;
use crate::rpc::{self, Kind, METHODS, Services, message_bytes_max};

/// The calls: the path, and that of gRPC. `RangeStream` has none in etcd either.
const CALLS: [(&str, &str); 51] = [
    ("kv/range", "etcdserverpb.KV/Range"),
    ("kv/put", "etcdserverpb.KV/Put"),
    ("kv/deleterange", "etcdserverpb.KV/DeleteRange"),
    ("kv/txn", "etcdserverpb.KV/Txn"),
    ("kv/compaction", "etcdserverpb.KV/Compact"),
    ("watch", "etcdserverpb.Watch/Watch"),
    ("lease/grant", "etcdserverpb.Lease/LeaseGrant"),
    ("lease/revoke", "etcdserverpb.Lease/LeaseRevoke"),
    ("lease/keepalive", "etcdserverpb.Lease/LeaseKeepAlive"),
    ("lease/timetolive", "etcdserverpb.Lease/LeaseTimeToLive"),
    ("lease/leases", "etcdserverpb.Lease/LeaseLeases"),
    // As they were called before 3.4.
    ("kv/lease/revoke", "etcdserverpb.Lease/LeaseRevoke"),
    ("kv/lease/timetolive", "etcdserverpb.Lease/LeaseTimeToLive"),
    ("kv/lease/leases", "etcdserverpb.Lease/LeaseLeases"),
    ("cluster/member/add", "etcdserverpb.Cluster/MemberAdd"),
    ("cluster/member/remove", "etcdserverpb.Cluster/MemberRemove"),
    ("cluster/member/update", "etcdserverpb.Cluster/MemberUpdate"),
    ("cluster/member/list", "etcdserverpb.Cluster/MemberList"),
    ("cluster/member/promote", "etcdserverpb.Cluster/MemberPromote"),
    ("maintenance/alarm", "etcdserverpb.Maintenance/Alarm"),
    ("maintenance/status", "etcdserverpb.Maintenance/Status"),
    ("maintenance/defragment", "etcdserverpb.Maintenance/Defragment"),
    ("maintenance/hash", "etcdserverpb.Maintenance/Hash"),
    ("maintenance/hashkv", "etcdserverpb.Maintenance/HashKV"),
    ("maintenance/snapshot", "etcdserverpb.Maintenance/Snapshot"),
    ("maintenance/transfer-leadership", "etcdserverpb.Maintenance/MoveLeader"),
    ("maintenance/downgrade", "etcdserverpb.Maintenance/Downgrade"),
    ("auth/enable", "etcdserverpb.Auth/AuthEnable"),
    ("auth/disable", "etcdserverpb.Auth/AuthDisable"),
    ("auth/status", "etcdserverpb.Auth/AuthStatus"),
    ("auth/authenticate", "etcdserverpb.Auth/Authenticate"),
    ("auth/user/add", "etcdserverpb.Auth/UserAdd"),
    ("auth/user/get", "etcdserverpb.Auth/UserGet"),
    ("auth/user/list", "etcdserverpb.Auth/UserList"),
    ("auth/user/delete", "etcdserverpb.Auth/UserDelete"),
    ("auth/user/changepw", "etcdserverpb.Auth/UserChangePassword"),
    ("auth/user/grant", "etcdserverpb.Auth/UserGrantRole"),
    ("auth/user/revoke", "etcdserverpb.Auth/UserRevokeRole"),
    ("auth/role/add", "etcdserverpb.Auth/RoleAdd"),
    ("auth/role/get", "etcdserverpb.Auth/RoleGet"),
    ("auth/role/list", "etcdserverpb.Auth/RoleList"),
    ("auth/role/delete", "etcdserverpb.Auth/RoleDelete"),
    ("auth/role/grant", "etcdserverpb.Auth/RoleGrantPermission"),
    ("auth/role/revoke", "etcdserverpb.Auth/RoleRevokePermission"),
    ("lock/lock", "v3lockpb.Lock/Lock"),
    ("lock/unlock", "v3lockpb.Lock/Unlock"),
    ("election/campaign", "v3electionpb.Election/Campaign"),
    ("election/proclaim", "v3electionpb.Election/Proclaim"),
    ("election/leader", "v3electionpb.Election/Leader"),
    ("election/observe", "v3electionpb.Election/Observe"),
    ("election/resign", "v3electionpb.Election/Resign"),
];

/// A request that came as JSON. The connection that it came by may be another program's that passes requests of many
/// clients on, a browser's among them: who has opened it says nothing about who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViaGateway;

/// A call of the gateway.
#[derive(Clone, Copy, Debug)]
struct Call {
    kind: Kind,
    messages: &'static json::Method,
}

impl Call {
    /// The call with this path, below `/v3/`.
    fn find(path: &str) -> Option<Self> {
        let (_, name) = CALLS.iter().find(|(known, _)| *known == path)?;
        let (service, method) = name.split_once('/')?;
        let known = |known: &&rpc::Method| known.service == service && known.name == method;
        let kind = METHODS.iter().find(known)?.kind;
        let messages = json::Method::find(&format!("/{name}"))?;
        Some(Self { kind, messages })
    }
}

/// What stands before the name of a metadata key.
const METADATA: &str = "grpc-metadata-";

/// The path of a call below the prefix of a version, if it is a path of the gateway. What was `/v3beta` once is the
/// same.
pub(crate) fn path_of_call(path: &str) -> Option<&str> {
    path.strip_prefix("/v3/").or_else(|| path.strip_prefix("/v3beta/"))
}

/// Answers a request for a path of the gateway.
pub(crate) async fn answer(services: &Services, request: Request<Incoming>) -> Response<Body> {
    let path = path_of_call(request.uri().path()).unwrap_or_default();
    let Some(call) = Call::find(path) else {
        let status = Status::not_found("Not Found");
        return answer::refusal_as(StatusCode::NOT_FOUND, &status);
    };
    if request.method() != Method::POST {
        let status = Status::unimplemented("Method Not Allowed");
        return answer::refusal_as(StatusCode::METHOD_NOT_ALLOWED, &status);
    }
    let response = services.call(as_grpc(call, services.request_bytes_max(), request)).await;
    match call.kind {
        Kind::Unary => answer::one(call.messages.output(), response).await,
        Kind::ServerStream | Kind::BidirectionalStream => {
            answer::stream(call.messages.output(), response).await
        }
    }
}

/// The request of gRPC that a request in JSON stands for.
fn as_grpc(
    call: Call,
    request_bytes_max: usize,
    request: Request<Incoming>,
) -> Request<RequestBody> {
    let is_stream = call.kind == Kind::BidirectionalStream;
    // What fits into a message fits, in base64 or with escapes, into twice as much text.
    let text_bytes_max = message_bytes_max(request_bytes_max).saturating_mul(2);
    let (parts, body) = request.into_parts();
    let body = JsonMessages::new(body, call.messages.input(), is_stream, text_bytes_max);
    let mut request = Request::new(RequestBody::json(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(call.messages.path());
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = metadata(&parts.headers);
    // And nothing that was known about the connection.
    request.extensions_mut().insert(ViaGateway);
    request
}

/// The metadata that headers stand for.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        let name = match name.as_str() {
            "authorization" | "grpc-timeout" => name.clone(),
            name => {
                let Some(name) = name.strip_prefix(METADATA) else { continue };
                // The protocol's own are none that a client sets.
                if name.starts_with("grpc-") || name == "content-type" || name == "te" {
                    continue;
                }
                let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
                name
            }
        };
        metadata.append(name, value.clone());
    }
    metadata.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata.insert(TE, HeaderValue::from_static("trailers"));
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_a_call() {
        for (path, name) in CALLS {
            let call = Call::find(path).expect(path);
            assert_eq!(call.messages.path(), format!("/{name}"));
        }
        let mut paths: Vec<_> = CALLS.iter().map(|(path, _)| path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), CALLS.len(), "no path leads to two");
    }

    #[test]
    fn every_call_of_etcd_has_a_path() {
        for method in METHODS {
            let name = format!("{}/{}", method.service, method.name);
            let is_etcds = ["etcdserverpb.", "v3lockpb.", "v3electionpb."]
                .iter()
                .any(|package| name.starts_with(package));
            let has_path = CALLS.iter().any(|(_, known)| *known == name);
            assert_eq!(has_path, is_etcds && method.name != "RangeStream", "{name}");
        }
    }

    #[test]
    fn headers_that_are_metadata() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "abc.1"),
            ("grpc-timeout", "5S"),
            ("grpc-metadata-token", "def.2"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-grpc-timeout", "1n"),
            ("grpc-metadata-content-type", "x"),
            ("grpc-metadata-", "x"),
            ("cookie", "x"),
            ("content-type", "application/json"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let metadata = metadata(&headers);
        let of = |name: &str| metadata.get(name).map(HeaderValue::as_bytes);
        assert_eq!(of("authorization"), Some(&b"abc.1"[..]));
        assert_eq!(of("token"), Some(&b"def.2"[..]));
        assert_eq!(of("hasleader"), Some(&b"true"[..]));
        assert_eq!(of("grpc-timeout"), Some(&b"5S"[..]));
        assert_eq!(of("content-type"), Some(&b"application/grpc"[..]));
        assert_eq!(metadata.len(), 6, "{metadata:?}");
    }
}
