//! One member from its start to its end.
//!
//! The order of the start is the order of what depends on what: identity, addresses, store, log and
//! peers (the host), and last the clients. A client is served only after the member has told its
//! name through the log: from then on whatever it asks can be answered.

use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use quorate_host::{Host, Machine, Permits, Space};
use quorate_mvcc::{Caller, Command, MemberAttributes, Outcome, Store};
use quorate_store::{DiskEngine, Options};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::accept::{Acceptor, Crowd, Lobby};
use crate::admission::Memory;
use crate::config::{ClientSocket, Config, Url};
use crate::files;
use crate::host;
use crate::http::Pages;
use crate::identity::{self, Identity};
use crate::leases::Leases;
use crate::log::Log;
use crate::login::{Backoff, Jwt, Passwords, Tokens};
use crate::machine::Replica;
use crate::member::{Limits, Member};
use crate::members::Caretaker;
use crate::metrics::Metrics;
use crate::published::Published;
use crate::rate::RateLimits;
use crate::rebuild::Rebuild;
use crate::rpc::{Failure, Services};
use crate::serve::{Calls, Front, client_patience, protocols, serve};
use crate::shutdown::{self, ShutdownSender};
use crate::tls::Tls;
use crate::{compactor, memory, quota, recover, repair, witness};

/// How long the end of the server waits for another member to take the lead, and then for requests
/// that are under way: a moment each, since whoever restarts a cluster waits for both.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);
const REQUESTS_PATIENCE: Duration = Duration::from_secs(2);

/// How often to look how full the disk is. A fast disk takes some hundred megabytes meanwhile.
const LOOK_AT_SPACE: Duration = Duration::from_millis(500);

/// How many connections whoever collects metrics and the probes may have together.
const PROBES_MAX: usize = 128;

/// How long to wait before the member's name is proposed again.
const PUBLISH_AGAIN: Duration = Duration::from_millis(100);

/// A member that runs. Dropped without [`Server::shutdown`], it ends at once: requests that are under
/// way are cut off, and no other member takes the lead.
#[derive(Debug)]
pub struct Server {
    member: Arc<Member>,
    host: Option<Host<Outcome>>,
    /// Runs the services. `None` only while the server is dropped.
    runtime: Option<Runtime>,
    /// What serves clients and keeps leases.
    tasks: JoinSet<()>,
    stop: ShutdownSender,
    ready: watch::Receiver<bool>,
    /// Why the member's store is lost, once it is.
    fallen: watch::Receiver<Option<String>>,
    client_addresses: Vec<SocketAddr>,
    metrics_addresses: Vec<SocketAddr>,
}

