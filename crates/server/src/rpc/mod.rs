//! The calls: which service answers, and what holds for all of them.
//!
//! A handler tells four lines of story: check, delegate, map the error, fill the header. What is the
//! same for every call is here and nowhere else: what a request's metadata may demand, its deadline,
//! and the form of the transport's own errors.

mod auth;
mod cluster;
mod convert;
mod election;
mod error;
pub(crate) mod freshness;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod membership;
mod methods;
mod outbox;
mod queue;
mod range_stream;
mod reflection;
mod snapshot;
mod stream;
mod watch;

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use quorate_mvcc::Caller;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::grpc::health::v1 as healthpb;
use quorate_proto::{quoratepb, v3electionpb, v3lockpb};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::{Code, Status};

pub(crate) use self::cluster::check_urls;
pub(crate) use self::error::Failure;
use self::methods::{Access, Paths};
pub(crate) use self::methods::{Kind, METHODS, Method};
use self::reflection::Reflection;
use crate::admission::{CALL_BYTES, Entry, Held};
use crate::gateway::RequestBody;
use crate::leases::Leases;
use crate::login::Credentials;
use crate::member::Member;
use crate::metrics::Received;

/// What a message may have on top of `--max-request-bytes`: etcd's allowance for all that is around
/// the keys and values.
const MESSAGE_OVERHEAD_BYTES: usize = 512 << 10;

/// All services.
#[derive(Debug)]
pub(crate) struct Services {
    member: Arc<Member>,
    paths: Paths,
    kv: pb::kv_server::KvServer<kv::Kv>,
    watch: pb::watch_server::WatchServer<watch::Watch>,
    lease: pb::lease_server::LeaseServer<lease::Lease>,
    cluster: pb::cluster_server::ClusterServer<cluster::Cluster>,
    maintenance: pb::maintenance_server::MaintenanceServer<maintenance::Maintenance>,
    auth: pb::auth_server::AuthServer<auth::Auth>,
    lock: v3lockpb::lock_server::LockServer<lock::Lock>,
    election: v3electionpb::election_server::ElectionServer<election::Election>,
    membership: quoratepb::membership_server::MembershipServer<membership::Membership>,
    health: healthpb::health_server::HealthServer<health::Health>,
    reflection: Reflection,
    reflection_alpha: Reflection,
}

impl Services {
    pub(crate) fn new(member: Arc<Member>, leases: Arc<Leases>) -> Self {
        let limit = message_bytes_max(member.limits.request_bytes_max);
        Self {
            paths: Paths::new(),
            kv: pb::kv_server::KvServer::new(kv::Kv(member.clone()))
                .max_decoding_message_size(limit),
            watch: pb::watch_server::WatchServer::new(watch::Watch(member.clone()))
                .max_decoding_message_size(limit),
            lease: pb::lease_server::LeaseServer::new(lease::Lease {
                member: member.clone(),
                leases,
            })
            .max_decoding_message_size(limit),
            cluster: pb::cluster_server::ClusterServer::new(cluster::Cluster(member.clone()))
                .max_decoding_message_size(limit),
            maintenance: pb::maintenance_server::MaintenanceServer::new(
                maintenance::Maintenance::new(member.clone()),
            )
            .max_decoding_message_size(limit),
            auth: pb::auth_server::AuthServer::new(auth::Auth(member.clone()))
                .max_decoding_message_size(limit),
            lock: v3lockpb::lock_server::LockServer::new(lock::Lock(member.clone()))
                .max_decoding_message_size(limit),
            election: v3electionpb::election_server::ElectionServer::new(election::Election(
                member.clone(),
            ))
            .max_decoding_message_size(limit),
            membership: quoratepb::membership_server::MembershipServer::new(
                membership::Membership(member.clone()),
            )
            .max_decoding_message_size(limit),
            health: healthpb::health_server::HealthServer::new(health::Health(member.clone()))
                .max_decoding_message_size(limit),
            reflection: reflection::v1(limit),
            reflection_alpha: reflection::v1alpha(limit),
            member,
        }
    }

    /// The most bytes of a command, of which the other limits are made.
    pub(crate) fn request_bytes_max(&self) -> usize {
        self.member.limits.request_bytes_max
    }

