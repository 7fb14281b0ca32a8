// @generated from crates/proto/proto by `cargo xtask codegen`. Do not edit.

#![allow(dead_code, reason = "no call has every message")]

use crate::json::{Kind, Message, Method, arm, call, many, one};

pub(crate) static METHODS: &[Method] = &[
    call(
        "/etcdserverpb.KV/Range",
        &ETCDSERVERPB_RANGEREQUEST,
        &ETCDSERVERPB_RANGERESPONSE,
    ),
    call(
        "/etcdserverpb.KV/RangeStream",
        &ETCDSERVERPB_RANGEREQUEST,
        &ETCDSERVERPB_RANGESTREAMRESPONSE,
    ),
    call(
        "/etcdserverpb.KV/Put",
        &ETCDSERVERPB_PUTREQUEST,
        &ETCDSERVERPB_PUTRESPONSE,
    ),
    call(
        "/etcdserverpb.KV/DeleteRange",
        &ETCDSERVERPB_DELETERANGEREQUEST,
        &ETCDSERVERPB_DELETERANGERESPONSE,
    ),
    call(
        "/etcdserverpb.KV/Txn",
        &ETCDSERVERPB_TXNREQUEST,
        &ETCDSERVERPB_TXNRESPONSE,
    ),
    call(
        "/etcdserverpb.KV/Compact",
        &ETCDSERVERPB_COMPACTIONREQUEST,
        &ETCDSERVERPB_COMPACTIONRESPONSE,
    ),
    call(
        "/etcdserverpb.Watch/Watch",
        &ETCDSERVERPB_WATCHREQUEST,
        &ETCDSERVERPB_WATCHRESPONSE,
    ),
    call(
        "/etcdserverpb.Lease/LeaseGrant",
        &ETCDSERVERPB_LEASEGRANTREQUEST,
        &ETCDSERVERPB_LEASEGRANTRESPONSE,
    ),
    call(
        "/etcdserverpb.Lease/LeaseRevoke",
        &ETCDSERVERPB_LEASEREVOKEREQUEST,
        &ETCDSERVERPB_LEASEREVOKERESPONSE,
    ),
    call(
        "/etcdserverpb.Lease/LeaseKeepAlive",
        &ETCDSERVERPB_LEASEKEEPALIVEREQUEST,
        &ETCDSERVERPB_LEASEKEEPALIVERESPONSE,
    ),
    call(
        "/etcdserverpb.Lease/LeaseTimeToLive",
        &ETCDSERVERPB_LEASETIMETOLIVEREQUEST,
        &ETCDSERVERPB_LEASETIMETOLIVERESPONSE,
    ),
    call(
        "/etcdserverpb.Lease/LeaseLeases",
        &ETCDSERVERPB_LEASELEASESREQUEST,
        &ETCDSERVERPB_LEASELEASESRESPONSE,
    ),
    call(
        "/etcdserverpb.Cluster/MemberAdd",
        &ETCDSERVERPB_MEMBERADDREQUEST,
        &ETCDSERVERPB_MEMBERADDRESPONSE,
    ),
    call(
        "/etcdserverpb.Cluster/MemberRemove",
        &ETCDSERVERPB_MEMBERREMOVEREQUEST,
        &ETCDSERVERPB_MEMBERREMOVERESPONSE,
    ),
    call(
        "/etcdserverpb.Cluster/MemberUpdate",
        &ETCDSERVERPB_MEMBERUPDATEREQUEST,
        &ETCDSERVERPB_MEMBERUPDATERESPONSE,
    ),
    call(
        "/etcdserverpb.Cluster/MemberList",
        &ETCDSERVERPB_MEMBERLISTREQUEST,
        &ETCDSERVERPB_MEMBERLISTRESPONSE,
    ),
    call(
        "/etcdserverpb.Cluster/MemberPromote",
        &ETCDSERVERPB_MEMBERPROMOTEREQUEST,
        &ETCDSERVERPB_MEMBERPROMOTERESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/Alarm",
        &ETCDSERVERPB_ALARMREQUEST,
        &ETCDSERVERPB_ALARMRESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/Status",
        &ETCDSERVERPB_STATUSREQUEST,
        &ETCDSERVERPB_STATUSRESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/Defragment",
        &ETCDSERVERPB_DEFRAGMENTREQUEST,
        &ETCDSERVERPB_DEFRAGMENTRESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/Hash",
        &ETCDSERVERPB_HASHREQUEST,
        &ETCDSERVERPB_HASHRESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/HashKV",
        &ETCDSERVERPB_HASHKVREQUEST,
        &ETCDSERVERPB_HASHKVRESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/Snapshot",
        &ETCDSERVERPB_SNAPSHOTREQUEST,
        &ETCDSERVERPB_SNAPSHOTRESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/MoveLeader",
        &ETCDSERVERPB_MOVELEADERREQUEST,
        &ETCDSERVERPB_MOVELEADERRESPONSE,
    ),
    call(
        "/etcdserverpb.Maintenance/Downgrade",
        &ETCDSERVERPB_DOWNGRADEREQUEST,
        &ETCDSERVERPB_DOWNGRADERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/AuthEnable",
        &ETCDSERVERPB_AUTHENABLEREQUEST,
        &ETCDSERVERPB_AUTHENABLERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/AuthDisable",
        &ETCDSERVERPB_AUTHDISABLEREQUEST,
        &ETCDSERVERPB_AUTHDISABLERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/AuthStatus",
        &ETCDSERVERPB_AUTHSTATUSREQUEST,
        &ETCDSERVERPB_AUTHSTATUSRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/Authenticate",
        &ETCDSERVERPB_AUTHENTICATEREQUEST,
        &ETCDSERVERPB_AUTHENTICATERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/UserAdd",
        &ETCDSERVERPB_AUTHUSERADDREQUEST,
        &ETCDSERVERPB_AUTHUSERADDRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/UserGet",
        &ETCDSERVERPB_AUTHUSERGETREQUEST,
        &ETCDSERVERPB_AUTHUSERGETRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/UserList",
        &ETCDSERVERPB_AUTHUSERLISTREQUEST,
        &ETCDSERVERPB_AUTHUSERLISTRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/UserDelete",
        &ETCDSERVERPB_AUTHUSERDELETEREQUEST,
        &ETCDSERVERPB_AUTHUSERDELETERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/UserChangePassword",
        &ETCDSERVERPB_AUTHUSERCHANGEPASSWORDREQUEST,
        &ETCDSERVERPB_AUTHUSERCHANGEPASSWORDRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/UserGrantRole",
        &ETCDSERVERPB_AUTHUSERGRANTROLEREQUEST,
        &ETCDSERVERPB_AUTHUSERGRANTROLERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/UserRevokeRole",
        &ETCDSERVERPB_AUTHUSERREVOKEROLEREQUEST,
        &ETCDSERVERPB_AUTHUSERREVOKEROLERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/RoleAdd",
        &ETCDSERVERPB_AUTHROLEADDREQUEST,
        &ETCDSERVERPB_AUTHROLEADDRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/RoleGet",
        &ETCDSERVERPB_AUTHROLEGETREQUEST,
        &ETCDSERVERPB_AUTHROLEGETRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/RoleList",
        &ETCDSERVERPB_AUTHROLELISTREQUEST,
        &ETCDSERVERPB_AUTHROLELISTRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/RoleDelete",
        &ETCDSERVERPB_AUTHROLEDELETEREQUEST,
        &ETCDSERVERPB_AUTHROLEDELETERESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/RoleGrantPermission",
        &ETCDSERVERPB_AUTHROLEGRANTPERMISSIONREQUEST,
        &ETCDSERVERPB_AUTHROLEGRANTPERMISSIONRESPONSE,
    ),
    call(
        "/etcdserverpb.Auth/RoleRevokePermission",
        &ETCDSERVERPB_AUTHROLEREVOKEPERMISSIONREQUEST,
        &ETCDSERVERPB_AUTHROLEREVOKEPERMISSIONRESPONSE,
    ),
    call(
        "/grpc.health.v1.Health/Check",
        &GRPC_HEALTH_V1_HEALTHCHECKREQUEST,
        &GRPC_HEALTH_V1_HEALTHCHECKRESPONSE,
    ),
    call(
        "/grpc.health.v1.Health/Watch",
        &GRPC_HEALTH_V1_HEALTHCHECKREQUEST,
        &GRPC_HEALTH_V1_HEALTHCHECKRESPONSE,
    ),
    call(
        "/quoratepb.Membership/Reconcile",
        &QUORATEPB_RECONCILEREQUEST,
        &QUORATEPB_RECONCILERESPONSE,
    ),
    call(
        "/v3electionpb.Election/Campaign",
        &V3ELECTIONPB_CAMPAIGNREQUEST,
        &V3ELECTIONPB_CAMPAIGNRESPONSE,
    ),
    call(
        "/v3electionpb.Election/Proclaim",
        &V3ELECTIONPB_PROCLAIMREQUEST,
        &V3ELECTIONPB_PROCLAIMRESPONSE,
    ),
    call(
        "/v3electionpb.Election/Leader",
        &V3ELECTIONPB_LEADERREQUEST,
        &V3ELECTIONPB_LEADERRESPONSE,
    ),
    call(
        "/v3electionpb.Election/Observe",
        &V3ELECTIONPB_LEADERREQUEST,
        &V3ELECTIONPB_LEADERRESPONSE,
    ),
    call(
        "/v3electionpb.Election/Resign",
        &V3ELECTIONPB_RESIGNREQUEST,
        &V3ELECTIONPB_RESIGNRESPONSE,
    ),
    call(
        "/v3lockpb.Lock/Lock",
        &V3LOCKPB_LOCKREQUEST,
        &V3LOCKPB_LOCKRESPONSE,
    ),
    call(
        "/v3lockpb.Lock/Unlock",
        &V3LOCKPB_UNLOCKREQUEST,
        &V3LOCKPB_UNLOCKRESPONSE,
    ),
];

