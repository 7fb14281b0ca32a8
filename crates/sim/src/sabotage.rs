//! Faults that no correct host, disk or network has, for proving that the simulator notices.
//!
//! A checker that never fired is decoration. Each of these breaks one promise that the algorithm
//! relies on, from outside, so the production code runs unchanged under it; the tests of this crate
//! demand that every one is found within a few seeds.

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The host says that records are durable while the disk still has them in its cache.
    DurableBeforeSync,
    /// The disk confirms syncs that it has not done.
    LyingDisk,
    /// A restart forgets the vote.
    VoteForgotten,
    /// The network turns refused votes into granted ones.
    ForgedVotes,
    /// The network turns rejected appends into accepted ones.
    ForgedAcknowledgements,
    /// Reads are answered from the local machine without asking the leader.
    LocalReads,
    /// A read that may be stale is told that it is not.
    StalenessHidden,
    /// The machine says that it is durable further than it is: after a crash the log has forgotten
    /// what the machine lost.
    MachineForgets,
    /// A member that lost its disk is started as if nothing had happened.
    LossUnsaid,
    /// A member begins a watch that is resumed there one revision late.
    ResumedLate,
    /// Of what a watcher is told, something is lost on the way, and its stream goes on.
    ResponseLost,
    /// The host takes a sync that failed for one that was done.
    SyncErrorsHidden,
    /// A log that lost something is cut where the loss begins, as if it had never been more.
    DamageCutAway,
    /// A member that must not begin with what is left of its disk begins with an empty one.
    RefusalIgnored,
    /// A log that is to verify itself says that it did, and reads nothing.
    ScrubSkipped,
    /// The clock by which leases are ended is ahead.
    LeaseEndsEarly,
    /// Nobody looks for leases that have run out.
    LeaseNeverEnds,
    /// A leader says that it has kept a lease alive, and has not.
    RenewalForgotten,
    /// Who believes to lead answers for leases without asking anybody whether it still does.
    LeaseUnconfirmed,
    /// The first member's machine is in another state than its log leads to.
    StateDiffers,
    /// The host does not tell a client that its request has failed.
    FailureUntold,
    /// Nobody looks for voters that have failed, though a spare waits.
    FailureUnseen,
    /// The network loses every word of a leader that another is to take over.
    HandOverLost,
}
