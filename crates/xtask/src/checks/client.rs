//! The few calls that the checks make, over the public wire.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, DeleteRangeResponse, HashKvRequest, HashKvResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MoveLeaderRequest, PutRequest, PutResponse, RangeRequest, RangeResponse,
    StatusRequest, StatusResponse, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// A connection to one member, made when first needed.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
    timeout: Duration,
}

impl Client {
    /// A client of the member at `endpoint` whose calls end after `timeout`.
    pub(crate) fn new(endpoint: &str, timeout: Duration) -> Self {
        let endpoint = Endpoint::from_shared(endpoint.to_owned())
            .expect("the harness makes well-formed addresses")
            .connect_timeout(timeout)
            .tcp_nodelay(true);
        Self { channel: endpoint.connect_lazy(), timeout }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Puts a key and returns the revision.
    pub(crate) async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<i64, Status> {
        let message = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
        let response = within(self.timeout, self.kv().put(self.request(message))).await?;
        Ok(response.header.unwrap_or_default().revision)
    }

    /// Puts a key in all the ways there are.
    pub(crate) async fn put_with(&self, message: PutRequest) -> Result<PutResponse, Status> {
        within(self.timeout, self.kv().put(self.request(message))).await
    }

    /// Deletes a range.
    pub(crate) async fn delete_range(
        &self,
        message: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Status> {
        within(self.timeout, self.kv().delete_range(self.request(message))).await
    }

    /// Carries out a transaction.
    pub(crate) async fn txn(&self, message: TxnRequest) -> Result<TxnResponse, Status> {
        within(self.timeout, self.kv().txn(self.request(message))).await
    }

    /// Opens a watch; the stream lasts until it is dropped.
    pub(crate) async fn watch(
        &self,
        wish: WatchCreateRequest,
    ) -> Result<Streaming<WatchResponse>, Status> {
        let wish = WatchRequest { request_union: Some(RequestUnion::CreateRequest(wish)) };
        // The request stream stays open, as its end would be the end of the watch.
        let requests = tokio_stream::iter([wish]).chain(tokio_stream::pending());
        let mut watch =
            WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        within(self.timeout, watch.watch(requests)).await
    }

    /// Opens a stream of many watches, which ends where its member has no leader for long. It lasts until it is
    /// dropped, or the requests end.
    pub(crate) async fn watch_many(
        &self,
        requests: impl Stream<Item = WatchRequest> + Send + 'static,
    ) -> Result<Streaming<WatchResponse>, Status> {
        let mut request = Request::new(requests);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let mut watch =
            WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        within(self.timeout, watch.watch(request)).await
    }

    /// What is left of a lease.
    pub(crate) async fn time_to_live(&self, id: i64) -> Result<LeaseTimeToLiveResponse, Status> {
        let mut lease = LeaseClient::new(self.channel.clone());
        let request = self.request(LeaseTimeToLiveRequest { id, keys: false });
        within(self.timeout, lease.lease_time_to_live(request)).await
    }

    /// Keeps a lease alive once; its new time to live in seconds, 0 if it is gone.
    pub(crate) async fn keep_alive(&self, id: i64) -> Result<i64, Status> {
        let mut lease = LeaseClient::new(self.channel.clone());
        let requests = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
        let answer = async {
            let mut answers = lease.lease_keep_alive(requests).await?.into_inner();
            let answer = answers.message().await?;
            let answer = answer.ok_or_else(|| Status::unavailable("the stream ended"))?;
            Ok(tonic::Response::new(answer.ttl))
        };
        within(self.timeout, answer).await
    }

    /// Deletes a key and returns the revision.
    pub(crate) async fn delete(&self, key: impl Into<Bytes>) -> Result<i64, Status> {
        let message = DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() };
        let response = within(self.timeout, self.kv().delete_range(self.request(message))).await?;
        Ok(response.header.unwrap_or_default().revision)
    }

    /// Reads a range.
    pub(crate) async fn range(&self, message: RangeRequest) -> Result<RangeResponse, Status> {
        within(self.timeout, self.kv().range(self.request(message))).await
    }

    /// Reads every key that begins with `prefix`, which does not end with the byte 255.
    pub(crate) async fn prefix(
        &self,
        prefix: &str,
        serializable: bool,
    ) -> Result<RangeResponse, Status> {
        let range_end = end_of_prefix(prefix);
        let key = Bytes::copy_from_slice(prefix.as_bytes());
        self.range(RangeRequest { key, range_end, serializable, ..RangeRequest::default() }).await
    }

    /// Deletes every key that begins with `prefix`, and returns the revision.
    pub(crate) async fn delete_prefix(&self, prefix: &str) -> Result<i64, Status> {
        let range_end = end_of_prefix(prefix);
        let key = Bytes::copy_from_slice(prefix.as_bytes());
        let message = DeleteRangeRequest { key, range_end, prev_kv: false };
        let response = within(self.timeout, self.kv().delete_range(self.request(message))).await?;
        Ok(response.header.unwrap_or_default().revision)
    }

    /// Drops the history before a revision.
    pub(crate) async fn compact(&self, revision: i64) -> Result<(), Status> {
        let message = CompactionRequest { revision, physical: false };
        within(self.timeout, self.kv().compact(self.request(message))).await.map(drop)
    }

    /// Asks a member about itself.
    pub(crate) async fn status(&self) -> Result<StatusResponse, Status> {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        within(self.timeout, maintenance.status(self.request(StatusRequest {}))).await
    }

    /// Whether the member answers, and says that it leads.
    pub(crate) async fn leads(&self) -> bool {
        self.status().await.is_ok_and(|status| {
            status.leader != 0
                && Some(status.leader) == status.header.map(|header| header.member_id)
        })
    }

    /// The members of the cluster, ascending by id.
    pub(crate) async fn members(&self) -> Result<Vec<Member>, Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let request = self.request(MemberListRequest { linearizable: true });
        Ok(within(self.timeout, cluster.member_list(request)).await?.members)
    }

