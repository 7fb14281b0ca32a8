//! Kills and holds random members of a real cluster under load, and counts what was acknowledged.
//!
//! Each writer puts keys of its own, each key once, and remembers those that were acknowledged. When
//! the storm is over all of them must be there, and all members must hold the same history.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::dice::Dice;
use crate::checks::options;

const WRITERS: usize = 16;

/// The keys that were acknowledged, each with its value and its revision.
pub(crate) type Written = BTreeMap<String, (String, i64)>;

/// The same while writers add to it.
pub(crate) type Acknowledged = Arc<Mutex<Written>>;

/// Runs the storm on clusters of three and of five members; `CRASH_SECONDS` says for how long each,
/// and `CRASH_SEED` what chance does.
pub(crate) fn run() -> io::Result<()> {
    let length = Duration::from_secs(options::number("CRASH_SECONDS", 60)?);
    let seed = options::seed("CRASH_SEED")?;
    let program = Program::subject()?;
    let runtime = tokio::runtime::Runtime::new()?;
    for members in [3, 5] {
        let cluster = Cluster::start(program.clone(), members, &["--log-level", "warn"])?;
        runtime.block_on(storm(cluster, length, Dice::new(seed, members as u64)))?;
    }
    Ok(())
}

async fn storm(mut cluster: Cluster, length: Duration, mut dice: Dice) -> io::Result<()> {
    wait_for_leader(&cluster).await?;
    let acknowledged = Acknowledged::default();
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let clients = clients(&cluster, Duration::from_millis(1500));
            tokio::spawn(write(number, clients, 1, acknowledged.clone(), over.clone()))
        })
        .collect();

    let end = Instant::now() + length;
    let (mut kills, mut holds) = (0, 0);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500 + dice.roll(1500))).await;
        cluster.demand_alive()?;
        // At most a minority is out of action at any time.
        let minority = (cluster.len() - 1) / 2;
        let count = 1 + dice.roll(minority as u64) as usize;
        let leader = leader(&cluster).await;
        let mut victims: Vec<usize> = (0..cluster.len()).collect();
        dice.shuffle(&mut victims);
        if dice.roll(2) == 0 {
            // The leader is the most interesting one.
            victims.sort_by_key(|victim| Some(*victim) != leader);
        }
        victims.truncate(count);
        let hold = dice.roll(3) == 0;
        for &victim in &victims {
            if hold { cluster.pause(victim)? } else { cluster.kill(victim)? }
        }
        tokio::time::sleep(Duration::from_millis(200 + dice.roll(3000))).await;
        for &victim in &victims {
            if hold { cluster.resume(victim)? } else { cluster.restart(victim)? }
        }
        *(if hold { &mut holds } else { &mut kills }) += victims.len();
    }
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.map_err(io::Error::other)?;
    }
    wait_for_leader(&cluster).await?;
    cluster.demand_no_panic()?;
    let acknowledged = acknowledged.lock().expect("no writer panicked").clone();
    let revision = verify(&cluster, &acknowledged).await?;
    println!(
        "crash: {} members, {kills} kills, {holds} holds: all {} acknowledged writes are there, \
         one hash on all members at revision {revision}",
        cluster.len(),
        acknowledged.len(),
    );
    Ok(())
}

/// Puts keys, with values of at least so many bytes, until it is over.
pub(crate) async fn write(
    writer: usize,
    clients: Vec<Client>,
    bytes: usize,
    acknowledged: Acknowledged,
    over: Arc<AtomicBool>,
) {
    let mut target = writer;
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("crash/{writer:02}/{number:08}");
        let client = &clients[target % clients.len()];
        let value = format!("{writer}:{number:0>bytes$}");
        match client.put(key.clone(), value.clone()).await {
            Ok(revision) => {
                acknowledged.lock().expect("no writer panicked").insert(key, (value, revision));
            }
            // Done or not, nobody knows; the next member may know more.
            Err(_) => target += 1,
        }
    }
}

