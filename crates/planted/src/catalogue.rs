//! The table of the bugs: what each does, where it was seen, and who has to find it.
//!
//! Rows are those of the catalogue of bug classes that the project works from, 38 ways in which replicated logs, their
//! storage and their interfaces have failed in the field; and 39, rights that were not asked for.

/// Who has to find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finder {
    /// The simulator, by itself, within ten thousand seeds.
    Simulator,
    /// The simulator, in a scenario of its own: one thing goes wrong, and a bound must hold.
    Scenario {
        /// Its name.
        name: &'static str,
        /// How many members it has.
        members: u64,
    },
    /// The simulator, on the graphs of the links that work among so many members.
    Graphs {
        /// How many.
        members: u64,
    },
    /// A test, as what the bug spoils is nothing that a run of the simulator can show.
    Test {
        /// The package.
        package: &'static str,
        /// Its test program; `lib` for the tests within the crate.
        program: &'static str,
        /// What the failure has to name: the test, or the script that no longer says what it should.
        name: &'static str,
    },
}

/// A bug and all that is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhibit {
    /// Its name, which is what stands in `planted!`.
    pub name: &'static str,
    /// The row of the catalogue of bug classes.
    pub row: u8,
    /// What goes wrong.
    pub title: &'static str,
    /// Where it was seen.
    pub from: &'static str,
    /// Who has to find it.
    pub finder: Finder,
    /// In how many places of the code it is planted. Most are a single line; where an assertion or a
    /// second guard would hide what the first line does, that one is spoilt as well.
    pub places: usize,
}

macro_rules! finder {
    (simulator) => {
        Finder::Simulator
    };
    (scenario $name:literal $members:literal) => {
        Finder::Scenario { name: $name, members: $members }
    };
    (graphs $members:literal) => {
        Finder::Graphs { members: $members }
    };
    (test $package:literal $program:literal $name:literal) => {
        Finder::Test { package: $package, program: $program, name: $name }
    };
}

macro_rules! places {
    () => {
        1
    };
    ($places:literal) => {
        $places
    };
}

macro_rules! catalogue {
    ($($bug:ident: $row:literal, $title:literal, from $from:literal,
        by $who:ident $(($($told:literal),*))?
        $(, in $places:literal places)?;)*) => {
        /// The bugs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $title] $bug,)*
        }

        impl Bug {
            /// All of them, in the order of this table.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// What is known of it.
            #[must_use]
            pub const fn exhibit(self) -> Exhibit {
                match self {
                    $(Self::$bug => Exhibit {
                        name: stringify!($bug),
                        row: $row,
                        title: $title,
                        from: $from,
                        finder: finder!($who $($($told)*)?),
                        places: places!($($places)?),
                    },)*
                }
            }
        }
    };
}