    /// Adds a member that others will reach at a URL, and returns its id.
    pub(crate) async fn member_add(&self, peer_url: &str, is_learner: bool) -> Result<u64, Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let message = MemberAddRequest { peer_ur_ls: vec![peer_url.to_owned()], is_learner };
        let answer = within(self.timeout, cluster.member_add(self.request(message))).await?;
        Ok(answer.member.unwrap_or_default().id)
    }

    /// Makes a learner a voter.
    pub(crate) async fn member_promote(&self, id: u64) -> Result<(), Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let request = self.request(MemberPromoteRequest { id });
        within(self.timeout, cluster.member_promote(request)).await.map(drop)
    }

    /// Removes a member.
    pub(crate) async fn member_remove(&self, id: u64) -> Result<(), Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let request = self.request(MemberRemoveRequest { id });
        within(self.timeout, cluster.member_remove(request)).await.map(drop)
    }

    /// Makes a member the leader. Only the present leader can be asked for it.
    pub(crate) async fn move_leader(&self, target_id: u64) -> Result<(), Status> {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        let request = self.request(MoveLeaderRequest { target_id });
        within(self.timeout, maintenance.move_leader(request)).await.map(drop)
    }

    /// Grants a lease with this id, for so many seconds.
    pub(crate) async fn grant(&self, id: i64, ttl: i64) -> Result<(), Status> {
        let mut lease = LeaseClient::new(self.channel.clone());
        let request = self.request(LeaseGrantRequest { id, ttl });
        within(self.timeout, lease.lease_grant(request)).await.map(drop)
    }

    /// Grants a lease whose id the server chooses, for so many seconds.
    pub(crate) async fn grant_any(&self, ttl: i64) -> Result<LeaseGrantResponse, Status> {
        let mut lease = LeaseClient::new(self.channel.clone());
        let request = self.request(LeaseGrantRequest { id: 0, ttl });
        within(self.timeout, lease.lease_grant(request)).await
    }

    /// Reads a range in parts, and puts them together.
    pub(crate) async fn range_stream(
        &self,
        message: RangeRequest,
    ) -> Result<RangeResponse, Status> {
        let mut parts = within(self.timeout, self.kv().range_stream(self.request(message))).await?;
        let mut whole = RangeResponse::default();
        while let Some(part) = parts.message().await? {
            let part = part.range_response.unwrap_or_default();
            whole.kvs.extend(part.kvs);
            whole.header = part.header.or(whole.header);
            whole.more |= part.more;
            whole.count = whole.count.max(part.count);
        }
        Ok(whole)
    }

    /// The hash of all that a member holds up to a revision.
    pub(crate) async fn hash_kv(&self, revision: i64) -> Result<HashKvResponse, Status> {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        within(self.timeout, maintenance.hash_kv(self.request(HashKvRequest { revision }))).await
    }
}

/// The members that several clients know, who may come and go meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Roster(Arc<Mutex<Vec<Client>>>);

impl Roster {
    /// Of these, of which there is at least one.
    pub(crate) fn new(members: Vec<Client>) -> Self {
        let roster = Self(Arc::default());
        roster.set(members);
        roster
    }

    /// From now on there are these, of which there is at least one.
    pub(crate) fn set(&self, members: Vec<Client>) {
        assert!(!members.is_empty(), "a client has somebody to ask");
        *self.0.lock().expect("nobody panics with it") = members;
    }

    /// One of them, the next one each turn.
    pub(crate) fn pick(&self, turn: u64) -> Client {
        let members = self.0.lock().expect("nobody panics with it");
        members[(turn % members.len() as u64) as usize].clone()
    }
}

/// The first key after those that begin with `prefix`.
pub(crate) fn end_of_prefix(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    let last = end.last_mut().expect("a prefix is not empty");
    *last = last.checked_add(1).expect("the last byte of a prefix can be counted up");
    end.into()
}

/// The server is told the time limit, and the client keeps it too: a held process tells nothing.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(timeout, call).await {
        Ok(result) => result.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the client's patience is over")),
    }
}
