//! The first comparison with etcd: both clusters alive on one machine, measured by turns.
//!
//! The machine's speed drifts by a factor of two within an hour, so only the ratio of two runs that
//! follow each other means something. Each case runs in pairs, and the table has the median of the
//! ratios with their spread. The generator is the same program for both; it shares the two cores
//! with the servers, and its own cost is in the table.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};

use quorate_proto::etcdserverpb::RangeRequest;

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{leader, wait_for_leader};
use crate::checks::options;
use crate::workspace;

/// What is measured.
#[derive(Clone, Copy, Debug)]
enum Work {
    Put,
    Read,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    work: Work,
    connections: usize,
    clients: usize,
    operations: u64,
}

const CASES: [Case; 4] = [
    Case { name: "put, 1 client", work: Work::Put, connections: 1, clients: 1, operations: 2_000 },
    Case {
        name: "put, 1000 clients on 100 connections",
        work: Work::Put,
        connections: 100,
        clients: 1000,
        operations: 30_000,
    },
    Case {
        name: "linearizable read, 1 client",
        work: Work::Read,
        connections: 1,
        clients: 1,
        operations: 4_000,
    },
    Case {
        name: "linearizable read, 1000 clients on 100 connections",
        work: Work::Read,
        connections: 100,
        clients: 1000,
        operations: 40_000,
    },
];

/// What came out of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    server_cpu: Duration,
    client_cpu: Duration,
    resident_mib: u64,
    steal_percent: f64,
}

/// Measures and writes `docs/performance.md`; `COMPARE_PAIRS` says how many pairs of runs.
pub(crate) fn run() -> io::Result<()> {
    let pairs = options::number("COMPARE_PAIRS", 5)?;
    let flags = ["--log-level", "error"];
    let etcd = Cluster::start(Program::etcd(), 3, &flags)?;
    let ours = Cluster::start(Program::quorate()?, 3, &flags)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rows: Vec<(Case, Vec<(Run, Run)>)> = Vec::new();
    runtime.block_on(async {
        wait_for_leader(&etcd).await?;
        wait_for_leader(&ours).await?;
        for case in CASES {
            // One run each to fill the keys and to warm up, not counted.
            measure(&etcd, case).await?;
            measure(&ours, case).await?;
            let mut runs = Vec::new();
            for _ in 0..pairs {
                let theirs = measure(&etcd, case).await?;
                let own = measure(&ours, case).await?;
                println!(
                    "{}: etcd {:.0}/s, quorate {:.0}/s",
                    case.name, theirs.per_second, own.per_second
                );
                runs.push((theirs, own));
            }
            rows.push((case, runs));
        }
        io::Result::Ok(())
    })?;
    let report = report(&rows, pairs);
    println!("{report}");
    fs::write(workspace::root().join("docs/performance.md"), report)
}

