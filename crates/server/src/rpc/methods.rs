//! Every call of the API, by the path that stands in a request.

use std::collections::BTreeMap;

/// How many messages either side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One and one.
    Unary,
    /// One, and a stream for an answer.
    ServerStream,
    /// A stream each.
    BidirectionalStream,
}

impl Kind {
    /// The word in the metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidirectionalStream => "bidi_stream",
        }
    }
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    /// The service with its package.
    pub(crate) service: &'static str,
    /// The name within the service.
    pub(crate) name: &'static str,
    /// How many messages either side sends.
    pub(crate) kind: Kind,
}

const fn unary(service: &'static str, name: &'static str) -> Method {
    Method { service, name, kind: Kind::Unary }
}

const fn stream(service: &'static str, name: &'static str, kind: Kind) -> Method {
    Method { service, name, kind }
}

pub(crate) const KV: &str = "etcdserverpb.KV";
pub(crate) const WATCH: &str = "etcdserverpb.Watch";
pub(crate) const LEASE: &str = "etcdserverpb.Lease";
pub(crate) const CLUSTER: &str = "etcdserverpb.Cluster";
pub(crate) const MAINTENANCE: &str = "etcdserverpb.Maintenance";
pub(crate) const AUTH: &str = "etcdserverpb.Auth";
pub(crate) const LOCK: &str = "v3lockpb.Lock";
pub(crate) const ELECTION: &str = "v3electionpb.Election";
pub(crate) const MEMBERSHIP: &str = "quoratepb.Membership";
pub(crate) const HEALTH: &str = "grpc.health.v1.Health";

/// All calls.
pub(crate) const METHODS: [Method; 52] = [
    unary(KV, "Range"),
    stream(KV, "RangeStream", Kind::ServerStream),
    unary(KV, "Put"),
    unary(KV, "DeleteRange"),
    unary(KV, "Txn"),
    unary(KV, "Compact"),
    stream(WATCH, "Watch", Kind::BidirectionalStream),
    unary(LEASE, "LeaseGrant"),
    unary(LEASE, "LeaseRevoke"),
    stream(LEASE, "LeaseKeepAlive", Kind::BidirectionalStream),
    unary(LEASE, "LeaseTimeToLive"),
    unary(LEASE, "LeaseLeases"),
    unary(CLUSTER, "MemberAdd"),
    unary(CLUSTER, "MemberRemove"),
    unary(CLUSTER, "MemberUpdate"),
    unary(CLUSTER, "MemberList"),
    unary(CLUSTER, "MemberPromote"),
    unary(MAINTENANCE, "Alarm"),
    unary(MAINTENANCE, "Status"),
    unary(MAINTENANCE, "Defragment"),
    unary(MAINTENANCE, "Hash"),
    unary(MAINTENANCE, "HashKV"),
    stream(MAINTENANCE, "Snapshot", Kind::ServerStream),
    unary(MAINTENANCE, "MoveLeader"),
    unary(MAINTENANCE, "Downgrade"),
    unary(AUTH, "AuthEnable"),
    unary(AUTH, "AuthDisable"),
    unary(AUTH, "AuthStatus"),
    unary(AUTH, "Authenticate"),
    unary(AUTH, "UserAdd"),
    unary(AUTH, "UserGet"),
    unary(AUTH, "UserList"),
    unary(AUTH, "UserDelete"),
    unary(AUTH, "UserChangePassword"),
    unary(AUTH, "UserGrantRole"),
    unary(AUTH, "UserRevokeRole"),
    unary(AUTH, "RoleAdd"),
    unary(AUTH, "RoleGet"),
    unary(AUTH, "RoleList"),
    unary(AUTH, "RoleDelete"),
    unary(AUTH, "RoleGrantPermission"),
    unary(AUTH, "RoleRevokePermission"),
    unary(LOCK, "Lock"),
    unary(LOCK, "Unlock"),
    unary(ELECTION, "Campaign"),
    unary(ELECTION, "Proclaim"),
    unary(ELECTION, "Leader"),
    stream(ELECTION, "Observe", Kind::ServerStream),
    unary(ELECTION, "Resign"),
    unary(MEMBERSHIP, "Reconcile"),
    unary(HEALTH, "Check"),
    stream(HEALTH, "Watch", Kind::ServerStream),
];

/// Finds calls by their path.
#[derive(Debug)]
pub(crate) struct Paths(BTreeMap<String, usize>);

impl Paths {
    pub(crate) fn new() -> Self {
        let path = |method: &Method| format!("/{}/{}", method.service, method.name);
        Self(METHODS.iter().enumerate().map(|(at, method)| (path(method), at)).collect())
    }

    /// The position in [`METHODS`].
    pub(crate) fn find(&self, path: &str) -> Option<usize> {
        self.0.get(path).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found() {
        let paths = Paths::new();
        let at = paths.find("/etcdserverpb.Maintenance/HashKV").expect("a call of etcd");
        assert_eq!((METHODS[at].service, METHODS[at].name), (MAINTENANCE, "HashKV"));
        assert_eq!(paths.find("/etcdserverpb.KV/range"), None);
        assert_eq!(paths.0.len(), METHODS.len(), "no call is listed twice");
    }
}
