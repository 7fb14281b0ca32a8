//! How the client reaches a cluster: the first endpoint that answers.

mod transport;

use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use quorate_proto::etcdserverpb::AuthenticateRequest;
use quorate_proto::etcdserverpb::auth_client::AuthClient;
use quorate_proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::quoratepb::membership_client::MembershipClient;
use tokio::sync::OnceCell;
use tonic::body::Body;
use tonic::client::GrpcService as _;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use self::transport::{NotConnected, Transport};

/// How to reach a cluster.
#[derive(Debug, clap::Args)]
// Both are flattened into a command, and so would be two groups of one name.
#[group(skip)]
pub(crate) struct Options {
    /// Where members listen, separated by commas; each is tried until one answers.
    #[arg(long, global = true, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    #[arg(env = "QUORATE_ENDPOINTS", help_heading = "Connection")]
    endpoints: Vec<String>,
    /// The user who asks, as NAME:PASSWORD.
    #[arg(long, global = true, value_parser = parse_user)]
    #[arg(env = "QUORATE_USER", hide_env_values = true, help_heading = "Connection")]
    user: Option<User>,
    /// How long a request may take, in seconds.
    #[arg(long, global = true, default_value_t = 8.0, help_heading = "Connection")]
    timeout: f64,
    #[command(flatten)]
    transport: transport::Options,
}

/// A name and a password, which is not shown.
#[derive(Clone)]
struct User {
    name: String,
    password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

fn parse_user(text: &str) -> Result<User, String> {
    let (name, password) =
        text.split_once(':').ok_or("a name, a colon and a password are needed")?;
    Ok(User { name: name.to_owned(), password: password.to_owned() })
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The cluster refused.
    Refused(Status),
    /// Nobody answers.
    Unreachable(String),
    /// What was typed makes no sense.
    Input(String),
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Unreachable(_) => 2,
            Self::Input(_) => 3,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => f.write_str(&reason(status)),
            Self::Unreachable(why) | Self::Input(why) => f.write_str(why),
        }
    }
}

/// A way to the cluster.
#[derive(Debug)]
pub(crate) struct Connection {
    endpoints: Vec<(String, Channel)>,
    timeout: Duration,
    user: Option<User>,
    /// What the user got for the password, once it was shown.
    token: OnceCell<Token>,
}

