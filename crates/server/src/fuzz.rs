//! Doors for the fuzzer: what clients, operators and etcds give to a server, as any bytes.
//!
//! Each is a module of the place that it opens. They panic where two ways of saying the same are not the same.

pub use crate::authority::fuzz as authority;
pub use crate::backup::fuzz as backup;
pub use crate::config::fuzz as config;
pub use crate::gateway::fuzz as gateway;
pub use crate::identity::fuzz as identity;
pub use crate::login::fuzz as login;
pub use crate::rpc::fuzz as rpc;