catalogue! {
    // ---- Row 1: a commit, or a read, without a quorum.
    CommitBelowMajority: 1, "an entry counts as committed with one voter less than a majority",
        from "openraft beb0302b", by simulator;
    HalfCommits: 1, "of an even number of voters, half commit: the matches are sorted the wrong way round",
        from "raft-java #21, openraft #1802", by simulator;
    HalfElects: 1, "of an even number of voters, half elect a leader",
        from "openraft #1802", by simulator;
    ReadUnconfirmed: 1, "a leader answers reads without asking whether it still leads",
        from "etcd 0.4.1 (Jepsen 2014)", by simulator;
    ReadConfirmedByEarlierRound: 1, "an answer to the round before confirms a round of reads",
        from "openraft d60f1e85", by simulator;

    // ---- Row 2: entries of an earlier term.
    CommitOfEarlierTerm: 2, "a leader commits an entry of an earlier term by counting",
        from "Raft figure 8, LogCabin #44, async-raft #106", by simulator;

    // ---- Row 3: votes.
    VoteBeforeDurable: 3, "a vote is told before it is on disk",
        from "Redpanda #14", by simulator;
    CampaignBeforeDurable: 3, "a candidate asks for votes in a term that it may forget",
        from "Redpanda #19", by simulator;
    VoteNotRecorded: 3, "a granted vote is not remembered, and given again to another",
        from "Camunda #1068", by simulator;
    VoteErasedByRestart: 3, "a restart keeps the term and erases the vote in it",
        from "Redpanda #19", by simulator;
    VoteOutlivesTerm: 3, "a vote is carried over into the next term",
        from "Raft 5.2", by simulator;
    VoteForShorterLog: 3, "a voter does not look at the candidate's log",
        from "Raft 5.4.1", by simulator;
    LogComparedByLength: 3, "of two logs the longer one wins, whatever its last term",
        from "Raft 5.4.1", by simulator;
    StaleVoteCounts: 3, "a candidate counts votes for an earlier term",
        from "Raft 5.2", by simulator;

    // ---- Row 4: acknowledged before it is durable.
    FollowerAcknowledgesUnsynced: 4, "a follower acknowledges what its disk does not have yet",
        from "Yugabyte #23453, d-engine MemFirst", by simulator;
    LeaderCountsUnsynced: 4, "a leader counts its own entries before they are on its disk",
        from "thesis 10.2.1", by simulator;

    // ---- Row 5: completions in another order, and of another time.
    MarkOfOlderLeaderCounts: 5, "a finished write of entries that were replaced since vouches for the new ones",
        from "openraft #1964, etcd append_aba_race", by simulator;
    StaleAcknowledgementCounts: 5, "an acknowledgement from an earlier term counts in this one",
        from "openraft cecb5de8", by test("quorate-raft", "scripts", "replication_stale_answer");

    // ---- Row 6: appends that are late, repeated or do not fit.
    StaleAppendTruncates: 6, "an append that was overtaken drops the entries behind its own",
        from "openraft 9540c904", by simulator, in 3 places;
    PreviousTermUnchecked: 6, "an append is taken if the entry before it is there, of whatever term",
        from "Raft 5.3", by simulator;
    ConflictKept: 6, "entries that differ from the leader's are taken for the leader's",
        from "openraft 44381b0c", by simulator;
    CommitBeyondAppend: 6, "a follower takes the commit index for all of its log, and not for what the append proved",
        from "Raft 5.3, etcd raft #5269", by simulator;
    HeartbeatCommitsUnmatched: 6, "a heartbeat commits what the follower is not known to have",
        from "etcd raft bcastHeartbeat", by simulator, in 2 places;

    // ---- Rows 7 to 10: members that come and go.
    ChangeBeforeFirstCommit: 7, "a new leader changes the members before an entry of its term is committed",
        from "Ongaro, raft-dev, July 2015", by test("quorate-raft", "scripts", "change_refused");
    ChangesOverlap: 8, "a change of members begins before the one before it is over",
        from "openraft 6c0ccaf3", by test("quorate-raft", "scripts", "change_refused");
    JointForEver: 8, "nobody ends the joint membership",
        from "openraft, joint consensus", by test("quorate-raft", "scripts", "change_leader_crashes");
    PromotedUncaught: 9, "a learner that has nothing becomes a voter",
        from "thesis 4.2.1", by test("quorate-raft", "scripts", "change_refused");
    MembershipOnCommit: 9, "a membership counts from its commit on, and not from its append",
        from "Raft 6", by test("quorate-raft", "scripts", "change_voters");
    MembershipKeptWhenDropped: 9, "a membership counts on when its entry was replaced",
        from "Raft 6", by test("quorate-raft", "scripts", "change_undone");
    RejoinKeepsOldGoal: 11, "a member that lost its disk asks the voters of old, and counts again though there are others",
        from "our proof of rejoining", by test("quorate-raft", "scripts", "rejoin_other_members"), in 2 places;
    NewDiskHearsOfCommit: 11, "a member with a new disk waits to hear that it was committed, though the next change was appended",
        from "ours, seed 183070", by test("quorate-raft", "scripts", "witness_new_disk");
    LeaverNeverCampaigns: 9, "a voter that is to leave does not campaign, though the others lack what removes it",
        from "thesis 4.2.2", by test("quorate-raft", "scripts", "change_leaver_needed");
    VoteOfAnotherDisk: 11, "the vote of a member counts whatever disk it has",
        from "ours, a disk is a part of the name", by test("quorate-raft", "scripts", "change_new_disk_votes");
    OldMembershipIsLast: 11, "a member that gets its log anew does not start again at a place where it was alone",
        from "ours, seed 105599", by test("quorate-raft", "scripts", "rejoin_once_alone");
    OldDiskCounts: 11, "what a member acknowledged with the disk before counts for the one that was given a vote",
        from "ours, a disk is a part of the name", by test("quorate-raft", "scripts", "change_new_disk_late");

    RemovedMemberKept: 10, "what a member told about itself outlives it, and nobody ever removes it",
        from "ours, rows that were left", by test("quorate-mvcc", "goldenscript", "members_leave");
    ReconcileLosesQuorum: 9, "of the way to the desired members a step is taken after which too few voters are there",
        from "ours, from etcd's check of a reconfiguration", by test("quorate-node", "lib", "steps_lead_to_the_goal_and_never_lose_the_quorum");
    ReconcileSkipsLearners: 9, "new members are to vote at once, are refused for ever, and the desired members never come to be",
        from "ours, from thesis 4.2.1", by simulator;
    SuspectReplaced: 9, "a voter that was late for long makes way for a spare, though it is there",
        from "ours, from the detector", by test("quorate-node", "lib", "who_is_suspected_or_leaves_is_not_replaced");
    ReplacedWithoutPause: 9, "of two voters that failed the second is replaced as soon as the first",
        from "ours, from the detector", by test("quorate-node", "lib", "one_at_a_time_with_a_pause_between");

    // ---- Row 11: a disk that was lost.
    LossForgotten: 11, "a member that lost its disk is a voter at once",
        from "etcd #3453", by simulator;
    RejoiningVotes: 11, "a member votes before it knows what it promised",
        from "etcd #3453", by simulator;
    RejoiningAcknowledges: 11, "what a rejoining member acknowledges counts for commitment",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "lost_disk_probe");
    RejoiningConfirmsReads: 11, "a rejoining member confirms that a leader leads",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "rejoin_deposed_leader");
    RejoinOneRound: 11, "one round of questions is enough to rejoin",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "lost_disk");
    RejoinAsksFew: 11, "a rejoining member does not wait for all others to answer",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "rejoin_two_rounds");
    RejoinWithoutQuorum: 11, "those who rejoin themselves are witnesses enough",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "rejoin_needs_quorum");
    RejoinBeforeDurable: 11, "a member counts again when it has received what it promised, and not when it holds it",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "rejoin_acknowledged");
    RejoinUnsealed: 11, "a member counts again without a vote that closes its term",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "rejoin_voted");
    VoteForEarlierProcess: 11, "a vote asked for by a process that is gone elects the next one",
        from "ours, 402f66a", by test("quorate-raft", "hostile", "a_vote_that_was_asked_for_by_an_earlier_process");
    HeartbeatTrustsLostDisk: 11, "a member that lost its disk takes what it was sent since for what it had acknowledged",
        from "ours, found by the museum", by test("quorate-raft", "scripts", "rejoin_heartbeat");
    LossUnnoticed: 11, "a leader insists on what a member had acknowledged before it lost its disk",
        from "ours, d9945a6", by simulator;
    BeginsAgainForEachAnswer: 11, "a leader begins again with a follower for each late answer of a pipeline",
        from "ours, 701184b", by test("quorate-raft", "scripts", "lost_disk_pipeline");

    // ---- Rows 12 to 15: elections that disturb, or never end.
    PreVoteSkipped: 12, "a member that hears nobody campaigns at once, and deposes a good leader when it is back",
        from "thesis 9.6", by simulator;
    LoyaltyForgotten: 12, "a member helps to depose a leader that it hears",
        from "thesis 4.2.3", by test("quorate-raft", "scripts", "prevote_loyalty");
    StuckLeaderUntold: 13, "a leader of an earlier term is not told of the later one",
        from "etcd #8501", by simulator;
    HealerUnheard: 13, "a leader does not hear from a member that heals that there is a later term",
        from "ours, 75eb5fc", by test("quorate-node", "requests", "a_leader_that_is_asked_from_a_later_term");
    PreVoteUnanswered: 13, "a question of an earlier term goes unanswered",
        from "raft-rs #84, canonical/raft #142", by simulator;
    RefusalHidesTerm: 14, "a refused preliminary vote does not carry the later term",
        from "openraft #1796", by simulator;
    QuorumNeverMissed: 15, "a leader that hears no quorum leads on, and holds those that hear it",
        from "openraft #2080, Cloudflare 2020", by graphs(3);

    HungDiskConfirms: 15, "a leader counts members whose disks stand, itself among them, and commits nothing",
        from "ours, known and open until then", by test("quorate-raft", "scripts", "check_quorum_hung_disk"), in 2 places;
    RepetitionIsLife: 15, "what a leader of the past said, repeated by the network, is taken for a sign that it leads",
        from "ours, known and open until then", by test("quorate-raft", "scripts", "prevote_repetition");

    // ---- Rows 16 and 17: reads.
    ReadBeforeFirstCommit: 16, "a leader answers reads before an entry of its term is committed",
        from "TiKV #6340, #9239, RedisRaft #22", by simulator;
    ReadIdReused: 17, "a read is asked again under the id of the lost question",
        from "etcd #20418", by simulator;
    ReadIdOfAnotherProcess: 17, "the ids of reads begin anew with each process",
        from "etcd #20418, #21375", by simulator;

    StaleSinceTheAnswer: 17, "the staleness of a read counts from the answer of the leader and not from the question",
        from "ours", by simulator;
    ProofBeforeItsIndex: 17, "a read that may be stale counts on a confirmation whose index is not here yet",
        from "ours", by simulator;

    // ---- Row 18: the leader's lease.
    DriftIgnored: 18, "a lease lasts as long as the promise, whatever clocks may differ",
        from "ours", by scenario("lease", 3);
    LeaseFromReply: 18, "a lease counts from the answer to a heartbeat and not from its sending",
        from "ours", by test("quorate-raft", "scripts", "lease");
    LeaseKeptInTransfer: 18, "a leader goes on with its lease when it has told another to campaign",
        from "TiKV #1595, openraft #1747", by scenario("lease", 3);
    PromiseForgotten: 18, "a voter that restarts votes at once, whatever it had promised",
        from "ours", by test("quorate-raft", "scripts", "lease_restart");
    PromiseToTheTerm: 18, "a voter that hears of a later term forgets what it promised",
        from "ours", by test("quorate-raft", "scripts", "lease_promise");

    // ---- Row 19: leases.
    LeaseExpiryUnfenced: 19, "a leader of the past ends a lease that its successor keeps alive",
        from "etcd #15247", by simulator;
    LeaseNotExtended: 19, "a new leader counts the time in which nobody could renew",
        from "etcd #12528", by test("quorate-mvcc", "lessor", "a_new_primary_gives_the_whole_time");
    ExtensionCounted: 19, "after a change of leaders, more is told to be left of a lease than was granted",
        from "ours, ae8409b", by test("quorate-mvcc", "lib", "what_is_left_is_never_more_than_was_granted");

    // ---- Rows 20 and 21: the machine and its position; one member alone.
    AppliedAheadOfData: 20, "after a crash the position of the machine is ahead of its data",
        from "etcd #13766", by simulator;
    AppliedBehindData: 20, "after a crash the data of the machine is ahead of its position",
        from "etcd #14685, #17780", by simulator;
    AppliedCalledDurable: 20, "what is applied is reported as durable",
        from "etcd #13766", by simulator;
    LoneMemberAcknowledgesUnsynced: 21, "a member alone in its group answers before its disk",
        from "etcd #14370", by simulator, in 2 places;

    // ---- Rows 22 and 23: snapshots and the log.
    CompactedBeyondMachine: 22, "the log forgets what the machine holds in memory only",
        from "Camunda #4451, etcd #10219", by simulator;
    SnapshotOverNewer: 22, "a snapshot is installed over a state that is newer",
        from "openraft ac3e5a89", by simulator;
    LogKeptUnderSnapshot: 22, "a snapshot that the log does not lead to leaves the log as it is",
        from "hashicorp/raft #212", by simulator;
    SnapshotTurnsBack: 22, "a late answer turns a transfer back, and makes two of it",
        from "ours, 810327e", by test("quorate-raft", "scripts", "snapshot_late_answer");
    SnapshotPieceNotRepeated: 22, "a piece of a snapshot that is lost is not sent again",
        from "openraft, a follower behind a purged log", by simulator;
    SnapshotCalledDurable: 22, "a snapshot is acknowledged before the log tells of it, and only the machine knows",
        from "ours, 4a8f9bd", by test("quorate-raft", "lib", "a_log_is_a_list_and_a_disk");
    IgnoredPieceWaits: 22, "who was busy with a snapshot of another leader waits for the next one as long again",
        from "ours, d705ccb", by test("quorate-raft", "scripts", "snapshot_of_another_leader"), in 2 places;
    PieceToWhoHeals: 22, "a member that heals is sent the piece that was read for the same member as a follower",
        from "ours, seed 93785", by test("quorate-node", "requests", "who_heals_and_who_follows_are_given_snapshots_of_their_own");
    SnapshotChecksumIgnored: 22, "a piece of a snapshot is taken as it comes",
        from "Jepsen NATS 2.12.1", by test("quorate-mvcc", "store", "a_snapshot_that_is_not_right_is_refused");
    AppliedWhileInstalling: 23, "entries are applied while a snapshot is being installed",
        from "openraft eed681d5, etcd #20653", by test("quorate-raft", "scripts", "snapshot_installing");
    CompactionNeedsWrite: 23, "what an installed snapshot covers is not to be compacted while it is being written",
        from "ours, 7485e30", by test("quorate-raft", "lib", "a_log_is_a_list_and_a_disk");

    // ---- Row 24: watches.
    WatchLosesAtHandOver: 24, "an event is lost where a watcher goes from the history to the present",
        from "etcd #17529", by simulator;
    WatchRepeatsAtHandOver: 24, "an event comes twice where a watcher goes from the history to the present",
        from "etcd #18089", by simulator;
    WatchSplitsRevision: 24, "the changes of one revision are told in part",
        from "etcd #19179", by simulator;
    WatchMissesCompaction: 24, "a watcher whose history is compacted is told nothing",
        from "etcd #18089, #19179", by simulator;
    WatchBeforeItsTime: 24, "a watcher of the future is told of the present",
        from "etcd #20221", by simulator;
    WatchProgressTooEarly: 24, "progress is reported to watchers that are behind",
        from "etcd #15220", by simulator;
    RefoundedHistoryReadable: 24, "a store that outlived its cluster lets watchers resume in a history that it may lack",
        from "etcd #16028", by test("quorate-mvcc", "model", "no_watcher_of_the_cluster_that_was");
    RefoundedRevisionKept: 24, "a store that outlived its cluster gives revisions out again that clients have seen",
        from "etcd #16028", by test("quorate-mvcc", "model", "no_watcher_of_the_cluster_that_was");

    // ---- Row 25: members that apply the same and come to differ.
    CompactionByLocalProgress: 25, "whether a revision is compacted depends on how far this member has cleaned up",
        from "etcd #18667", by simulator;
    DivergedGoesOn: 25, "a member whose state differs from a majority's serves it",
        from "etcd #13766, #14571", by test("quorate-node", "audit", "a_member_that_differs_stops");
    RefoundedSumsStale: 25, "the names of members that are no more count on in the fingerprint of what lives",
        from "ours, by reading", by test("quorate-mvcc", "model", "a_store_begins_anew_alike");

    // ---- Row 26: entries of a version that is still to come.
    NewerCommandSkipped: 26, "a command of a newer version is skipped, and others do what it says",
        from "etcd #13514", by test("quorate-mvcc", "store", "bytes_that_are_no_command_change_nothing");

    // ---- Rows 27 and 32: time.
    SlowDiskLeads: 27, "a leader whose disk is the slow one leads on",
        from "etcd #13527, #14501", by scenario("hung-leader", 3);
    NeededDiskLeads: 27, "a leader whose disk hangs leads on where nothing is committed without that disk",
        from "ours, 8ac311c", by test("quorate-raft", "scripts", "durable_leader_hangs_alone");
    ElectionsInStep: 32, "all members wait equally long before they campaign",
        from "Raft 5.2", by test("quorate-raft", "lib", "timeouts_are_spread");
    BackoffNeverEnds: 32, "a member that split votes once waits longer for ever, whoever leads",
        from "Raft 5.2", by test("quorate-raft", "scripts", "timeout_backoff"), in 2 places;
    SplitsUncounted: 32, "a member that splits votes again and again waits no longer each time",
        from "Raft 9.3", by test("quorate-raft", "scripts", "timeout_backoff");
    TimeoutWithoutFloor: 32, "a follower of a leader that is never late campaigns when the next heartbeat is due",
        from "thesis 9.3", by test("quorate-raft", "scripts", "timeout_adaptive");
    StallsForgotten: 32, "a member does not remember how long hosts have stalled",
        from "Lifeguard (DSN 2018)", by test("quorate-raft", "scripts", "timeout_adaptive_stall");
    LoyaltyAsConfigured: 32, "voters refuse those who have noticed sooner than they that the leader is dead",
        from "ours, found while it was made", by test("quorate-raft", "scripts", "timeout_adaptive");
    YieldsForEver: 32, "a member steps back for each campaign, also for those of somebody who can't win",
        from "ours, found while it was made", by test("quorate-raft", "scripts", "timeout_adaptive_yield");
    HeartbeatUnheard: 32, "a heartbeat does not move the election timer",
        from "openraft 5e15946d", by test("quorate-raft", "paper", "s5_2_a_follower_stays_one");

    // ---- Rows 28 to 30: disks.
    RoomUnasked: 28, "a log writes on where the disk has no room, and ends its member",
        from "etcd #2819, #3068", by test("quorate-sim", "disks", "calls_fail_and_processes_end");
    RemovalsKeepSpace: 28, "deleted data keeps its space until something new is written over it",
        from "ours, f175146", by test("quorate-store", "space", "deletion_and_compaction_give_space_back"), in 2 places;
    BatchNotSynced: 4, "the log calls a batch durable without a sync",
        from "Jepsen NATS 2.12.1", by simulator;
    SegmentNotSynced: 29, "a new segment of the log is not synced",
        from "ALICE, OSDI 2014", by simulator;
    DirectoryNotSynced: 29, "the name of a new segment is not synced",
        from "ALICE, OSDI 2014", by simulator;
    FailedSyncRetried: 29, "a log whose sync failed goes on",
        from "Rebello and others, ATC 2020", by test("quorate-wal", "faults", "every_call_may_fail_once");
    BadSectorIsNoDamage: 29, "a sector that the disk can't read is no damage, and is met anew at each start",
        from "ours, 42866c0", by test("quorate-store", "damage", "a_bad_sector_is_damage_when_the_store_is_opened");
    ReadersDamageForgotten: 30, "damage that a reader finds is told to the client, and the member goes on",
        from "ours, 290e96a", by test("quorate-store", "damage", "what_a_reader_finds_damaged");
    ScrubberFollowsWrites: 30, "where more is written than is verified, nobody comes back to the cold tables",
        from "ours, 42866c0", by test("quorate-store", "damage", "the_scrubber_comes_back_to_cold_tables");
    BodyChecksumIgnored: 30, "a record is read without a look at the checksum of its body",
        from "Jepsen NATS 2.12.1", by test("quorate-wal", "damage", "every_flipped_bit");
    DamageCutAway: 30, "damage in the middle of the log is cut away as if it were torn",
        from "etcd decoder.go isTornEntry", by test("quorate-wal", "damage", "every_flipped_bit");
    MarkIgnored: 30, "damage at the end of the log is taken for a batch that was torn",
        from "etcd wal.go ReadAll", by test("quorate-wal", "damage", "with_a_mark_nothing");
    VoteNotPledged: 30, "a vote is in the last batch of the log and nowhere else",
        from "ours, by reading", by test("quorate-wal", "heal", "no_vote_is_forgotten");
    PledgeIgnored: 30, "a log that tells less than was promised is taken for one that was torn",
        from "ours", by test("quorate-wal", "heal", "no_vote_is_forgotten");
    EndCutSilently: 30, "what lies between damage and a torn batch is cut away, as if the log had ended before",
        from "ours, seed 5889 beyond the limit", by test("quorate-wal", "cut_beside_damage", "no_batch_of_a_group");
    MadeUpRecordRead: 30, "what looks like the last record, in a client's command, is read as one",
        from "ours, 67864db", by test("quorate-wal", "heal", "a_record_that_a_client_made_up");
    ForgedRunRead: 30, "several records that a client made up are read, as they prove each other",
        from "ours", by test("quorate-wal", "heal", "records_that_a_client_made_up");
    UnreadPledgePassedOver: 30, "the last pledge can't be read, and the one before counts as the last",
        from "ours, d2b7769", by test("quorate-wal", "heal", "no_older_pledge_counts_as_the_last");
    ReadOnce: 30, "what a disk does not read at the first attempt is lost",
        from "ours, d2b7769 and 04609d3", by test("quorate-wal", "heal", "what_is_read_at_the_third_attempt");
    PieceOfHealingLeft: 30, "of a healing that failed a piece is left, for which a log without segments is forgotten",
        from "ours, seed 90584", by test("quorate-wal", "heal", "a_segment_that_could_not_be_written");
    TornHeadIgnored: 30, "the end of a segment may be lost, though the next one that was begun says so",
        from "ours", by test("quorate-wal", "damage", "a_lost_batch_before_a_torn_segment");
    LeftoverIsSenseless: 30, "what a lost write left of a torn batch is no leftover, and the log is refused",
        from "ours, 38054b6", by test("quorate-wal", "crash", "what_a_lost_write_leaves_of_a_torn_batch");
    CheckpointCutShort: 30, "a checkpoint that ends too early tells groups as they were before what is lost",
        from "ours, 6d22544", by test("quorate-wal", "damage", "a_checkpoint_that_ends_too_early");
    MarkOfFirstBatchIgnored: 30, "the end of the first batch after healing counts as lost, though a mark tells it",
        from "ours, 2353d1e", by test("quorate-wal", "heal", "the_first_batch_after_healing");
    EmptyLogRemoved: 30, "a log in which nothing is left is removed before anybody can tell that it was lost",
        from "ours, f5a0b1b", by test("quorate-wal", "lib", "a_first_segment_that_was_never_finished");
    DescendingTermsTaken: 30, "entries whose terms descend are read, and end the member that starts with them",
        from "ours, 361a4b2", by test("quorate-wal", "lib", "terms_on_a_disk"), in 2 places;
    OtherBytesTaken: 30, "entries with the right names and other bytes are taken for those that were lost",
        from "ours, b65b3e5", by test("quorate-node", "lib", "bytes_that_are_not_those_that_were_lost");
    DamagedIsNeverHad: 30, "an entry is given up because the copies of others are damaged as well",
        from "CTRL, FAST 2018", by test("quorate-node", "lib", "a_damaged_copy_or_a_lost_disk");
    LostDiskIsNeverHad: 30, "an entry is given up because a member that lost its disk, and heals, lacks it",
        from "ours", by test("quorate-node", "lib", "a_member_that_lost_its_disk_and_heals");
    LeaderOfThePastDecides: 30, "an entry is given up because a leader of an earlier term lacks it",
        from "CTRL, FAST 2018", by test("quorate-node", "lib", "what_a_leader_never_had");
    TornTailNotZeroed: 30, "what a torn batch left behind the end of the log stays there",
        from "etcd #11488", by test("quorate-wal", "crash", "a_shorter_batch_does_not_bring_a_torn_one_back");

    // ---- Row 31: once and no more.
    ForwardTakenTwice: 31, "a leader takes a command twice that arrives twice",
        from "Redpanda #3039", by simulator;
    RetriedWhileUnknown: 31, "a command is given to the next leader while it may still commit",
        from "Redis-Raft, Jepsen 2020", by simulator;
    ReturnedBringsAll: 31, "a command that a leader gives back brings with it all that the leader was given",
        from "ours", by simulator;

    // ---- Rows 33 and 34: waiting, and room.
    WaiterDropped: 33, "nobody answers a client whose command the next leader commits",
        from "openraft 1d5cc706, 43dd8b6f", by simulator;
    WaitsForNobody: 33, "a node without a leader wakes up again and again",
        from "ours, 13e5325", by simulator;
    LastAppendNotRepeated: 33, "the last append of a full window is lost for good",
        from "ours, e28e13b", by test("quorate-raft", "scripts", "replication_lost_last_append");
    WindowCloses: 33, "a window that is halved for each rejection comes to nothing, and nothing is sent again",
        from "ours", by simulator;
    OldAnswerEndsProbe: 34, "an answer from before a probe begins replication anew: a storm",
        from "ours, e28e13b", by simulator;
    WindowForEachRejection: 34, "each append that was overtaken makes a probe of its own: a storm",
        from "ours, found by the museum", by test("quorate-raft", "scripts", "replication_overtaken");
    WindowNeverShrinks: 34, "of a large window, all is sent again for each append that gets through",
        from "ours, 50048db", by test("quorate-raft", "scripts", "replication_overtaken_window");
    LateRejectionCounts: 34, "a late rejection takes back what was acknowledged since, and all is sent again",
        from "ours, 1fddb5b", by test("quorate-raft", "scripts", "replication_stale_rejection");
    CommittedOtherIgnored: 33, "a lost entry is waited for though somebody knows that another one is committed there",
        from "ours, seed 13843", by test("quorate-node", "lib", "where_another_entry_is_committed");
    LoneVoterGivesUp: 33, "the only voter gives up what it lost, as no other voter has it",
        from "ours, seed 21 beyond the limit", by test("quorate-node", "lib", "what_a_lone_voter_lost");
    BarrenAskedAtOnce: 34, "members that have nothing for one that heals are asked as fast as they answer",
        from "ours, 9ff5c59", by test("quorate-node", "lib", "when_nobody_is_far_enough");
    LogUnbounded: 34, "a leader without a quorum takes whatever it is given",
        from "openraft, a stalled quorum", by test("quorate-raft", "scripts", "propose_limits");

    // ---- Rows 35 and 36: leadership that moves.
    TransferVoteUnchecked: 35, "a vote at the leader's wish does not look at the log",
        from "openraft d000ee20", by simulator;
    TransferToLagging: 35, "a member that is behind is told to take over",
        from "hashicorp/raft 1.6.1", by test("quorate-raft", "scripts", "transfer_catch_up");
    ProposedDuringTransfer: 35, "a leader takes commands while it hands over",
        from "hashicorp/raft 1.6.0", by test("quorate-raft", "scripts", "transfer_aborted");
    TransferToSilent: 36, "a leader whose disk stands hands over to a member that it does not hear",
        from "ours, from row 27", by test("quorate-raft", "scripts", "durable_leader_hangs_silent");
    SlowDiskToUnfit: 36, "a leader whose disk stands hands over to a member that its host advises against",
        from "ours, from row 27", by test("quorate-raft", "scripts", "transfer_unfit");
    LeadToGray: 36, "leadership is handed unasked to a member that is silent or leaves",
        from "ours, from row 36", by test("quorate-node", "requests", "leadership_is_handed_to_nobody_where_nobody_answers");
    SlowDiskToLeaver: 36, "a leader whose disk stands chooses a voter that leaves, is refused, and leads on",
        from "ours, by reading", by test("quorate-raft", "scripts", "durable_leader_hangs_joint");
    SlowDiskToGray: 36, "a leader is not told whom the detector suspects, and hands over to it when its disk is slow",
        from "ours, from row 27", by test("quorate-node", "requests", "a_slow_disk_hands_over_to_who_answers");
    LeadToLagging: 36, "the lead is given to a higher priority that lacks most of the log, and the group waits",
        from "ours, from MongoDB's priority takeover", by test("quorate-node", "requests", "who_lags_behind");
    LeadNeverMoves: 36, "a leader keeps the lead though another member is to have it",
        from "ours, from MongoDB's priority takeover", by simulator;
    LeadToAndFro: 36, "who loses the lead whenever it has it gets it back as soon as the first time",
        from "ours, from MongoDB's priority takeover", by test("quorate-node", "lib", "who_loses_the_lead_again_and_again");
    TransferToRejoining: 36, "leadership is handed to a member that lost its disk",
        from "ours, 402f66a", by test("quorate-raft", "scripts", "transfer_refused");

    // ---- Groups that are quiet: rows 1, 12 and 33.
    QuietReadUnconfirmed: 1, "a quiet leader answers reads without asking whether it still leads",
        from "TiKV, hibernating regions", by test("quorate-raft", "scripts", "quiet_read"), in 2 places;
    QuietIsDisloyal: 12, "a member that was quiet helps to depose the leader that it was quiet with",
        from "CockroachDB, quiesced ranges", by test("quorate-raft", "scripts", "quiet_loyalty");
    QuietLeaderUntold: 12, "a member that refuses a vote for a quiet leader does not wake it, and votes the next time",
        from "ours", by test("quorate-sim", "groups", "one_broken_link_does_not_depose");
    QuietBeforeAllHaveAll: 33, "a group falls quiet although a member lacks entries",
        from "CockroachDB, quiesced ranges", by test("quorate-raft", "scripts", "quiet_agreement"), in 2 places;
    LostNeighbourIgnored: 33, "a node does not wake the groups whose leader's node is gone",
        from "CockroachDB #9315, TiKV #16429", by test("quorate-sim", "groups", "groups_whose_leader_is_gone");
    QuietForEver: 33, "a group that is quiet does not notice that its leader is gone",
        from "TiKV #16429", by test("quorate-raft", "scripts", "quiet_leader_is_lost");

    // ---- Witnesses.
    WitnessCampaigns: 3, "a witness, which has no state, asks to be elected",
        from "ours", by simulator;
    TailOverNewer: 3, "a candidate takes over a witness' log though its own is the newer one",
        from "ours", by test("quorate-raft", "scripts", "witness_older_log");
    TailInHeardTerm: 5, "a follower replaces entries of which the leader of its term knows that it has them",
        from "ours", by test("quorate-raft", "scripts", "witness_heard_term");
    TailWithheld: 33, "a witness does not give what it has, and nobody can be elected",
        from "ours", by simulator;
    TailBreaksPromise: 18, "whoever got the rest of a witness' log campaigns at once, though it has promised not to",
        from "ours, 46cfdf6", by test("quorate-raft", "scripts", "witness_promise");
    TailKeepsVote: 9, "a member campaigns though its vote went with an entry that a witness' log replaced",
        from "ours, 46cfdf6", by test("quorate-raft", "scripts", "witness_takes_vote");
    LeftToWitnesses: 9, "a change leaves a group of which only witnesses are there",
        from "ours, 46cfdf6", by test("quorate-raft", "scripts", "witness_leaver");

    // ---- Users and rights.
    RightsWithinTxn: 39, "what a transaction within a transaction does needs no right",
        from "etcd, CVE-2026-33343", by test("quorate-mvcc", "goldenscript", "auth_txn");
    RightsOfOneBranch: 39, "only the branch of a transaction that succeeds needs rights",
        from "ours, from CVE-2026-33343", by test("quorate-mvcc", "goldenscript", "auth_txn");
    PreviousNeedsNoRight: 39, "whoever may write a key is told what was there before",
        from "etcd, CVE-2026-44283", by test("quorate-mvcc", "goldenscript", "auth_ranges");
    LeaseNeedsNoRight: 39, "a key may join a lease that ends keys which its writer may not touch",
        from "etcd, CVE-2026-44283", by test("quorate-mvcc", "goldenscript", "auth_ranges");
    FirstKeyIsChecked: 39, "whoever may read the first key of a range may read all of it",
        from "etcd, GHSA-xg4h", by test("quorate-mvcc", "goldenscript", "auth_ranges");
    NobodyMayAct: 39, "a command of nobody is carried out though rights are checked",
        from "etcd, CVE-2026-33413", by test("quorate-mvcc", "goldenscript", "auth_enable");
    OldRightsCount: 39, "a command is carried out for a caller who was let in before rights changed",
        from "Trail of Bits 2020, check and use", by test("quorate-mvcc", "goldenscript", "auth_enable");
    TokenOfOldPassword: 39, "a token is given out though the password has changed since it was compared",
        from "ours", by test("quorate-mvcc", "goldenscript", "auth_tokens");
    RightsOfBeforeSnapshot: 25, "a member that got a snapshot goes by the rights of before",
        from "etcd #14571", by test("quorate-mvcc", "goldenscript", "auth_snapshot");

    // ---- Alarms.
    CappedTxnApplied: 28, "while an alarm is raised for want of space, a transaction that puts is carried out",
        from "etcd, applierV3Capped", by simulator;
    AlarmsOfBeforeSnapshot: 25, "a member that got a snapshot goes by the alarms of before, and missed that one was taken back",
        from "etcd, restoreAlarms", by simulator;
    ClearedByOldMark: 28, "an alarm that was raised anew is taken back by who saw the one before",
        from "ours", by test("quorate-mvcc", "goldenscript", "alarm_clear");

    // ---- Groups that sleep.
    SleepForgetsVote: 3, "a member that slept has forgotten its vote",
        from "ours", by test("quorate-raft", "asleep", "whoever_sleeps");
    SleepForgetsCommit: 33, "a member that slept has forgotten what is committed",
        from "ours", by test("quorate-raft", "asleep", "whoever_sleeps");
    SleepForgetsRound: 1, "a leader that slept counts its heartbeats anew, and answers to old ones confirm reads",
        from "ours", by test("quorate-raft", "asleep", "whoever_sleeps");
}

#[cfg(test)]
mod tests {
    extern crate alloc;

    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn bugs_are_of_rows_that_exist_and_say_what_they_are() {
        let mut titles = BTreeSet::new();
        for exhibit in Bug::ALL.iter().map(|bug| bug.exhibit()) {
            assert!((1..=39).contains(&exhibit.row), "{exhibit:?}");
            assert!(titles.insert(exhibit.title), "twice: {exhibit:?}");
            assert!(!exhibit.from.is_empty() && exhibit.places > 0, "{exhibit:?}");
        }
    }

    #[cfg(not(museum))]
    #[test]
    fn nothing_is_alive() {
        assert!(Bug::ALL.iter().all(|bug| !crate::is_alive(*bug)));
    }
}
