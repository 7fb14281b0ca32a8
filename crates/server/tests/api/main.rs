//! The server as its clients see it: members in this process, and real sockets between.

mod alarm;
mod auth;
mod authority;
mod cluster;
mod divergence;
mod gateway;
mod http;
mod jwt;
mod kv;
mod lease;
mod limits;
mod log;
mod maintenance;
mod members;
mod optimistic;
mod peers;
#[path = "../../../tls/tests/handshakes/pki.rs"]
mod pki;
mod rebuild;
mod recipes;
mod recover;
mod reflection;
mod repair;
mod tls;
mod transport;
mod txn;
mod watch;
mod web;
mod witness;