/// The sockets of a member, bound before it starts, so that their ports can be known.
#[derive(Debug)]
pub struct Listeners {
    /// For clients: one for each address, of however many URLs ([`ClientSocket::of`]).
    pub client: Vec<TcpListener>,
    /// For other members.
    pub peer: Vec<TcpListener>,
    /// For probes and whoever collects metrics, beside those for clients.
    pub metrics: Vec<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of a configuration.
    ///
    /// # Errors
    /// With the first address that can't be had.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let bind = |url: &Url| {
            TcpListener::bind(url.address())
                .map_err(|error| StartError(format!("can't listen on {url}: {error}")))
        };
        let sockets = ClientSocket::of(&config.listen_client);
        let bind_all = |urls: &[Url]| urls.iter().map(bind).collect::<Result<_, _>>();
        Ok(Self {
            client: sockets.iter().map(|socket| bind(&socket.url)).collect::<Result<_, _>>()?,
            peer: bind_all(&config.listen_peer)?,
            metrics: ClientSocket::of(&config.http.listen_metrics)
                .iter()
                .map(|socket| bind(&socket.url))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Why a member does not start, for the operator to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Starts a member. Returns when it takes part in its cluster; clients are served a moment later,
    /// when the cluster has a leader ([`Server::ready`]).
    ///
    /// # Errors
    /// What keeps it from starting.
    pub fn start(config: &Config, log: Log) -> Result<Self, StartError> {
        let listeners = Listeners::bind(config)?;
        Self::start_on(config, listeners, log)
    }

    /// Starts a member on sockets that are bound already.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub fn start_on(config: &Config, listeners: Listeners, log: Log) -> Result<Self, StartError> {
        for warning in &config.warnings {
            log.warn(warning);
        }
        let tls = Tls::open(config, &log).map_err(StartError)?;
        let transport = config.peer_links.transport(&log).map_err(StartError)?;
        let jwt = Jwt::open(&config.auth_token, &log).map_err(StartError)?;
        let identity = Identity::load_or_create(config, &log).map_err(StartError)?;
        log.info("starting the member")
            .with("name", &config.name)
            .with("member-id", format_args!("{:x}", identity.member_id))
            .with("cluster-id", format_args!("{:x}", identity.cluster_id))
            .with("data-dir", config.data_dir.display())
            .with("version", crate::version::QUORATE);
        if identity.rejoining.is_some() {
            log.info(
                "rejoining the cluster without what this member had: it has no vote until it has",
            );
        }

        let rebuild = Rebuild::new(&config.data_dir);
        if !identity.founding
            && identity.rejoining.is_none()
            && !rebuild.has_log().map_err(StartError)?
        {
            return Err(without_a_log(config, &identity));
        }
        let is_witness = identity.is_witness();
        let store = if is_witness {
            log.info("this member is a witness: it votes, keeps no data and serves no requests");
            witness::no_state()
        } else {
            open_store(&config.data_dir, &rebuild, &identity, &log)?
        };
        let metrics = Arc::new(Metrics::new(config.http.extensive_metrics));
        let waits_max = quorate_host::Limits::default().reads;
        let published = Published::new(store.read_state(), store.size(), waits_max);
        let published = Arc::new(published);
        let leases = Arc::new(Leases::new());
        let tokens = Arc::new(Tokens::new(config.auth_token_ttl));
        let space = Space::open(&config.data_dir).map_err(|error| {
            StartError(format!("can't ask how full {} is: {error}", config.data_dir.display()))
        })?;
        let machine: Box<dyn Machine<Outcome = Outcome>> = if is_witness {
            Box::new(witness::open(&config.data_dir, &rebuild, &log).map_err(StartError)?)
        } else {
            let space = Arc::clone(&space);
            let (published, leases, tokens) = (published.clone(), leases.clone(), tokens.clone());
            Box::new(Replica::new(store, published, leases, tokens, space, metrics.clone()))
        };
        let (fall, fallen) = watch::channel(None);
        let again: std::io::Result<Vec<_>> =
            listeners.peer.iter().map(TcpListener::try_clone).collect();
        let mut host_config =
            host::config(config, &identity, listeners.peer, &metrics, &log, &space, fall);
        host_config.transport = transport;
        let (host, handle) = match Host::start(host_config, machine) {
            Ok(started) => started,
            Err(error) if identity.others_have_the_state() && error.log_is_lost().is_some() => {
                log.error(
                    "the log is lost: this member begins as after the loss of its disk, without a vote",
                )
                .with("error", &error);
                rebuild.forget(&error.to_string()).map_err(StartError)?;
                let peer = again.map_err(|error| StartError(error.to_string()))?;
                let listeners = Listeners { peer, ..listeners };
                return Self::start_on(config, listeners, log);
            }
            Err(error) if !identity.others_have_the_state() && error.is_damage() => {
                let command = repair::command_for(&identity, &config.data_dir);
                return Err(StartError(format!("{error}; `{command}` tells what can be saved")));
            }
            Err(error) => return Err(StartError(error.to_string())),
        };
        for tidy_up in [repair::tidy_up, recover::tidy_up] {
            if let Err(error) = tidy_up(&config.data_dir) {
                log.warn("what a repair left stays").with("error", error);
            }
        }

        let runtime =
            Builder::new_multi_thread().enable_all().thread_name("quorate-rpc").build().map_err(
                |error| StartError(format!("can't start the threads for clients: {error}")),
            )?;
        let clients_memory = Memory::new(config.client_limits.memory.bytes(memory::available()));
        let (stop, stopped) = shutdown::channel();
        let member = Arc::new(Member {
            attributes: MemberAttributes {
                id: identity.member_id,
                name: config.name.clone(),
                client_urls: config.advertise_client.iter().map(ToString::to_string).collect(),
            },
            identity,
            token: config.initial_token.clone(),
            limits: limits(config),
            handle,
            published,
            memory: clients_memory,
            rates: RateLimits::new(config.client_limits.rates.clone()),
            watchers: Permits::new(config.client_limits.watchers, usize::MAX),
            space,
            refused: Notify::new(),
            passwords: Passwords::new(),
            backoff: Backoff::new(),
            tokens,
            jwt: jwt.clone(),
            tls: tls.clone(),
            metrics,
            log,
            stop: stopped,
        });
        answer_other_members(&member, &leases, &runtime);

        let (ready_sender, ready) = watch::channel(false);
        let mut server = Self {
            member: member.clone(),
            host: Some(host),
            tasks: JoinSet::new(),
            stop,
            ready,
            fallen,
            client_addresses: Vec::new(),
            metrics_addresses: Vec::new(),
            runtime: Some(runtime),
        };
        server.spawn(leases.clone().run(member.clone()));
        let (data_dir, replace_after) = (config.data_dir.clone(), config.replace_failed_after);
        server.spawn(Caretaker::new(member.clone(), data_dir, replace_after).run());
        if let Some(jwt) = jwt {
            server.spawn(jwt.keep_fresh(member.stop.clone()));
        }
        if let Some(tls) = tls {
            server.spawn(tls.keep_fresh(member.stop.clone()));
        }
        server.spawn(watch_space(member.clone()));
        if !is_witness {
            server.spawn(quota::Keeper::new(member.clone()).run());
            if let Some(policy) = config.auto_compaction {
                server.spawn(compactor::run(member, policy));
            }
        }
        server.serve_probes(config, listeners.metrics)?;
        server.serve_clients(config, listeners.client, leases, rebuild, ready_sender)?;
        Ok(server)
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.as_ref().expect("the runtime is there until the end");
        self.tasks.spawn_on(task, runtime.handle());
    }

    /// Serves `/metrics` and the probes at once: they are asked for most while there is nobody else to talk to.
    fn serve_probes(
        &mut self,
        config: &Config,
        listeners: Vec<TcpListener>,
    ) -> Result<(), StartError> {
        let member = self.member.clone();
        let pages = Pages { member: member.clone(), only_probes: true };
        let front = Arc::new(Front { calls: None, pages });
        let acceptor = Acceptor {
            plain: true,
            tls: None,
            crowd: Arc::new(Crowd::new(PROBES_MAX)),
            lobby: Arc::new(Lobby::within(PROBES_MAX)),
            patience: config.tls.handshake_timeout,
        };
        let sockets = ClientSocket::of(&config.http.listen_metrics);
        assert_eq!(sockets.len(), listeners.len(), "one for each address");
        for (listener, socket) in listeners.into_iter().zip(sockets) {
            let listener = self.listen(listener)?;
            self.metrics_addresses.push(listener.local_addr().map_err(unusable)?);
            let tls = member.tls.clone().filter(|_| socket.secure);
            let acceptor = Acceptor { plain: socket.plain, tls, ..acceptor.clone() };
            let protocols = protocols(config);
            let (stop, log) = (member.stop.clone(), member.log.clone());
            self.spawn(serve(listener, acceptor, protocols, front.clone(), stop, log));
        }
        Ok(())
    }

    /// Registers a socket with the runtime that it will be used on.
    fn listen(&self, listener: TcpListener) -> Result<tokio::net::TcpListener, StartError> {
        let _entered = self.runtime.as_ref().expect("it is running").enter();
        listener.set_nonblocking(true).map_err(unusable)?;
        tokio::net::TcpListener::from_std(listener).map_err(unusable)
    }

    /// Serves clients as soon as the member has told its name. Until then connections wait.
    fn serve_clients(
        &mut self,
        config: &Config,
        listeners: Vec<TcpListener>,
        leases: Arc<Leases>,
        rebuild: Rebuild,
        ready: watch::Sender<bool>,
    ) -> Result<(), StartError> {
        let member = self.member.clone();
        let front = Arc::new(Front {
            calls: Some(Calls {
                services: Services::new(member.clone(), leases),
                has_gateway: config.http.gateway,
            }),
            pages: Pages { member: member.clone(), only_probes: false },
        });
        let protocols = protocols(config);
        let connections_max = files::for_clients();
        let crowd = Arc::new(Crowd::new(connections_max));
        let lobby = Arc::new(Lobby::within(connections_max));
        let sockets = ClientSocket::of(&config.listen_client);
        assert_eq!(sockets.len(), listeners.len(), "one for each address");
        let mut waiting = Vec::new();
        for (listener, socket) in listeners.into_iter().zip(sockets) {
            let listener = self.listen(listener)?;
            self.client_addresses.push(listener.local_addr().map_err(unusable)?);
            let acceptor = Acceptor {
                plain: socket.plain,
                tls: member.tls.clone().filter(|_| socket.secure),
                crowd: crowd.clone(),
                lobby: lobby.clone(),
                patience: config.tls.handshake_timeout,
            };
            waiting.push((listener, acceptor));
        }
        let mut serving = JoinSet::new();
        self.spawn(async move {
            if !publish(&member).await {
                return;
            }
            // What it told the cluster has come back to it, and so has everything before.
            if rebuild.is_under_way() {
                match tokio::task::block_in_place(|| rebuild.complete()) {
                    Ok(()) => drop(member.log.info("this member has everything again")),
                    Err(error) => {
                        drop(member.log.warn("what was put aside stays").with("error", error))
                    }
                }
            }
            for (listener, acceptor) in waiting {
                if let Ok(address) = listener.local_addr() {
                    member.log.info("ready to serve client requests");
                    let ways = [
                        (acceptor.plain, "insecurely; this is strongly discouraged!"),
                        (acceptor.tls.is_some(), "securely"),
                    ];
                    for (_, how) in ways.into_iter().filter(|(is_served, _)| *is_served) {
                        member
                            .log
                            .info(&format!("serving client traffic {how}"))
                            .with("traffic", "grpc+http")
                            .with("address", address);
                    }
                }
                let (protocols, front) = (protocols.clone(), front.clone());
                let (stop, log) = (member.stop.clone(), member.log.clone());
                serving.spawn(serve(listener, acceptor, protocols, front, stop, log));
            }
            ready.send_replace(true);
            while serving.join_next().await.is_some() {}
        });
        Ok(())
    }

    /// Resolves when clients are served, or when that can't happen any more; says which.
    pub async fn ready(&self) -> bool {
        self.ready.clone().wait_for(|ready| *ready).await.is_ok()
    }

    /// Resolves when this member had to stop because its store is lost, with the report. That is noted
    /// in the data directory: started again, the member begins with an empty store, and other members
    /// have what it lacks. To be followed by [`Server::abandon`].
    pub async fn fallen(&self) -> String {
        let mut fallen = self.fallen.clone();
        match fallen.wait_for(Option::is_some).await {
            Ok(report) => report.clone().expect("waited for it"),
            // The host is gone, and nobody is left who could tell.
            Err(_) => std::future::pending().await,
        }
    }

    /// Resolves when this member was removed from the cluster, and nothing is left for it to do.
    pub async fn removed(&self) {
        let mut status = self.member.handle.subscribe();
        if status.wait_for(|status| status.was_removed).await.is_err() {
            // The host is gone, and nobody is left who could tell.
            std::future::pending().await
        }
    }

    /// Ends a member that has fallen: nothing is handed over or finished. Returns when its threads have
    /// ended and its files and sockets are free.
    pub async fn abandon(mut self) {
        self.stop.send();
        let host = self.host.take();
        let runtime = self.runtime.take();
        self.tasks.abort_all();
        // Threads are waited for, which no executor should do.
        let (ended, end) = tokio::sync::oneshot::channel();
        let wait = std::thread::Builder::new().name("quorate-end".into()).spawn(move || {
            drop(host);
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(REQUESTS_PATIENCE);
            }
            let _ = ended.send(());
        });
        if wait.is_ok() {
            let _ = end.await;
        }
    }

    /// Where clients are served, in the order of the configuration.
    #[must_use]
    pub fn client_addresses(&self) -> &[SocketAddr] {
        &self.client_addresses
    }

    /// Where `/metrics` and the probes are served beside that, in the order of the configuration.
    #[must_use]
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        &self.metrics_addresses
    }

    /// The member's id.
    #[must_use]
    pub fn member_id(&self) -> u64 {
        self.member.identity.member_id
    }

    /// Ends the member in good order: hands its lead over, lets requests that are under way finish,
    /// ends streams with the word that it stops, and makes the store durable.
    pub async fn shutdown(mut self) {
        let member = self.member.clone();
        // Before anything else, so that nobody hands the lead back that this member hands over.
        member.handle.announce_end();
        let status = member.handle.status();
        if status.is_leader() && status.membership.voters.len() > 1 {
            // Without a leader the cluster would wait for an election timeout. If nobody takes over,
            // it does.
            let _ = timeout_on(&self, HANDOVER_PATIENCE, {
                let handle = member.handle.clone();
                async move { handle.transfer_leadership(None).await }
            })
            .await;
        }
        self.stop.send();
        let mut tasks = std::mem::take(&mut self.tasks);
        let finished = timeout_on(&self, REQUESTS_PATIENCE, async move {
            while tasks.join_next().await.is_some() {}
        });
        if !finished.await {
            member.log.warn("some requests were cut off");
        }
        let host = self.host.take().expect("the host is there until the end");
        let runtime = self.runtime.as_ref().expect("the runtime is there until the end");
        // To stop is to wait for threads, which no executor should do.
        if runtime.spawn_blocking(move || host.shutdown()).await.is_err() {
            member.log.error("failed to stop the log and the store in good order");
        }
        member.log.info("closed etcd server").with("name", &member.attributes.name);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which may not be done from within another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a future on the server's own runtime, for as long as that. Says whether it came to its end.
async fn timeout_on<T: Send + 'static>(
    server: &Server,
    patience: Duration,
    future: impl Future<Output = T> + Send + 'static,
) -> bool {
    let runtime = server.runtime.as_ref().expect("the runtime is there until the end");
    let ended = runtime.spawn(async move { timeout(patience, future).await.is_ok() });
    ended.await.unwrap_or(false)
}

