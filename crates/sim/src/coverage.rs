//! Which fault met a member at which point of the protocol, and how often.
//!
//! A fault that never met a leader with a snapshot under way has not tested that code, however many
//! seeds were run. So every fault notes what its victim was about, and a swarm can say which
//! meetings never took place.

use core::fmt;

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$kind_doc:meta])* $kind:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$kind_doc])* $kind,)* }

        impl $name {
            /// All of them, in their order.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$kind),*];

            /// Its name, in lower case and underscores.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $text,)* }
            }
        }
    };
}

kinds! {
    /// Something that goes wrong at a member, or on the way to it.
    Fault {
        /// A process ends, and the disk loses what was not synced.
        Crash "crash",
        /// All processes end at once.
        PowerCut "power_cut",
        /// A member loses its disk.
        DiskLost "disk_lost",
        /// The state of its machine is gone.
        MachineLost "machine_lost",
        /// Sectors of its log went bad.
        LogDamage "log_damage",
        /// Sectors of its log rot while it runs.
        LiveRot "live_rot",
        /// A write was confirmed and never done.
        LostWrite "lost_write",
        /// A write was confirmed and has gone elsewhere.
        StrayWrite "stray_write",
        /// A read fails.
        ReadError "read_error",
        /// A write, or what else changes files, fails.
        WriteError "write_error",
        /// A sync fails.
        SyncError "sync_error",
        /// All calls of its disk fail for a while.
        DiskBroken "disk_broken",
        /// Its disk is full.
        DiskFull "disk_full",
        /// It is damaged, whatever others have left.
        OverLimit "over_limit",
        /// A process gets no events for a while.
        Pause "pause",
        /// Links from or to the member are cut.
        Partition "partition",
        /// A message to it is lost.
        Loss "loss",
        /// A message to it finds the link full.
        LinkFull "link_full",
        /// A message comes twice.
        Duplicate "duplicate",
        /// A message comes again after a long time.
        Replay "replay",
        /// The link to it clogs.
        Clog "clog",
        /// Its clock jumps.
        ClockJump "clock_jump",
        /// Its clock stands still.
        ClockFreeze "clock_freeze",
        /// Everything that it computes takes long.
        SlowCpu "slow_cpu",
        /// One sync takes long.
        SlowSync "slow_sync",
        /// No sync ends.
        DiskHang "disk_hang",
        /// Leadership is to be handed over.
        Transfer "transfer",
    }
}

kinds! {
    /// What a member is about.
    Stage {
        /// No process runs.
        Down "down",
        /// It lost its disk and does not count yet.
        Rejoining "rejoining",
        /// It fetches what its storage lacks.
        Healing "healing",
        /// It follows, and a snapshot is on its way to it.
        Installing "installing_snapshot",
        /// It knows of no leader.
        Leaderless "leaderless",
        /// It follows, and its log is not all on disk.
        Unsynced "follower_unsynced",
        /// It follows, and its machine is behind what is committed.
        Unapplied "follower_unapplied",
        /// It follows, and has nothing to do.
        Idle "follower_idle",
        /// It asks whether it would be elected.
        PreCandidate "pre_candidate",
        /// It asks to be elected.
        Candidate "candidate",
        /// It leads and hands over.
        Transferring "leader_transferring",
        /// It leads and sends a snapshot.
        SendingSnapshot "leader_sending_snapshot",
        /// It leads, and has entries that are not committed.
        Uncommitted "leader_uncommitted",
        /// It leads, and all is committed.
        IdleLeader "leader_idle",
    }
}

/// How often each fault met each stage.
#[derive(Clone, PartialEq, Eq)]
pub struct Coverage([[u64; Stage::ALL.len()]; Fault::ALL.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([[0; Stage::ALL.len()]; Fault::ALL.len()])
    }
}

impl Coverage {
    /// A fault met a member.
    pub fn note(&mut self, fault: Fault, stage: Stage) {
        self.0[fault as usize][stage as usize] += 1;
    }

