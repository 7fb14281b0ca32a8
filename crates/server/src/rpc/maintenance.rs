//! What operators and tools ask of one member.

use std::sync::Arc;

use quorate_host::Lane;
use quorate_mvcc::{Alarm, AlarmCommand, AlarmKind, Command, Response as Answer};
use quorate_node::Fingerprint;
use quorate_proto::etcdserverpb as pb;
use quorate_raft::NodeId;
use tokio::sync::Semaphore;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::stream::Ending;
use super::{Failure, caller, snapshot};
use crate::admission::Held;
use crate::backup::Image;
use crate::member::Member;
use crate::quota;
use crate::version;

/// Metadata of a status: it is that of a witness.
const WITNESS: &str = "quorate-witness";

/// How many snapshots are sent at once: each reads the whole store twice, and keeps all that it had.
const SNAPSHOTS_MAX: usize = 2;

/// The service.
#[derive(Debug)]
pub(crate) struct Maintenance {
    member: Arc<Member>,
    snapshots: Arc<Semaphore>,
}

impl Maintenance {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        Self { member, snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)) }
    }
}

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Maintenance {
    /// Never waits for the cluster: it is what one asks when the cluster does not answer.
    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let member = &self.member;
        let raft = member.handle.status();
        let bytes = size(member.published.size_bytes());
        // What reads see is newer than what the raft thread last said, never older. A witness shows nothing to read.
        let applied = raft.applied.max(member.published.state().applied().index);
        let leader = member.leader();
        let no_leader = leader.is_none().then(|| Failure::NoLeader.text());
        let state = member.published.state();
        let alarms = state.alarms().iter().map(|alarm| {
            // The form in which etcd shows the message.
            format!("memberID:{} alarm:{} ", alarm.member, quota::name(alarm.kind))
        });
        let errors = no_leader.into_iter().chain(alarms).collect();
        let mut response = Response::new(pb::StatusResponse {
            header: member.header(state.revision()),
            version: version::ETCD.to_owned(),
            // `etcdctl endpoint status` divides by it.
            db_size: bytes.max(1),
            db_size_in_use: size(state.bytes_in_use()).max(1),
            db_size_quota: member.limits.quota.bytes.map_or(0, size),
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
        let state = self.member.state();
        let hash = state.read_much(|state| state.hash_kv(revision))?;
        Ok(Response::new(pb::HashKvResponse {
            header: self.member.header(state.0.revision()),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        }))
    }

    /// To take back what is not raised succeeds, as in etcd, and so does to raise none.
    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        use pb::alarm_request::AlarmAction;

        let caller = caller(&request);
        let request = request.into_inner();
        let member = request.member_id;
        let kind = alarm_kind(request.alarm)?;
        let action = AlarmAction::try_from(request.action).map_err(|_| Failure::UnknownAlarm)?;
        let command = match (action, kind) {
            (AlarmAction::Activate, Some(kind)) => {
                AlarmCommand::Activate(Alarm { member, kind, clears_below: None })
            }
            (AlarmAction::Deactivate, Some(kind)) => AlarmCommand::Deactivate { member, kind },
            (AlarmAction::Get | AlarmAction::Activate | AlarmAction::Deactivate, _) => {
                let state = self.member.state_for(false).await?.0;
                let is_listed = |alarm: &Alarm| kind.is_none_or(|kind| kind == alarm.kind);
                let all = state.alarms().iter().filter(is_listed).map(alarm_member);
                let alarms = if action == AlarmAction::Get {
                    state.auth().check_user(&caller).map_err(Failure::from)?;
                    all.collect()
                } else {
                    state.auth().check_root(&caller).map_err(Failure::from)?;
                    Vec::new()
                };
                let header = self.member.header(state.revision());
                return Ok(Response::new(pb::AlarmResponse { header, alarms }));
            }
        };
        let (revision, answer) = self.member.propose(&caller, Command::Alarm(command)).await?;
        let Answer::Alarm(alarm) = answer else {
            unreachable!("a change of alarms was answered {answer:?}")
        };
        let (header, alarms) = (self.member.header(revision), alarm.map(alarm_member));
        Ok(Response::new(pb::AlarmResponse { header, alarms: Vec::from_iter(alarms) }))
    }

    /// Nothing is to be done, so it is done at once: space comes back by itself, while requests are served.
    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.member
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
        let state = self.member.published.state();
        let Fingerprint(all) = state.fingerprint();
        let header = self.member.header(state.revision());
        Ok(Response::new(pb::HashResponse { header, hash: (all >> 96) as u32 }))
    }

    type SnapshotStream = ReceiverStream<Result<pb::SnapshotResponse, Status>>;

    /// Of the state that this member has, as in etcd.
    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let ending = Ending::new(&self.member, request.metadata());
        let turn = self.snapshots.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Failure::TooManyRequests)?;
        Held::of(&request).claim(Lane::Bulk, snapshot::BYTES_MAX).await?;
        let state = self.member.state();
        let (members, _) = self.member.members(&state)?;
        let image = Image { state: state.0, members };
        Ok(Response::new(snapshot::stream(image, turn, ending, self.member.log.clone())))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let target = NodeId(request.get_ref().target_id);
        self.member.handle.transfer_leadership(Some(target)).await.map_err(Failure::from)?;
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

/// Which alarm a number stands for; `None` for all, or for none.
fn alarm_kind(number: i32) -> Result<Option<AlarmKind>, Failure> {
    match pb::AlarmType::try_from(number) {
        Ok(pb::AlarmType::None) => Ok(None),
        Ok(pb::AlarmType::Nospace) => Ok(Some(AlarmKind::NoSpace)),
        Ok(pb::AlarmType::Corrupt) => Ok(Some(AlarmKind::Corrupt)),
        Err(_) => Err(Failure::UnknownAlarm),
    }
}

fn alarm_member(alarm: Alarm) -> pb::AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember { member_id: alarm.member, alarm: kind.into() }
}

/// A size as the wire has it.
fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
