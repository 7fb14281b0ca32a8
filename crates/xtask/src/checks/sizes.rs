//! Clusters of one, three, five and seven: they work with exactly a minority down, refuse in bounded
//! time with a majority down, lose nothing either way, and a wiped member comes back by snapshot.

use std::io;
use std::time::{Duration, Instant};

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{Written, clients, verify, wait_for_leader};

/// Runs all sizes, and the wiped member.
pub(crate) fn run() -> io::Result<()> {
    let program = Program::subject()?;
    let runtime = tokio::runtime::Runtime::new()?;
    for members in [1, 3, 5, 7] {
        let cluster = Cluster::start(program.clone(), members, &["--log-level", "warn"])?;
        runtime.block_on(size(cluster))?;
    }
    let cluster = Cluster::start(program, 3, &["--log-level", "info"])?;
    runtime.block_on(wiped(cluster))
}

async fn size(mut cluster: Cluster) -> io::Result<()> {
    wait_for_leader(&cluster).await?;
    let mut acknowledged = Written::new();
    write(&cluster, 0, "all up", &mut acknowledged).await?;

    let minority = (cluster.len() - 1) / 2;
    for member in 0..minority {
        cluster.kill(member)?;
    }
    write(&cluster, minority, "minority down", &mut acknowledged).await?;

    let mut refusal = String::new();
    if cluster.len() > 1 {
        cluster.kill(minority)?;
        let survivor = Client::new(&cluster.endpoint(cluster.len() - 1), Duration::from_secs(20));
        let start = Instant::now();
        let Err(error) = survivor.put("crash/refused", "x").await else {
            return Err(io::Error::other("a minority acknowledged a write"));
        };
        let known = ["etcdserver: request timed out", "etcdserver: no leader"];
        if !known.iter().any(|text| error.message().starts_with(text)) {
            return Err(io::Error::other(format!("a minority refuses with {error:?}")));
        }
        refusal = format!(
            "with a majority down refused after {:.1} s ({}), ",
            start.elapsed().as_secs_f64(),
            error.message()
        );
    }
    for member in 0..cluster.len() {
        cluster.kill(member)?;
    }
    for member in 0..cluster.len() {
        cluster.restart(member)?;
    }
    wait_for_leader(&cluster).await?;
    verify(&cluster, &acknowledged).await?;
    println!(
        "sizes: {} members: wrote with {minority} down, {refusal}all {} writes there after a restart",
        cluster.len(),
        acknowledged.len(),
    );
    Ok(())
}

/// Puts some keys through each of the members from `first` on.
async fn write(
    cluster: &Cluster,
    first: usize,
    phase: &str,
    acknowledged: &mut Written,
) -> io::Result<()> {
    for (member, client) in clients(cluster, Duration::from_secs(20)).iter().enumerate().skip(first)
    {
        for number in 0..20 {
            let key = format!("crash/{phase}/{member}/{number}");
            let revision = client.put(key.clone(), "x").await.map_err(|error| {
                io::Error::other(format!("{phase}: member {member} refuses: {error}"))
            })?;
            acknowledged.insert(key, ("x".to_owned(), revision));
        }
    }
    Ok(())
}

/// Fills the log beyond what a leader keeps for stragglers, wipes a member, and goes on writing until
/// it is a voter again; then it is needed.
async fn wiped(mut cluster: Cluster) -> io::Result<()> {
    wait_for_leader(&cluster).await?;
    let mut acknowledged = Written::new();
    let client = Client::new(&cluster.endpoint(0), Duration::from_secs(20));
    for number in 0..300 {
        let key = format!("crash/wiped/{number:03}");
        let value = char::from(b'a' + (number % 26) as u8).to_string().repeat(1 << 20);
        let revision = client.put(key.clone(), value.clone()).await.map_err(io::Error::other)?;
        acknowledged.insert(key, (value, revision));
    }
    cluster.kill(2)?;
    cluster.wipe(2)?;
    cluster.restart(2)?;
    let start = Instant::now();
    let mut meanwhile = 0;
    while !cluster.log(2).contains("this member is a voter again") {
        if start.elapsed() > Duration::from_secs(120) {
            let log = cluster.log(2);
            return Err(io::Error::other(format!("the wiped member is no voter again\n{log}")));
        }
        let key = format!("crash/meanwhile/{meanwhile:05}");
        let revision = client.put(key.clone(), "x").await.map_err(io::Error::other)?;
        acknowledged.insert(key, ("x".to_owned(), revision));
        meanwhile += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    let log = cluster.log(2);
    if !log.contains("installed a snapshot") || !log.contains("rejoining the cluster") {
        return Err(io::Error::other("the wiped member did not need a snapshot: check the check"));
    }
    // With another member down, everything needs its vote and its disk.
    cluster.kill(1)?;
    for number in 0..20 {
        let key = format!("crash/two of three/{number}");
        let revision = client.put(key.clone(), "x").await.map_err(io::Error::other)?;
        acknowledged.insert(key, ("x".to_owned(), revision));
    }
    cluster.restart(1)?;
    wait_for_leader(&cluster).await?;
    verify(&cluster, &acknowledged).await?;
    println!(
        "sizes: a wiped member was a voter again after {seconds:.1} s, by snapshot, with {meanwhile} \
         writes meanwhile; {} writes are there",
        acknowledged.len()
    );
    Ok(())
}