fn unusable(error: std::io::Error) -> StartError {
    StartError(format!("can't serve on a socket: {error}"))
}

/// A member that had a log once, and has none: it would begin with all its votes to give again.
fn without_a_log(config: &Config, identity: &Identity) -> StartError {
    let data_dir = &config.data_dir;
    let advice = match identity.others_have_the_state() {
        false => format!("`{}` tells what can be saved", repair::command_for(identity, data_dir)),
        true => "start it on an empty --data-dir with --initial-cluster-state=existing".to_owned(),
    };
    StartError(format!(
        "there is no log in {}: this member no longer knows what it promised; {advice}",
        data_dir.display()
    ))
}

/// Opens the store in the data directory; or, if it is lost, an empty one in its place.
fn open_store(
    data_dir: &Path,
    rebuild: &Rebuild,
    identity: &Identity,
    log: &Log,
) -> Result<Store, StartError> {
    let path = data_dir.join(identity::STORE);
    let open = || {
        let engine = DiskEngine::open(&path, Options::default())?;
        Store::open(Box::new(engine))
    };
    let unusable = |why: &dyn fmt::Display| {
        StartError(format!("can't open the store in {}: {why}", path.display()))
    };
    // One that is alone, or with witnesses, never notes it: it has nobody to begin anew with.
    let is_alone = !identity.others_have_the_state();
    let noted = if is_alone { None } else { rebuild.noted().map_err(StartError)? };
    let report = match noted {
        Some(report) => report,
        None => match open() {
            Ok(store) => return Ok(store),
            Err(fault) if fault.kind.loses_state() => fault.report,
            Err(fault) => return Err(unusable(&fault)),
        },
    };
    if is_alone {
        return Err(StartError(format!(
            "{report}; the store in {} is lost, and no other member has what it held; nothing was \
             changed; `{}` tells what can be saved",
            path.display(),
            repair::command_for(identity, data_dir)
        )));
    }
    log.error("the store is lost: this member begins without it, and gets from the others what its log lacks")
        .with("path", path.display())
        .with("error", &report);
    rebuild.note(&report).and_then(|()| rebuild.put_aside()).map_err(StartError)?;
    open().map_err(|fault| unusable(&fault))
}

