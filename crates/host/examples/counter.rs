//! A counter that three members agree on, durable on disk and talking over TCP:
//! `cargo run -p quorate-host --example counter`.

use std::{collections::BTreeMap, error::Error, net::TcpListener, path::Path, time::Duration};

use quorate_host::{Desired, HostConfig, Kept, NodeId, Replica, StartError, State};

/// What is replicated. Its empty state is 0.
#[derive(Default)]
struct Counter(u64);

impl State for Counter {
    type Outcome = Option<u64>;

    /// A command is a number to add. One that is none is in the log nevertheless, and changes nothing.
    fn apply(&mut self, command: &[u8]) -> Option<u64> {
        self.0 = self.0.checked_add(str::from_utf8(command).ok()?.parse().ok()?)?;
        Some(self.0)
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn restore(snapshot: &[u8]) -> Option<Self> {
        snapshot.try_into().ok().map(u64::from_be_bytes).map(Self)
    }
}

/// Three members, each with a folder of its own and a port that the system chooses.
fn start(folder: &Path) -> Result<Vec<Replica<Kept<Counter>>>, Box<dyn Error>> {
    let (mut peers, mut listeners) = (BTreeMap::new(), Vec::new());
    for id in [1, 2, 3].map(NodeId) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        peers.insert(id, vec![listener.local_addr()?.to_string()]);
        listeners.push((id, listener));
    }
    let members = listeners.into_iter().map(|(id, listener)| {
        let mut config = HostConfig::new(id, folder.join(id.0.to_string()), vec![listener]);
        config.peers = peers.clone();
        config.request_timeout = Duration::from_secs(60);
        Replica::open(config)
    });
    Ok(members.collect::<Result<_, StartError>>()?)
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let members = start(folder.path())?;
        assert_eq!(members[0].propose("2").await?, Some(2)); // Any member takes commands,
        assert_eq!(members[1].propose("5").await?, Some(7));
        assert_eq!(members[2].read(|counter| counter.0).await?, 7); // and knows of all of them.
        members.into_iter().for_each(Replica::shutdown);
        let members = start(folder.path())?; // They remember it,
        members[0].handle().reconcile(&Desired::of_voters([1, 2].map(NodeId))).await?; // let one go,
        assert_eq!(members[1].read(|counter| counter.0).await?, 7); // and go on.
        Ok(())
    })
}
