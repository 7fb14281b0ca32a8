//! What a writer notices of `kill -9` of the leader, beside etcd: two clusters of three, alive on one
//! machine with the same timing, the same disk and the same client, whose leaders are killed by turns.
//!
//! The gap is the longest time in which no write is acknowledged, from the last one before the kill on. It
//! has all in it that a client waits for: that the death is noticed, the election, and what becomes of the
//! request that was on its way. Three kinds of writers are measured: one that talks to a member which
//! survives, one that talks to the leader and knows the others, and one that waits for no answer for long. The
//! last is kind to etcd, where a request that was on its way hangs for seven seconds.

use std::io;
use std::time::{Duration, Instant};

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{Written, leader, verify, wait_for_leader};
use crate::checks::gap::{PATIENCE, Spread, Writers, ms};
use crate::checks::options;

/// Both programs get these, which are their defaults.
pub(crate) const TIMING: [&str; 4] = ["--heartbeat-interval", "100", "--election-timeout", "1000"];

/// A writer works for so long before the leader is killed: a leader that is new is not known well yet.
const BEFORE: Duration = Duration::from_secs(2);

/// It works for at least so long after it: a second pause counts too.
const AFTER: Duration = Duration::from_secs(2);

/// Its writes that must have been acknowledged then.
const WRITES_AFTER: usize = 20;

/// Our median may be at most this part of etcd's.
const RATIO_MAX: f64 = 1.0 / 3.0;

/// And our longest gap is shorter than this.
const LONGEST: Duration = Duration::from_secs(1);

/// With whom a writer talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// With a member that is not killed.
    Survivor,
    /// With the leader, and with the others when it is gone.
    Endpoints,
    /// With a member that is not killed, and soon again if that does not answer.
    Impatient,
}

/// How long the impatient writer waits.
const IMPATIENCE: Duration = Duration::from_millis(200);

impl Writer {
    const ALL: [Self; 3] = [Self::Survivor, Self::Endpoints, Self::Impatient];

    fn name(self) -> &'static str {
        match self {
            Self::Survivor => "a writer at a member that survives",
            Self::Endpoints => "a writer at the leader that knows all members",
            Self::Impatient => "an impatient writer at a member that survives",
        }
    }
}

/// One of the two clusters, and what was found.
struct Side {
    cluster: Cluster,
    name: &'static str,
    written: Written,
    /// For each kind of writer.
    gaps: [Spread; Writer::ALL.len()],
    errors: [usize; Writer::ALL.len()],
}

/// Kills the leader of each cluster `FAILOVER_ROUNDS` times for each kind of writer.
pub(crate) fn run() -> io::Result<()> {
    let rounds = options::number("FAILOVER_ROUNDS", 10)?.max(1);
    let mut sides = [side(Program::quorate()?)?, side(Program::etcd())?];
    tokio::runtime::Runtime::new()?.block_on(async {
        for side in &sides {
            wait_for_leader(&side.cluster).await?;
        }
        for round in 0..rounds {
            for kind in Writer::ALL {
                for side in &mut sides {
                    side.round(round, kind).await?;
                }
            }
        }
        for side in &sides {
            wait_for_leader(&side.cluster).await?;
            side.cluster.demand_no_panic()?;
            let revision = verify(&side.cluster, &side.written).await?;
            println!(
                "{}: all {} acknowledged writes are there, one hash on all members at revision {revision}",
                side.name,
                side.written.len()
            );
        }
        io::Result::Ok(())
    })?;
    let [ours, etcd] = sides;
    conclude(&ours, &etcd)
}

fn side(program: Program) -> io::Result<Side> {
    let name = program.name();
    let flags: Vec<&str> = TIMING.into_iter().chain(["--log-level", "info"]).collect();
    let cluster = Cluster::start(program, 3, &flags)?;
    let (written, gaps, errors) = (Written::new(), Default::default(), Default::default());
    Ok(Side { cluster, name, written, gaps, errors })
}

