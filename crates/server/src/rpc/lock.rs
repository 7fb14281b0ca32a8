//! Locks: keys that stand in a queue, and whose turn it is holds the lock.

use std::sync::Arc;

use bytes::Bytes;
use quorate_mvcc::{Caller, Command};
use quorate_proto::{etcdserverpb, v3lockpb as pb};
use tonic::{Request, Response, Status};

use super::queue::{Queue, told};
use super::{Failure, caller, convert};
use crate::member::Member;

/// The service.
#[derive(Debug)]
pub(crate) struct Lock(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::lock_server::Lock for Lock {
    async fn lock(
        &self,
        request: Request<pb::LockRequest>,
    ) -> Result<Response<pb::LockResponse>, Status> {
        let caller = caller(&request);
        let pb::LockRequest { name, lease } = request.into_inner();
        let (key, revision) = self.hold(caller, &name, lease).await.map_err(told)?;
        Ok(Response::new(pb::LockResponse { header: self.0.header(revision), key }))
    }

    /// Also fine where nobody holds the lock.
    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let caller = caller(&request);
        let revision = self.give_up(&caller, request.into_inner().key).await.map_err(told)?;
        Ok(Response::new(pb::UnlockResponse { header: self.0.header(revision) }))
    }
}

impl Lock {
    /// Waits for the lock. Says the key that is there for as long as it is held, and the revision at which it was.
    async fn hold(&self, caller: Caller, name: &[u8], lease: i64) -> Result<(Bytes, i64), Failure> {
        let queue = Queue::of(&self.0, caller, name);
        let (taken, waiter) = queue.enter(lease, Bytes::new()).await?;
        if taken.is_first {
            waiter.stays();
            return Ok((taken.place.key, taken.revision));
        }
        queue.turn(&taken.place).await?;
        let revision = queue.has(&taken.place).await?.ok_or(Failure::SessionExpired)?;
        waiter.stays();
        Ok((taken.place.key, revision))
    }

    async fn give_up(&self, caller: &Caller, key: Bytes) -> Result<i64, Failure> {
        let request = etcdserverpb::DeleteRangeRequest { key, ..Default::default() };
        let delete = convert::delete_request(request)?;
        let (revision, _) = self.0.propose(caller, Command::DeleteRange(delete)).await?;
        Ok(revision)
    }
}
