//! Runs one session of etcdctl against a real etcd and against Quorate, in every output format, and
//! compares what it prints and how it ends.
//!
//! `CHECK_ETCDCTL` names the programs, separated by colons; `.ci/run` names those of etcd 3.4 and 3.5.
//! The session is in `session`. What differs by its nature is blanked in `blank`, which knows the
//! reason of each blank and nothing else.

mod blank;
mod command;
mod session;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use tokio::runtime::Runtime;

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;
use blank::Names;
use command::Etcdctl;

/// How endpoints begin, and the format of the output. With the scheme, etcdctl 3.4 calls the server
/// by the whole URL, which has nothing to do with the format.
const SESSIONS: [(&str, &str); 6] = [
    ("", "simple"),
    ("", "json"),
    ("", "fields"),
    ("", "table"),
    ("", "protobuf"),
    ("http://", "simple"),
];

/// A cluster that etcdctl talks to.
struct Subject {
    cluster: Cluster,
    /// Its members, ascending by id: the order in which the server lists them.
    order: Vec<usize>,
    names: Names,
}

impl Subject {
    /// Starts a cluster and brings it to the state in which the session begins.
    async fn start(program: Program) -> io::Result<Self> {
        // A cluster for each session, so that revisions begin anew.
        let cluster = Cluster::start(program, 3, &["--log-level", "error"])?;
        wait_for_leader(&cluster).await?;
        let clients: Vec<Client> = (0..cluster.len())
            .map(|member| Client::new(&cluster.endpoint(member), Duration::from_secs(10)))
            .collect();
        let members = clients[0].members().await.map_err(io::Error::other)?;
        let order: Vec<usize> = members
            .iter()
            .filter_map(|of| (0..cluster.len()).find(|&member| cluster.name(member) == of.name))
            .collect();
        if order.len() != cluster.len() {
            return Err(io::Error::other(format!("the members are {members:?}")));
        }
        let status = clients[0].status().await.map_err(io::Error::other)?;
        let cluster_id = status.header.unwrap_or_default().cluster_id;
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        lead(&clients, &order, &ids).await?;
        // etcdctl can't choose the ids of leases, and the session wants to name them.
        for (id, ttl) in session::LEASES {
            clients[0].grant(id, ttl).await.map_err(io::Error::other)?;
        }
        let names = Names::new(&cluster, &order, cluster_id, &ids);
        Ok(Self { cluster, order, names })
    }

    /// Where etcdctl reaches the members, the first of the list first.
    fn endpoints(&self, scheme: &str) -> Vec<String> {
        let endpoint = |&member: &usize| self.cluster.endpoint(member).replace("http://", scheme);
        self.order.iter().map(endpoint).collect()
    }
}

/// Makes the first member of the list the leader, so that it is the same in both clusters.
async fn lead(clients: &[Client], order: &[usize], ids: &[u64]) -> io::Result<()> {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let mut leaders = Vec::new();
        for client in clients {
            leaders.push(client.status().await.map_err(io::Error::other)?.leader);
        }
        if leaders.iter().all(|leader| *leader == ids[0]) {
            return Ok(());
        }
        if Instant::now() > patience {
            return Err(io::Error::other(format!("the leaders are {leaders:x?}, not {ids:x?}")));
        }
        if let Some(rank) = ids.iter().position(|id| *id == leaders[0]).filter(|rank| *rank > 0) {
            // If it fails, because the leader is another by now, the next round sees that.
            let _ = clients[order[rank]].move_leader(ids[0]).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The programs to run.
pub(crate) fn programs() -> Vec<PathBuf> {
    let programs = env::var("CHECK_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    programs.split(':').map(PathBuf::from).collect()
}

/// Runs the session with every program and format. Returns how many commands print the same, and how many do not.
pub(crate) fn compare() -> io::Result<(usize, usize)> {
    let quorate = Program::quorate()?;
    let runtime = Runtime::new()?;
    let (mut same, mut different) = (0, 0);
    for program in programs() {
        for (scheme, format) in SESSIONS {
            let etcd = runtime.block_on(Subject::start(Program::etcd()))?;
            let ours = runtime.block_on(Subject::start(quorate.clone()))?;
            for step in session::STEPS {
                let run = |subject: &Subject| {
                    // A member that is behind would show it, in whichever cluster.
                    runtime.block_on(wait_for_leader(&subject.cluster))?;
                    let etcdctl = Etcdctl { program: &program, scheme, format };
                    etcdctl.execute(step, subject)
                };
                let (theirs, own) = thread::scope(|scope| {
                    let theirs = scope.spawn(|| run(&etcd));
                    let own = run(&ours);
                    (theirs.join().expect("it does not panic"), own)
                });
                let (theirs, own) = (theirs?, own?);
                if theirs == own {
                    same += 1;
                } else {
                    different += 1;
                    println!(
                        "etcdctl: {} --endpoints {scheme}… -w {format} {}\n\
                         --- etcd\n{theirs}\n--- quorate\n{own}\n",
                        program.display(),
                        step.line,
                    );
                }
            }
        }
    }
    blank::explain();
    println!("etcdctl: {same} commands print the same, {different} do not");
    Ok((same, different))
}