fn limits(config: &Config) -> Limits {
    // Three halves of an election timeout in whole seconds, as in etcd: a lease outlives the time in
    // which nobody can renew it.
    let lease_ttl_min = (config.election_timeout * 3 / 2).as_millis().div_ceil(1000);
    Limits {
        txn_ops_max: config.max_txn_ops,
        request_bytes_max: config.max_request_bytes,
        quota: config.quota,
        lease_ttl_min: i64::try_from(lease_ttl_min).unwrap_or(i64::MAX),
        stream_watchers_max: config.client_limits.stream_watchers,
        progress_interval: config.progress_interval,
        request_timeout: config.request_timeout(),
        lease_extension: config.election_timeout,
        client_patience: client_patience(config.tls.handshake_timeout),
        leaderless_max: 3 * config.election_timeout,
    }
}

/// Lets other members ask this one about its leases, for a change of members, to hear a name, and since when the members
/// are who they are. The handle keeps who answers, and the member keeps the handle; the weak reference lets both go.
fn answer_other_members(member: &Arc<Member>, leases: &Arc<Leases>, runtime: &Runtime) {
    let asked: Weak<Member> = Arc::downgrade(member);
    let (leases, runtime) = (leases.clone(), runtime.handle().clone());
    member.handle.set_ask_handler(Arc::new(move |from, question, reply| {
        let Some(member) = asked.upgrade() else { return };
        let leases = leases.clone();
        runtime.spawn(async move {
            // Without an answer, the reply that is dropped says so.
            let mut answer = leases.answer(&member, question.clone()).await;
            if answer.is_none() {
                answer = member.grant(&question).await;
            }
            if answer.is_none() {
                answer = member.hear_name(from, &question).await;
            }
            if answer.is_none() {
                answer = member.tell_since(&question);
            }
            if let Some(answer) = answer {
                reply.send(answer);
            }
        });
    }));
}

