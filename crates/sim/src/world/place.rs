//! A member's place in the world, whether a process runs there or not.

use std::ops::{Index, IndexMut};
use std::time::Duration;

use quorate_raft::{DiskId, EntryId, NodeId, ProgressKind, RoleKind, Status};

use super::Event;
use crate::clock::Clock;
use crate::coverage::Stage;
use crate::process::Process;
use crate::settings::Settings;
use crate::storage::Storage;

/// What a blow took of a member, and it has not got back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Struck {
    /// Something of its log.
    pub(super) log: bool,
    /// All of its machine.
    pub(super) machine: bool,
}

/// See the module.
pub(super) struct Place {
    pub(super) storage: Storage,
    pub(super) process: Option<Box<Process>>,
    /// Whether the disk was lost and the member is no voter again: what a host keeps beside the log.
    pub(super) rejoining: Option<DiskId>,
    /// Whether what is on the disk was damaged and is not healed.
    pub(super) damaged: bool,
    /// What was taken of it beyond the limit of what can be survived.
    pub(super) struck: Struck,
    /// Whether its last start was refused.
    pub(super) refused: bool,
    /// Whether a commit waits for room on the disk.
    pub(super) waits_for_room: bool,
    /// Counts the processes that ran here.
    pub(super) processes: u64,
    /// When the last of them began.
    pub(super) started: Duration,
    /// What the last of them was started with.
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    /// When the node is woken, if it is.
    pub(super) wake_at: Option<Duration>,
    pub(super) turn_scheduled: bool,
    pub(super) applying: bool,
    /// Counts the jobs of the machine.
    pub(super) jobs: u64,
    /// Counts the times that an end of a sync was drawn; only the last one counts.
    pub(super) syncs: u64,
    /// Events held back while the member is paused.
    pub(super) paused: Option<Vec<Event>>,
    /// Events held back while its disk hangs.
    pub(super) hung: Option<Vec<Event>>,
    /// How many times longer than usual it computes, and its disk takes.
    pub(super) cpu_factor: u32,
    pub(super) disk_factor: u32,
    /// Where the machine was durable when the observer was last told.
    pub(super) machine_durable: EntryId,
    /// The same when a flush moved it last, if one has since the member began to take part.
    pub(super) flushed: Option<EntryId>,
    /// What the member was about after its last turn.
    pub(super) stage: Stage,
    /// Whether its group was quiet after its last turn.
    pub(super) is_quiet: bool,
    /// Whether it has asked the others if they would vote for it, since it followed somebody.
    pub(super) asks: bool,
}

/// The places of all members, whose ids count from 1 without a gap: found at once, since every event asks for
/// some.
pub(super) struct Places(Vec<(NodeId, Place)>);

impl Places {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Place)> {
        self.0.iter().map(|(id, place)| (id, place))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &NodeId> {
        self.0.iter().map(|(id, _)| id)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().map(|(_, place)| place)
    }
}

impl FromIterator<(NodeId, Place)> for Places {
    fn from_iter<I: IntoIterator<Item = (NodeId, Place)>>(places: I) -> Self {
        let places: Vec<_> = places.into_iter().collect();
        assert!(places.iter().map(|(id, _)| id.0).eq(1..=places.len() as u64), "ids from 1 on");
        Self(places)
    }
}

/// Where a member is. There are no others.
fn position(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("a few members")
}

impl Index<&NodeId> for Places {
    type Output = Place;

    fn index(&self, id: &NodeId) -> &Place {
        &self.0[position(*id)].1
    }
}

impl IndexMut<&NodeId> for Places {
    fn index_mut(&mut self, id: &NodeId) -> &mut Place {
        &mut self.0[position(*id)].1
    }
}

impl Place {
    /// A member that was never started.
    pub(super) fn new(storage: Storage, settings: Settings, clock: Clock) -> Self {
        Self {
            storage,
            process: None,
            rejoining: None,
            damaged: false,
            struck: Struck::default(),
            refused: false,
            waits_for_room: false,
            processes: 0,
            started: Duration::ZERO,
            settings,
            clock,
            wake_at: None,
            turn_scheduled: false,
            applying: false,
            jobs: 0,
            syncs: 0,
            paused: None,
            hung: None,
            cpu_factor: 1,
            disk_factor: 1,
            machine_durable: EntryId::ZERO,
            flushed: None,
            stage: Stage::Down,
            is_quiet: false,
            asks: false,
        }
    }

    /// Nothing of what its disk should hold is missing.
    pub(super) fn has_everything(&mut self) {
        (self.damaged, self.struck, self.refused) = (false, Struck::default(), false);
    }

    /// Whether it has everything that it ever promised to keep.
    pub(super) fn is_whole(&self) -> bool {
        self.rejoining.is_none() && !self.damaged
    }

    /// The same, and so has its disk, as far as anybody could know.
    pub(super) fn is_sound(&self) -> bool {
        self.is_whole() && !self.storage.is_spoiled()
    }

    /// What the member is about, as its process says.
    pub(super) fn observe_stage(&mut self, status: &Status) {
        let is_installing = self.process.as_deref().is_some_and(Process::is_installing);
        let is_healing = self.process.as_deref().is_some_and(Process::is_healing);
        self.stage = if is_healing { Stage::Healing } else { stage(status, is_installing) };
    }
}

fn stage(status: &Status, is_installing: bool) -> Stage {
    let is_unsynced = status.durable < status.last.index;
    match status.role {
        RoleKind::Follower if status.rejoining => Stage::Rejoining,
        RoleKind::Follower if is_installing => Stage::Installing,
        RoleKind::Follower if status.leader.is_none() => Stage::Leaderless,
        RoleKind::Follower if is_unsynced => Stage::Unsynced,
        RoleKind::Follower if status.applied < status.commit => Stage::Unapplied,
        RoleKind::Follower => Stage::Idle,
        RoleKind::PreCandidate => Stage::PreCandidate,
        RoleKind::Candidate => Stage::Candidate,
        RoleKind::Leader if status.transferring.is_some() => Stage::Transferring,
        RoleKind::Leader
            if status.peers.iter().any(|peer| peer.progress == ProgressKind::Snapshot) =>
        {
            Stage::SendingSnapshot
        }
        RoleKind::Leader if status.commit < status.last.index => Stage::Uncommitted,
        RoleKind::Leader => Stage::IdleLeader,
    }
}
