//! Five members, each on a host of its own (a network namespace), in a network that is cut in two: the
//! old leader and one other on one side, three on the other. Only the three may go on; when the cut is
//! healed all five hold the same.
//!
//! Needs the right to make network namespaces. Where that is missing the check says so and fails:
//! set `PARTITION=skip` to leave it out knowingly.

use std::time::{Duration, Instant};
use std::{env, io};

use quorate_proto::mvccpb::KeyValue;
use tonic::Status;

use crate::checks::capsule;
use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Home, Program};
use crate::checks::crash::{clients, wait_for_leader};
use crate::checks::lan::{self, Lan, Losses};

const MEMBERS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    if env::var("PARTITION").is_ok_and(|value| value == "skip") {
        println!("partition: left out, as PARTITION=skip asks");
        return Ok(());
    }
    let program = Program::quorate()?;
    if let Some(refused) = capsule::enter()? {
        return Err(io::Error::other(format!("network namespaces are not permitted: {refused}")));
    }
    let mut lan = Lan::new(MEMBERS)?;
    let homes: Vec<Home> =
        (0..MEMBERS).map(|host| Home { host: Some(host), ..Home::default() }).collect();
    let cluster = Cluster::start_at(&env::temp_dir(), program, &homes, &["--log-level", "warn"])?;
    tokio::runtime::Runtime::new()?.block_on(cut_and_heal(&cluster, &mut lan))
}

async fn cut_and_heal(cluster: &Cluster, lan: &mut Lan) -> io::Result<()> {
    wait_for_leader(cluster).await?;
    let members = clients(cluster, Duration::from_secs(15));
    write("before", &members[0], cluster).await?;
    let all: Vec<usize> = (0..MEMBERS).collect();
    let leader = leader_among(&members, &all).await?;
    let few = [leader, (leader + 1) % MEMBERS];
    let most: Vec<usize> = all.iter().copied().filter(|member| !few.contains(member)).collect();

    lan.lose(lan::between(&few, &most))?;
    write("during", &members[most[0]], cluster).await?;
    let start = Instant::now();
    for member in few {
        match members[member].put("partition/refused", "3").await {
            Ok(_) => {
                let what = format!("member {member} of two acknowledged a write");
                return Err(io::Error::other(what));
            }
            Err(status) if is_honest(&status) => {}
            Err(status) => {
                return Err(io::Error::other(format!("member {member} of two says: {status}")));
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64() / 2.0;
    let new_leader = leader_among(&members, &most).await?;

    lan.lose(Losses::new())?;
    write("after", &members[leader], cluster).await?;
    wait_for_leader(cluster).await?;
    let mut stories: Vec<Vec<KeyValue>> = Vec::new();
    for member in &members {
        let read = member.prefix("partition/", false).await.map_err(io::Error::other)?;
        stories.push(read.kvs);
    }
    for key in ["partition/before", "partition/during", "partition/after"] {
        if !stories[0].iter().any(|kv| kv.key == key) {
            return Err(io::Error::other(format!("LOST: {key} is not in {:?}", stories[0])));
        }
    }
    if stories.iter().any(|story| story != &stories[0]) {
        return Err(io::Error::other(format!("FORK: {stories:#?}")));
    }
    println!(
        "partition: leader {leader} cut off with {}: {new_leader} led the three, the two refused \
         after {seconds:.1} s each; healed, all five hold the same",
        few[1],
    );
    Ok(())
}

/// Whether a refusal says that there is no majority, or the client waited in vain.
fn is_honest(status: &Status) -> bool {
    status.message().starts_with("etcdserver: ") || status.code() == tonic::Code::DeadlineExceeded
}

/// Writes until it is acknowledged.
async fn write(key: &str, client: &Client, cluster: &Cluster) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while let Err(status) = client.put(format!("partition/{key}"), key.to_owned()).await {
        if Instant::now() > end {
            let logs = (0..MEMBERS).map(|m| format!("--- member {m}\n{}", cluster.log(m)));
            let logs: String = logs.collect();
            return Err(io::Error::other(format!("no write {key}: {status}\n{logs}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Which of these says that it leads.
async fn leader_among(members: &[Client], some: &[usize]) -> io::Result<usize> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        for &member in some {
            if members[member].leads().await {
                return Ok(member);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(io::Error::other(format!("none of {some:?} says that it leads")))
}
