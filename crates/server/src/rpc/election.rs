//! Elections: keys that stand in a queue, and whose turn it is leads, and shows a value.

use std::sync::Arc;

use bytes::Bytes;
use quorate_mvcc::{Caller, KeyValue};
use quorate_proto::v3electionpb as pb;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::queue::{Place, Queue, told};
use super::stream::Ending;
use super::{Failure, caller, convert};
use crate::admission::Held;
use crate::member::Member;

/// How many changes may wait for an observer that does not read them. Then it sees the last of those that come.
const LEADERS_WAITING_MAX: usize = 1;

/// The service.
#[derive(Debug)]
pub(crate) struct Election(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::election_server::Election for Election {
    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        let caller = caller(&request);
        let pb::CampaignRequest { name, lease, value } = request.into_inner();
        let queue = Queue::of(&self.0, caller, &name);
        let (place, revision) = lead(&queue, lease, value).await.map_err(told)?;
        let Place { key, created: rev, lease } = place;
        let leader = Some(pb::LeaderKey { name, key, rev, lease });
        Ok(Response::new(pb::CampaignResponse { header: self.0.header(revision), leader }))
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        let caller = caller(&request);
        let pb::ProclaimRequest { leader, value } = request.into_inner();
        let (queue, place) = self.place(caller, leader).map_err(told)?;
        let shown = queue.show(&place, value).await.map_err(told)?;
        let revision = shown.ok_or(Failure::NoLongerLeads).map_err(told)?;
        Ok(Response::new(pb::ProclaimResponse { header: self.0.header(revision) }))
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        let queue = Queue::of(&self.0, caller(&request), &request.get_ref().name);
        let state = self.0.state_for(false).await.map_err(told)?;
        let leader = queue.first(&state).map_err(told)?;
        let leader = leader.ok_or(Failure::NobodyLeads).map_err(told)?;
        Ok(Response::new(self.shows(state.0.revision(), leader)))
    }

    type ObserveStream = ReceiverStream<Result<pb::LeaderResponse, Status>>;

    async fn observe(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let mut ending = Ending::new(&self.0, request.metadata());
        let held = Held::of(&request);
        let queue = Queue::of(&self.0, caller(&request), &request.get_ref().name);
        let (leaders, receiver) = mpsc::channel(LEADERS_WAITING_MAX);
        let election = Self(self.0.clone());
        tokio::spawn(async move {
            let failure = tokio::select! {
                shown = election.show_leaders(&queue, &held, &leaders) => match shown {
                    Ok(()) => return,
                    Err(failure) => failure,
                },
                failure = ending.reached() => failure,
                () = leaders.closed() => return,
            };
            // A client that is gone needs no reason.
            let _ = leaders.send(Err(told(failure))).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    /// Also fine where the place is lost already.
    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        let caller = caller(&request);
        let (queue, place) = self.place(caller, request.into_inner().leader).map_err(told)?;
        let revision = queue.leave(&place).await.map_err(told)?;
        Ok(Response::new(pb::ResignResponse { header: self.0.header(revision) }))
    }
}

impl Election {
    /// The place that a client says is its own.
    fn place(
        &self,
        caller: Caller,
        leader: Option<pb::LeaderKey>,
    ) -> Result<(Queue, Place), Failure> {
        let pb::LeaderKey { name, key, rev, lease } = leader.ok_or(Failure::NoLeaderKey)?;
        if key.is_empty() {
            return Err(Failure::Refused(quorate_mvcc::Error::EmptyKey));
        }
        Ok((Queue::of(&self.0, caller, &name), Place { key, created: rev, lease }))
    }

    fn shows(&self, revision: i64, leader: KeyValue) -> pb::LeaderResponse {
        pb::LeaderResponse { header: self.0.header(revision), kv: Some(convert::key_value(leader)) }
    }

    /// Sends who leads, and again after each change, until that fails. An observer that is slow may miss who led, or
    /// what was shown, only for a while.
    async fn show_leaders(
        &self,
        queue: &Queue,
        held: &Held,
        leaders: &mpsc::Sender<Result<pb::LeaderResponse, Status>>,
    ) -> Result<(), Failure> {
        let _permit = self.0.published.wait()?;
        let mut state = self.0.state_for(false).await?;
        let (mut last_shown, mut shown_memory) = (0, None);
        loop {
            let revision = state.0.revision();
            let leader = queue.first(&state)?.filter(|leader| leader.mod_revision != last_shown);
            if let Some(leader) = leader {
                last_shown = leader.mod_revision;
                // The one that waits goes out while the next one is made ready.
                drop(shown_memory.take());
                shown_memory = Some(held.claim_piece(2 * leader.room()).await?);
                if leaders.send(Ok(self.shows(revision, leader))).await.is_err() {
                    return Ok(());
                }
            }
            queue.changed(revision).await?;
            state = self.0.state();
        }
    }
}

/// Waits until one leads. Says its place, and the revision at which it took or found that.
async fn lead(queue: &Queue, lease: i64, value: Bytes) -> Result<(Place, i64), Failure> {
    let (taken, waiter) = queue.enter(lease, value.clone()).await?;
    if taken.value != value && queue.show(&taken.place, value).await?.is_none() {
        return Err(Failure::NoLongerLeads);
    }
    if !taken.is_first {
        queue.turn(&taken.place).await?;
        queue.has(&taken.place).await?.ok_or(Failure::NoLongerLeads)?;
    }
    waiter.stays();
    Ok((taken.place, taken.revision))
}
