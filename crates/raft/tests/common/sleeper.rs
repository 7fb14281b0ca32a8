//! A member beside another one, which is told the same and sleeps whenever it may.

use quorate_raft::{Asleep, Commons, Effects, Input, Raft, Time};

/// See the module.
pub(crate) struct Sleeper {
    raft: Raft,
    commons: Commons,
    /// How often it slept as a follower, and as a leader.
    pub(crate) naps: (u64, u64),
}

impl Sleeper {
    /// Beside a member that is as this one.
    pub(crate) fn new(raft: Raft) -> Self {
        Self { raft, commons: Commons::default(), naps: (0, 0) }
    }

    /// Takes a step that the other one took, to the same end.
    pub(crate) fn step(&mut self, now: Time, input: Input, awake: &Raft, expected: &Effects) {
        let (slept, told) = (self.raft.is_quiet(), input.clone());
        let mut effects = Effects::default();
        self.raft.step(now, input, &mut effects);
        assert_eq!(all(&effects), all(expected), "asked for by {told:?}");
        assert_eq!(self.raft.deadline(), awake.deadline(), "after {told:?}");
        assert_eq!(self.raft.status(), awake.status(), "after {told:?}");
        if slept && !awake.is_quiet() {
            assert_eq!(format!("{:?}", self.raft), format!("{awake:?}"), "woken by {told:?}");
        }
        let theirs = awake.sleep(&mut Commons::default());
        let asleep: Option<Asleep> = self.raft.sleep(&mut self.commons);
        assert_eq!(asleep, theirs, "after {told:?}");
        let Some(asleep) = asleep else { return };
        assert_eq!(asleep.status(), awake.status());
        assert_eq!(asleep.membership(), awake.membership());
        assert_eq!(Some(asleep.leader()), awake.leader());
        assert_eq!(self.commons.len(), 2, "its settings and its members");
        let leads = awake.leader() == Some(awake.status().id);
        (self.naps.0, self.naps.1) =
            (self.naps.0 + u64::from(!leads), self.naps.1 + u64::from(leads));
        self.raft = asleep.wake(&mut self.commons);
        assert!(self.commons.is_empty(), "nobody sleeps");
    }
}

/// All that is asked for.
fn all(effects: &Effects) -> impl PartialEq + std::fmt::Debug {
    let Effects { send, persist, committed, reads, proposed, changes, snapshots, events } = effects;
    ((send, persist, committed, reads), (proposed, changes, snapshots, events))
}