/// Looks how full the disk is, and tells when that changes what clients may do.
async fn watch_space(member: Arc<Member>) {
    let mut stop = member.stop.clone();
    let mut was_scarce = false;
    loop {
        tokio::select! {
            () = sleep(LOOK_AT_SPACE) => {}
            () = stop.requested() => return,
        }
        // A disk that does not answer here does not take writes either, and is heard of there.
        let Ok(room) = tokio::task::block_in_place(|| member.space.look()) else { continue };
        let is_scarce = member.space.is_scarce();
        if is_scarce != was_scarce {
            was_scarce = is_scarce;
            let line = if is_scarce {
                member.log.warn("the disk is nearly full: only writes that need no space go on")
            } else {
                member.log.info("the disk has room again")
            };
            drop(line.number("free-bytes", room.free).number("low-water-mark", room.low()));
        }
    }
}

/// Tells it once.
async fn tell(member: &Member) -> Result<(), Failure> {
    if member.identity.is_witness() {
        return member.tell_name().await;
    }
    member.propose(&Caller::Nobody, Command::Member(member.attributes.clone())).await.map(drop)
}

/// Tells the cluster this member's name and where clients reach it; again, until that is in the log.
/// Says whether it is: a member that stops gives up.
async fn publish(member: &Member) -> bool {
    let mut stop = member.stop.clone();
    loop {
        let published = tokio::select! {
            published = tell(member) => published,
            () = stop.requested() => return false,
        };
        match published {
            Ok(()) => break,
            Err(failure) => {
                member
                    .log
                    .warn("failed to publish local member to cluster through raft")
                    .with("error", failure.text());
            }
        }
        sleep(PUBLISH_AGAIN).await;
    }
    member
        .log
        .info("published local member to cluster through raft")
        .with("local-member-id", format_args!("{:x}", member.identity.member_id))
        .with("local-member-name", &member.attributes.name)
        .with("cluster-id", format_args!("{:x}", member.identity.cluster_id));
    true
}
