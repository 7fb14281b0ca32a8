//! The checkers of `quorate_check`, held against real processes: what clients asked for and were told
//! while members are killed and held, several at once and at times a majority.
//!
//! Clients put, delete, compare and read a few keys, each by way of changing members; others grant,
//! renew and watch over leases; others watch everything from the first revision on, and resume where
//! their stream ended. When all members run again, all that was recorded must be explained: by one
//! order (linearizability), by a replay of all changes, by the nine promises of watches and those of
//! leases; and all members must have one hash.
//!
//! `CHECK_PROGRAM=etcd` does the same to etcd. Of 3.5.1 it found, with seed 3, that a lease of 4 seconds
//! was told to have 9,223,372,036 left (`lease_remaining`) while members fell.
//!
//! `BLACKBOX_SECONDS` says for how long members fall, in all; `BLACKBOX_SEED` says which, when.

mod judge;
mod leases;
mod recorder;
mod traffic;
mod watchers;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{env, io};

use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{Dice, clients, leader, wait_for_leader};
use judge::Sum;
use recorder::Recorder;

/// How many clients write and read, watch, and hold leases.
const WRITERS: u64 = 6;
const WATCHERS: u64 = 3;
const TENANTS: u64 = 3;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Runs the check on clusters of three and of five.
pub(crate) fn run() -> io::Result<()> {
    let number = |name: &str, otherwise: u64| match env::var(name) {
        Ok(text) => text.parse().map_err(|_| io::Error::other(format!("{name} is no number"))),
        Err(_) => Ok(otherwise),
    };
    let seconds = number("BLACKBOX_SECONDS", 60)?;
    let seed = number("BLACKBOX_SEED", 1)?;
    let program = Program::subject()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut sum = Sum::default();
    for members in [3, 5] {
        let flags =
            ["--log-level", "warn", "--heartbeat-interval", "50", "--election-timeout", "500"];
        let cluster = Cluster::start(program.clone(), members, &flags)?;
        let length = Duration::from_secs(seconds.div_ceil(2));
        runtime.block_on(storm(cluster, length, seed, &mut sum))?;
    }
    if sum.events == 0 || sum.leases == 0 || sum.faults == 0 {
        return Err(io::Error::other(format!("too little was seen to judge: {sum:?}")));
    }
    println!(
        "blackbox: {} operations, {} watch events, {} leases, {} faults, 0 violations, {} not judged",
        sum.operations, sum.events, sum.leases, sum.faults, sum.not_judged
    );
    Ok(())
}

async fn storm(mut cluster: Cluster, length: Duration, seed: u64, sum: &mut Sum) -> io::Result<()> {
    wait_for_leader(&cluster).await?;
    let recorder = Arc::new(Recorder::new());
    let members = || clients(&cluster, PATIENCE);
    let mut busy = Vec::new();
    for number in 0..WRITERS {
        let dice = Dice((seed * 256 + number) << 1 | 1);
        busy.push(tokio::spawn(traffic::run(number, members(), recorder.clone(), dice)));
    }
    for number in 0..TENANTS {
        let dice = Dice((seed * 256 + 100 + number) << 1 | 1);
        busy.push(tokio::spawn(leases::run(number, members(), recorder.clone(), dice)));
    }
    for number in 0..WATCHERS {
        busy.push(tokio::spawn(watchers::run(number as usize, members(), recorder.clone())));
    }
    let mut dice = Dice(seed << 1 | 1);
    let end = Instant::now() + length;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(300 + dice.roll(1500))).await;
        if let Some(member) = cluster.ended_by_itself()? {
            let log = cluster.log(member);
            return Err(io::Error::other(format!("member {member} ended by itself:\n{log}")));
        }
        sum.faults += fall(&mut cluster, &mut dice, &recorder).await?;
    }
    wait_for_leader(&cluster).await?;
    // A lease that was given its whole time by the last leader ends in this time too.
    tokio::time::sleep(Duration::from_secs(6)).await;
    recorder.over.store(true, Ordering::Relaxed);
    for task in busy {
        task.await.map_err(io::Error::other)?;
    }
    judge::judge(&cluster, &recorder, sum).await
}

/// Kills and holds some members at once, and lets them go on one after the other.
async fn fall(cluster: &mut Cluster, dice: &mut Dice, recorder: &Recorder) -> io::Result<u64> {
    let all = cluster.len();
    // A quarter of the times more than a minority may fall.
    let most = if dice.roll(4) == 0 { all } else { (all - 1) / 2 };
    let count = 1 + dice.roll(most as u64) as usize;
    let leader = leader(cluster).await;
    let mut victims: Vec<usize> = (0..all).collect();
    for at in (1..all).rev() {
        victims.swap(at, dice.roll(at as u64 + 1) as usize);
    }
    if dice.roll(2) == 0 {
        victims.sort_by_key(|victim| Some(*victim) != leader);
    }
    victims.truncate(count);
    recorder.upset();
    let held: Vec<bool> = victims.iter().map(|_| dice.roll(2) == 0).collect();
    for (victim, held) in victims.iter().zip(&held) {
        if *held { cluster.pause(*victim)? } else { cluster.kill(*victim)? }
    }
    for (victim, held) in victims.iter().zip(&held) {
        tokio::time::sleep(Duration::from_millis(100 + dice.roll(1500))).await;
        if *held {
            cluster.resume(*victim)?
        } else {
            cluster.restart(*victim)?
        }
        recorder.upset();
    }
    Ok(count as u64)
}
