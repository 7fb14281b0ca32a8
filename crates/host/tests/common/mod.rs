//! Clusters in one process: real threads, real sockets on ports that the kernel chose, real files.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod ledger;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_host::{Handle, Host, HostConfig, HostEvent, Priority, RequestError, StartError};
use quorate_raft::{DiskId, NodeId};
use tempfile::TempDir;

use ledger::{Ledger, State};

/// Far more than anything here should take, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const CLUSTER_ID: u64 = 0x51;

/// Awaits on a runtime of the caller's own; the host has none.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
}

/// A member and what remains of it while it is down.
pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) data: TempDir,
    pub(crate) listener: TcpListener,
    pub(crate) address: String,
    pub(crate) events: Arc<Mutex<Vec<HostEvent>>>,
    pub(crate) fatal: Arc<Mutex<Vec<String>>>,
    /// Whether its disk was lost and it does not count yet.
    pub(crate) rejoining: Arc<AtomicBool>,
    pub(crate) running: Option<Running>,
}

/// A member that is up.
pub(crate) struct Running {
    pub(crate) host: Host<u64>,
    pub(crate) handle: Handle<u64>,
    pub(crate) state: Arc<Mutex<State>>,
}

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    /// Entries that a leader keeps for followers that are behind, in bytes.
    pub(crate) retained_bytes: usize,
    /// How often the machines write their files. By default only in the end, so that no member that
    /// is a little behind has to be given a snapshot, which would end the requests of its clients.
    pub(crate) commits_per_write: u64,
    /// The member that is wanted most as the leader, if any. Silence is judged less hastily then.
    pub(crate) favourite: Option<usize>,
}

impl Cluster {
    /// A cluster of so many members, all up.
    pub(crate) fn start(size: u64) -> Self {
        let mut cluster = Self::prepare(size);
        for index in 0..cluster.members.len() {
            cluster.start_member(index).expect("the member starts");
        }
        cluster
    }

