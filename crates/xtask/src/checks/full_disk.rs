//! A member on a small disk that fills up: by its own data, and then by somebody else's, to the last
//! byte. It refuses what would grow and goes on with everything else, and comes back by deletion and
//! compaction alone, in the same process.
//!
//! The disk is a file system in memory, mounted in a [`capsule`]. Where there may be none the check says
//! so and fails.

use std::time::{Duration, Instant};
use std::{io, thread};

use quorate_proto::etcdserverpb::RangeRequest;
use tonic::Status;

use crate::checks::capsule;
use crate::checks::client::{Client, end_of_prefix};
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;
use crate::checks::small_disk::SmallDisk;

const DISK_MIB: usize = 1024;
const VALUE_BYTES: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    let program = Program::quorate()?;
    if let Some(refused) = capsule::enter()? {
        return Err(io::Error::other(format!(
            "this check needs a small disk of its own, and may not mount one: {refused}"
        )));
    }
    let disk = SmallDisk::mount(DISK_MIB)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    runtime.block_on(fill_and_recover(program, &disk))
}

async fn fill_and_recover(program: Program, disk: &SmallDisk) -> io::Result<()> {
    let mut cluster =
        Cluster::start_in(disk.path(), program, 1, &["--quota-backend-bytes", "8589934592"])?;
    wait_for_leader(&cluster).await?;
    let client = Client::new(&cluster.endpoint(0), Duration::from_secs(20));
    let reserve = cluster.data(0).join("reserve");

    let written = fill(&client, "own", 0).await?;
    println!("full-disk: {written} values of {} KiB, then no space", VALUE_BYTES >> 10);
    if written < 100 || !reserve.exists() {
        return Err(failed("the member refused too early, or its reserve is gone", &cluster));
    }
    works_but_for_growth(&client, &cluster, "own").await?;
    // Back by deletion and compaction alone.
    let deleted = client.delete_prefix("own/").await;
    let revision = deleted.map_err(|status| failed(status.message(), &cluster))?;
    client.compact(revision).await.map_err(|status| failed(status.message(), &cluster))?;
    let start = Instant::now();
    until("writes are taken", async || Ok(put(&client, "after/1").await.is_ok())).await?;
    println!("full-disk: writes go on {:.1} s after it", start.elapsed().as_secs_f64());
    // What is still to be merged away is so when it is needed, which may take some seconds more.
    let mut again = 0;
    let end = Instant::now() + PATIENCE;
    while again < written * 3 / 4 {
        if Instant::now() > end {
            return Err(failed(&format!("only {again} values fit again"), &cluster));
        }
        again += fill(&client, "again", again).await?;
        thread::sleep(Duration::from_secs(1));
    }
    println!("full-disk: {again} values fit again");

    // Somebody else takes the rest, to the last byte, and the reserve as well.
    disk.fill()?;
    until("the reserve is given back", async || Ok(!reserve.exists())).await?;
    works_but_for_growth(&client, &cluster, "again").await?;
    disk.fill()?;
    let range = RangeRequest {
        key: "again/".into(),
        range_end: end_of_prefix("again/"),
        keys_only: true,
        ..RangeRequest::default()
    };
    let read = client.range(range).await.map_err(|status| failed(status.message(), &cluster))?;
    println!("full-disk: {} keys are read from a disk without a byte left", read.count);
    let deleted = client.delete_prefix("again/").await;
    let revision = deleted.map_err(|status| failed(status.message(), &cluster))?;
    client.compact(revision).await.map_err(|status| failed(status.message(), &cluster))?;
    disk.relieve()?;
    until("writes are taken again", async || Ok(put(&client, "after/2").await.is_ok())).await?;
    until("the reserve is taken again", async || Ok(reserve.exists())).await?;

    cluster.demand_alive()?;
    // And it is all there after a restart.
    let before = client.hash_kv(0).await.map_err(io::Error::other)?.hash;
    cluster.terminate(0)?;
    cluster.restart(0)?;
    wait_for_leader(&cluster).await?;
    let client = Client::new(&cluster.endpoint(0), Duration::from_secs(20));
    if client.hash_kv(0).await.map_err(io::Error::other)?.hash != before {
        return Err(failed("something else is there after a restart", &cluster));
    }
    Ok(())
}

fn failed(what: &str, cluster: &Cluster) -> io::Error {
    io::Error::other(format!("{what}:\n{}", cluster.log(0)))
}

async fn put(client: &Client, key: &str) -> Result<i64, Status> {
    // No two values have a piece in common, in case something in between compresses.
    let value: Vec<u8> = (0..VALUE_BYTES as u64)
        .step_by(8)
        .flat_map(|at| (at ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    client.put(key.to_owned(), value).await
}

/// Writes values, the first with this number, until the member says that it has no space, and nothing else.
/// Returns how many.
async fn fill(client: &Client, name: &str, first: usize) -> io::Result<usize> {
    for number in first..first + DISK_MIB * (1 << 20) / VALUE_BYTES {
        match put(client, &format!("{name}/{number:06}")).await {
            Ok(_) => {}
            Err(status) if is_no_space(&status) => return Ok(number - first),
            Err(status) => return Err(io::Error::other(format!("value {number}: {status}"))),
        }
    }
    Err(io::Error::other("more was taken than there is room for"))
}

fn is_no_space(status: &Status) -> bool {
    status.code() == tonic::Code::ResourceExhausted
        && status.message() == "etcdserver: mvcc: database space exceeded"
}

/// Reads, deletions and compactions go on while a write is refused.
async fn works_but_for_growth(client: &Client, cluster: &Cluster, name: &str) -> io::Result<()> {
    match put(client, &format!("{name}-refused")).await {
        Err(status) if is_no_space(&status) => {}
        other => return Err(failed(&format!("a write on a full disk: {other:?}"), cluster)),
    }
    let of = |what: &str| format!("{what} while the disk is full ({name})");
    let key = format!("{name}/000000");
    let range = RangeRequest { key: key.into(), ..RangeRequest::default() };
    client.range(range).await.map_err(|status| failed(&of(&status.to_string()), cluster))?;
    let deleted = client.delete_prefix(&format!("{name}/000001")).await;
    let revision = deleted.map_err(|status| failed(&of(&status.to_string()), cluster))?;
    client.compact(revision).await.map_err(|status| failed(&of(&status.to_string()), cluster))
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl AsyncFn() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if is_so().await? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(io::Error::other(format!("{what}: not within {PATIENCE:?}")))
}