impl Connection {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let timeout = Duration::try_from_secs_f64(options.timeout)
            .map_err(|error| Error::Input(format!("--timeout {}: {error}", options.timeout)))?;
        let transport = Transport::new(&options.transport, &options.endpoints)?;
        let endpoints = options.endpoints.iter().map(|endpoint| {
            let (address, tls) = transport.of(endpoint)?;
            let prepared = Endpoint::from_shared(address)
                .map_err(|error| Error::Input(format!("{endpoint}: {error}")))?
                .connect_timeout(Duration::from_secs(2))
                .tcp_nodelay(true);
            let channel = match tls {
                None => prepared.connect_lazy(),
                Some(tls) => prepared.connect_with_connector_lazy(tls),
            };
            Ok((endpoint.clone(), channel))
        });
        Ok(Self {
            endpoints: endpoints.collect::<Result<_, _>>()?,
            timeout,
            user: options.user.clone(),
            token: OnceCell::new(),
        })
    }

    /// A way to the one member at `address`, a host and a port.
    pub(crate) fn to(address: &str, timeout: Duration) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .expect("a host and a port make an address")
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .connect_lazy();
        let endpoints = vec![(address.to_owned(), channel)];
        Self { endpoints, timeout, user: None, token: OnceCell::new() }
    }

    /// Each endpoint by itself, for the commands that ask every member.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&str, Self)> {
        self.endpoints.iter().map(|(name, channel)| {
            let endpoints = vec![(name.clone(), channel.clone())];
            let (timeout, user, token) = (self.timeout, self.user.clone(), self.token.clone());
            (name.as_str(), Self { endpoints, timeout, user, token })
        })
    }

    /// Makes a call at the first endpoint that can be reached. A request that may have reached a
    /// member is not repeated at another.
    pub(crate) async fn call<T, F>(&self, call: impl Fn(Clients, Duration) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let token = self.token.get_or_try_init(|| self.log_in()).await?;
        self.call_with(token, call).await
    }

    /// Shows the password of the user, if there is one, where users are asked for it.
    async fn log_in(&self) -> Result<Token, Error> {
        let Some(User { name, password }) = &self.user else { return Ok(Token(None)) };
        let message = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let answer = self.call_with(&Token(None), |clients, timeout| {
            let message = message.clone();
            async move { clients.auth().authenticate(request(message, timeout)).await }
        });
        match answer.await {
            Ok(answer) => {
                let token = answer.token.parse();
                Ok(Token(Some(token.map_err(|_| Error::Input("the token is no text".into()))?)))
            }
            // As etcd's clients have it: then nobody has to say who he is.
            Err(Error::Refused(status)) if status.code() == Code::FailedPrecondition => {
                Ok(Token(None))
            }
            Err(error) => Err(error),
        }
    }

    async fn call_with<T, F>(
        &self,
        token: &Token,
        call: impl Fn(Clients, Duration) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut reasons = Vec::new();
        for (name, channel) in &self.endpoints {
            let clients = Clients(InterceptedService::new(channel.clone(), token.clone()));
            match tokio::time::timeout(self.timeout, call(clients, self.timeout)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if never_left(&status) => {
                    reasons.push(format!("{name}: {}", reason(&status)));
                }
                Ok(Err(status)) => return Err(Error::Refused(status)),
                Err(_) => {
                    let why = format!("{name}: no answer within {} s", self.timeout.as_secs_f64());
                    return Err(Error::Unreachable(why));
                }
            }
        }
        Err(Error::Unreachable(reasons.join("\n         ")))
    }

    /// A page of the first endpoint that has it. For what one can do without: nobody is told why there is
    /// none, and an etcd has other pages.
    pub(crate) async fn page(&self, path: &str) -> Option<Bytes> {
        for (_, channel) in &self.endpoints {
            let page = page_of(channel.clone(), path);
            if let Ok(Some(page)) = tokio::time::timeout(self.timeout, page).await {
                return Some(page);
            }
        }
        None
    }
}

/// A page of a member, if it has such a one and answers in time.
async fn page_of(mut channel: Channel, path: &str) -> Option<Bytes> {
    poll_fn(|context| channel.poll_ready(context)).await.ok()?;
    let request = http::Request::get(path).body(Body::empty()).ok()?;
    let response = channel.call(request).await.ok()?;
    let is_there = response.status() == StatusCode::OK;
    let body = response.into_body().collect().await.ok()?;
    is_there.then(|| body.to_bytes())
}

/// Whether the connection itself could not be made.
fn never_left(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<NotConnected>() {
            return true;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::ConnectionRefused
                || status.code() == Code::Unavailable
                    && error.kind() == std::io::ErrorKind::TimedOut;
        }
        source = error.source();
    }
    false
}

/// The innermost reason, which is the one that helps.
fn reason(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        reason = error.to_string();
        source = error.source();
    }
    reason
}

/// What is sent with each request, if its user was let in.
#[derive(Clone)]
pub(crate) struct Token(Option<AsciiMetadataValue>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// A connection on which a user is known.
pub(crate) type Line = InterceptedService<Channel, Token>;

/// The services of one member.
#[derive(Clone, Debug)]
pub(crate) struct Clients(Line);

impl Clients {
    fn auth(self) -> AuthClient<Line> {
        AuthClient::new(self.0)
    }

    pub(crate) fn kv(self) -> KvClient<Line> {
        KvClient::new(self.0).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn lease(self) -> LeaseClient<Line> {
        LeaseClient::new(self.0)
    }

    pub(crate) fn watch(self) -> WatchClient<Line> {
        WatchClient::new(self.0).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn cluster(self) -> ClusterClient<Line> {
        ClusterClient::new(self.0)
    }

    pub(crate) fn membership(self) -> MembershipClient<Line> {
        MembershipClient::new(self.0)
    }

    pub(crate) fn maintenance(self) -> MaintenanceClient<Line> {
        MaintenanceClient::new(self.0)
    }
}

/// A request that tells the member how long anybody waits for it.
pub(crate) fn request<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