static AUTHPB_USERADDOPTIONS: Message = Message {
    name: "authpb.UserAddOptions",
    fields: &[
        one(1, "no_password", "noPassword", Kind::Bool),
    ],
};

static AUTHPB_USER: Message = Message {
    name: "authpb.User",
    fields: &[
        one(1, "name", "name", Kind::Bytes),
        one(2, "password", "password", Kind::Bytes),
        many(3, "roles", "roles", Kind::String),
        one(4, "options", "options", Kind::Message(&AUTHPB_USERADDOPTIONS)),
    ],
};

static AUTHPB_PERMISSION: Message = Message {
    name: "authpb.Permission",
    fields: &[
        one(1, "permType", "permType", Kind::Enum(AUTHPB_PERMISSION_TYPE)),
        one(2, "key", "key", Kind::Bytes),
        one(3, "range_end", "rangeEnd", Kind::Bytes),
    ],
};

static AUTHPB_PERMISSION_TYPE: &[(&str, i32)] = &[
    ("READ", 0),
    ("WRITE", 1),
    ("READWRITE", 2),
];

static AUTHPB_ROLE: Message = Message {
    name: "authpb.Role",
    fields: &[
        one(1, "name", "name", Kind::Bytes),
        many(2, "keyPermission", "keyPermission", Kind::Message(&AUTHPB_PERMISSION)),
    ],
};