impl Side {
    async fn round(&mut self, round: u64, kind: Writer) -> io::Result<()> {
        let cluster = &mut self.cluster;
        let leader = leader(cluster).await.ok_or_else(|| io::Error::other("nobody leads"))?;
        let mut members: Vec<usize> = (0..cluster.len()).collect();
        members.sort_by_key(|member| *member != leader);
        if kind != Writer::Endpoints {
            members.remove(0);
            members.truncate(1);
        }
        let patience = if kind == Writer::Impatient { IMPATIENCE } else { PATIENCE };
        let keys = format!("{kind:?}/{round:03}");
        let writers = Writers::start(cluster, &members, patience, 1, &keys);
        let began = Instant::now();
        writers.have_written(WRITES_AFTER, began).await?;
        tokio::time::sleep_until((began + BEFORE).into()).await;

        cluster.demand_alive()?;
        let killed = Instant::now();
        cluster.kill(leader)?;
        writers.have_written(WRITES_AFTER, Instant::now()).await?;
        tokio::time::sleep_until((killed + AFTER).into()).await;
        let notes = writers.end().await?;

        cluster.restart(leader)?;
        caught_up(cluster, leader).await?;
        let (gap, errors) = (notes.gap(killed), notes.errors_since(killed));
        println!("{} round {round}, {}: {} ms, {errors} errors", self.name, kind.name(), ms(gap));
        for (at, error) in notes.errors.iter().filter(|(at, _)| *at >= killed).take(3) {
            println!("    after {} ms: {error}", ms(*at - killed));
        }
        self.gaps[kind as usize].add(gap);
        self.errors[kind as usize] += errors;
        self.written.extend(notes.written);
        Ok(())
    }
}

/// Waits until a member that came back has what the others have.
pub(crate) async fn caught_up(cluster: &Cluster, member: usize) -> io::Result<()> {
    wait_for_leader(cluster).await?;
    let patience = Instant::now() + Duration::from_secs(60);
    let client = |member| Client::new(&cluster.endpoint(member), Duration::from_secs(2));
    let other = client((member + 1) % cluster.len()).status().await.map_err(io::Error::other)?;
    loop {
        let own = client(member).status().await;
        if own.is_ok_and(|own| own.raft_applied_index >= other.raft_applied_index) {
            return Ok(());
        }
        if Instant::now() > patience {
            return Err(io::Error::other("the member that was killed does not catch up"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn conclude(ours: &Side, etcd: &Side) -> io::Result<()> {
    let mut wrong = Vec::new();
    let mut last = String::new();
    println!("\n| writer | program | least ms | median ms | p99 ms | errors | all gaps, ms |");
    println!("|---|---|---:|---:|---:|---:|---|");
    for kind in Writer::ALL {
        for side in [ours, etcd] {
            let (gaps, errors) = (&side.gaps[kind as usize], side.errors[kind as usize]);
            println!(
                "| {} | {} | {} | {} | {} | {errors} | {} |",
                kind.name(),
                side.name,
                ms(gaps.least()),
                ms(gaps.median()),
                ms(gaps.most()),
                gaps.listed(),
            );
        }
        let (ours, theirs) = (&ours.gaps[kind as usize], &etcd.gaps[kind as usize]);
        let ratio = ours.median().as_secs_f64() / theirs.median().as_secs_f64();
        let said = format!(
            "median {} ms of etcd's {} ms ({ratio:.2}), longest {} ms",
            ms(ours.median()),
            ms(theirs.median()),
            ms(ours.most())
        );
        if ratio > RATIO_MAX || ours.most() >= LONGEST {
            wrong.push(format!("{}: {said}", kind.name()));
        }
        if kind == Writer::Survivor {
            last = said;
        } else {
            println!("\n{}: {said}", kind.name());
        }
    }
    println!("failover: {last}");
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "at most a third of etcd's median and less than a second are asked:\n{}",
            wrong.join("\n")
        ))),
    }
}