    /// Begins one call. What has to be decided before the handler runs is decided here and not in the
    /// future, which is small for that: it moves for each request.
    pub(crate) fn call(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let at = self.paths.find(request.uri().path());
        let deadline = at.and_then(|at| METHODS[at].deadline(request.headers()));
        let (mut began, mut held) = (None, None);
        let is_json = request.body().is_json();
        let answer = match at {
            None => {
                let text = format!("unknown method {}", request.uri().path());
                refuse(Status::unimplemented(text))
            }
            Some(at) => {
                let metrics = &self.member.metrics;
                began = metrics.started(at);
                let received = Received::new(metrics.clone(), at);
                let mut request = request.map(|body| body.counted(received));
                match self.admit(METHODS[at], &mut request) {
                    Ok(()) => match self.enter(METHODS[at], request) {
                        Ok((request, entered)) => {
                            held = Some(entered);
                            self.dispatch(METHODS[at], request)
                        }
                        Err(failure) => refuse(failure),
                    },
                    Err(failure) => refuse(failure),
                }
            }
        };
        let metrics = self.member.metrics.clone();
        async move {
            let response = within_deadline(deadline, answer).await;
            match at {
                Some(at) => {
                    let mut answer = metrics.watch_status(at, began, held.clone(), response);
                    // For the gateway, which makes another answer of it.
                    if let Some(held) = held.filter(|_| is_json) {
                        answer.extensions_mut().insert(held);
                    }
                    answer
                }
                None => response,
            }
        }
    }

    /// Claims memory for a call. Where it has to wait for that, its messages do.
    fn enter(
        &self,
        method: Method,
        mut request: Request<RequestBody>,
    ) -> Result<(Request<RequestBody>, Held), Failure> {
        let body = request.body();
        let connection = request.extensions().get().cloned();
        let held = Held::new(&self.member.memory, method, body.is_json(), connection);
        let turn = held.ask(CALL_BYTES.saturating_add(body.text_bytes()))?;
        request.extensions_mut().insert(held.clone());
        let limits = &self.member.limits;
        let is_due = method.kind != Kind::BidirectionalStream;
        let entry = Entry::new(
            held.clone(),
            turn,
            message_bytes_max(limits.request_bytes_max),
            limits.client_patience,
            is_due,
        );
        Ok((request.map(|body| body.entering(entry)), held))
    }

    /// What the metadata of any request may demand.
    fn admit(&self, method: Method, request: &mut Request<RequestBody>) -> Result<(), Failure> {
        let metadata = request.headers();
        if metadata.get("client-api-version").is_some_and(|version| version.to_str().is_err()) {
            return Err(Failure::ClientVersion);
        }
        // What says how the member itself is doing.
        if !matches!(
            (method.service, method.name),
            (methods::MAINTENANCE, "Status")
                | (methods::HEALTH | methods::REFLECTION | methods::REFLECTION_ALPHA, _)
        ) {
            self.member.check_state()?;
        }
        // A range tells later whether it can do with what a learner has.
        let is_for_all = matches!(
            (method.service, method.name),
            (methods::KV, "Range")
                | (methods::MAINTENANCE, "Status" | "Snapshot")
                | (methods::HEALTH | methods::REFLECTION | methods::REFLECTION_ALPHA, _)
        );
        if !is_for_all {
            self.member.check_votes()?;
        }
        if wants_leader(metadata) && !self.member.knows_leader() {
            return Err(Failure::NoLeader);
        }
        self.let_in(method.access, request)
    }

