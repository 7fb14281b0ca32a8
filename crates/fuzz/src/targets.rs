//! The targets, one file each.

mod backup;
mod commands;
mod config;
mod gateway;
mod http2;
mod log;
mod members;
mod peer;
mod requests;
mod rights;
mod rows;
mod snapshot;
mod tokens;
mod txn;

/// Something that takes any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called by, as its file and its folder in the corpus are.
    pub name: &'static str,
    /// Whose bytes these are.
    pub about: &'static str,
    /// What is done with them.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "peer",
        about: "what is said between members: greetings, tags, frames, what they hold",
        run: peer::run,
    },
    Target {
        name: "members",
        about: "messages of others to a Raft that has a log",
        run: members::run,
    },
    Target {
        name: "gateway",
        about: "requests of clients in JSON: paths, bodies, headers",
        run: gateway::run,
    },
    Target {
        name: "http2",
        about: "connections of clients, as they are looked through for names",
        run: http2::run,
    },
    Target {
        name: "requests",
        about: "requests of clients in protobuf, and what they mean",
        run: requests::run,
    },
    Target { name: "log", about: "segments, marks and pledges of a log", run: log::run },
    Target {
        name: "snapshot",
        about: "snapshots of other members, with right checksums or wrong ones",
        run: snapshot::run,
    },
    Target {
        name: "backup",
        about: "etcd's backend and its log, as they are imported",
        run: backup::run,
    },
    Target {
        name: "tokens",
        about: "tokens, signed or not, and hashes of passwords",
        run: tokens::run,
    },
    Target {
        name: "config",
        about: "flags, variables, the configuration file, URLs, durations",
        run: config::run,
    },
    Target {
        name: "commands",
        about: "entries of the log, applied by two members",
        run: commands::run,
    },
    Target { name: "rows", about: "rows of a store that is opened", run: rows::run },
    Target {
        name: "rights",
        about: "what a transaction touched, against the rights that are asked for",
        run: rights::run,
    },
    Target {
        name: "txn",
        about: "transactions and all other requests, against the plain model",
        run: txn::run,
    },
];
