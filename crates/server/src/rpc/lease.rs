//! Leases.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use quorate_mvcc::auth::Right;
use quorate_mvcc::{Caller, Command, Error, Response as Answer};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::stream::Ending;
use super::{Failure, caller, oversize};
use crate::admission::Held;
use crate::leases::Leases;
use crate::login::Session;
use crate::member::Member;
use crate::quota;

/// How many answers may wait for a client that does not read them. Then its questions wait.
const ANSWERS_WAITING_MAX: usize = 16;

/// What a key in an answer takes besides its bytes.
const KEY_BYTES: usize = 64;

/// The service.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) member: Arc<Member>,
    pub(crate) leases: Arc<Leases>,
}

#[tonic::async_trait]
impl pb::lease_server::Lease for Lease {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let caller = caller(&request);
        let pb::LeaseGrantRequest { id, ttl } = request.into_inner();
        let Granted { revision, id, ttl } = grant(&self.member, &caller, id, ttl).await?;
        let header = self.member.header(revision);
        Ok(Response::new(pb::LeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let id = request.get_ref().id;
        let revoke = Command::LeaseRevoke { id };
        let (revision, _) = self.member.propose(&caller(&request), revoke).await?;
        Ok(Response::new(pb::LeaseRevokeResponse { header: self.member.header(revision) }))
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<pb::LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let mut ending = Ending::new(&self.member, request.metadata());
        let session = Session::of(&request);
        let requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let (member, leases) = (self.member.clone(), self.leases.clone());
        tokio::spawn(async move {
            let failure = tokio::select! {
                ended = keep_alive(&member, &leases, &session, requests, &answers) => ended.err(),
                failure = ending.reached() => Some(failure.into()),
            };
            if let Some(status) = failure {
                // A client that is gone needs no reason.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let (caller, held) = (caller(&request), Held::of(&request));
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let remaining = self.leases.time_to_live(&self.member, id).await?;
        let state = self.member.state_for(false).await?;
        let keys = {
            let rights = state.rights(&caller)?;
            if keys {
                rights.lease(Right::Read, id).map_err(Failure::from)?;
            }
            match remaining {
                Some(_) if keys => state.read_much(|state| Ok(state.lease_keys(id)?))?,
                _ => Vec::new(),
            }
        };
        if !keys.is_empty() {
            held.hold(keys.iter().map(|key| key.len() + KEY_BYTES).sum()).await?;
        }
        // An unknown lease is no error: its time is up, which -1 says.
        let (ttl, granted_ttl) = remaining.unwrap_or((-1, 0));
        let header = self.member.header(state.0.revision());
        Ok(Response::new(pb::LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let (caller, held) = (caller(&request), Held::of(&request));
        let state = self.member.state();
        let leases = state.read_much(|state| Ok(state.leases()?))?;
        held.hold(leases.len() * size_of::<quorate_mvcc::Lease>()).await?;
        // Which leases there are tells of the keys that have them.
        let rights = state.rights(&caller)?;
        for lease in &leases {
            rights.lease(Right::Read, lease.id).map_err(Failure::from)?;
        }
        let ids = self.leases.by_remaining(leases);
        let leases = ids.into_iter().map(|id| pb::LeaseStatus { id }).collect();
        let header = self.member.header(state.0.revision());
        Ok(Response::new(pb::LeaseLeasesResponse { header, leases }))
    }
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    /// The store's.
    pub(super) revision: i64,
    pub(super) id: i64,
    /// In seconds, and perhaps more than was asked for.
    pub(super) ttl: i64,
}

/// Grants a lease with this id, or with one that is free if it is 0.
pub(super) async fn grant(
    member: &Member,
    caller: &Caller,
    id: i64,
    ttl: i64,
) -> Result<Granted, Failure> {
    member.check_quota(quota::LEASE_COST)?;
    let ttl = ttl.max(member.limits.lease_ttl_min);
    let draws = id == 0;
    loop {
        let id = if draws { random_id() } else { id };
        match member.propose(caller, Command::LeaseGrant { id, ttl }).await {
            // One chance in 2^63 for each lease that there is.
            Err(Failure::Refused(Error::LeaseExists)) if draws => {}
            Err(failure) => return Err(failure),
            Ok((revision, Answer::LeaseGrant { id, ttl })) => {
                return Ok(Granted { revision, id, ttl });
            }
            Ok((_, other)) => unreachable!("a grant was answered {other:?}"),
        }
    }
}

/// A positive number that nobody else draws. The keys of the standard library's hash maps are the one
/// source of entropy that it has.
fn random_id() -> i64 {
    let number = RandomState::new().hash_one(0) >> 1;
    i64::try_from(number.max(1)).expect("a bit was shifted out")
}

/// Answers the requests of a stream one by one, until the client has sent its last.
async fn keep_alive(
    member: &Member,
    leases: &Leases,
    session: &Session,
    mut requests: Streaming<pb::LeaseKeepAliveRequest>,
    answers: &mpsc::Sender<Result<pb::LeaseKeepAliveResponse, Status>>,
) -> Result<(), Status> {
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(status) => return Err(oversize(&status).map_or(status, Status::from)),
        };
        // As in etcd, the revision is the one before the renewal.
        let header = member.header(member.published.revision());
        let id = request.id;
        // Whoever may not write a key may not keep it alive either.
        let state = member.state();
        let caller = session.caller(state.0.auth()).map_err(Failure::from)?;
        state.rights(&caller)?.lease(Right::Write, id).map_err(Failure::from)?;
        let ttl = leases.keep_alive(member, id).await?;
        let answer = pb::LeaseKeepAliveResponse { header, id, ttl };
        if answers.send(Ok(answer)).await.is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_positive_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|&id| id > 0));
    }
}