    /// How often they met.
    #[must_use]
    pub fn count(&self, fault: Fault, stage: Stage) -> u64 {
        self.0[fault as usize][stage as usize]
    }

    /// How often there was a fault of this kind.
    #[must_use]
    pub fn total(&self, fault: Fault) -> u64 {
        self.0[fault as usize].iter().sum()
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        let both = self.0.iter_mut().flatten().zip(other.0.iter().flatten());
        both.for_each(|(count, more)| *count += more);
    }

    /// The meetings that have to take place in any long swarm and have not.
    pub fn missing(&self) -> impl Iterator<Item = (Fault, Stage)> + '_ {
        let all = Fault::ALL.into_iter().flat_map(|f| Stage::ALL.into_iter().map(move |s| (f, s)));
        all.filter(|&(fault, stage)| is_due(fault, stage) && self.count(fault, stage) == 0)
    }
}

/// Whether a fault can meet a stage: who is down has no process that could crash or be slow.
#[must_use]
pub fn is_due(fault: Fault, stage: Stage) -> bool {
    let is_of_whole =
        matches!(fault, Fault::LiveRot | Fault::LostWrite | Fault::StrayWrite | Fault::OverLimit);
    let is_of_process = is_of_whole
        || matches!(
            fault,
            Fault::Crash
                | Fault::PowerCut
                | Fault::Pause
                | Fault::SlowCpu
                | Fault::SlowSync
                | Fault::Transfer
        );
    // Who has only just gone down is damaged then, and a healing member reads nothing.
    let is_at_rest = matches!(fault, Fault::LogDamage | Fault::MachineLost);
    let is_unread = fault == Fault::ReadError && stage == Stage::Healing;
    // What is lost already is not damaged: nobody could tell what that is worth.
    let is_known = is_of_whole && matches!(stage, Stage::Rejoining | Stage::Healing);
    // A leader whose syncs are slow has just been given something to sync.
    let is_idle_sync = fault == Fault::SlowSync && stage == Stage::IdleLeader;
    let is_elsewhere = is_at_rest && stage != Stage::Down;
    !(is_idle_sync
        || is_unread
        || is_elsewhere
        || is_known
        || is_of_process && stage == Stage::Down)
}

impl fmt::Display for Coverage {
    /// A table: a line for each fault, a column for each stage. `-` is a meeting that can't be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<14}", "")?;
        for (number, _) in Stage::ALL.iter().enumerate() {
            write!(f, "{number:>9}")?;
        }
        for fault in Fault::ALL {
            write!(f, "\n{:<14}", fault.name())?;
            for stage in Stage::ALL {
                match self.count(fault, stage) {
                    0 if !is_due(fault, stage) => write!(f, "{:>9}", "-")?,
                    count => write!(f, "{count:>9}")?,
                }
            }
        }
        for (number, stage) in Stage::ALL.iter().enumerate() {
            write!(f, "\n{number:>4} {}", stage.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Coverage {
    /// The faults, each with how often it was.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = Fault::ALL.map(|fault| (fault.name(), self.total(fault)));
        f.debug_map().entries(totals.into_iter().filter(|(_, count)| *count > 0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meetings_are_counted_added_and_missed() {
        let mut coverage = Coverage::default();
        coverage.note(Fault::Crash, Stage::Candidate);
        let mut sum = coverage.clone();
        sum.add(&coverage);
        assert_eq!(sum.count(Fault::Crash, Stage::Candidate), 2);
        assert_eq!((sum.total(Fault::Crash), sum.total(Fault::Pause)), (2, 0));
        let missing: Vec<_> = sum.missing().collect();
        assert!(!missing.contains(&(Fault::Crash, Stage::Candidate)));
        assert!(!missing.contains(&(Fault::Crash, Stage::Down)), "nobody is there to crash");
        assert!(missing.contains(&(Fault::Pause, Stage::Candidate)));
        let table = sum.to_string();
        assert_eq!(table.lines().count(), 1 + Fault::ALL.len() + Stage::ALL.len());
        assert_eq!(format!("{sum:?}"), "{\"crash\": 2}");
    }
}