static MVCCPB_KEYVALUE: Message = Message {
    name: "mvccpb.KeyValue",
    fields: &[
        one(1, "key", "key", Kind::Bytes),
        one(2, "create_revision", "createRevision", Kind::Int64),
        one(3, "mod_revision", "modRevision", Kind::Int64),
        one(4, "version", "version", Kind::Int64),
        one(5, "value", "value", Kind::Bytes),
        one(6, "lease", "lease", Kind::Int64),
    ],
};

static MVCCPB_EVENT: Message = Message {
    name: "mvccpb.Event",
    fields: &[
        one(1, "type", "type", Kind::Enum(MVCCPB_EVENT_EVENTTYPE)),
        one(2, "kv", "kv", Kind::Message(&MVCCPB_KEYVALUE)),
        one(3, "prev_kv", "prevKv", Kind::Message(&MVCCPB_KEYVALUE)),
    ],
};

static MVCCPB_EVENT_EVENTTYPE: &[(&str, i32)] = &[
    ("PUT", 0),
    ("DELETE", 1),
];

static ETCDSERVERPB_RESPONSEHEADER: Message = Message {
    name: "etcdserverpb.ResponseHeader",
    fields: &[
        one(1, "cluster_id", "clusterId", Kind::Uint64),
        one(2, "member_id", "memberId", Kind::Uint64),
        one(3, "revision", "revision", Kind::Int64),
        one(4, "raft_term", "raftTerm", Kind::Uint64),
    ],
};

static ETCDSERVERPB_RANGEREQUEST: Message = Message {
    name: "etcdserverpb.RangeRequest",
    fields: &[
        one(1, "key", "key", Kind::Bytes),
        one(2, "range_end", "rangeEnd", Kind::Bytes),
        one(3, "limit", "limit", Kind::Int64),
        one(4, "revision", "revision", Kind::Int64),
        one(5, "sort_order", "sortOrder", Kind::Enum(ETCDSERVERPB_RANGEREQUEST_SORTORDER)),
        one(6, "sort_target", "sortTarget", Kind::Enum(ETCDSERVERPB_RANGEREQUEST_SORTTARGET)),
        one(7, "serializable", "serializable", Kind::Bool),
        one(8, "keys_only", "keysOnly", Kind::Bool),
        one(9, "count_only", "countOnly", Kind::Bool),
        one(10, "min_mod_revision", "minModRevision", Kind::Int64),
        one(11, "max_mod_revision", "maxModRevision", Kind::Int64),
        one(12, "min_create_revision", "minCreateRevision", Kind::Int64),
        one(13, "max_create_revision", "maxCreateRevision", Kind::Int64),
    ],
};

static ETCDSERVERPB_RANGEREQUEST_SORTORDER: &[(&str, i32)] = &[
    ("NONE", 0),
    ("ASCEND", 1),
    ("DESCEND", 2),
];

static ETCDSERVERPB_RANGEREQUEST_SORTTARGET: &[(&str, i32)] = &[
    ("KEY", 0),
    ("VERSION", 1),
    ("CREATE", 2),
    ("MOD", 3),
    ("VALUE", 4),
];

static ETCDSERVERPB_RANGERESPONSE: Message = Message {
    name: "etcdserverpb.RangeResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "kvs", "kvs", Kind::Message(&MVCCPB_KEYVALUE)),
        one(3, "more", "more", Kind::Bool),
        one(4, "count", "count", Kind::Int64),
    ],
};

static ETCDSERVERPB_RANGESTREAMRESPONSE: Message = Message {
    name: "etcdserverpb.RangeStreamResponse",
    fields: &[
        one(1, "range_response", "rangeResponse", Kind::Message(&ETCDSERVERPB_RANGERESPONSE)),
    ],
};

static ETCDSERVERPB_PUTREQUEST: Message = Message {
    name: "etcdserverpb.PutRequest",
    fields: &[
        one(1, "key", "key", Kind::Bytes),
        one(2, "value", "value", Kind::Bytes),
        one(3, "lease", "lease", Kind::Int64),
        one(4, "prev_kv", "prevKv", Kind::Bool),
        one(5, "ignore_value", "ignoreValue", Kind::Bool),
        one(6, "ignore_lease", "ignoreLease", Kind::Bool),
    ],
};

static ETCDSERVERPB_PUTRESPONSE: Message = Message {
    name: "etcdserverpb.PutResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "prev_kv", "prevKv", Kind::Message(&MVCCPB_KEYVALUE)),
    ],
};

static ETCDSERVERPB_DELETERANGEREQUEST: Message = Message {
    name: "etcdserverpb.DeleteRangeRequest",
    fields: &[
        one(1, "key", "key", Kind::Bytes),
        one(2, "range_end", "rangeEnd", Kind::Bytes),
        one(3, "prev_kv", "prevKv", Kind::Bool),
    ],
};

static ETCDSERVERPB_DELETERANGERESPONSE: Message = Message {
    name: "etcdserverpb.DeleteRangeResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "deleted", "deleted", Kind::Int64),
        many(3, "prev_kvs", "prevKvs", Kind::Message(&MVCCPB_KEYVALUE)),
    ],
};