async fn measure(cluster: &Cluster, case: Case) -> io::Result<Run> {
    let leader = leader(cluster).await.ok_or_else(|| io::Error::other("nobody leads"))?;
    let endpoint = cluster.endpoint(leader);
    let connections: Vec<Client> =
        (0..case.connections).map(|_| Client::new(&endpoint, Duration::from_secs(30))).collect();
    for connection in &connections {
        connection.status().await.map_err(io::Error::other)?;
    }
    let next = Arc::new(AtomicU64::new(0));
    let (cpu, own_cpu, machine) = (cluster.cpu(), own_cpu()?, machine_time()?);
    let start = Instant::now();
    let clients: Vec<_> = (0..case.clients)
        .map(|number| {
            let client = connections[number % connections.len()].clone();
            let next = next.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let operation = next.fetch_add(1, Ordering::Relaxed);
                    if operation >= case.operations {
                        return Ok(latencies);
                    }
                    let start = Instant::now();
                    operate(&client, case.work, operation).await?;
                    latencies.push(start.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for client in clients {
        let result: Result<Vec<Duration>, tonic::Status> =
            client.await.map_err(io::Error::other)?;
        latencies.extend(result.map_err(io::Error::other)?);
    }
    let elapsed = start.elapsed();
    let (cpu, own_cpu) = (cluster.cpu() - cpu, self::own_cpu()? - own_cpu);
    let later = machine_time()?;
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    let operations = u32::try_from(latencies.len()).expect("a run is not that long");
    Ok(Run {
        per_second: f64::from(operations) / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
        server_cpu: cpu / operations,
        client_cpu: own_cpu / operations,
        resident_mib: cluster.resident().into_iter().max().unwrap_or_default() >> 20,
        steal_percent: 100.0 * (later.1 - machine.1) as f64 / (later.0 - machine.0).max(1) as f64,
    })
}

async fn operate(client: &Client, work: Work, operation: u64) -> Result<(), tonic::Status> {
    // 8 bytes of key and 256 of value, as in etcd's own benchmark.
    let key = format!("{:08}", operation % 10_000);
    match work {
        Work::Put => client.put(key, vec![b'x'; 256]).await.map(drop),
        Work::Read => {
            let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
            client.range(request).await.map(drop)
        }
    }
}

/// User and system time of this process.
fn own_cpu() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let numbers = stat.rsplit_once(')').map_or("", |(_, numbers)| numbers);
    let ticks: u64 =
        numbers.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// All time of all cores, and how much of it the hypervisor took, in ticks.
fn machine_time() -> io::Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect();
    Ok((ticks.iter().take(8).sum(), ticks.get(7).copied().unwrap_or_default()))
}

/// The machine, as far as it says what it is.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({}), Linux {}", model.map_or("?", |(_, name)| name), kernel.trim())
}

fn report(rows: &[(Case, Vec<(Run, Run)>)], pairs: u64) -> String {
    let mut text = format!(
        "# Performance\n\n\
         Written by `cargo xtask compare` (the variable `CHECK_ETCD` names the etcd to compare with): \
         etcd 3.5.1 and Quorate, three\nmembers each on loopback with every write synced to disk, both \
         alive, measured by turns with one generator. Keys of 8 bytes,\nvalues of 256. Medians over \
         {pairs} pairs of runs; the ratio is the median of the ratios of the two runs of a pair, with \
         the least and the\ngreatest, so it is not the quotient of the medians beside it. Everything, \
         the generator included, shares the cores of one\nmachine, whose speed drifts: compare only \
         within a row.\n\nMachine: {}.\n\n\
         | work | operations/s: etcd, Quorate | ratio | p50 ms | p99 ms | server CPU us per operation | \
         generator CPU us | RSS of the largest member MiB | steal |\n|---|---|---|---|---|---|---|---|---|\n",
        machine(),
    );
    for (case, runs) in rows {
        let median = |of: &dyn Fn(&(Run, Run)) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let mut ratios: Vec<f64> =
            runs.iter().map(|(etcd, ours)| ours.per_second / etcd.per_second).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let pair = |of: &dyn Fn(&Run) -> f64, digits: usize| {
            let (etcd, ours) = (median(&|(run, _)| of(run)), median(&|(_, run)| of(run)));
            format!("{etcd:.digits$}, {ours:.digits$}")
        };
        let _ = writeln!(
            text,
            "| {} | {} | **{:.2}** ({:.2} to {:.2}) | {} | {} | {} | {} | {} | {:.0} % |",
            case.name,
            pair(&|run| run.per_second, 0),
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
            pair(&|run| run.p50.as_secs_f64() * 1e3, 2),
            pair(&|run| run.p99.as_secs_f64() * 1e3, 2),
            pair(&|run| run.server_cpu.as_secs_f64() * 1e6, 0),
            pair(&|run| run.client_cpu.as_secs_f64() * 1e6, 0),
            pair(&|run| run.resident_mib as f64, 0),
            median(&|(a, b)| a.steal_percent.max(b.steal_percent)),
        );
    }
    text
}
