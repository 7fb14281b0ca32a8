//! The etcd v3 API on a Quorate cluster.

pub mod config;
pub mod log;
mod sha1;
mod version;