/// What was found at the end, held against what was acknowledged.
#[derive(Debug)]
pub(crate) struct Findings {
    /// The revision at which the members were compared.
    pub(crate) revision: i64,
    /// How many acknowledged writes some member has not, or not as they were acknowledged.
    pub(crate) lost: usize,
    /// What is wrong: of the lost writes the first, and hashes that differ.
    pub(crate) violations: Vec<String>,
}

/// Compares what is there with what was acknowledged, and the members with each other.
///
/// # Errors
/// If a member does not answer.
pub(crate) async fn examine(cluster: &Cluster, acknowledged: &Written) -> io::Result<Findings> {
    let clients = clients(cluster, Duration::from_secs(60));
    let (mut revision, mut violations) = (0, Vec::new());
    let mut lost = BTreeSet::new();
    for (member, client) in clients.iter().enumerate() {
        let found = client.prefix("crash/", false).await.map_err(io::Error::other)?;
        revision = found.header.unwrap_or_default().revision;
        let found: BTreeMap<&[u8], (&[u8], i64)> =
            found.kvs.iter().map(|kv| (&kv.key[..], (&kv.value[..], kv.mod_revision))).collect();
        for (key, (value, revision)) in acknowledged {
            let there = found.get(key.as_bytes());
            let is_there = there == Some(&(value.as_bytes(), *revision));
            if !is_there && lost.insert(key) && violations.is_empty() {
                let there = there.map(|(value, at)| (String::from_utf8_lossy(value), at));
                violations.push(format!(
                    "LOST: {key} was acknowledged as {value} at revision {revision}; member \
                     {member} has {there:?}"
                ));
            }
        }
    }
    let mut hashes = Vec::new();
    for client in &clients {
        // A linearizable read brings the member up to the revision first.
        client.prefix("none/", false).await.map_err(io::Error::other)?;
        hashes.push(client.hash_kv(revision).await.map_err(io::Error::other)?.hash);
    }
    if hashes.iter().any(|hash| *hash != hashes[0]) {
        violations.push(format!("FORK: hashes {hashes:?} at revision {revision}"));
    }
    Ok(Findings { revision, lost: lost.len(), violations })
}

/// Demands that all that was acknowledged is there, and the same on all members. Returns the revision at
/// which they were compared.
///
/// # Errors
/// What is lost or differs, or a member that does not answer.
pub(crate) async fn verify(cluster: &Cluster, acknowledged: &Written) -> io::Result<i64> {
    let Findings { revision, lost, violations } = examine(cluster, acknowledged).await?;
    match violations.is_empty() {
        true => Ok(revision),
        false => {
            let violations = violations.join("\n");
            Err(io::Error::other(format!("{violations}\n{lost} acknowledged writes are lost")))
        }
    }
}

pub(crate) fn clients(cluster: &Cluster, timeout: Duration) -> Vec<Client> {
    cluster.endpoints().iter().map(|endpoint| Client::new(endpoint, timeout)).collect()
}

/// Which member leads, if any of those that answer says so of itself.
pub(crate) async fn leader(cluster: &Cluster) -> Option<usize> {
    for (member, client) in clients(cluster, Duration::from_millis(300)).iter().enumerate() {
        if !cluster.runs(member) {
            continue;
        }
        if client.leads().await {
            return Some(member);
        }
    }
    None
}

/// Waits until every member answers a linearizable read.
pub(crate) async fn wait_for_leader(cluster: &Cluster) -> io::Result<()> {
    let patience = Instant::now() + Duration::from_secs(60);
    for (member, client) in clients(cluster, Duration::from_secs(2)).iter().enumerate() {
        loop {
            match client.prefix("none/", false).await {
                Ok(_) => break,
                Err(error) if Instant::now() > patience => {
                    let log = cluster.log(member);
                    return Err(io::Error::other(format!(
                        "member {member} does not answer: {error}\n{log}"
                    )));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
    Ok(())
}