    /// A cluster of so many members, none up.
    pub(crate) fn prepare(size: u64) -> Self {
        let member = |id| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            Member {
                id: NodeId(id),
                data: TempDir::new().unwrap(),
                listener,
                address,
                events: Arc::default(),
                fatal: Arc::default(),
                rejoining: Arc::default(),
                running: None,
            }
        };
        Self {
            members: (1..=size).map(member).collect(),
            retained_bytes: 64 << 20,
            commits_per_write: u64::MAX,
            favourite: None,
        }
    }

    /// How a member is configured.
    pub(crate) fn config(&self, index: usize) -> HostConfig {
        let member = &self.members[index];
        let addresses: BTreeMap<_, _> =
            self.members.iter().map(|m| (m.id, vec![m.address.clone()])).collect();
        let listener = member.listener.try_clone().unwrap();
        let mut config = HostConfig::new(member.id, member.data.path(), vec![listener]);
        config.cluster_id = CLUSTER_ID;
        config.peers = addresses;
        config.heartbeat_interval = Duration::from_millis(20);
        config.election_timeout = Duration::from_millis(200);
        if let Some(favourite) = self.favourite {
            config.heartbeat_interval = Duration::from_millis(100);
            if favourite == index {
                config.about.leader_priority = Priority::MAX;
            }
        }
        config.request_timeout = Duration::from_secs(20);
        config.rejoining = member.rejoining.load(Ordering::SeqCst).then_some(DiskId(1));
        let rejoining = Arc::clone(&member.rejoining);
        config.on_rejoined = Box::new(move || {
            rejoining.store(false, Ordering::SeqCst);
            Ok(())
        });
        config.limits.raft.retained_bytes_max = self.retained_bytes;
        let events = Arc::clone(&member.events);
        config.on_event = Arc::new(move |event| events.lock().unwrap().push(event.clone()));
        let fatal = Arc::clone(&member.fatal);
        config.on_fatal = Arc::new(move |what| fatal.lock().unwrap().push(what.to_string()));
        config
    }

    pub(crate) fn start_member(&mut self, index: usize) -> Result<(), StartError> {
        let config = self.config(index);
        self.start_with(index, config)
    }

    pub(crate) fn start_with(
        &mut self,
        index: usize,
        config: HostConfig,
    ) -> Result<(), StartError> {
        let member = &mut self.members[index];
        assert!(member.running.is_none(), "{} is up", member.id);
        let machine =
            Ledger::open(member.data.path().join("ledger"), self.commits_per_write).unwrap();
        let state = machine.shared();
        let (host, handle) = Host::start(config, Box::new(machine))?;
        member.running = Some(Running { host, handle, state });
        Ok(())
    }

    pub(crate) fn handle(&self, index: usize) -> Handle<u64> {
        self.members[index].running.as_ref().expect("the member is up").handle.clone()
    }

    pub(crate) fn state(&self, index: usize) -> Vec<Bytes> {
        let running = self.members[index].running.as_ref().expect("the member is up");
        running.state.lock().unwrap().commands.clone()
    }

    /// Stops a member as a crash would.
    pub(crate) fn kill(&mut self, index: usize) {
        self.members[index].running.take().expect("the member is up").host.kill();
    }

    /// Refuses connections to a member that was killed for good. As long as its port is there, they are taken, and those
    /// who are patient wait for a greeting.
    pub(crate) fn refuse_connections(&mut self, index: usize) {
        assert!(self.members[index].running.is_none(), "the member is up");
        self.members[index].listener = TcpListener::bind("127.0.0.1:0").unwrap();
    }

    /// Stops a member in order.
    pub(crate) fn stop(&mut self, index: usize) {
        self.members[index].running.take().expect("the member is up").host.shutdown();
    }

    /// Takes a member's disk away. It rejoins with a new one.
    pub(crate) fn wipe(&mut self, index: usize) {
        assert!(self.members[index].running.is_none(), "the member is up");
        self.members[index].data = TempDir::new().unwrap();
        self.members[index].rejoining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn data(&self, index: usize) -> PathBuf {
        self.members[index].data.path().to_owned()
    }

    /// The index of the member that leads, once one of those that are up knows it.
    pub(crate) fn leader(&self) -> usize {
        let up = self.members.iter().filter_map(|member| member.running.as_ref());
        let mut up = up.map(|running| running.handle.subscribe()).collect::<Vec<_>>();
        run(async {
            loop {
                for status in &mut up {
                    let leader = status.borrow_and_update().leader;
                    let index = leader.map(|id| usize::try_from(id.0 - 1).unwrap());
                    if let Some(index) = index.filter(|i| self.members[*i].running.is_some()) {
                        return index;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }

    /// Proposes on a member until it works, and returns the outcome. The command may take effect more
    /// than once.
    pub(crate) fn propose(&self, index: usize, command: &str) -> u64 {
        let handle = self.handle(index);
        run(async {
            loop {
                match handle.propose(Bytes::copy_from_slice(command.as_bytes())).await {
                    Ok(outcome) => return outcome,
                    Err(RequestError::Timeout | RequestError::NoLeader) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    }

    /// What a linearizable read on a member shows.
    pub(crate) fn read(&self, index: usize) -> Vec<Bytes> {
        let handle = self.handle(index);
        run(handle.read_barrier()).expect("there is a quorum");
        self.state(index)
    }

    /// That no member reported anything fatal.
    pub(crate) fn assert_healthy(&self) {
        for member in &self.members {
            assert_eq!(*member.fatal.lock().unwrap(), [""; 0], "{} failed", member.id);
        }
    }
}

impl Drop for Cluster {
    /// Shows what happened to a cluster whose test failed.
    #[expect(clippy::print_stdout, reason = "the test harness captures it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in &self.members {
                let events = member.events.lock().unwrap();
                let lines: Vec<_> = events.iter().map(|event| format!("  {event}\n")).collect();
                println!("{}:\n{}", member.id, lines.concat());
            }
        }
    }
}

/// Waits for something to become true.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut left = PATIENCE;
    let step = Duration::from_millis(5);
    while !condition() {
        left = left.checked_sub(step).unwrap_or_else(|| panic!("{what}: not in time"));
        std::thread::sleep(step);
    }
}

/// Commands as text, for messages.
pub(crate) fn texts(commands: &[Bytes]) -> Vec<String> {
    commands.iter().map(|command| String::from_utf8_lossy(command).into_owned()).collect()
}
