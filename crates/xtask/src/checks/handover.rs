//! What writers notice when the lead is handed over on purpose, beside etcd: the leader is asked to end, as
//! one does to restart it, and it is told to make another member the leader.
//!
//! One writer, and many; they talk to a member that does not end. Asked is that one writer goes without
//! acknowledgements for no longer than a heartbeat, ever, and that in the median no writer does, of one or of many, where
//! what the machine stood still is taken off. What a hand-over takes is a handful of syncs one after the other, and of many
//! writers each waits for the work of all: on a machine that is busy otherwise that is longer than a heartbeat without any
//! hand-over, as the last columns tell.

use std::io;
use std::time::{Duration, Instant};

use tonic::Code;

use crate::checks::client::Client;
use crate::checks::gap::{self, PATIENCE, Side, Spread, Writers, ms};
use crate::checks::options;

/// That of both programs, unless they are told otherwise.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Writers work for so long before and after.
const AROUND: Duration = Duration::from_secs(1);

/// And until each has had so many acknowledgements.
const WRITES: usize = 5;

/// How the lead is handed over, and by how many writers that is watched.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    way: Way,
    writers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Terminate,
    MoveLeader,
}

const CASES: [Case; 4] = [
    Case { name: "SIGTERM, 1 writer", way: Way::Terminate, writers: 1 },
    Case { name: "SIGTERM, 64 writers", way: Way::Terminate, writers: 64 },
    Case { name: "MoveLeader, 1 writer", way: Way::MoveLeader, writers: 1 },
    Case { name: "MoveLeader, 64 writers", way: Way::MoveLeader, writers: 64 },
];

/// What was found in one cluster, in each case.
#[derive(Debug, Default)]
struct Found {
    /// The longest time without an acknowledgement of anything.
    silence: [Spread; CASES.len()],
    /// And of one of the writers.
    wait: [Spread; CASES.len()],
    /// The same without what the machine stood still.
    net: [Spread; CASES.len()],
    /// How long the slowest write took before.
    usual: [Spread; CASES.len()],
    errors: [usize; CASES.len()],
}

/// Hands the lead of each cluster over, `HANDOVER_ROUNDS` times in each way.
pub(crate) fn run() -> io::Result<()> {
    let rounds = options::number("HANDOVER_ROUNDS", 10)?;
    let [ours, etcd] = gap::beside(rounds, CASES.len(), hand_over)?;
    conclude(&ours, &etcd)
}

async fn hand_over(side: &mut Side<Found>, round: u64, number: usize) -> io::Result<()> {
    let case = CASES[number];
    let leader = side.leader().await?;
    let cluster = &mut side.cluster;
    let heir = (leader + 1) % cluster.len();
    let watched = (leader + 2) % cluster.len();
    let client = |member| Client::new(&cluster.endpoint(member), Duration::from_secs(20));
    let (old, new) = (client(leader), client(heir));
    let id = new.status().await.map_err(io::Error::other)?.header.unwrap_or_default().member_id;

    let keys = format!("{number}/{round:03}");
    let writers = Writers::start(cluster, &[watched], PATIENCE, case.writers, &keys);
    let began = Instant::now();
    writers.have_written(WRITES, began).await?;
    tokio::time::sleep_until((began + AROUND).into()).await;
    let asked = Instant::now();
    let is_implemented = match case.way {
        // To wait for the end of a process blocks, and the writers need the other threads.
        Way::Terminate => {
            tokio::task::block_in_place(|| cluster.terminate(leader)).map(|_| true)?
        }
        Way::MoveLeader => match old.move_leader(id).await {
            Ok(()) => true,
            Err(status) if status.code() == Code::Unimplemented => false,
            Err(status) => return Err(io::Error::other(status)),
        },
    };
    writers.have_written(WRITES, Instant::now()).await?;
    tokio::time::sleep_until((asked + AROUND).into()).await;
    let notes = writers.end().await?;
    side.bring_back(leader).await?;
    if is_implemented {
        let (silence, (began, ended)) = (notes.gap(asked), notes.gap_of_a_writer(asked));
        let wait = side.stalls.pause(began, ended);
        let (usual, errors) = (notes.usual_wait(asked), notes.errors_since(asked));
        println!(
            "{} round {round}, {}: {} ms, a writer {wait}, before {} ms, {errors} errors",
            side.name,
            case.name,
            ms(silence),
            ms(usual)
        );
        side.found.silence[number].add(silence);
        side.found.wait[number].add(wait.length);
        side.found.net[number].add(wait.net());
        side.found.usual[number].add(usual);
        side.found.errors[number] += errors;
    }
    side.written.extend(notes.written);
    Ok(())
}

fn conclude(ours: &Side<Found>, etcd: &Side<Found>) -> io::Result<()> {
    let mut wrong = Vec::new();
    println!(
        "\nThe longest time without an acknowledgement of anything; that of one of the writers; and how long \
         the slowest write took in the second before. All are those of a writer without what the machine stood still.\n\n\
         | hand-over | program | least ms | median ms | p99 ms | a writer: median ms | p99 ms | before: \
         median ms | errors | all, ms |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---|"
    );
    for (number, case) in CASES.iter().enumerate() {
        for side in [ours, etcd] {
            let (silence, wait) = (&side.found.silence[number], &side.found.wait[number]);
            if silence.is_empty() {
                println!("| {} | {} | not implemented |", case.name, side.name);
                continue;
            }
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                case.name,
                side.name,
                ms(silence.least()),
                ms(silence.median()),
                ms(silence.most()),
                ms(wait.median()),
                ms(wait.most()),
                ms(side.found.usual[number].median()),
                side.found.errors[number],
                side.found.net[number].listed(),
            );
        }
        let longest = ours.found.silence[number].most();
        let usual = ours.found.net[number].median();
        if usual > HEARTBEAT {
            wrong.push(format!("{}: a writer waits for {} ms in the median", case.name, ms(usual)));
        }
        if case.writers == 1 && longest > HEARTBEAT {
            wrong.push(format!(
                "{}: {} ms, and a heartbeat is {HEARTBEAT:?}",
                case.name,
                ms(longest)
            ));
        }
    }
    let (own, theirs) = (&ours.found.silence[0], &etcd.found.silence[0]);
    println!(
        "handover: one writer, median {} ms and longest {} ms; etcd {} ms and {} ms",
        ms(own.median()),
        ms(own.most()),
        ms(theirs.median()),
        ms(theirs.most())
    );
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(wrong.join("\n"))),
    }
}
