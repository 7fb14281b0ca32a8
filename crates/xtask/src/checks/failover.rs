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

use crate::checks::gap::{self, PATIENCE, Side, Spread, Writers, ms};
use crate::checks::options;

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

/// What was found in one cluster, for each kind of writer.
#[derive(Debug, Default)]
struct Found {
    gaps: [Spread; Writer::ALL.len()],
    errors: [usize; Writer::ALL.len()],
}

/// Kills the leader of each cluster `FAILOVER_ROUNDS` times for each kind of writer.
pub(crate) fn run() -> io::Result<()> {
    let rounds = options::number("FAILOVER_ROUNDS", 10)?;
    let [ours, etcd] = gap::beside(rounds, Writer::ALL.len(), async |side, round, kind| {
        kill_the_leader(side, round, Writer::ALL[kind]).await
    })?;
    conclude(&ours, &etcd)
}

async fn kill_the_leader(side: &mut Side<Found>, round: u64, kind: Writer) -> io::Result<()> {
    let leader = side.leader().await?;
    let mut members: Vec<usize> = (0..side.cluster.len()).collect();
    members.sort_by_key(|member| *member != leader);
    if kind != Writer::Endpoints {
        members.remove(0);
        members.truncate(1);
    }
    let patience = if kind == Writer::Impatient { IMPATIENCE } else { PATIENCE };
    let keys = format!("{kind:?}/{round:03}");
    let writers = Writers::start(&side.cluster, &members, patience, 1, &keys);
    let began = Instant::now();
    writers.have_written(WRITES_AFTER, began).await?;
    tokio::time::sleep_until((began + BEFORE).into()).await;

    side.cluster.demand_alive()?;
    let killed = Instant::now();
    side.cluster.kill(leader)?;
    writers.have_written(WRITES_AFTER, Instant::now()).await?;
    tokio::time::sleep_until((killed + AFTER).into()).await;
    let notes = writers.end().await?;

    side.bring_back(leader).await?;
    let (gap, errors) = (notes.gap(killed), notes.errors_since(killed));
    println!("{} round {round}, {}: {} ms, {errors} errors", side.name, kind.name(), ms(gap));
    for (at, error) in notes.errors.iter().filter(|(at, _)| *at >= killed).take(3) {
        println!("    after {} ms: {error}", ms(*at - killed));
    }
    side.found.gaps[kind as usize].add(gap);
    side.found.errors[kind as usize] += errors;
    side.written.extend(notes.written);
    Ok(())
}

fn conclude(ours: &Side<Found>, etcd: &Side<Found>) -> io::Result<()> {
    let mut wrong = Vec::new();
    let mut last = String::new();
    println!("\n| writer | program | least ms | median ms | p99 ms | errors | all gaps, ms |");
    println!("|---|---|---:|---:|---:|---:|---|");
    for kind in Writer::ALL {
        for side in [ours, etcd] {
            let found = &side.found;
            let (gaps, errors) = (&found.gaps[kind as usize], found.errors[kind as usize]);
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
        let (ours, theirs) = (&ours.found.gaps[kind as usize], &etcd.found.gaps[kind as usize]);
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
