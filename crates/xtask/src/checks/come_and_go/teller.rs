//! Writes what is to be carried over, and tells all that a member knows.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::authpb::permission::Type;
use quorate_proto::authpb::{Permission, UserAddOptions};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::auth_client::AuthClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::mvccpb::KeyValue;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// How many keys are written.
const KEYS: usize = 1000;

/// How many of them are changed at once.
const AT_ONCE: usize = 100;

/// The leases, and how long they live. None is negative: etcd forgets those when it is started again.
const LEASES: [(i64, i64); 3] = [(0x1234, 3000), (0x5678, 4000), (1 << 62, 5000)];

/// Who may do everything, with the password.
pub(super) const ROOT: &str = "root:the password of root";

/// Who may read what begins with `key000`.
const JOE: (&str, &str) = ("joe", "the password of joe");

/// Up to which revision history is dropped.
const COMPACTED: i64 = 8;

/// The newest state.
#[derive(Debug, PartialEq)]
pub(super) struct Newest {
    pub(super) revision: i64,
    pub(super) keys: Vec<KeyValue>,
}

/// All that a member knows.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) newest: Newest,
    /// What was there at older revisions, or why nobody knows that.
    history: Vec<(i64, Result<Vec<KeyValue>, String>)>,
    /// Each with its time to live, and its keys.
    pub(super) leases: Vec<(i64, i64, Vec<Bytes>)>,
    /// Users, roles, and what was tried with them.
    users: Vec<String>,
}

impl Seen {
    /// A line for each thing, for whoever looks for a difference.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let Self { newest, history, leases, users } = self;
        let revision = format!("revision {}", newest.revision);
        let keys = newest.keys.iter().map(|kv| format!("now {kv:?}"));
        let leases = leases.iter().map(|lease| format!("lease {lease:?}"));
        let history = history.iter().flat_map(|(revision, at)| match at {
            Ok(keys) => keys.iter().map(|kv| format!("at {revision}: {kv:?}")).collect(),
            Err(why) => vec![format!("at {revision}: {why}")],
        });
        [revision].into_iter().chain(keys).chain(leases).chain(users.clone()).chain(history)
    }
}

fn other(status: Status) -> io::Error {
    io::Error::other(status)
}

fn key(number: usize) -> Bytes {
    Bytes::from(format!("key{number:04}"))
}

async fn connect(endpoint: &str) -> io::Result<Channel> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(io::Error::other)?;
    Ok(endpoint.timeout(Duration::from_secs(30)).connect_lazy())
}

