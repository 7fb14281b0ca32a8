//! Runs a node on real threads, disks and sockets.

#![expect(dead_code, reason = "the threads that use it come next")]

mod ask;
mod config;
mod error;
mod handle;
mod inbox;
mod metrics;
mod permits;
mod status;
mod transport;
mod wire;

pub use ask::{AskHandler, Reply};
pub use config::{HostConfig, HostEvent, Limits};
pub use error::{AskError, PeerError, RequestError, StartError, TransferError};
pub use handle::Handle;
pub use metrics::{Counter, Histogram, Metrics, PeerMetrics};
pub use status::{HostStatus, PeerStatus, Role};
pub use transport::{Connection, Stream, Tcp, Transport};