static ETCDSERVERPB_REQUESTOP: Message = Message {
    name: "etcdserverpb.RequestOp",
    fields: &[
        arm(1, "request_range", "requestRange", Kind::Message(&ETCDSERVERPB_RANGEREQUEST)),
        arm(2, "request_put", "requestPut", Kind::Message(&ETCDSERVERPB_PUTREQUEST)),
        arm(3, "request_delete_range", "requestDeleteRange", Kind::Message(&ETCDSERVERPB_DELETERANGEREQUEST)),
        arm(4, "request_txn", "requestTxn", Kind::Message(&ETCDSERVERPB_TXNREQUEST)),
    ],
};

static ETCDSERVERPB_RESPONSEOP: Message = Message {
    name: "etcdserverpb.ResponseOp",
    fields: &[
        arm(1, "response_range", "responseRange", Kind::Message(&ETCDSERVERPB_RANGERESPONSE)),
        arm(2, "response_put", "responsePut", Kind::Message(&ETCDSERVERPB_PUTRESPONSE)),
        arm(3, "response_delete_range", "responseDeleteRange", Kind::Message(&ETCDSERVERPB_DELETERANGERESPONSE)),
        arm(4, "response_txn", "responseTxn", Kind::Message(&ETCDSERVERPB_TXNRESPONSE)),
    ],
};

static ETCDSERVERPB_COMPARE: Message = Message {
    name: "etcdserverpb.Compare",
    fields: &[
        one(1, "result", "result", Kind::Enum(ETCDSERVERPB_COMPARE_COMPARERESULT)),
        one(2, "target", "target", Kind::Enum(ETCDSERVERPB_COMPARE_COMPARETARGET)),
        one(3, "key", "key", Kind::Bytes),
        arm(4, "version", "version", Kind::Int64),
        arm(5, "create_revision", "createRevision", Kind::Int64),
        arm(6, "mod_revision", "modRevision", Kind::Int64),
        arm(7, "value", "value", Kind::Bytes),
        arm(8, "lease", "lease", Kind::Int64),
        one(64, "range_end", "rangeEnd", Kind::Bytes),
    ],
};

static ETCDSERVERPB_COMPARE_COMPARERESULT: &[(&str, i32)] = &[
    ("EQUAL", 0),
    ("GREATER", 1),
    ("LESS", 2),
    ("NOT_EQUAL", 3),
];

static ETCDSERVERPB_COMPARE_COMPARETARGET: &[(&str, i32)] = &[
    ("VERSION", 0),
    ("CREATE", 1),
    ("MOD", 2),
    ("VALUE", 3),
    ("LEASE", 4),
];

static ETCDSERVERPB_TXNREQUEST: Message = Message {
    name: "etcdserverpb.TxnRequest",
    fields: &[
        many(1, "compare", "compare", Kind::Message(&ETCDSERVERPB_COMPARE)),
        many(2, "success", "success", Kind::Message(&ETCDSERVERPB_REQUESTOP)),
        many(3, "failure", "failure", Kind::Message(&ETCDSERVERPB_REQUESTOP)),
    ],
};

static ETCDSERVERPB_TXNRESPONSE: Message = Message {
    name: "etcdserverpb.TxnResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "succeeded", "succeeded", Kind::Bool),
        many(3, "responses", "responses", Kind::Message(&ETCDSERVERPB_RESPONSEOP)),
    ],
};

static ETCDSERVERPB_COMPACTIONREQUEST: Message = Message {
    name: "etcdserverpb.CompactionRequest",
    fields: &[
        one(1, "revision", "revision", Kind::Int64),
        one(2, "physical", "physical", Kind::Bool),
    ],
};

static ETCDSERVERPB_COMPACTIONRESPONSE: Message = Message {
    name: "etcdserverpb.CompactionResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_WATCHREQUEST: Message = Message {
    name: "etcdserverpb.WatchRequest",
    fields: &[
        arm(1, "create_request", "createRequest", Kind::Message(&ETCDSERVERPB_WATCHCREATEREQUEST)),
        arm(2, "cancel_request", "cancelRequest", Kind::Message(&ETCDSERVERPB_WATCHCANCELREQUEST)),
        arm(3, "progress_request", "progressRequest", Kind::Message(&ETCDSERVERPB_WATCHPROGRESSREQUEST)),
    ],
};

static ETCDSERVERPB_WATCHCREATEREQUEST: Message = Message {
    name: "etcdserverpb.WatchCreateRequest",
    fields: &[
        one(1, "key", "key", Kind::Bytes),
        one(2, "range_end", "rangeEnd", Kind::Bytes),
        one(3, "start_revision", "startRevision", Kind::Int64),
        one(4, "progress_notify", "progressNotify", Kind::Bool),
        many(5, "filters", "filters", Kind::Enum(ETCDSERVERPB_WATCHCREATEREQUEST_FILTERTYPE)),
        one(6, "prev_kv", "prevKv", Kind::Bool),
        one(7, "watch_id", "watchId", Kind::Int64),
        one(8, "fragment", "fragment", Kind::Bool),
    ],
};

static ETCDSERVERPB_WATCHCREATEREQUEST_FILTERTYPE: &[(&str, i32)] = &[
    ("NOPUT", 0),
    ("NODELETE", 1),
];

static ETCDSERVERPB_WATCHCANCELREQUEST: Message = Message {
    name: "etcdserverpb.WatchCancelRequest",
    fields: &[
        one(1, "watch_id", "watchId", Kind::Int64),
    ],
};