/// Writes keys with history, leases and users to a new member, and switches rights on.
pub(super) async fn fill(endpoint: &str) -> io::Result<()> {
    let channel = connect(endpoint).await?;
    let patience = Instant::now() + Duration::from_secs(60);
    let mut kv = KvClient::new(channel.clone());
    while let Err(status) = kv.range(pb::RangeRequest { key: key(0), ..Default::default() }).await {
        if Instant::now() > patience {
            return Err(other(status));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut leases = LeaseClient::new(channel.clone());
    for (id, ttl) in LEASES {
        leases.lease_grant(pb::LeaseGrantRequest { id, ttl }).await.map_err(other)?;
    }
    // Every key has two versions or three, and each transaction is one revision.
    for round in 0..3 {
        let keys: Vec<usize> =
            (0..KEYS).filter(|number| round < 2 || number.is_multiple_of(3)).collect();
        for some in keys.chunks(AT_ONCE) {
            let success = some.iter().map(|&number| put(number, round));
            let txn = pb::TxnRequest { success: success.collect(), ..Default::default() };
            kv.txn(txn).await.map_err(other)?;
        }
    }
    let delete = |from, to| pb::DeleteRangeRequest {
        key: key(from),
        range_end: key(to),
        ..Default::default()
    };
    kv.delete_range(delete(500, 530)).await.map_err(other)?;
    for number in 520..530 {
        let again =
            pb::PutRequest { key: key(number), value: "again".into(), ..Default::default() };
        kv.put(again).await.map_err(other)?;
    }
    // Larger than a page, with bytes that are no text, and empty.
    for value in [vec![0xff; 100_000], vec![0, 1, 2], Vec::new()] {
        let odd = Bytes::from_static(b"\0odd\xff");
        let put = pb::PutRequest { key: odd, value: value.into(), ..Default::default() };
        kv.put(put).await.map_err(other)?;
    }
    let compact = pb::CompactionRequest { revision: COMPACTED, physical: true };
    kv.compact(compact).await.map_err(other)?;
    add_users(&mut AuthClient::new(channel)).await.map_err(other)
}

fn put(number: usize, round: usize) -> pb::RequestOp {
    let lease = match number % 10 {
        at @ 0..3 if round == 2 || !number.is_multiple_of(3) => LEASES[at].0,
        _ => 0,
    };
    let value = Bytes::from(format!("value {number} of round {round}"));
    let put = pb::PutRequest { key: key(number), value, lease, ..Default::default() };
    pb::RequestOp { request: Some(Op::RequestPut(put)) }
}

async fn add_users(auth: &mut AuthClient<Channel>) -> Result<(), Status> {
    let (root, password) = ROOT.split_once(':').expect("a name and a password");
    for (name, password) in [(root, password), JOE] {
        let (name, password) = (name.to_owned(), password.to_owned());
        auth.user_add(pb::AuthUserAddRequest { name, password, ..Default::default() }).await?;
    }
    let options = Some(UserAddOptions { no_password: true });
    let name = "certificate".to_owned();
    auth.user_add(pb::AuthUserAddRequest { name, options, ..Default::default() }).await?;
    for name in ["root", "reader", "nothing"] {
        auth.role_add(pb::AuthRoleAddRequest { name: name.to_owned() }).await?;
    }
    for (kind, key, range_end) in [
        (Type::Read, "key000", "key001"),
        (Type::Write, "written", ""),
        (Type::Readwrite, "z", "\0"),
    ] {
        let (key, range_end) = (Bytes::from(key), Bytes::from(range_end));
        let perm = Some(Permission { perm_type: kind.into(), key, range_end });
        let name = "reader".to_owned();
        auth.role_grant_permission(pb::AuthRoleGrantPermissionRequest { name, perm }).await?;
    }
    for (user, role) in [("root", "root"), ("joe", "reader"), ("joe", "nothing")] {
        let (user, role) = (user.to_owned(), role.to_owned());
        auth.user_grant_role(pb::AuthUserGrantRoleRequest { user, role }).await?;
    }
    auth.auth_enable(pb::AuthEnableRequest {}).await.map(drop)
}

/// Somebody who may ask for everything.
pub(super) struct Teller {
    channel: Channel,
    root: AsciiMetadataValue,
}

impl Teller {
    /// Lets root in, as soon as the member answers.
    pub(super) async fn of(endpoint: &str) -> io::Result<Self> {
        let channel = connect(endpoint).await?;
        let (name, password) = ROOT.split_once(':').expect("a name and a password");
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            match log_in(&channel, name, password).await {
                Ok(root) => return Ok(Self { channel, root }),
                Err(status) if Instant::now() > patience => return Err(other(status)),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.root)
    }

    async fn all(&self, revision: i64) -> Result<pb::RangeResponse, Status> {
        let all = Bytes::from_static(b"\0");
        let range =
            pb::RangeRequest { key: all.clone(), range_end: all, revision, ..Default::default() };
        let mut kv = KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        kv.range(self.request(range)).await.map(tonic::Response::into_inner)
    }

    /// The newest state.
    pub(super) async fn newest(&self) -> io::Result<Newest> {
        let found = self.all(0).await.map_err(other)?;
        Ok(Newest { revision: found.header.unwrap_or_default().revision, keys: found.kvs })
    }

    /// Everything.
    pub(super) async fn tell(&self) -> io::Result<Seen> {
        let newest = self.newest().await?;
        let mut history = Vec::new();
        for revision in 1..=newest.revision + 1 {
            let found = self.all(revision).await;
            let found = found.map(|found| found.kvs).map_err(|why| why.message().to_owned());
            history.push((revision, found));
        }
        let (leases, users) = (self.leases().await.map_err(other)?, self.users().await);
        Ok(Seen { newest, history, leases, users: users.map_err(other)? })
    }

    /// Changes most of what there is, so that the file is written to at all places.
    pub(super) async fn go_on(&self) -> io::Result<()> {
        let mut kv = KvClient::new(self.channel.clone());
        let delete =
            pb::DeleteRangeRequest { key: key(10), range_end: key(KEYS), ..Default::default() };
        let answer = kv.delete_range(self.request(delete)).await.map_err(other)?.into_inner();
        let revision = answer.header.unwrap_or_default().revision;
        let compact = pb::CompactionRequest { revision, physical: true };
        kv.compact(self.request(compact)).await.map_err(other)?;
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        maintenance.defragment(self.request(pb::DefragmentRequest {})).await.map_err(other)?;
        let left = self.newest().await?.keys.len();
        if left == 11 { Ok(()) } else { Err(io::Error::other(format!("{left} keys are left"))) }
    }

    async fn leases(&self) -> Result<Vec<(i64, i64, Vec<Bytes>)>, Status> {
        let mut client = LeaseClient::new(self.channel.clone());
        let listed = client.lease_leases(self.request(pb::LeaseLeasesRequest {})).await?;
        let mut leases = Vec::new();
        for lease in listed.into_inner().leases {
            let message = pb::LeaseTimeToLiveRequest { id: lease.id, keys: true };
            let found = client.lease_time_to_live(self.request(message)).await?.into_inner();
            let mut keys = found.keys;
            keys.sort();
            leases.push((lease.id, found.granted_ttl, keys));
        }
        leases.sort();
        Ok(leases)
    }

    async fn users(&self) -> Result<Vec<String>, Status> {
        let mut auth = AuthClient::new(self.channel.clone());
        let mut told = Vec::new();
        let status = auth.auth_status(self.request(pb::AuthStatusRequest {})).await?.into_inner();
        told.push(format!("rights: {}, revision {}", status.enabled, status.auth_revision));
        let mut users =
            auth.user_list(self.request(pb::AuthUserListRequest {})).await?.into_inner().users;
        users.sort();
        for name in users {
            let message = pb::AuthUserGetRequest { name: name.clone() };
            let mut roles = auth.user_get(self.request(message)).await?.into_inner().roles;
            roles.sort();
            told.push(format!("user {name}: {roles:?}"));
        }
        let mut roles =
            auth.role_list(self.request(pb::AuthRoleListRequest {})).await?.into_inner().roles;
        roles.sort();
        // It permits everything, whatever is written; newer versions of etcd say that, and older ones what is written.
        for role in roles.into_iter().filter(|role| role != "root") {
            let message = pb::AuthRoleGetRequest { role: role.clone() };
            let mut perm = auth.role_get(self.request(message)).await?.into_inner().perm;
            perm.sort_by(|a, b| a.key.cmp(&b.key));
            told.push(format!("role {role}: {perm:?}"));
        }
        for (name, password) in [JOE, (JOE.0, "another"), ("certificate", "any"), ("nobody", "any")]
        {
            let result = match log_in(&self.channel, name, password).await {
                Ok(token) => self.tried(&token).await,
                Err(why) => why.message().to_owned(),
            };
            told.push(format!("{name} with {password:?}: {result}"));
        }
        Ok(told)
    }

    /// What somebody may do.
    async fn tried(&self, token: &AsciiMetadataValue) -> String {
        let mut kv = KvClient::new(self.channel.clone());
        let mut told = String::new();
        for (from, to) in [(1, 9), (1, 11)] {
            let (key, range_end) = (key(from), key(to));
            let range = pb::RangeRequest { key, range_end, ..Default::default() };
            let found = kv.range(with_token(range, token)).await;
            let found = found.map(|found| found.into_inner().kvs.len());
            told +=
                &format!("{from} to {to}: {:?}; ", found.map_err(|why| why.message().to_owned()));
        }
        told
    }
}

fn with_token<T>(message: T, token: &AsciiMetadataValue) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.clone());
    request
}

async fn log_in(
    channel: &Channel,
    name: &str,
    password: &str,
) -> Result<AsciiMetadataValue, Status> {
    let (name, password) = (name.to_owned(), password.to_owned());
    let mut auth = AuthClient::new(channel.clone());
    let answer = auth.authenticate(pb::AuthenticateRequest { name, password }).await?;
    answer.into_inner().token.parse().map_err(|_| Status::internal("the token is no text"))
}