    /// Refuses who may not make a call at all, and notes who makes it for those calls that ask more.
    fn let_in(&self, access: Access, request: &mut Request<RequestBody>) -> Result<(), Failure> {
        if access == Access::Everybody || !self.member.published.checks_rights() {
            return Ok(());
        }
        let credentials = Credentials::of(request.headers(), request.extensions().get());
        let caller = self.member.caller(credentials)?;
        let state = self.member.published.state();
        match access {
            Access::Everybody => {}
            Access::Users | Access::Asked => state.auth().check_user(&caller)?,
            Access::Root => state.auth().check_root(&caller)?,
        }
        if let Caller::User { name, .. } = &caller {
            self.member.rates.user(name)?;
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }

    fn dispatch(&self, method: Method, request: Request<RequestBody>) -> Answer {
        // A generated service is a handful of pointers, and wants to be called mutably.
        match method.service {
            methods::KV => self.kv.clone().call(request),
            methods::WATCH => self.watch.clone().call(request),
            methods::LEASE => self.lease.clone().call(request),
            methods::CLUSTER => self.cluster.clone().call(request),
            methods::MAINTENANCE => self.maintenance.clone().call(request),
            methods::AUTH => self.auth.clone().call(request),
            methods::LOCK => self.lock.clone().call(request),
            methods::ELECTION => self.election.clone().call(request),
            methods::MEMBERSHIP => self.membership.clone().call(request),
            methods::HEALTH => self.health.clone().call(request),
            methods::REFLECTION => self.reflection.clone().call(request),
            methods::REFLECTION_ALPHA => self.reflection_alpha.clone().call(request),
            _ => refuse(Failure::Unsupported(method.name)),
        }
    }
}

/// Who makes a call: nobody, as long as rights are not checked.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get().cloned().unwrap_or_default()
}

/// An answer that is being made.
type Answer = BoxFuture<Response<Body>, Infallible>;

fn refuse(why: impl Into<Status>) -> Answer {
    Box::pin(ready(Ok(why.into().into_http())))
}

/// A client that gave a deadline does not read what comes after it, so the work ends with it.
async fn within_deadline(deadline: Option<Duration>, answer: Answer) -> Response<Body> {
    let answered = match deadline {
        None => answer.await,
        Some(deadline) => tokio::time::timeout(deadline, answer)
            .await
            .unwrap_or_else(|_| Ok(Status::from(Failure::DeadlineExceeded).into_http())),
    };
    with_the_words_of_etcd(answered.unwrap_or_else(|never| match never {}))
}

/// The largest message, for a limit of requests.
pub(crate) fn message_bytes_max(request_bytes_max: usize) -> usize {
    request_bytes_max.saturating_add(MESSAGE_OVERHEAD_BYTES)
}

/// Whether a client wants to be refused while no leader is known.
fn wants_leader(metadata: &HeaderMap) -> bool {
    metadata.get("hasleader").is_some_and(|value| value.as_bytes() == b"true")
}

impl Method {
    /// The time that a client gives an answer. A stream is cut by the client itself.
    fn deadline(self, metadata: &HeaderMap) -> Option<Duration> {
        match self.kind {
            Kind::Unary => deadline(metadata),
            Kind::ServerStream | Kind::BidirectionalStream => None,
        }
    }
}

/// The deadline in `grpc-timeout`: at most eight digits and a unit.
fn deadline(metadata: &HeaderMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// A message over the limit is refused by tonic, before it has arrived, with a code and a text of its
/// own. Clients look for those of grpc-go.
fn with_the_words_of_etcd(response: Response<Body>) -> Response<Body> {
    // Most answers have their status in the trailers, and those are none of tonic's refusals.
    if !response.headers().contains_key(Status::GRPC_STATUS) {
        return response;
    }
    match Status::from_header_map(response.headers()).and_then(|status| oversize(&status)) {
        Some(failure) => Status::from(failure).into_http(),
        None => response,
    }
}

/// Recognises tonic's refusal of a message over the limit.
pub(crate) fn oversize(status: &Status) -> Option<Failure> {
    if status.code() != Code::OutOfRange {
        return None;
    }
    let numbers =
        status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (found, limit) = numbers.split_once(" bytes, the limit is: ")?;
    let limit = limit.strip_suffix(" bytes")?;
    Some(Failure::MessageTooLarge { found: found.parse().ok()?, limit: limit.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn metadata(name: &'static str, value: &'static [u8]) -> HeaderMap {
        let value = HeaderValue::from_bytes(value).expect("a header");
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value)])
    }

    #[test]
    fn deadlines() {
        let of = |text: &'static str| deadline(&metadata("grpc-timeout", text.as_bytes()));
        assert_eq!(of("5S"), Some(Duration::from_secs(5)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "5", "-5S", "123456789S", "5s", "5\u{a0}"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_leader_may_be_wanted() {
        assert!(wants_leader(&metadata("hasleader", b"true")));
        assert!(!wants_leader(&metadata("hasleader", b"false")));
        assert!(!wants_leader(&HeaderMap::new()));
    }
}
