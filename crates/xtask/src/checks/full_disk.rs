//! A member on a small disk that fills up: by its own data, and then by somebody else's, to the last
//! byte. It refuses what would grow and goes on with everything else, and comes back by deletion and
//! compaction alone, in the same process.
//!
//! The disk is a file system in memory, mounted in a [`capsule`]. Where there may be none the check says
//! so and fails.
//!
//! `--json FILE` writes what was refused and what was done while the disk was full, and how it came back.

use std::time::{Duration, Instant};
use std::{io, thread};

use quorate_proto::etcdserverpb::RangeRequest;
use serde_json::{Value, json};
use tonic::Status;

use crate::checks::client::{Client, end_of_prefix};
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;
use crate::checks::small_disk::SmallDisk;
use crate::checks::{capsule, options, verdict};

const DISK_MIB: usize = 1024;
const VALUE_BYTES: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    let json = options::report_file("full-disk")?;
    let program = Program::quorate()?;
    if let Some(refused) = capsule::enter()? {
        return Err(io::Error::other(format!(
            "this check needs a small disk of its own, and may not mount one: {refused}"
        )));
    }
    let disk = SmallDisk::mount(DISK_MIB)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    let mut report = Report::default();
    let ended = runtime.block_on(fill_and_recover(program, &disk, &mut report));
    let violations: Vec<String> = ended.err().map(|error| error.to_string()).into_iter().collect();
    verdict::conclude(json.as_deref(), report.json(), &violations)
}

/// What was done and seen, as far as it came.
#[derive(Debug, Default)]
struct Report {
    /// How many values there were when the member refused the next.
    written: usize,
    /// While the disk was full of the member's own data, while somebody else had all but what the member
    /// gave back, and while there was not a byte left.
    own: Done,
    shared: Done,
    to_the_last_byte: Done,
    /// How long after deletion and compaction alone writes were taken, and how many values fitted again.
    recovered_after: Option<Duration>,
    again: usize,
    /// Whether the member gave its reserve back when it was needed, and took it again.
    reserve_given_back: bool,
    reserve_taken_again: bool,
    same_after_restart: bool,
}

/// What became of requests while a disk was full.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    refused_writes: u64,
    reads: u64,
    deletions: u64,
    compactions: u64,
}

impl Report {
    fn json(&self) -> Value {
        json!({
            "disk_mib": DISK_MIB,
            "value_kib": VALUE_BYTES >> 10,
            "values_until_it_was_full": self.written,
            "full_of_its_own_data": self.own.json(),
            "full_of_somebody_elses_data": self.shared.json(),
            "full_to_the_last_byte": self.to_the_last_byte.json(),
            "recovered_by_deletion_alone": self.recovered_after.is_some(),
            "milliseconds_until_writes_were_taken": self.recovered_after.map(|after| after.as_millis() as u64),
            "values_that_fitted_again": self.again,
            "reserve_given_back": self.reserve_given_back,
            "reserve_taken_again": self.reserve_taken_again,
            "same_after_a_restart": self.same_after_restart,
        })
    }
}

impl Done {
    fn json(self) -> Value {
        json!({
            "writes_refused": self.refused_writes,
            "reads": self.reads,
            "deletions": self.deletions,
            "compactions": self.compactions,
        })
    }
}

async fn fill_and_recover(
    program: Program,
    disk: &SmallDisk,
    report: &mut Report,
) -> io::Result<()> {
    let mut cluster =
        Cluster::start_in(disk.path(), program, 1, &["--quota-backend-bytes", "8589934592"])?;
    wait_for_leader(&cluster).await?;
    let client = Client::new(&cluster.endpoint(0), Duration::from_secs(20));
    let reserve = cluster.data(0).join("reserve");

    let written = fill(&client, "own", 0).await?;
    report.written = written;
    report.own.refused_writes += 1;
    println!("full-disk: {written} values of {} KiB, then no space", VALUE_BYTES >> 10);
    if written < 100 || !reserve.exists() {
        return Err(failed("the member refused too early, or its reserve is gone", &cluster));
    }
    works_but_for_growth(&client, &cluster, "own", &mut report.own).await?;
    // Back by deletion and compaction alone.
    forget(&client, "own/", &mut report.own).await.map_err(|s| failed(s.message(), &cluster))?;
    let start = Instant::now();
    until("writes are taken", async || Ok(put(&client, "after/1").await.is_ok())).await?;
    report.recovered_after = Some(start.elapsed());
    println!("full-disk: writes go on {:.1} s after it", start.elapsed().as_secs_f64());
    // What is still to be merged away is so when it is needed, which may take some seconds more.
    let end = Instant::now() + PATIENCE;
    while report.again < written * 3 / 4 {
        if Instant::now() > end {
            return Err(failed(&format!("only {} values fit again", report.again), &cluster));
        }
        report.again += fill(&client, "again", report.again).await?;
        thread::sleep(Duration::from_secs(1));
    }
    println!("full-disk: {} values fit again", report.again);

    // Somebody else takes the rest, to the last byte, and the reserve as well.
    disk.fill()?;
    until("the reserve is given back", async || Ok(!reserve.exists())).await?;
    report.reserve_given_back = true;
    works_but_for_growth(&client, &cluster, "again", &mut report.shared).await?;
    disk.fill()?;
    let range = RangeRequest {
        key: "again/".into(),
        range_end: end_of_prefix("again/"),
        keys_only: true,
        ..RangeRequest::default()
    };
    let read = client.range(range).await.map_err(|status| failed(status.message(), &cluster))?;
    println!("full-disk: {} keys are read from a disk without a byte left", read.count);
    let done = &mut report.to_the_last_byte;
    done.reads += 1;
    forget(&client, "again/", done).await.map_err(|s| failed(s.message(), &cluster))?;
    disk.relieve()?;
    until("writes are taken again", async || Ok(put(&client, "after/2").await.is_ok())).await?;
    until("the reserve is taken again", async || Ok(reserve.exists())).await?;
    report.reserve_taken_again = true;

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
    report.same_after_restart = true;
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
async fn works_but_for_growth(
    client: &Client,
    cluster: &Cluster,
    name: &str,
    done: &mut Done,
) -> io::Result<()> {
    match put(client, &format!("{name}-refused")).await {
        Err(status) if is_no_space(&status) => done.refused_writes += 1,
        other => return Err(failed(&format!("a write on a full disk: {other:?}"), cluster)),
    }
    let wrong =
        |status: Status| failed(&format!("{status} while the disk is full ({name})"), cluster);
    let key = format!("{name}/000000");
    let range = RangeRequest { key: key.into(), ..RangeRequest::default() };
    client.range(range).await.map_err(wrong)?;
    done.reads += 1;
    forget(client, &format!("{name}/000001"), done).await.map_err(wrong)
}

/// Deletes what begins so, and drops the history before that.
async fn forget(client: &Client, prefix: &str, done: &mut Done) -> Result<(), Status> {
    let revision = client.delete_prefix(prefix).await?;
    done.deletions += 1;
    client.compact(revision).await?;
    done.compactions += 1;
    Ok(())
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