static ETCDSERVERPB_WATCHPROGRESSREQUEST: Message = Message {
    name: "etcdserverpb.WatchProgressRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_WATCHRESPONSE: Message = Message {
    name: "etcdserverpb.WatchResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "watch_id", "watchId", Kind::Int64),
        one(3, "created", "created", Kind::Bool),
        one(4, "canceled", "canceled", Kind::Bool),
        one(5, "compact_revision", "compactRevision", Kind::Int64),
        one(6, "cancel_reason", "cancelReason", Kind::String),
        one(7, "fragment", "fragment", Kind::Bool),
        many(11, "events", "events", Kind::Message(&MVCCPB_EVENT)),
    ],
};

static ETCDSERVERPB_LEASEGRANTREQUEST: Message = Message {
    name: "etcdserverpb.LeaseGrantRequest",
    fields: &[
        one(1, "TTL", "TTL", Kind::Int64),
        one(2, "ID", "ID", Kind::Int64),
    ],
};

static ETCDSERVERPB_LEASEGRANTRESPONSE: Message = Message {
    name: "etcdserverpb.LeaseGrantResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "ID", "ID", Kind::Int64),
        one(3, "TTL", "TTL", Kind::Int64),
        one(4, "error", "error", Kind::String),
    ],
};

static ETCDSERVERPB_LEASEREVOKEREQUEST: Message = Message {
    name: "etcdserverpb.LeaseRevokeRequest",
    fields: &[
        one(1, "ID", "ID", Kind::Int64),
    ],
};

static ETCDSERVERPB_LEASEREVOKERESPONSE: Message = Message {
    name: "etcdserverpb.LeaseRevokeResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_LEASEKEEPALIVEREQUEST: Message = Message {
    name: "etcdserverpb.LeaseKeepAliveRequest",
    fields: &[
        one(1, "ID", "ID", Kind::Int64),
    ],
};

static ETCDSERVERPB_LEASEKEEPALIVERESPONSE: Message = Message {
    name: "etcdserverpb.LeaseKeepAliveResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "ID", "ID", Kind::Int64),
        one(3, "TTL", "TTL", Kind::Int64),
    ],
};

static ETCDSERVERPB_LEASETIMETOLIVEREQUEST: Message = Message {
    name: "etcdserverpb.LeaseTimeToLiveRequest",
    fields: &[
        one(1, "ID", "ID", Kind::Int64),
        one(2, "keys", "keys", Kind::Bool),
    ],
};

static ETCDSERVERPB_LEASETIMETOLIVERESPONSE: Message = Message {
    name: "etcdserverpb.LeaseTimeToLiveResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "ID", "ID", Kind::Int64),
        one(3, "TTL", "TTL", Kind::Int64),
        one(4, "grantedTTL", "grantedTTL", Kind::Int64),
        many(5, "keys", "keys", Kind::Bytes),
    ],
};

static ETCDSERVERPB_LEASELEASESREQUEST: Message = Message {
    name: "etcdserverpb.LeaseLeasesRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_LEASESTATUS: Message = Message {
    name: "etcdserverpb.LeaseStatus",
    fields: &[
        one(1, "ID", "ID", Kind::Int64),
    ],
};

static ETCDSERVERPB_LEASELEASESRESPONSE: Message = Message {
    name: "etcdserverpb.LeaseLeasesResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "leases", "leases", Kind::Message(&ETCDSERVERPB_LEASESTATUS)),
    ],
};

static ETCDSERVERPB_MEMBER: Message = Message {
    name: "etcdserverpb.Member",
    fields: &[
        one(1, "ID", "ID", Kind::Uint64),
        one(2, "name", "name", Kind::String),
        many(3, "peerURLs", "peerURLs", Kind::String),
        many(4, "clientURLs", "clientURLs", Kind::String),
        one(5, "isLearner", "isLearner", Kind::Bool),
    ],
};

static ETCDSERVERPB_MEMBERADDREQUEST: Message = Message {
    name: "etcdserverpb.MemberAddRequest",
    fields: &[
        many(1, "peerURLs", "peerURLs", Kind::String),
        one(2, "isLearner", "isLearner", Kind::Bool),
    ],
};

static ETCDSERVERPB_MEMBERADDRESPONSE: Message = Message {
    name: "etcdserverpb.MemberAddResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "member", "member", Kind::Message(&ETCDSERVERPB_MEMBER)),
        many(3, "members", "members", Kind::Message(&ETCDSERVERPB_MEMBER)),
    ],
};

static ETCDSERVERPB_MEMBERREMOVEREQUEST: Message = Message {
    name: "etcdserverpb.MemberRemoveRequest",
    fields: &[
        one(1, "ID", "ID", Kind::Uint64),
    ],
};

static ETCDSERVERPB_MEMBERREMOVERESPONSE: Message = Message {
    name: "etcdserverpb.MemberRemoveResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "members", "members", Kind::Message(&ETCDSERVERPB_MEMBER)),
    ],
};

static ETCDSERVERPB_MEMBERUPDATEREQUEST: Message = Message {
    name: "etcdserverpb.MemberUpdateRequest",
    fields: &[
        one(1, "ID", "ID", Kind::Uint64),
        many(2, "peerURLs", "peerURLs", Kind::String),
    ],
};

static ETCDSERVERPB_MEMBERUPDATERESPONSE: Message = Message {
    name: "etcdserverpb.MemberUpdateResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "members", "members", Kind::Message(&ETCDSERVERPB_MEMBER)),
    ],
};

static ETCDSERVERPB_MEMBERLISTREQUEST: Message = Message {
    name: "etcdserverpb.MemberListRequest",
    fields: &[
        one(1, "linearizable", "linearizable", Kind::Bool),
    ],
};

