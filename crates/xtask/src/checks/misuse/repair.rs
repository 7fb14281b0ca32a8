//! A member alone whose log lost something: it refuses, says what to do, and that does what it says.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use quorate_proto::etcdserverpb::RangeRequest;

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;
use crate::checks::damage::place;

const KEYS: usize = 50;
const SECTOR_BYTES: usize = 512;
/// The exit code for what is damaged and was left as it is.
const LEFT_DAMAGED: i32 = 4;

/// Writes, kills, damages the middle of the log, and follows what the member says.
pub(super) fn run(binary: &Path, runtime: &tokio::runtime::Runtime) -> io::Result<()> {
    let mut alone = Cluster::start(Program::Quorate(binary.to_owned()), 1, &[])?;
    runtime.block_on(wait_for_leader(&alone))?;
    let client = Client::new(&alone.endpoint(0), Duration::from_secs(20));
    for number in 0..KEYS {
        let put = client.put(format!("repair/{number:03}"), vec![b'x'; 200]);
        runtime.block_on(put).map_err(io::Error::other)?;
    }
    alone.kill(0)?;
    damage(&alone.data(0).join("wal/0000000000000001.wal"))?;

    alone.restart(0)?;
    let patience = Instant::now() + Duration::from_secs(20);
    while !alone.has_ended(0)? {
        if Instant::now() > patience {
            return Err(io::Error::other("a member alone starts on a log that lost something"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    alone.end(0)?;
    let data_dir = alone.data(0);
    let advice = format!("quorate repair --data-dir {}", data_dir.display());
    let said = alone.log(0);
    if !said.contains("is damaged at offset") || !said.contains(&advice) {
        return Err(io::Error::other(format!("the member does not say {advice:?}:\n{said}")));
    }

    let before = place::content(&data_dir)?;
    let told = repair(binary, &data_dir, &[], LEFT_DAMAGED)?;
    if place::content(&data_dir)? != before || !told.contains("Lost: entr") {
        return Err(io::Error::other(format!("a question changes something, or says:\n{told}")));
    }
    let done = repair(binary, &data_dir, &["--accept-data-loss"], 0)?;
    if !data_dir.join("wal.damaged-1").is_dir() {
        return Err(io::Error::other(format!("nothing was put aside:\n{done}")));
    }
    repair(binary, &data_dir, &[], 0)?;

    alone.restart(0)?;
    runtime.block_on(wait_for_leader(&alone))?;
    let request = RangeRequest {
        key: "repair/".into(),
        range_end: "repair0".into(),
        ..RangeRequest::default()
    };
    let found = runtime.block_on(client.range(request)).map_err(io::Error::other)?.kvs;
    let is_prefix = found
        .iter()
        .zip(0..)
        .all(|(pair, number): (_, usize)| pair.key == format!("repair/{number:03}"));
    if found.is_empty() || found.len() == KEYS || !is_prefix {
        return Err(io::Error::other(format!("{} of {KEYS} keys are left", found.len())));
    }
    runtime.block_on(client.put("repair/more", "x")).map_err(io::Error::other)?;
    println!(
        "misuse: a member alone refuses a damaged log, and goes on with {} of {KEYS} keys once its \
         operator accepts that",
        found.len()
    );
    Ok(())
}

/// Zeroes a sector in the middle of what is written of a segment.
fn damage(segment: &Path) -> io::Result<()> {
    let bytes = fs::read(segment)?;
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    let middle = used / 2 / SECTOR_BYTES * SECTOR_BYTES;
    let file = fs::OpenOptions::new().write(true).open(segment)?;
    file.write_all_at(&[0; SECTOR_BYTES], middle as u64)
}

/// Runs the command. What it says, if it ends with this code.
fn repair(binary: &Path, data_dir: &Path, flags: &[&str], code: i32) -> io::Result<String> {
    let output =
        Command::new(binary).args(["repair", "--data-dir"]).arg(data_dir).args(flags).output()?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(code) {
        return Ok(said);
    }
    Err(io::Error::other(format!(
        "repair {flags:?} ends with {}, not {code}:\n{said}",
        output.status
    )))
}
