//! What operators and tools ask of one member.

use std::sync::Arc;

use quorate_node::Fingerprint;
use quorate_proto::etcdserverpb as pb;
use quorate_raft::NodeId;
use tonic::codegen::tokio_stream::Empty;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::{Failure, caller};
use crate::member::Member;
use crate::version;

/// Metadata of a status: it is that of a witness.
const WITNESS: &str = "quorate-witness";

/// The service.
#[derive(Debug)]
pub(crate) struct Maintenance(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Maintenance {
    /// Never waits for the cluster: it is what one asks when the cluster does not answer.
    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let member = &self.0;
        let raft = member.handle.status();
        let bytes = size(member.published.size_bytes());
        // What reads see is newer than what the raft thread last said, never older. A witness shows nothing to read.
        let applied = raft.applied.max(member.published.state().applied().index);
        let leader = member.leader();
        let errors = match leader {
            Some(_) => Vec::new(),
            None => vec![Failure::NoLeader.text()],
        };
        let mut response = Response::new(pb::StatusResponse {
            header: member.header(member.published.revision()),
            version: version::ETCD.to_owned(),
            // `etcdctl endpoint status` divides by it.
            db_size: bytes.max(1),
            db_size_in_use: bytes.max(1),
            db_size_quota: member.limits.quota_bytes.map_or(0, size),
            leader: leader.map_or(0, |leader| leader.0),
            raft_index: raft.commit.max(applied).0,
            raft_term: raft.term.0,
            raft_applied_index: applied.0,
            errors,
            is_learner: raft.membership.learners.contains(&raft.id),
            storage_version: version::CLUSTER.to_owned(),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        });
        if member.identity.is_witness() {
            response.metadata_mut().insert(WITNESS, MetadataValue::from_static("yes"));
        }
        Ok(response)
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let revision = request.get_ref().revision;
        let state = self.0.state();
        let hash = state.read_much(|state| state.hash_kv(revision))?;
        Ok(Response::new(pb::HashKvResponse {
            header: self.0.header(state.0.revision()),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        }))
    }

    /// No alarm is ever raised: a store at its quota refuses writes for as long as it is there. So the
    /// list is empty, and to clear what is not raised succeeds, as in etcd.
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        use pb::alarm_request::AlarmAction;

        if request.get_ref().action != i32::from(AlarmAction::Get) {
            let state = self.0.published.state();
            state.auth().check_root(&caller(&request)).map_err(Failure::from)?;
        }
        if request.get_ref().action == i32::from(AlarmAction::Activate) {
            return Err(Failure::Unsupported("Alarm (activate)").into());
        }
        let header = self.0.header(self.0.published.revision());
        Ok(Response::new(pb::AlarmResponse { header, alarms: Vec::new() }))
    }

    /// Nothing is to be done, so it is done at once: space comes back by itself, while requests are served.
    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.0
            .log
            .info("asked to defragment: there is nothing to do, as space comes back by itself");
        // The header stays empty, as in etcd.
        Ok(Response::new(pb::DefragmentResponse { header: None }))
    }

    /// Of all that is replicated, users and leases too. Members at the same revision have the same.
    async fn hash(
        &self,
        _: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        let state = self.0.published.state();
        let Fingerprint(all) = state.fingerprint();
        let header = self.0.header(state.revision());
        Ok(Response::new(pb::HashResponse { header, hash: (all >> 96) as u32 }))
    }

    type SnapshotStream = Empty<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Failure::Unsupported("Snapshot").into())
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let target = NodeId(request.get_ref().target_id);
        self.0.handle.transfer_leadership(Some(target)).await.map_err(Failure::from)?;
        // The header stays empty, as in etcd.
        Ok(Response::new(pb::MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        _: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        Err(Failure::Unsupported("Downgrade").into())
    }
}

/// A size as the wire has it.
fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