static ETCDSERVERPB_MEMBERLISTRESPONSE: Message = Message {
    name: "etcdserverpb.MemberListResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "members", "members", Kind::Message(&ETCDSERVERPB_MEMBER)),
    ],
};

static ETCDSERVERPB_MEMBERPROMOTEREQUEST: Message = Message {
    name: "etcdserverpb.MemberPromoteRequest",
    fields: &[
        one(1, "ID", "ID", Kind::Uint64),
    ],
};

static ETCDSERVERPB_MEMBERPROMOTERESPONSE: Message = Message {
    name: "etcdserverpb.MemberPromoteResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "members", "members", Kind::Message(&ETCDSERVERPB_MEMBER)),
    ],
};

static ETCDSERVERPB_ALARMREQUEST: Message = Message {
    name: "etcdserverpb.AlarmRequest",
    fields: &[
        one(1, "action", "action", Kind::Enum(ETCDSERVERPB_ALARMREQUEST_ALARMACTION)),
        one(2, "memberID", "memberID", Kind::Uint64),
        one(3, "alarm", "alarm", Kind::Enum(ETCDSERVERPB_ALARMTYPE)),
    ],
};

static ETCDSERVERPB_ALARMREQUEST_ALARMACTION: &[(&str, i32)] = &[
    ("GET", 0),
    ("ACTIVATE", 1),
    ("DEACTIVATE", 2),
];

static ETCDSERVERPB_ALARMMEMBER: Message = Message {
    name: "etcdserverpb.AlarmMember",
    fields: &[
        one(1, "memberID", "memberID", Kind::Uint64),
        one(2, "alarm", "alarm", Kind::Enum(ETCDSERVERPB_ALARMTYPE)),
    ],
};

static ETCDSERVERPB_ALARMRESPONSE: Message = Message {
    name: "etcdserverpb.AlarmResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "alarms", "alarms", Kind::Message(&ETCDSERVERPB_ALARMMEMBER)),
    ],
};

static ETCDSERVERPB_STATUSREQUEST: Message = Message {
    name: "etcdserverpb.StatusRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_STATUSRESPONSE: Message = Message {
    name: "etcdserverpb.StatusResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "version", "version", Kind::String),
        one(3, "dbSize", "dbSize", Kind::Int64),
        one(4, "leader", "leader", Kind::Uint64),
        one(5, "raftIndex", "raftIndex", Kind::Uint64),
        one(6, "raftTerm", "raftTerm", Kind::Uint64),
        one(7, "raftAppliedIndex", "raftAppliedIndex", Kind::Uint64),
        many(8, "errors", "errors", Kind::String),
        one(9, "dbSizeInUse", "dbSizeInUse", Kind::Int64),
        one(10, "isLearner", "isLearner", Kind::Bool),
        one(11, "storageVersion", "storageVersion", Kind::String),
        one(12, "dbSizeQuota", "dbSizeQuota", Kind::Int64),
        one(13, "downgradeInfo", "downgradeInfo", Kind::Message(&ETCDSERVERPB_DOWNGRADEINFO)),
    ],
};

static ETCDSERVERPB_DOWNGRADEINFO: Message = Message {
    name: "etcdserverpb.DowngradeInfo",
    fields: &[
        one(1, "enabled", "enabled", Kind::Bool),
        one(2, "targetVersion", "targetVersion", Kind::String),
    ],
};

static ETCDSERVERPB_DEFRAGMENTREQUEST: Message = Message {
    name: "etcdserverpb.DefragmentRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_DEFRAGMENTRESPONSE: Message = Message {
    name: "etcdserverpb.DefragmentResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_HASHREQUEST: Message = Message {
    name: "etcdserverpb.HashRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_HASHRESPONSE: Message = Message {
    name: "etcdserverpb.HashResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "hash", "hash", Kind::Uint32),
    ],
};

static ETCDSERVERPB_HASHKVREQUEST: Message = Message {
    name: "etcdserverpb.HashKVRequest",
    fields: &[
        one(1, "revision", "revision", Kind::Int64),
    ],
};

static ETCDSERVERPB_HASHKVRESPONSE: Message = Message {
    name: "etcdserverpb.HashKVResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "hash", "hash", Kind::Uint32),
        one(3, "compact_revision", "compactRevision", Kind::Int64),
        one(4, "hash_revision", "hashRevision", Kind::Int64),
    ],
};

static ETCDSERVERPB_SNAPSHOTREQUEST: Message = Message {
    name: "etcdserverpb.SnapshotRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_SNAPSHOTRESPONSE: Message = Message {
    name: "etcdserverpb.SnapshotResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "remaining_bytes", "remainingBytes", Kind::Uint64),
        one(3, "blob", "blob", Kind::Bytes),
        one(4, "version", "version", Kind::String),
    ],
};

static ETCDSERVERPB_MOVELEADERREQUEST: Message = Message {
    name: "etcdserverpb.MoveLeaderRequest",
    fields: &[
        one(1, "targetID", "targetID", Kind::Uint64),
    ],
};

static ETCDSERVERPB_MOVELEADERRESPONSE: Message = Message {
    name: "etcdserverpb.MoveLeaderResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_DOWNGRADEREQUEST: Message = Message {
    name: "etcdserverpb.DowngradeRequest",
    fields: &[
        one(1, "action", "action", Kind::Enum(ETCDSERVERPB_DOWNGRADEREQUEST_DOWNGRADEACTION)),
        one(2, "version", "version", Kind::String),
    ],
};

static ETCDSERVERPB_DOWNGRADEREQUEST_DOWNGRADEACTION: &[(&str, i32)] = &[
    ("VALIDATE", 0),
    ("ENABLE", 1),
    ("CANCEL", 2),
];

