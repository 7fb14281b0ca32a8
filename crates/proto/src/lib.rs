//! The public wire: messages, clients and servers of the etcd v3 API.
//!
//! Quorate speaks the protocol of etcd, so that its clients, `etcdctl` and Kubernetes work
//! unchanged. This crate holds that protocol and nothing else. It does not know what a request
//! *means*: the data model is `quorate-mvcc`, and the crate `quorate-server` checks requests,
//! translates them and fills the answers.
//!
//! # The packages
//!
//! Each protobuf package is a module, made from the file of the same name in `crates/proto/proto/`.
//! Those files are written for this project; their names and numbers are etcd's, as both are
//! visible to clients, the numbers in every message and the names in the paths of the calls and in
//! JSON.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mvccpb`] | [`KeyValue`](mvccpb::KeyValue) and its change, [`Event`](mvccpb::Event) |
//! | [`authpb`] | users, roles and permissions |
//! | [`etcdserverpb`] | the services KV, Watch, Lease, Cluster, Maintenance and Auth |
//! | [`v3lockpb`], [`v3electionpb`] | Lock and Election, recipes over keys and leases |
//! | [`quoratepb`] | what Quorate offers beyond etcd |
//! | [`grpc::health::v1`] | the health service that probes and load balancers know |
//!
//! A service `Kv` gives a client in `kv_client`, and in `kv_server` a trait to implement together
//! with the tower service that calls it. A method of the trait that is not implemented does not
//! compile: which calls answer `UNIMPLEMENTED` is written down in the server and not left to a
//! default.
//!
//! # Conventions
//!
//! - Fields of type `bytes` are [`bytes::Bytes`]: a value that was read from a socket reaches the
//!   store without a copy. It keeps the whole buffer of its message alive meanwhile, so what is
//!   kept for long is worth copying.
//! - There is no presence. An absent number is 0, an absent string or byte string is empty, and
//!   both mean "not given".
//! - Enumerations are plain `i32` in the structs, because any number may arrive. Read them with
//!   `TryFrom`; the getters that are generated beside turn an unknown number silently into the
//!   first variant.
//! - Names follow Rust's custom (`peerURLs` is `peer_ur_ls`, `ID` is `id`). In JSON the names of
//!   the `.proto` files hold.
//! - Messages that carry a password, its hash or a token leave it out of their `Debug` output.
//!
//! # Bytes from strangers
//!
//! Decoding never panics, and refuses messages nested more than a hundred levels deep, which a
//! transaction inside a transaction could otherwise use to exhaust the stack. It does not limit the
//! *size* of a message; the service does, and there are two traps. First, tonic refuses what is
//! over its limit (4 MiB unless told otherwise) with `OUT_OF_RANGE` and a text of its own, whereas
//! etcd's clients look for `RESOURCE_EXHAUSTED` and the text ``grpc: received message larger than
//! max (N vs. M)``. Second, tonic reserves the length that a frame *announces* before the bytes
//! have come, so to lift its limit and to check the finished message lets five bytes claim 4 GiB. A
//! server thus keeps `max_decoding_message_size` at the real limit and rewrites the status. A
//! client that trusts its server may lift it: a response of a large range has no limit in etcd.
//!
//! # To change a message
//!
//! Edit the file in `crates/proto/proto/`, run `cargo xtask codegen`, and commit both. The
//! generated code is checked in, so a build needs neither `protoc` nor a build script, and a test
//! of `quorate-xtask` fails when the two disagree. A number that has been released is never given
//! to another field.
//!
//! # What is not here, and why
//!
//! - **Conversions** to and from the types of the data model: they carry checks and error texts,
//!   which are the server's.
//! - **The HTTP gateway**: annotations for it would only repeat paths that the server has to know
//!   anyway. What the messages are in JSON is here, in [`json`].
//! - **What etcd's members say to each other** (`LeaseCheckpoint`, `InternalRaftRequest`,
//!   `membershippb`): Quorate's members have a protocol of their own, in `quorate-host`, and no
//!   client sees it.
//! - **Version annotations** (`versionpb`): they are options of the `.proto` files and never on the
//!   wire.
//! - **TLS, compression and reflection**: they belong to whoever opens the socket. For the last, [`DESCRIPTORS`] is here.

pub mod codec;
pub mod json;
mod redacted;

#[rustfmt::skip]
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "the generators choose the layout and the names; what is to be read is in proto/"
)]
mod generated {
    pub mod authpb;
    pub mod etcdserverpb;
    pub(crate) mod json;
    pub mod mvccpb;
    pub mod quoratepb;
    pub mod v3electionpb;
    pub mod v3lockpb;
    #[path = "grpc.health.v1.rs"]
    pub mod grpc_health_v1;
}

pub use generated::{authpb, etcdserverpb, mvccpb, quoratepb, v3electionpb, v3lockpb};

/// The descriptors of all packages, a `google.protobuf.FileDescriptorSet` without comments: what a server with
/// reflection tells clients that have no `.proto` files.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

/// The packages below `grpc`, which gRPC itself defines.
pub mod grpc {
    /// The packages of the health protocol; its only version is `v1`.
    pub mod health {
        pub use crate::generated::grpc_health_v1 as v1;
    }
}
