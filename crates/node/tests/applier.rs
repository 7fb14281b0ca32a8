//! What the applier asks of a machine besides applying.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_node::proposal::{self, ProposalId};
use quorate_node::{
    Applied, Applier, ApplyJob, Fault, FaultKind, Feedback, Machine, Piece, RestoreError, Snapshot,
};
use quorate_raft::{
    Entry, EntryId, Index, Membership, NodeId, Payload, SnapshotChunk, SnapshotMeta,
    SnapshotRequest,
};

/// What the test sees and sets of a machine that the applier owns.
#[derive(Default)]
struct Told {
    applied: EntryId,
    durable: EntryId,
    membership: Option<Bytes>,
    /// What is wrong with the next snapshot, if anything.
    wrong: Option<&'static str>,
}

/// Makes nothing durable unless it is asked to.
struct Lazy(Arc<Mutex<Told>>);

impl Machine for Lazy {
    type Outcome = ();

    fn applied(&self) -> EntryId {
        self.0.lock().unwrap().applied
    }

    fn durable(&self) -> EntryId {
        self.0.lock().unwrap().durable
    }

    fn apply(&mut self, _: EntryId, _: &Bytes) -> Result<(), Fault> {
        Ok(())
    }

    fn membership(&self) -> Option<Bytes> {
        self.0.lock().unwrap().membership.clone()
    }

    fn set_membership(&mut self, _: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.0.lock().unwrap().membership = Some(membership.clone());
        Ok(())
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.0.lock().unwrap().applied = through;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        panic!("nobody waits for the disk here")
    }

    fn begin_flush(&mut self) -> Result<(), Fault> {
        let mut told = self.0.lock().unwrap();
        told.durable = told.applied;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        Err(Fault::new(FaultKind::Io, "no test here reads a snapshot"))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        let mut told = self.0.lock().unwrap();
        if let Some(wrong) = told.wrong {
            return Err(RestoreError::Rejected(wrong.into()));
        }
        (told.applied, told.durable) = (piece.last, piece.last);
        told.membership = Some(piece.membership.clone());
        Ok(())
    }
}

fn applier(told: &Arc<Mutex<Told>>) -> Applier<()> {
    Applier::new(Box::new(Lazy(Arc::clone(told))), Membership::of_voters([1, 2, 3].map(NodeId)))
}

/// Commands that change nothing are in the log all the same, and it is not to grow for ever. So are
/// bytes that are no command, which the machine never sees.
#[test]
fn a_machine_is_durable_in_time_whatever_the_log_does_to_it() {
    const ENTRY_BYTES: usize = 1 << 20;
    let id = ProposalId { origin: NodeId(1), incarnation: 1, number: 1 };
    let command = proposal::encode(id, &Bytes::from(vec![7; ENTRY_BYTES]));
    for payload in [command, Bytes::from(vec![0xff; ENTRY_BYTES])] {
        let told = Arc::default();
        let mut applier = applier(&told);
        let mut flushes = 0;
        let mut durable_before = Index(0);
        for index in 1..=200 {
            let payload = Payload::Command(payload.clone());
            let entries = vec![Entry { id: EntryId::new(1, index), payload }];
            let mut out = Applied::<(), ()>::default();
            applier.run(ApplyJob::Entries { entries, waiters: Vec::new() }, &mut out).unwrap();
            let [Feedback::Progress { applied, durable }] = out.feedback[..] else {
                panic!("{:?}", out.feedback)
            };
            assert_eq!(applied, Index(index));
            assert!(index - durable.0 <= 64, "{durable:?} is durable of {index} MiB of log");
            flushes += u32::from(durable != durable_before);
            durable_before = durable;
        }
        assert!((1..=4).contains(&flushes), "{flushes} flushes for 200 MiB of log");
    }
}

/// The leader sends the same snapshot for as long as it takes. An operator hears once what is wrong
/// with it.
#[test]
fn why_a_snapshot_is_refused_is_told_once_until_something_changes() {
    let told: Arc<Mutex<Told>> = Arc::default();
    let mut applier = applier(&told);
    let mut index = 0;
    let mut take = |wrong: Option<&'static str>| {
        told.lock().unwrap().wrong = wrong;
        index += 1;
        let last = EntryId::new(1, index);
        let membership = Membership::of_voters([1, 2, 3].map(NodeId));
        let chunk = SnapshotChunk {
            meta: SnapshotMeta { last, membership },
            cursor: Bytes::new(),
            data: Bytes::from_static(b"all of it"),
            next: None,
        };
        let mut out = Applied::<(), ()>::default();
        applier.run(ApplyJob::Snapshot(SnapshotRequest::Write(Box::new(chunk))), &mut out).unwrap();
        let failed =
            matches!(out.feedback[..], [Feedback::SnapshotFailed { last: of }] if of == last);
        assert_eq!(failed, wrong.is_some(), "{:?}", out.feedback);
        out.refused.into_iter().map(|(of, reason)| (of.index.0, reason)).collect::<Vec<_>>()
    };
    assert_eq!(take(Some("torn")), [(1, "torn".into())]);
    assert_eq!(take(Some("torn")), []);
    assert_eq!(take(Some("stale")), [(3, "stale".into())]);
    assert_eq!(take(Some("torn")), [(4, "torn".into())]);
    assert_eq!(take(None), []);
    assert_eq!(take(Some("torn")), [(6, "torn".into())]);
}