static ETCDSERVERPB_DOWNGRADERESPONSE: Message = Message {
    name: "etcdserverpb.DowngradeResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "version", "version", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHENABLEREQUEST: Message = Message {
    name: "etcdserverpb.AuthEnableRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_AUTHDISABLEREQUEST: Message = Message {
    name: "etcdserverpb.AuthDisableRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_AUTHSTATUSREQUEST: Message = Message {
    name: "etcdserverpb.AuthStatusRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_AUTHENTICATEREQUEST: Message = Message {
    name: "etcdserverpb.AuthenticateRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
        one(2, "password", "password", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERADDREQUEST: Message = Message {
    name: "etcdserverpb.AuthUserAddRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
        one(2, "password", "password", Kind::String),
        one(3, "options", "options", Kind::Message(&AUTHPB_USERADDOPTIONS)),
        one(4, "hashedPassword", "hashedPassword", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERGETREQUEST: Message = Message {
    name: "etcdserverpb.AuthUserGetRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERDELETEREQUEST: Message = Message {
    name: "etcdserverpb.AuthUserDeleteRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERCHANGEPASSWORDREQUEST: Message = Message {
    name: "etcdserverpb.AuthUserChangePasswordRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
        one(2, "password", "password", Kind::String),
        one(3, "hashedPassword", "hashedPassword", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERGRANTROLEREQUEST: Message = Message {
    name: "etcdserverpb.AuthUserGrantRoleRequest",
    fields: &[
        one(1, "user", "user", Kind::String),
        one(2, "role", "role", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERREVOKEROLEREQUEST: Message = Message {
    name: "etcdserverpb.AuthUserRevokeRoleRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
        one(2, "role", "role", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHROLEADDREQUEST: Message = Message {
    name: "etcdserverpb.AuthRoleAddRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHROLEGETREQUEST: Message = Message {
    name: "etcdserverpb.AuthRoleGetRequest",
    fields: &[
        one(1, "role", "role", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERLISTREQUEST: Message = Message {
    name: "etcdserverpb.AuthUserListRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_AUTHROLELISTREQUEST: Message = Message {
    name: "etcdserverpb.AuthRoleListRequest",
    fields: &[
    ],
};

static ETCDSERVERPB_AUTHROLEDELETEREQUEST: Message = Message {
    name: "etcdserverpb.AuthRoleDeleteRequest",
    fields: &[
        one(1, "role", "role", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHROLEGRANTPERMISSIONREQUEST: Message = Message {
    name: "etcdserverpb.AuthRoleGrantPermissionRequest",
    fields: &[
        one(1, "name", "name", Kind::String),
        one(2, "perm", "perm", Kind::Message(&AUTHPB_PERMISSION)),
    ],
};

static ETCDSERVERPB_AUTHROLEREVOKEPERMISSIONREQUEST: Message = Message {
    name: "etcdserverpb.AuthRoleRevokePermissionRequest",
    fields: &[
        one(1, "role", "role", Kind::String),
        one(2, "key", "key", Kind::Bytes),
        one(3, "range_end", "rangeEnd", Kind::Bytes),
    ],
};

static ETCDSERVERPB_AUTHENABLERESPONSE: Message = Message {
    name: "etcdserverpb.AuthEnableResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHDISABLERESPONSE: Message = Message {
    name: "etcdserverpb.AuthDisableResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHSTATUSRESPONSE: Message = Message {
    name: "etcdserverpb.AuthStatusResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "enabled", "enabled", Kind::Bool),
        one(3, "authRevision", "authRevision", Kind::Uint64),
    ],
};

static ETCDSERVERPB_AUTHENTICATERESPONSE: Message = Message {
    name: "etcdserverpb.AuthenticateResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "token", "token", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERADDRESPONSE: Message = Message {
    name: "etcdserverpb.AuthUserAddResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHUSERGETRESPONSE: Message = Message {
    name: "etcdserverpb.AuthUserGetResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "roles", "roles", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERDELETERESPONSE: Message = Message {
    name: "etcdserverpb.AuthUserDeleteResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHUSERCHANGEPASSWORDRESPONSE: Message = Message {
    name: "etcdserverpb.AuthUserChangePasswordResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHUSERGRANTROLERESPONSE: Message = Message {
    name: "etcdserverpb.AuthUserGrantRoleResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHUSERREVOKEROLERESPONSE: Message = Message {
    name: "etcdserverpb.AuthUserRevokeRoleResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHROLEADDRESPONSE: Message = Message {
    name: "etcdserverpb.AuthRoleAddResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHROLEGETRESPONSE: Message = Message {
    name: "etcdserverpb.AuthRoleGetResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "perm", "perm", Kind::Message(&AUTHPB_PERMISSION)),
    ],
};

static ETCDSERVERPB_AUTHROLELISTRESPONSE: Message = Message {
    name: "etcdserverpb.AuthRoleListResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "roles", "roles", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHUSERLISTRESPONSE: Message = Message {
    name: "etcdserverpb.AuthUserListResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        many(2, "users", "users", Kind::String),
    ],
};

static ETCDSERVERPB_AUTHROLEDELETERESPONSE: Message = Message {
    name: "etcdserverpb.AuthRoleDeleteResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHROLEGRANTPERMISSIONRESPONSE: Message = Message {
    name: "etcdserverpb.AuthRoleGrantPermissionResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_AUTHROLEREVOKEPERMISSIONRESPONSE: Message = Message {
    name: "etcdserverpb.AuthRoleRevokePermissionResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static ETCDSERVERPB_ALARMTYPE: &[(&str, i32)] = &[
    ("NONE", 0),
    ("NOSPACE", 1),
    ("CORRUPT", 2),
];

static GRPC_HEALTH_V1_HEALTHCHECKREQUEST: Message = Message {
    name: "grpc.health.v1.HealthCheckRequest",
    fields: &[
        one(1, "service", "service", Kind::String),
    ],
};

static GRPC_HEALTH_V1_HEALTHCHECKRESPONSE: Message = Message {
    name: "grpc.health.v1.HealthCheckResponse",
    fields: &[
        one(1, "status", "status", Kind::Enum(GRPC_HEALTH_V1_HEALTHCHECKRESPONSE_SERVINGSTATUS)),
    ],
};

static GRPC_HEALTH_V1_HEALTHCHECKRESPONSE_SERVINGSTATUS: &[(&str, i32)] = &[
    ("UNKNOWN", 0),
    ("SERVING", 1),
    ("NOT_SERVING", 2),
    ("SERVICE_UNKNOWN", 3),
];

static QUORATEPB_DESIREDMEMBER: Message = Message {
    name: "quoratepb.DesiredMember",
    fields: &[
        many(1, "peer_urls", "peerUrls", Kind::String),
        one(2, "role", "role", Kind::Enum(QUORATEPB_ROLE)),
    ],
};

static QUORATEPB_RECONCILEREQUEST: Message = Message {
    name: "quoratepb.ReconcileRequest",
    fields: &[
        many(1, "members", "members", Kind::Message(&QUORATEPB_DESIREDMEMBER)),
        one(2, "dry_run", "dryRun", Kind::Bool),
    ],
};

static QUORATEPB_RECONCILERESPONSE: Message = Message {
    name: "quoratepb.ReconcileResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "step", "step", Kind::Enum(QUORATEPB_STEP)),
        many(3, "members", "members", Kind::Message(&ETCDSERVERPB_MEMBER)),
        one(4, "reason", "reason", Kind::String),
    ],
};

static QUORATEPB_ROLE: &[(&str, i32)] = &[
    ("VOTER", 0),
    ("LEARNER", 1),
    ("SPARE", 2),
    ("WITNESS", 3),
];

static QUORATEPB_STEP: &[(&str, i32)] = &[
    ("DONE", 0),
    ("CHANGE", 1),
    ("WAIT", 2),
    ("REFUSE", 3),
];

static V3ELECTIONPB_CAMPAIGNREQUEST: Message = Message {
    name: "v3electionpb.CampaignRequest",
    fields: &[
        one(1, "name", "name", Kind::Bytes),
        one(2, "lease", "lease", Kind::Int64),
        one(3, "value", "value", Kind::Bytes),
    ],
};

static V3ELECTIONPB_CAMPAIGNRESPONSE: Message = Message {
    name: "v3electionpb.CampaignResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "leader", "leader", Kind::Message(&V3ELECTIONPB_LEADERKEY)),
    ],
};

static V3ELECTIONPB_LEADERKEY: Message = Message {
    name: "v3electionpb.LeaderKey",
    fields: &[
        one(1, "name", "name", Kind::Bytes),
        one(2, "key", "key", Kind::Bytes),
        one(3, "rev", "rev", Kind::Int64),
        one(4, "lease", "lease", Kind::Int64),
    ],
};

static V3ELECTIONPB_LEADERREQUEST: Message = Message {
    name: "v3electionpb.LeaderRequest",
    fields: &[
        one(1, "name", "name", Kind::Bytes),
    ],
};

static V3ELECTIONPB_LEADERRESPONSE: Message = Message {
    name: "v3electionpb.LeaderResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "kv", "kv", Kind::Message(&MVCCPB_KEYVALUE)),
    ],
};

static V3ELECTIONPB_RESIGNREQUEST: Message = Message {
    name: "v3electionpb.ResignRequest",
    fields: &[
        one(1, "leader", "leader", Kind::Message(&V3ELECTIONPB_LEADERKEY)),
    ],
};

static V3ELECTIONPB_RESIGNRESPONSE: Message = Message {
    name: "v3electionpb.ResignResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static V3ELECTIONPB_PROCLAIMREQUEST: Message = Message {
    name: "v3electionpb.ProclaimRequest",
    fields: &[
        one(1, "leader", "leader", Kind::Message(&V3ELECTIONPB_LEADERKEY)),
        one(2, "value", "value", Kind::Bytes),
    ],
};

static V3ELECTIONPB_PROCLAIMRESPONSE: Message = Message {
    name: "v3electionpb.ProclaimResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};

static V3LOCKPB_LOCKREQUEST: Message = Message {
    name: "v3lockpb.LockRequest",
    fields: &[
        one(1, "name", "name", Kind::Bytes),
        one(2, "lease", "lease", Kind::Int64),
    ],
};

static V3LOCKPB_LOCKRESPONSE: Message = Message {
    name: "v3lockpb.LockResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
        one(2, "key", "key", Kind::Bytes),
    ],
};

static V3LOCKPB_UNLOCKREQUEST: Message = Message {
    name: "v3lockpb.UnlockRequest",
    fields: &[
        one(1, "key", "key", Kind::Bytes),
    ],
};

static V3LOCKPB_UNLOCKRESPONSE: Message = Message {
    name: "v3lockpb.UnlockResponse",
    fields: &[
        one(1, "header", "header", Kind::Message(&ETCDSERVERPB_RESPONSEHEADER)),
    ],
};
