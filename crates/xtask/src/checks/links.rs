//! What it costs a write that the links between members are protected: three members each, plain, with tags and with TLS, one
//! cluster after the other and by turns, with one writer and with many.
//!
//! Told are the median and the 99th percentile of a write, the processor time of all three members for each, and both as a
//! share of what a plain cluster took in the same run. What the machine does otherwise is in the first two and, if it
//! was the same for all, not in the shares. Nothing is demanded of the numbers; every write must be acknowledged.

use std::io;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program, temporary_folder};
use crate::checks::crash::{leader, wait_for_leader};
use crate::checks::gap::{PATIENCE, TIMING};
use crate::checks::options;

/// So many bytes are written each time.
const VALUE_BYTES: usize = 256;

/// So many writes of each writer come first, and are not counted.
const WARM_UP: usize = 50;

/// How many write at once, each one after the other.
const WRITERS: [usize; 2] = [1, 64];

/// What protects the links.
const MODES: [&str; 3] = ["none", "hmac", "tls"];

/// What was found of one mode, with so many writers.
#[derive(Debug, Default)]
struct Found {
    took: Vec<Duration>,
    cpu: Duration,
}

/// Measures each mode `LINKS_ROUNDS` times, with `LINKS_WRITES` writes of each number of writers.
pub(crate) fn run() -> io::Result<()> {
    let rounds = options::number("LINKS_ROUNDS", 5)?;
    let writes = usize::try_from(options::number("LINKS_WRITES", 2_000)?).unwrap_or(usize::MAX);
    let program = Program::quorate()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = temporary_folder(&std::env::temp_dir())?;
    let secret = folder.join("secret");
    std::fs::write(&secret, "of-no-use-to-anybody/0123456789abcdefghijklmnopqrstuv")?;
    let secret = format!("--peer-secret-file={}", secret.display());
    let flags: [&[&str]; 3] = [&[], &["--peer-auth=hmac", &secret], &["--peer-auto-tls"]];
    let mut found: [[Found; WRITERS.len()]; MODES.len()] = Default::default();
    for round in 0..rounds {
        // Each round begins with another mode: what the machine does meanwhile is shared out.
        for turn in 0..MODES.len() {
            let mode = (turn + usize::try_from(round).unwrap_or(0)) % MODES.len();
            let flags = [&TIMING[..], flags[mode]].concat();
            let mut cluster = Cluster::start(program.clone(), 3, &flags)?;
            for (number, writers) in WRITERS.into_iter().enumerate() {
                let found = &mut found[mode][number];
                runtime.block_on(measure(&cluster, writers, writes, found))?;
            }
            cluster.demand_alive()?;
            cluster.demand_no_panic()?;
            println!("round {round}, {}: done", MODES[mode]);
        }
    }
    std::fs::remove_dir_all(&folder)?;
    conclude(found);
    Ok(())
}

async fn measure(
    cluster: &Cluster,
    writers: usize,
    writes: usize,
    found: &mut Found,
) -> io::Result<()> {
    wait_for_leader(cluster).await?;
    let leader = leader(cluster).await.ok_or_else(|| io::Error::other("nobody leads"))?;
    let endpoint = cluster.endpoint(leader);
    let clients: Vec<Client> = (0..writers).map(|_| Client::new(&endpoint, PATIENCE)).collect();
    write(&clients, WARM_UP).await?;
    let before = cluster.cpu();
    found.took.extend(write(&clients, writes / writers).await?);
    found.cpu += cluster.cpu().saturating_sub(before);
    Ok(())
}

/// Lets each client write so many times, and returns how long each write took.
async fn write(clients: &[Client], each: usize) -> io::Result<Vec<Duration>> {
    let mut writers = JoinSet::new();
    for (number, client) in clients.iter().cloned().enumerate() {
        writers.spawn(async move {
            let mut took = Vec::with_capacity(each);
            for _ in 0..each {
                let began = Instant::now();
                let key = format!("links/{number}");
                client.put(key, vec![7; VALUE_BYTES]).await.map_err(io::Error::other)?;
                took.push(began.elapsed());
            }
            Ok::<_, io::Error>(took)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = writers.join_next().await {
        all.extend(took.map_err(io::Error::other)??);
    }
    Ok(all)
}

impl Found {
    /// What so many of a thousand writes did not exceed, in seconds.
    fn quantile(&mut self, per_mille: usize) -> f64 {
        self.took.sort_unstable();
        let at = (self.took.len() * per_mille / 1000).min(self.took.len().saturating_sub(1));
        self.took.get(at).map_or(f64::NAN, Duration::as_secs_f64)
    }

    /// Processor time for each write, in seconds.
    fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() / self.took.len() as f64
    }
}

fn conclude(mut found: [[Found; WRITERS.len()]; MODES.len()]) {
    println!(
        "\n| writers | --peer-auth | writes | median ms | p99 ms | CPU us/write | median | p99 | CPU |\n\
         |---:|---|---:|---:|---:|---:|---:|---:|---:|"
    );
    for (number, writers) in WRITERS.into_iter().enumerate() {
        let mut plain = None;
        for (mode, found) in MODES.iter().zip(&mut found) {
            let found = &mut found[number];
            let now = [found.quantile(500), found.quantile(990), found.cpu_each()];
            let plain = plain.get_or_insert(now);
            println!(
                "| {writers} | {mode} | {} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} |",
                found.took.len(),
                now[0] * 1e3,
                now[1] * 1e3,
                now[2] * 1e6,
                now[0] / plain[0],
                now[1] / plain[1],
                now[2] / plain[2],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_writes() {
        let took = (1..=1000).rev().map(Duration::from_millis).collect();
        let mut found = Found { took, cpu: Duration::from_secs(2) };
        assert_eq!((found.quantile(500), found.quantile(990)), (0.501, 0.991));
        assert_eq!(found.cpu_each(), 0.002);
        assert!(Found::default().quantile(500).is_nan());
    }
}
