//! The power of all members is cut at once, again and again, while clients write: all that was
//! acknowledged is there afterwards.
//!
//! A process that is killed loses nothing that it has written, since the kernel still has it. So the
//! members' data lie on a disk that this process makes itself (`disk.rs`), and which forgets what was
//! not synced: whole, in part, or sector by sector, as POSIX lets it. It needs the right to mount (FUSE).
//! `--json FILE` writes what was done.

mod disk;
mod image;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use disk::Disk;
use image::NamesAfter;
use serde_json::json;

use crate::checks::capsule;
use crate::checks::cluster::{Cluster, Home, Program};
use crate::checks::crash::{self, Acknowledged};
use crate::checks::dice::Dice;
use crate::checks::options;

const WRITERS: usize = 8;

/// So large that a store makes files of its own while the check runs.
const VALUE_BYTES: u64 = 8 << 10;

/// Runs the check with one and with three members; `POWER_CUT_SECONDS` says for how long each, and
/// `POWER_CUT_SEED` what chance does.
pub(crate) fn run() -> io::Result<()> {
    let length = Duration::from_secs(options::number("POWER_CUT_SECONDS", 60)?);
    let json = options::report_file("power-cut")?;
    let program = Program::subject()?;
    if let Some(refused) = capsule::enter()? {
        return Err(io::Error::other(format!(
            "this check needs a disk of its own making, and may not mount one: {refused}"
        )));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let seed = options::seed("POWER_CUT_SEED")?;
    let mut total = Done::default();
    for members in [1, 3] {
        let mut dice = Dice::new(seed, members as u64);
        let run = cut_again_and_again(program.clone(), members, length, &mut dice);
        let done = runtime.block_on(run)?;
        println!(
            "power-cut: {members} members, {} cuts of all at once, {} syncs: all {} acknowledged \
             writes are there, one hash on all members",
            done.cuts, done.syncs, done.acknowledged,
        );
        total.add(&done);
    }
    if let Some(path) = json {
        let report = json!({
            "acknowledged_writes": total.acknowledged,
            "acknowledged_writes_lost": 0,
            "power_cuts": total.cuts,
            "syncs": total.syncs,
        });
        fs::write(path, format!("{report:#}\n"))?;
    }
    Ok(())
}

/// What was done, and was right.
#[derive(Default)]
struct Done {
    cuts: u64,
    syncs: u64,
    acknowledged: u64,
}

impl Done {
    fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.syncs += other.syncs;
        self.acknowledged += other.acknowledged;
    }
}

async fn cut_again_and_again(
    program: Program,
    members: usize,
    length: Duration,
    dice: &mut Dice,
) -> io::Result<Done> {
    let disk = Disk::mount()?;
    let home = Home { disk: Some(disk.path().to_owned()), ..Home::default() };
    let homes = vec![home; members];
    let flags = ["--log-level", "warn"];
    let mut cluster = Cluster::start_at(&env::temp_dir(), program, &homes, &flags)?;
    crash::wait_for_leader(&cluster).await?;
    let acknowledged = Acknowledged::default();
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let clients = crash::clients(&cluster, Duration::from_millis(1500));
            let bytes = 1 + dice.roll(VALUE_BYTES) as usize;
            tokio::spawn(crash::write(number, clients, bytes, acknowledged.clone(), over.clone()))
        })
        .collect();
    let end = Instant::now() + length;
    let mut cuts = 0;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(200 + dice.roll(3_000))).await;
        cluster.demand_alive()?;
        let names = if dice.roll(2) == 0 { NamesAfter::Undone } else { NamesAfter::There };
        disk.cut(names, dice);
        for member in 0..cluster.len() {
            cluster.kill(member)?;
        }
        disk.power_on();
        for member in 0..cluster.len() {
            cluster.restart(member)?;
        }
        crash::wait_for_leader(&cluster).await?;
        cuts += 1;
    }
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.map_err(io::Error::other)?;
    }
    let acknowledged = acknowledged.lock().expect("no writer panicked").clone();
    crash::verify(&cluster, &acknowledged).await?;
    Ok(Done { cuts, syncs: disk.syncs(), acknowledged: acknowledged.len() as u64 })
}
