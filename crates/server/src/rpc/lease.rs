//! Leases.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use quorate_mvcc::{Command, Error, Response as Answer};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::stream::Ending;
use super::{Failure, oversize};
use crate::leases::Leases;
use crate::member::Member;
use crate::quota;

/// How many answers may wait for a client that does not read them. Then its questions wait.
const ANSWERS_WAITING_MAX: usize = 16;

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
        let pb::LeaseGrantRequest { id, ttl } = request.into_inner();
        self.member.check_quota(quota::LEASE_COST)?;
        let ttl = ttl.max(self.member.limits.lease_ttl_min);
        let (revision, answer) = self.grant(id, ttl).await?;
        let Answer::LeaseGrant { id, ttl } = answer else {
            unreachable!("a grant was answered {answer:?}")
        };
        let header = self.member.header(revision);
        Ok(Response::new(pb::LeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let id = request.get_ref().id;
        let (revision, _) = self.member.propose(Command::LeaseRevoke { id }).await?;
        Ok(Response::new(pb::LeaseRevokeResponse { header: self.member.header(revision) }))
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<pb::LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let mut ending = Ending::new(&self.member, request.metadata());
        let requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let (member, leases) = (self.member.clone(), self.leases.clone());
        tokio::spawn(async move {
            let failure = tokio::select! {
                ended = keep_alive(&member, &leases, requests, &answers) => ended.err(),
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
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let remaining = self.leases.time_to_live(&self.member, id).await?;
        let state = self.member.state_for(false).await?;
        let keys = match remaining {
            Some(_) if keys => state.read_much(|state| Ok(state.lease_keys(id)?))?,
            _ => Vec::new(),
        };
        // An unknown lease is no error: its time is up, which -1 says.
        let (ttl, granted_ttl) = remaining.unwrap_or((-1, 0));
        let header = self.member.header(state.0.revision());
        Ok(Response::new(pb::LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys }))
    }

    async fn lease_leases(
        &self,
        _: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let state = self.member.state();
        let leases = state.read_much(|state| Ok(state.leases()?))?;
        let ids = self.leases.by_remaining(leases);
        let leases = ids.into_iter().map(|id| pb::LeaseStatus { id }).collect();
        let header = self.member.header(state.0.revision());
        Ok(Response::new(pb::LeaseLeasesResponse { header, leases }))
    }
}

impl Lease {
    /// Grants a lease with this id, or with one that is free if it is 0.
    async fn grant(&self, id: i64, ttl: i64) -> Result<(i64, Answer), Failure> {
        if id != 0 {
            return self.member.propose(Command::LeaseGrant { id, ttl }).await;
        }
        loop {
            let id = random_id();
            match self.member.propose(Command::LeaseGrant { id, ttl }).await {
                // One chance in 2^63 for each lease that there is.
                Err(Failure::Refused(Error::LeaseExists)) => {}
                granted => return granted,
            }
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
