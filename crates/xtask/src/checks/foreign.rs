//! Builds the client in `foreign/etcd-client`, which nobody here wrote the heart of, and lets it drive
//! a cluster of three.

use std::io;
use std::process::Command;

use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;
use crate::workspace;

/// Runs the client against Quorate.
pub(crate) fn run() -> io::Result<()> {
    let cluster = Cluster::start(Program::subject()?, 3, &["--log-level", "warn"])?;
    tokio::runtime::Runtime::new()?.block_on(wait_for_leader(&cluster))?;
    let root = workspace::root();
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--manifest-path"])
        .arg(root.join("foreign/etcd-client/Cargo.toml"))
        .env("CARGO_TARGET_DIR", root.join("target/foreign"))
        .arg("--")
        .args(cluster.endpoints())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the client: {status}"))) }
}
