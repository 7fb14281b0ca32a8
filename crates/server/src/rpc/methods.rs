//! Every call of the API, by the path that stands in a request.

use std::collections::BTreeMap;

use quorate_host::Lane;

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

/// What a caller needs where rights are checked. There is no call without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: it is how one gets in, or how a machine asks whether anybody is there.
    Everybody,
    /// To be a user.
    Users,
    /// The role `root`.
    Root,
    /// What the request says: rights to keys, or to be the one whom it is about. The handler asks for it, with the
    /// very request that it carries out.
    Asked,
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
    /// What a caller needs.
    pub(crate) access: Access,
}

impl Method {
    /// How urgent a call is where there is little memory. What it reads may be less so.
    pub(crate) fn lane(self) -> Lane {
        match (self.service, self.name) {
            (KV, "DeleteRange" | "Compact") | (LOCK, "Unlock") | (ELECTION, "Resign") => {
                Lane::Relief
            }
            (LEASE, "LeaseRevoke" | "LeaseKeepAlive")
            | (CLUSTER | MEMBERSHIP | HEALTH | MAINTENANCE, _) => Lane::Urgent,
            _ => Lane::Ordinary,
        }
    }
}

const fn unary(service: &'static str, name: &'static str, access: Access) -> Method {
    Method { service, name, kind: Kind::Unary, access }
}

const fn stream(service: &'static str, name: &'static str, kind: Kind, access: Access) -> Method {
    Method { service, name, kind, access }
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

pub(crate) const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
pub(crate) const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

use Access::{Asked, Everybody, Root, Users};

/// All calls.
pub(crate) const METHODS: [Method; 54] = [
    unary(KV, "Range", Asked),
    stream(KV, "RangeStream", Kind::ServerStream, Asked),
    unary(KV, "Put", Asked),
    unary(KV, "DeleteRange", Asked),
    unary(KV, "Txn", Asked),
    unary(KV, "Compact", Root),
    stream(WATCH, "Watch", Kind::BidirectionalStream, Asked),
    unary(LEASE, "LeaseGrant", Users),
    unary(LEASE, "LeaseRevoke", Asked),
    stream(LEASE, "LeaseKeepAlive", Kind::BidirectionalStream, Asked),
    unary(LEASE, "LeaseTimeToLive", Asked),
    unary(LEASE, "LeaseLeases", Asked),
    unary(CLUSTER, "MemberAdd", Root),
    unary(CLUSTER, "MemberRemove", Root),
    unary(CLUSTER, "MemberUpdate", Root),
    unary(CLUSTER, "MemberList", Users),
    unary(CLUSTER, "MemberPromote", Root),
    unary(MAINTENANCE, "Alarm", Asked),
    unary(MAINTENANCE, "Status", Users),
    unary(MAINTENANCE, "Defragment", Root),
    unary(MAINTENANCE, "Hash", Root),
    unary(MAINTENANCE, "HashKV", Root),
    stream(MAINTENANCE, "Snapshot", Kind::ServerStream, Root),
    unary(MAINTENANCE, "MoveLeader", Root),
    unary(MAINTENANCE, "Downgrade", Root),
    unary(AUTH, "AuthEnable", Root),
    unary(AUTH, "AuthDisable", Root),
    unary(AUTH, "AuthStatus", Everybody),
    unary(AUTH, "Authenticate", Everybody),
    unary(AUTH, "UserAdd", Root),
    unary(AUTH, "UserGet", Asked),
    unary(AUTH, "UserList", Root),
    unary(AUTH, "UserDelete", Root),
    unary(AUTH, "UserChangePassword", Root),
    unary(AUTH, "UserGrantRole", Root),
    unary(AUTH, "UserRevokeRole", Root),
    unary(AUTH, "RoleAdd", Root),
    unary(AUTH, "RoleGet", Asked),
    unary(AUTH, "RoleList", Root),
    unary(AUTH, "RoleDelete", Root),
    unary(AUTH, "RoleGrantPermission", Root),
    unary(AUTH, "RoleRevokePermission", Root),
    unary(LOCK, "Lock", Asked),
    unary(LOCK, "Unlock", Asked),
    unary(ELECTION, "Campaign", Asked),
    unary(ELECTION, "Proclaim", Asked),
    unary(ELECTION, "Leader", Asked),
    stream(ELECTION, "Observe", Kind::ServerStream, Asked),
    unary(ELECTION, "Resign", Asked),
    unary(MEMBERSHIP, "Reconcile", Root),
    unary(HEALTH, "Check", Everybody),
    stream(HEALTH, "Watch", Kind::ServerStream, Everybody),
    // Which calls there are is in the source, too.
    stream(REFLECTION, "ServerReflectionInfo", Kind::BidirectionalStream, Everybody),
    stream(REFLECTION_ALPHA, "ServerReflectionInfo", Kind::BidirectionalStream, Everybody),
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
