//! A cluster to test, on ports that the kernel chose.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use quorate_proto::etcdserverpb as pb;
use quorate_server::log::Level;
use quorate_server::{Config, Listeners, Log, Server};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// How long anything may take here. The slowest thing that is waited for is the timeout of a request.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    members: Vec<Member>,
    flags: Vec<String>,
    /// Of members that were prepared.
    listeners: BTreeMap<usize, Listeners>,
}

struct Member {
    // Dropped in this order: the server ends before its directory goes.
    server: Option<Server>,
    directory: TempDir,
    client: SocketAddr,
    peer: SocketAddr,
}

impl Cluster {
    /// A cluster of so many members that serve clients.
    pub(crate) async fn start(size: usize) -> Self {
        Self::start_with(size, &[]).await
    }

    /// A cluster whose members all write to this log.
    pub(crate) async fn start_logging(size: usize, log: &Log) -> Self {
        Self::start_all(size, &[], log).await
    }

    /// The same, with further flags.
    pub(crate) async fn start_with(size: usize, flags: &[&str]) -> Self {
        Self::start_all(size, flags, &Log::to_stderr(Level::Error)).await
    }

    async fn start_all(size: usize, flags: &[&str], log: &Log) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let sockets: Vec<_> = (0..size).map(|_| (bind(), bind())).collect();
        let members = sockets.iter().map(|(client, peer)| Member {
            directory: tempfile::tempdir().expect("a directory"),
            client: client.local_addr().expect("bound"),
            peer: peer.local_addr().expect("bound"),
            server: None,
        });
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut cluster = Self { members: members.collect(), flags, listeners: BTreeMap::new() };
        for (at, (client, peer)) in sockets.into_iter().enumerate() {
            let listeners =
                Listeners { client: vec![client], peer: vec![peer], metrics: cluster.metrics() };
            let server = Server::start_on(&cluster.config(at), listeners, log.clone());
            let server = server.expect("started");
            cluster.members[at].server = Some(server);
        }
        for member in &cluster.members {
            let server = member.server.as_ref().expect("just started");
            assert!(within(server.ready()).await, "clients are served");
        }
        cluster
    }

    fn config(&self, at: usize) -> Config {
        let member = &self.members[at];
        let all: Vec<_> = (self.members.iter().enumerate())
            .map(|(at, _)| format!("m{at}={}", self.peer_url(at)))
            .collect();
        let mut flags = vec![
            format!("--name=m{at}"),
            format!("--data-dir={}", member.directory.path().display()),
            format!("--listen-client-urls=http://{}", member.client),
            format!("--advertise-client-urls=http://{}", member.client),
            format!("--listen-peer-urls={}", self.peer_url(at)),
            format!("--initial-advertise-peer-urls={}", self.peer_url(at)),
            format!("--initial-cluster={}", all.join(",")),
        ];
        flags.extend(self.flags.iter().cloned());
        Config::parse(flags, []).expect("good flags")
    }

    /// One more member, not started, with ports that are its own.
    pub(crate) fn prepare(&mut self) -> usize {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (client, peer) = (bind(), bind());
        self.members.push(Member {
            directory: tempfile::tempdir().expect("a directory"),
            client: client.local_addr().expect("bound"),
            peer: peer.local_addr().expect("bound"),
            server: None,
        });
        let at = self.members.len() - 1;
        let listeners = Listeners { client: vec![client], peer: vec![peer], metrics: Vec::new() };
        self.listeners.insert(at, listeners);
        at
    }

    pub(crate) fn peer_url(&self, at: usize) -> String {
        // As the flags that members are started with have it.
        let is_secure =
            |flag: &String| flag.starts_with("--peer-cert") || flag == "--peer-auto-tls";
        let scheme = if self.flags.iter().any(is_secure) { "https" } else { "http" };
        format!("{scheme}://{}", self.members[at].peer)
    }

    /// Starts a member that was prepared as one that joins, until it serves clients.
    pub(crate) async fn join(&mut self, at: usize) {
        self.try_join(at).expect("it joins");
        let server = self.members[at].server.as_ref().expect("just started");
        assert!(within(server.ready()).await, "clients are served");
    }

    /// The same, or says why that can't be; without waiting for it.
    pub(crate) fn try_join(&mut self, at: usize) -> Result<(), String> {
        let listeners = self.listeners.remove(&at).expect("it was prepared");
        self.flags.push("--initial-cluster-state=existing".to_owned());
        let config = self.config(at);
        self.flags.pop();
        let server = Server::start_on(&config, listeners, Log::to_stderr(Level::Fatal));
        self.members[at].server = Some(server.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Starts a member as one that joins, or comes back with an empty disk, until it serves clients.
    pub(crate) async fn rejoin(&mut self, at: usize) {
        self.flags.push("--initial-cluster-state=existing".to_owned());
        let config = self.config(at);
        self.flags.pop();
        let server = Server::start(&config, Log::to_stderr(Level::Fatal)).expect("it rejoins");
        let server = self.members[at].server.insert(server);
        assert!(within(server.ready()).await, "clients are served");
    }

    /// Empties the disk of a member that does not run.
    pub(crate) fn lose_disk(&mut self, at: usize) {
        assert!(self.members[at].server.is_none(), "it runs");
        self.members[at].directory = tempfile::tempdir().expect("a directory");
    }

    /// The flags that members have from their next start on, beside those that all have.
    pub(crate) fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(ToString::to_string).collect();
    }

    /// Waits until a member knows that it was removed.
    pub(crate) async fn removed(&self, at: usize) {
        self.members[at].server.as_ref().expect("it runs").removed().await;
    }

    /// Ends a member in good order.
    pub(crate) async fn stop(&mut self, at: usize) {
        let server = self.members[at].server.take().expect("it runs");
        within(server.shutdown()).await;
    }

    /// Ends a member at once, as a crash would.
    pub(crate) fn kill(&mut self, at: usize) {
        drop(self.members[at].server.take().expect("it runs"));
    }

    /// Starts a member again, with the data it had.
    pub(crate) async fn restart(&mut self, at: usize) {
        let server = Server::start(&self.config(at), Log::to_stderr(Level::Error));
        let server = self.members[at].server.insert(server.expect("started again"));
        assert!(within(server.ready()).await, "clients are served");
    }

    /// Starts a member again, or says why that can't be.
    pub(crate) fn try_restart(&mut self, at: usize) -> Result<(), String> {
        let server = Server::start(&self.config(at), Log::to_stderr(Level::Fatal));
        self.members[at].server = Some(server.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Starts a member again that may find nobody, with a log of its own.
    pub(crate) fn restart_alone(&mut self, at: usize, log: &Log) {
        let server = Server::start(&self.config(at), log.clone()).expect("started again");
        self.members[at].server = Some(server);
    }

    /// Waits until a member has lost its store.
    pub(crate) async fn fallen(&self, at: usize) -> String {
        self.members[at].server.as_ref().expect("it runs").fallen().await
    }

    /// Ends a member that has.
    pub(crate) async fn abandon(&mut self, at: usize) {
        let server = self.members[at].server.take().expect("it runs");
        within(server.abandon()).await;
    }

    /// The sockets for those.
    fn metrics(&self) -> Vec<TcpListener> {
        let is_wanted = self.flags.iter().any(|flag| flag.starts_with("--listen-metrics-urls="));
        let bind = |()| TcpListener::bind("127.0.0.1:0").expect("a port");
        is_wanted.then_some(()).map(bind).into_iter().collect()
    }

    /// Where a member serves probes beside clients.
    pub(crate) fn metrics_address(&self, at: usize) -> SocketAddr {
        self.members[at].server.as_ref().expect("it runs").metrics_addresses()[0]
    }

    pub(crate) fn data_dir(&self, at: usize) -> &Path {
        self.members[at].directory.path()
    }

    pub(crate) fn address(&self, at: usize) -> SocketAddr {
        self.members[at].client
    }

    pub(crate) fn member_id(&self, at: usize) -> u64 {
        self.members[at].server.as_ref().expect("it runs").member_id()
    }

    pub(crate) async fn channel(&self, at: usize) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address(at)));
        within(endpoint.expect("a URL").connect()).await.expect("a connection")
    }

    pub(crate) async fn kv(&self, at: usize) -> pb::kv_client::KvClient<Channel> {
        pb::kv_client::KvClient::new(self.channel(at).await)
    }

    pub(crate) async fn lease(&self, at: usize) -> pb::lease_client::LeaseClient<Channel> {
        pb::lease_client::LeaseClient::new(self.channel(at).await)
    }

    pub(crate) async fn maintenance(
        &self,
        at: usize,
    ) -> pb::maintenance_client::MaintenanceClient<Channel> {
        pb::maintenance_client::MaintenanceClient::new(self.channel(at).await)
    }

    /// What a member says about itself.
    pub(crate) async fn status(&self, at: usize) -> pb::StatusResponse {
        let mut client = self.maintenance(at).await;
        within(client.status(pb::StatusRequest {})).await.expect("it always answers").into_inner()
    }

    /// The position of the member that leads, and of one that follows, if there is one.
    pub(crate) async fn roles(&self) -> (usize, Option<usize>) {
        let running: Vec<_> =
            (0..self.members.len()).filter(|&at| self.members[at].server.is_some()).collect();
        let leader = self.status(running[0]).await.leader;
        let leads = |at: &usize| self.member_id(*at) == leader;
        let leading = running.iter().copied().find(leads).expect("the leader runs");
        (leading, running.into_iter().find(|at| *at != leading))
    }

    /// Waits until a member has what another one has.
    pub(crate) async fn catch_up(&self, at: usize, with: usize) {
        let applied = self.status(with).await.raft_applied_index;
        within(async {
            while self.status(at).await.raft_applied_index < applied {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Fails unless a call was refused with exactly this.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    text: &str,
) {
    let status = answer.expect_err(text);
    assert_eq!((status.code(), status.message()), (code, text));
}

pub(crate) fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

pub(crate) fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

/// All keys that begin with a letter.
pub(crate) fn get_all(letter: u8) -> pb::RangeRequest {
    pb::RangeRequest {
        key: vec![letter].into(),
        range_end: vec![letter + 1].into(),
        ..Default::default()
    }
}

pub(crate) fn delete(key: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() }
}
