//! The claims of the Raft paper, sections 5 and 7, one test each: Ongaro and Ousterhout, "In Search
//! of an Understandable Consensus Algorithm (Extended Version)", 2014.
//!
//! The tests speak to one member, in the place of all others. Its writes are synced at once.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::{Member, last};
use quorate_raft::{
    Append, AppendReply, Body, Config, Effects, Entry, EntryId, Event, GroupId, HardState,
    Heartbeat, Index, Input, Limits, Membership, Message, NodeId, Payload, RequestVote, RoleKind,
    SnapshotChunk, SnapshotMeta, SnapshotPiece, SnapshotReply, SnapshotRequest, Status, Term, Time,
    VoteReply,
};

const TIMEOUT: Duration = Duration::from_millis(1000);
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Member 1 of a group of `nodes`.
struct Subject {
    member: Member,
    now: Time,
}

/// What a step brought about.
#[derive(Debug, Default)]
struct Said {
    send: Vec<Message>,
    committed: Vec<Entry>,
    events: Vec<Event>,
}

impl Said {
    /// The bodies of messages to a member.
    fn to(&self, to: u64) -> Vec<&Body> {
        self.send.iter().filter(|m| m.to == NodeId(to)).map(|m| &m.body).collect()
    }

    fn requests_for_votes(&self) -> BTreeSet<(NodeId, Term)> {
        let votes = self.send.iter().filter(|m| matches!(m.body, Body::Vote(_)));
        votes.map(|m| (m.to, m.term)).collect()
    }

    fn granted(&self) -> bool {
        let granted =
            |m: &Message| matches!(m.body, Body::VoteReply(VoteReply { granted: true, .. }));
        self.send.iter().any(granted)
    }
}

impl Subject {
    fn new(nodes: u64) -> Self {
        Self::with_seed(nodes, 1)
    }

    fn with_seed(nodes: u64, seed: u64) -> Self {
        let config = Config {
            id: NodeId(1),
            group: GroupId(1),
            membership: Membership::of_voters((1..=nodes).map(NodeId)),
            heartbeat_interval: HEARTBEAT,
            election_timeout: TIMEOUT,
            election_policy: quorate_raft::ElectionPolicy::Fixed,
            quiet_after: None,
            incarnation: 1,
            seed,
            rejoining: None,
            lease: None,
            witness: false,
            limits: Limits { retained_bytes_max: 0, ..Limits::default() },
        };
        Self { member: Member::new(config, Time(0)), now: Time(0) }
    }

    /// A member with such a log, in such a term.
    fn with_log(nodes: u64, terms: &[u64], term: u64) -> Self {
        let mut subject = Self::new(nodes);
        subject.member.crash(0);
        subject.member.disk.hard_state = HardState { term: Term(term), vote: None };
        subject.member.disk.entries = entries(0, terms);
        subject.member.written = subject.member.disk.clone();
        subject.member.start(Time(0));
        subject
    }

    fn step(&mut self, input: Input) -> Said {
        let mut said = Said::default();
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let Effects { send, committed, events, .. } = self.member.step(self.now, input);
            said.send.extend(send);
            said.committed.extend(committed);
            said.events.extend(events);
            next = self.member.sync(usize::MAX).map(Input::Durable);
        }
        said
    }

    fn hear(&mut self, from: u64, term: u64, body: Body) -> Said {
        let (from, term) = (NodeId(from), Term(term));
        self.step(Input::Message(Message { from, to: NodeId(1), term, rejoining: None, body }))
    }

    fn time_out(&mut self) -> Said {
        self.now = self.now.max(self.member.raft.as_ref().unwrap().deadline());
        self.step(Input::Timeout)
    }

    /// A vote for the process that runs.
    fn granted(&self) -> VoteReply {
        VoteReply { granted: true, incarnation: self.member.starts }
    }

    /// Times out, and is told by all that it would win.
    fn campaign(&mut self) -> Said {
        let mut said = self.time_out();
        let term = self.status().term.0 + 1;
        for voter in self.others() {
            let granted = Body::PreVoteReply(self.granted());
            let more = self.hear(voter, term, granted);
            said.send.extend(more.send);
        }
        assert!(matches!(self.status().role, RoleKind::Candidate | RoleKind::Leader));
        said
    }

    /// Campaigns, and gets all votes.
    fn lead(&mut self) -> Said {
        let mut said = self.campaign();
        let term = self.status().term.0;
        for voter in self.others() {
            let more = self.hear(voter, term, Body::VoteReply(self.granted()));
            said.send.extend(more.send);
        }
        assert_eq!(self.status().role, RoleKind::Leader);
        said
    }

    fn propose(&mut self, command: &str) -> Said {
        self.step(Input::Propose(vec![Bytes::copy_from_slice(command.as_bytes())]))
    }

    fn acknowledge(&mut self, from: u64, durable: u64) -> Said {
        let reply = AppendReply::Accepted { durable: Index(durable) };
        self.hear(from, self.status().term.0, Body::AppendReply(reply))
    }

    fn status(&self) -> Status {
        self.member.raft.as_ref().unwrap().status()
    }

    fn others(&self) -> Vec<u64> {
        (2..=self.member.config.membership.voters.len() as u64).collect()
    }

    /// The terms of the entries in the log.
    fn terms(&self) -> Vec<u64> {
        self.member.written.entries.iter().map(|entry| entry.id.term.0).collect()
    }
}

/// Entries after a position, of such terms.
fn entries(after: u64, terms: &[u64]) -> Vec<Entry> {
    let ids = terms.iter().zip(after + 1..).map(|(term, index)| EntryId::new(*term, index));
    ids.map(|id| Entry { id, payload: Payload::Command(Bytes::from(id.to_string())) }).collect()
}

fn append(previous: (u64, u64), terms: &[u64], commit: u64) -> Body {
    let (index, term) = previous;
    Body::Append(Append {
        previous: EntryId::new(term, index),
        entries: entries(index, terms),
        commit: Index(commit),
    })
}

fn heartbeat() -> Body {
    Body::Heartbeat(Heartbeat {
        commit: Index(0),
        round: 0,
        pace: None,
        quiet: false,
        hold: Duration::ZERO,
    })
}

fn vote(index: u64, term: u64) -> Body {
    Body::Vote(RequestVote {
        last: EntryId::new(term, index),
        transfer: false,
        incarnation: 1,
        disk: None,
    })
}

fn accepted(durable: u64) -> Body {
    Body::AppendReply(AppendReply::Accepted { durable: Index(durable) })
}

// ---- 5.1 Basics ------------------------------------------------------------------------------

#[test]
fn s5_1_a_later_term_is_adopted_and_followed_in_every_role() {
    for role in [RoleKind::Follower, RoleKind::PreCandidate, RoleKind::Candidate, RoleKind::Leader]
    {
        let mut subject = Subject::new(3);
        match role {
            RoleKind::Follower => {}
            RoleKind::PreCandidate => drop(subject.time_out()),
            RoleKind::Candidate => drop(subject.campaign()),
            RoleKind::Leader => drop(subject.lead()),
        }
        assert_eq!(subject.status().role, role);
        subject.hear(2, 7, heartbeat());
        let status = subject.status();
        assert_eq!((status.role, status.term), (RoleKind::Follower, Term(7)));
        assert_eq!(subject.member.disk.hard_state.term, Term(7), "the term is on disk");
    }
}

#[test]
fn s5_1_a_request_of_an_earlier_term_is_refused() {
    for body in [append((0, 0), &[2], 1), heartbeat(), vote(9, 2)] {
        let mut subject = Subject::with_log(3, &[1], 5);
        let said = subject.hear(2, 3, body);
        assert_eq!(subject.terms(), [1], "nothing is appended");
        assert_eq!((subject.status().commit, subject.status().leader), (Index(0), None));
        assert!(said.send.iter().all(|m| m.term == Term(5)), "the answer tells the later term");
        assert!(!said.send.is_empty() && !said.granted());
    }
}

// ---- 5.2 Leader election ---------------------------------------------------------------------

#[test]
fn s5_2_a_member_starts_as_a_follower() {
    let status = Subject::new(3).status();
    assert_eq!((status.role, status.term), (RoleKind::Follower, Term(0)));
}

#[test]
fn s5_2_a_follower_stays_one_while_it_hears_from_a_leader() {
    let mut subject = Subject::new(3);
    for round in 1..=100 {
        subject.now = subject.now + HEARTBEAT * 9;
        subject.step(Input::Timeout);
        assert_eq!(subject.status().role, RoleKind::Follower, "it does not even ask for votes");
        subject.hear(
            2,
            1,
            Body::Heartbeat(Heartbeat {
                commit: Index(0),
                round,
                pace: None,
                quiet: false,
                hold: Duration::ZERO,
            }),
        );
    }
    assert_eq!((subject.status().role, subject.status().term), (RoleKind::Follower, Term(1)));
}

#[test]
fn s5_2_a_follower_that_hears_nothing_begins_an_election() {
    let mut subject = Subject::new(3);
    subject.hear(2, 1, heartbeat());
    let said = subject.time_out();
    assert!(subject.now >= Time(0) + TIMEOUT, "not before the timeout");
    assert!(said.send.iter().all(|m| matches!(m.body, Body::PreVote(_))));
    assert_eq!(said.send.len(), 2, "it asks all others");
}

#[test]
fn s5_2_a_candidate_enters_the_next_term_votes_for_itself_and_asks_all_others() {
    let mut subject = Subject::with_log(5, &[1, 2], 2);
    let said = subject.campaign();
    let status = subject.status();
    assert_eq!((status.role, status.term), (RoleKind::Candidate, Term(3)));
    assert_eq!(status.vote, Some(NodeId(1)));
    let all = [2, 3, 4, 5].map(|id| (NodeId(id), Term(3)));
    assert_eq!(said.requests_for_votes(), BTreeSet::from(all));
}

#[test]
fn s5_2_a_candidate_wins_with_the_votes_of_a_majority_and_not_with_fewer() {
    for nodes in 1..=7 {
        for votes in 0..nodes {
            let mut subject = Subject::new(nodes);
            subject.campaign();
            for voter in 2..2 + votes {
                subject.hear(voter, 1, Body::VoteReply(subject.granted()));
            }
            let is_leader = subject.status().role == RoleKind::Leader;
            assert_eq!(is_leader, 2 * (votes + 1) > nodes, "{votes} and its own of {nodes}");
        }
    }
}

#[test]
fn s5_2_a_repeated_vote_counts_once() {
    let mut subject = Subject::new(5);
    subject.campaign();
    for _ in 0..3 {
        subject.hear(2, 1, Body::VoteReply(subject.granted()));
    }
    assert_eq!(subject.status().role, RoleKind::Candidate);
}

#[test]
fn s5_2_a_voter_votes_for_the_first_to_ask_and_for_nobody_else_in_that_term() {
    let mut subject = Subject::new(3);
    assert!(subject.hear(2, 1, vote(0, 0)).granted());
    assert!(!subject.hear(3, 1, vote(0, 0)).granted());
    assert!(subject.hear(2, 1, vote(0, 0)).granted(), "the answer may have been lost");
    assert!(subject.hear(3, 2, vote(0, 0)).granted(), "the next term is another vote");
}

#[test]
fn s5_2_a_vote_survives_a_restart() {
    let mut subject = Subject::new(3);
    assert!(subject.hear(2, 1, vote(0, 0)).granted());
    subject.member.crash(0);
    subject.member.start(subject.now);
    assert!(!subject.hear(3, 1, vote(0, 0)).granted());
    assert!(subject.hear(2, 1, vote(0, 0)).granted());
}

#[test]
fn s5_2_a_winner_tells_all_others_at_once_and_then_regularly() {
    let mut subject = Subject::new(3);
    let said = subject.lead();
    for other in [2, 3] {
        assert!(said.to(other).iter().any(|body| matches!(body, Body::Append(_))));
    }
    let elected = subject.now;
    let said = subject.time_out();
    assert_eq!(subject.now, elected + HEARTBEAT);
    for other in [2, 3] {
        assert!(said.to(other).iter().any(|body| matches!(body, Body::Heartbeat(_))));
    }
}

#[test]
fn s5_2_a_candidate_follows_a_leader_of_its_own_term() {
    for body in [append((0, 0), &[1], 0), heartbeat()] {
        let mut subject = Subject::new(3);
        subject.campaign();
        subject.hear(2, 1, body);
        let status = subject.status();
        assert_eq!((status.role, status.term), (RoleKind::Follower, Term(1)));
        assert_eq!(status.leader, Some(NodeId(2)));
    }
}

#[test]
fn s5_2_a_candidate_stays_one_when_a_leader_of_an_earlier_term_speaks() {
    let mut subject = Subject::with_log(3, &[1], 4);
    subject.campaign();
    subject.hear(2, 4, heartbeat());
    assert_eq!((subject.status().role, subject.status().term), (RoleKind::Candidate, Term(5)));
}

#[test]
fn s5_2_an_undecided_candidate_begins_anew_in_a_later_term() {
    let mut subject = Subject::new(3);
    subject.campaign();
    subject.campaign();
    assert_eq!((subject.status().role, subject.status().term), (RoleKind::Candidate, Term(2)));
}

#[test]
fn s5_2_election_timeouts_are_drawn_from_an_interval() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let mut subject = Subject::with_seed(3, seed);
        for _ in 0..3 {
            let before = subject.now;
            subject.time_out();
            let timeout = subject.now.since(before);
            assert!((TIMEOUT..2 * TIMEOUT).contains(&timeout), "{timeout:?}");
            seen.insert(timeout);
        }
    }
    assert!(seen.len() > 290, "{} different timeouts of 300", seen.len());
}

#[test]
fn s5_2_most_of_the_time_one_member_times_out_well_before_the_others() {
    let alone = (0..1000).filter(|group| {
        let deadline = |member: u64| {
            let subject = Subject::with_seed(5, group * 5 + member);
            subject.member.raft.unwrap().deadline()
        };
        let mut deadlines: Vec<Time> = (0..5).map(deadline).collect();
        deadlines.sort_unstable();
        // Time enough for three rounds of messages of a few milliseconds each.
        deadlines[1].since(deadlines[0]) > Duration::from_millis(15)
    });
    let alone = alone.count();
    assert!(alone > 900, "{alone} of 1000");
}

// ---- 5.3 Log replication ---------------------------------------------------------------------

#[test]
fn s5_3_a_leader_appends_a_command_and_sends_it_to_all_others() {
    let mut subject = Subject::new(3);
    subject.lead();
    subject.acknowledge(2, 1);
    subject.acknowledge(3, 1);
    let said = subject.propose("a");
    assert_eq!(subject.status().last, EntryId::new(1, 2));
    for other in [2, 3] {
        let Body::Append(append) = said.to(other)[0] else { panic!("{said:?}") };
        assert_eq!(append.previous, EntryId::new(1, 1));
        assert_eq!(append.entries[0].payload, Payload::Command(Bytes::from("a")));
    }
}

#[test]
fn s5_3_an_entry_is_committed_and_applied_when_it_is_on_a_majority() {
    for nodes in 1..=7 {
        let mut subject = Subject::new(nodes);
        subject.lead();
        for other in subject.others() {
            subject.acknowledge(other, 1);
        }
        let mut applied = subject.propose("a").committed;
        for (other, on_disks) in subject.others().into_iter().zip(2..) {
            assert_eq!(!applied.is_empty(), 2 * (on_disks - 1) > nodes, "of {nodes}");
            applied.extend(subject.acknowledge(other, 2).committed);
        }
        assert_eq!(applied.len(), 1, "applied once");
    }
}

#[test]
fn s5_3_what_precedes_a_committed_entry_is_committed_also_from_earlier_leaders() {
    let mut subject = Subject::with_log(3, &[1, 1, 2], 2);
    subject.lead();
    let said = subject.acknowledge(2, 4);
    let terms: Vec<u64> = said.committed.iter().map(|entry| entry.id.term.0).collect();
    assert_eq!(terms, [1, 1, 2, 3]);
}

#[test]
fn s5_3_a_follower_learns_what_is_committed_and_applies_it_in_order() {
    for (commit, applied) in [(0, 0), (1, 1), (3, 3), (9, 3)] {
        let mut subject = Subject::new(3);
        let said = subject.hear(2, 1, append((0, 0), &[1, 1, 1], commit));
        let indexes: Vec<u64> = said.committed.iter().map(|entry| entry.id.index.0).collect();
        assert_eq!(indexes, (1..=applied).collect::<Vec<_>>(), "of what it has, {commit} is");
    }
}

#[test]
fn s5_3_a_leader_tries_for_ever_to_bring_a_follower_up_to_date() {
    let mut subject = Subject::new(3);
    subject.lead();
    subject.acknowledge(2, 1);
    for _ in 0..1000 {
        let said = subject.time_out();
        assert!(said.to(3).iter().any(|body| matches!(body, Body::Append(_))), "a probe");
        subject.hear(2, 1, heartbeat_reply());
    }
    // It is back, and has nothing.
    let said = subject.acknowledge(3, 0);
    assert!(matches!(said.to(3)[0], Body::Append(append) if append.entries.len() == 1));
}

fn heartbeat_reply() -> Body {
    Body::HeartbeatReply(quorate_raft::HeartbeatReply {
        round: 0,
        stall: Duration::ZERO,
        quiet: false,
        held: Duration::ZERO,
    })
}

fn rejected(previous: u64, hint: (u64, u64)) -> Body {
    let hint = EntryId::new(hint.1, hint.0);
    Body::AppendReply(AppendReply::Rejected { previous: Index(previous), hint })
}

#[test]
fn s5_3_a_follower_rejects_an_append_that_does_not_fit() {
    // (previous, whether it has that entry)
    let cases = [((0, 0), true), ((1, 1), true), ((2, 2), true), ((2, 3), false), ((3, 3), false)];
    for (previous, fits) in cases {
        let mut subject = Subject::with_log(3, &[1, 2], 2);
        let said = subject.hear(2, 4, append(previous, &[], 0));
        let Body::AppendReply(reply) = said.to(2)[0] else { panic!("{said:?}") };
        let is_accepted = matches!(reply, AppendReply::Accepted { .. });
        assert_eq!(is_accepted, fits, "{previous:?}");
    }
}

#[test]
fn s5_3_a_follower_drops_conflicting_entries_and_all_that_follow_them_and_no_others() {
    // (its log, previous, entries, its log afterwards)
    type Case<'a> = (&'a [u64], (u64, u64), &'a [u64], &'a [u64]);
    let cases: [Case<'_>; 6] = [
        (&[1, 2], (2, 2), &[3], &[1, 2, 3]),
        (&[1, 2], (1, 1), &[3, 4], &[1, 3, 4]),
        (&[1], (0, 0), &[1], &[1]),
        (&[1, 2, 2], (0, 0), &[3], &[3]),
        // It has them all, and more: a late message.
        (&[1, 2, 2], (0, 0), &[1, 2], &[1, 2, 2]),
        (&[1, 2, 2], (1, 1), &[], &[1, 2, 2]),
    ];
    for (log, previous, sent, expected) in cases {
        let mut subject = Subject::with_log(3, log, 2);
        subject.hear(2, 4, append(previous, sent, 0));
        assert_eq!(subject.terms(), expected, "{log:?} and {sent:?} after {previous:?}");
        let disk: Vec<u64> = subject.member.disk.entries.iter().map(|e| e.id.term.0).collect();
        assert_eq!(disk, expected, "on disk");
    }
}

#[test]
fn s5_3_a_leader_brings_every_log_of_figure_7_to_its_own() {
    let leader_log = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for log in followers {
        let mut leader = Subject::with_log(3, &leader_log, 7);
        let mut follower = Subject::with_log(3, log, 7);
        // Each is member 1 of a group where the other is member 2.
        let mut to_follower = leader.lead().send;
        let mut exchanges = 0;
        while follower.terms() != leader.terms() {
            exchanges += 1;
            assert!(exchanges < 6, "{log:?} takes too long");
            let mut answers = Vec::new();
            for message in to_follower.drain(..).filter(|m| m.to == NodeId(2) && m.term == Term(8))
            {
                if !matches!(message.body, Body::Vote(_)) {
                    answers.extend(follower.hear(2, 8, message.body).send);
                }
            }
            for answer in answers {
                to_follower.extend(leader.hear(2, 8, answer.body).send);
            }
        }
        assert_eq!(leader.terms()[..10], leader_log, "a leader's log is append-only");
    }
}

#[test]
fn s5_3_a_rejection_skips_a_whole_term() {
    let mut subject = Subject::with_log(3, &[1, 4, 4, 4, 4, 4, 4, 4], 4);
    // None of the four entries of term 4 after the first matches a log of terms 1 to 3.
    let said = subject.hear(2, 7, append((7, 6), &[7], 0));
    let Body::AppendReply(AppendReply::Rejected { hint, .. }) = said.to(2)[0] else {
        panic!("{said:?}")
    };
    assert_eq!(*hint, EntryId::new(4, 7));
    let said = subject.hear(2, 7, append((7, 3), &[7], 0));
    let Body::AppendReply(AppendReply::Rejected { hint, .. }) = said.to(2)[0] else {
        panic!("{said:?}")
    };
    assert_eq!(*hint, EntryId::new(1, 1), "seven entries are skipped at once");
}

#[test]
fn s5_3_one_slow_follower_does_not_slow_the_group() {
    let mut subject = Subject::new(3);
    subject.lead();
    for index in 1..100 {
        let said = subject.acknowledge(2, index);
        assert_eq!(said.committed.len(), 1, "without a word of member 3");
        subject.propose("a");
    }
}

// ---- 5.4 Safety ------------------------------------------------------------------------------

#[test]
fn s5_4_1_a_voter_refuses_a_candidate_whose_log_is_less_up_to_date() {
    // (its log, the candidate's last entry, whether it votes)
    let cases: [(&[u64], (u64, u64), bool); 9] = [
        (&[], (0, 0), true),
        (&[1], (1, 1), true),
        (&[1], (2, 1), true),
        (&[1], (1, 2), true),
        (&[1, 1], (1, 2), true),
        (&[1, 1], (1, 1), false),
        (&[1], (0, 0), false),
        (&[2], (1, 1), false),
        (&[2], (5, 1), false),
    ];
    for (log, (index, term), expected) in cases {
        let mut subject = Subject::with_log(3, log, 2);
        let granted = subject.hear(2, 3, vote(index, term)).granted();
        assert_eq!(granted, expected, "{log:?} and {index}@{term}");
    }
}

#[test]
fn s5_4_2_a_leader_counts_only_for_entries_of_its_own_term() {
    // With the log [1, 2] it leads term 3, and its own first entry is 3@3.
    for (acknowledged, committed) in [(1, 0), (2, 0), (3, 3)] {
        let mut subject = Subject::with_log(3, &[1, 2], 2);
        subject.lead();
        subject.acknowledge(2, acknowledged);
        assert_eq!(subject.status().commit, Index(committed));
    }
}

#[test]
fn s5_4_3_who_has_acknowledged_a_committed_entry_votes_for_nobody_without_it() {
    let mut subject = Subject::new(3);
    let said = subject.hear(2, 1, append((0, 0), &[1, 1], 0));
    assert!(said.to(2).contains(&&accepted(2)));
    assert!(!subject.hear(3, 2, vote(1, 1)).granted());
    subject.member.crash(0);
    subject.member.start(subject.now);
    assert!(!subject.hear(3, 3, vote(1, 1)).granted(), "not even after a restart");
}

// ---- 5.5 Crashes -----------------------------------------------------------------------------

#[test]
fn s5_5_requests_may_be_repeated() {
    let mut subject = Subject::new(3);
    subject.hear(2, 1, append((0, 0), &[1, 1], 1));
    let before = (subject.terms(), subject.status());
    for _ in 0..3 {
        let said = subject.hear(2, 1, append((0, 0), &[1, 1], 1));
        assert!(said.to(2).contains(&&accepted(2)), "it is answered each time");
        assert!(said.committed.is_empty(), "and applied once");
    }
    assert_eq!((subject.terms(), subject.status()), before);
}

#[test]
fn s5_5_a_crashed_member_remembers_its_term_its_vote_and_its_log() {
    let mut subject = Subject::new(3);
    subject.hear(2, 1, append((0, 0), &[1, 1], 2));
    subject.now = subject.now + 2 * TIMEOUT;
    assert!(subject.hear(3, 4, vote(2, 1)).granted());
    subject.member.crash(0);
    subject.member.start(subject.now);
    let status = subject.status();
    assert_eq!((status.term, status.vote), (Term(4), Some(NodeId(3))));
    assert_eq!(subject.terms(), [1, 1]);
    assert_eq!(status.role, RoleKind::Follower);
}

// ---- 5.6 Timing ------------------------------------------------------------------------------

#[test]
fn s5_6_a_leader_that_is_heard_in_time_stays() {
    let mut subject = Subject::new(3);
    subject.lead();
    for _ in 0..1000 {
        subject.time_out();
        subject.hear(2, 1, heartbeat_reply());
    }
    assert_eq!((subject.status().role, subject.status().term), (RoleKind::Leader, Term(1)));
}

// ---- 7 Log compaction ------------------------------------------------------------------------

fn snapshot(index: u64, term: u64, cursor: &'static str, next: Option<&'static str>) -> Body {
    let meta = SnapshotMeta {
        last: EntryId::new(term, index),
        membership: Membership::of_voters([1, 2, 3].map(NodeId)),
    };
    let (cursor, next) = (Bytes::from(cursor), next.map(Bytes::from));
    Body::Snapshot(Box::new(SnapshotChunk { meta, cursor, data: Bytes::new(), next }))
}

#[test]
fn s7_entries_in_the_machine_are_dropped_and_the_last_of_them_is_remembered() {
    let mut subject = Subject::new(3);
    subject.hear(2, 1, append((0, 0), &[1, 1, 1], 2));
    let effects = subject.member.compact(subject.now);
    assert_eq!(effects.persist.len(), 1);
    assert_eq!(subject.terms(), [1], "what is not applied stays");
    assert_eq!(subject.status().base, EntryId::new(1, 2));
    // The consistency check of the next append needs the entry before the log.
    subject.hear(3, 2, append((2, 1), &[2], 3));
    assert_eq!(last(&subject.member.written), EntryId::new(2, 3));
}

#[test]
fn s7_a_leader_sends_a_snapshot_when_it_no_longer_has_the_next_entry() {
    let mut subject = Subject::new(3);
    subject.lead();
    subject.propose("a");
    subject.acknowledge(2, 2);
    let now = subject.now;
    subject.member.compact(now);
    assert_eq!(subject.status().base, EntryId::new(1, 2));
    // Member 3 has nothing: what it gets to judge is the base.
    let said = subject.time_out();
    assert!(matches!(said.to(3)[0], Body::Append(a) if a.previous == EntryId::new(1, 2)));
    let said = subject.hear(3, 1, rejected(2, (0, 0)));
    assert_eq!(said.events, [Event::SnapshotStarted { to: NodeId(3) }]);
    assert!(matches!(
        subject.member.snapshot_work.back(),
        Some(SnapshotRequest::Read { to: NodeId(3), last: None, .. })
    ));
    // When the snapshot is installed, entries follow again.
    let Body::Snapshot(chunk) = snapshot(2, 1, "", None) else { unreachable!() };
    let said = subject.step(Input::SnapshotReady(SnapshotPiece { to: NodeId(3), chunk }));
    assert!(matches!(said.to(3)[0], Body::Snapshot(_)));
    subject.propose("b");
    let installed = SnapshotReply::Installed { durable: Index(2) };
    let said = subject.hear(3, 1, Body::SnapshotReply(installed));
    assert!(matches!(said.to(3)[0], Body::Append(a) if a.previous == EntryId::new(1, 2)
        && a.entries.len() == 1));
}

#[test]
fn s7_a_snapshot_replaces_a_log_that_lacks_its_last_entry() {
    // A shorter log, and one that differs there.
    for log in [&[1_u64, 1][..], &[1, 1, 1, 1, 1, 1]] {
        let mut subject = Subject::with_log(3, log, 1);
        subject.hear(2, 3, snapshot(5, 2, "", None));
        assert!(matches!(
            subject.member.snapshot_work.pop_front(),
            Some(SnapshotRequest::Write(chunk)) if chunk.next.is_none()
        ));
        let said = subject.step(Input::SnapshotInstalled { last: EntryId::new(2, 5) });
        assert_eq!(subject.terms(), [0_u64; 0]);
        assert_eq!(subject.status().base, EntryId::new(2, 5));
        assert_eq!(subject.status().commit, Index(5));
        let installed = SnapshotReply::Installed { durable: Index(5) };
        assert!(said.to(2).contains(&&Body::SnapshotReply(installed)));
        assert_eq!(subject.member.disk.base, EntryId::new(2, 5), "on disk");
    }
}

#[test]
fn s7_a_snapshot_of_a_prefix_leaves_what_follows_it() {
    let mut subject = Subject::with_log(3, &[1, 1, 2, 2], 2);
    let said = subject.hear(2, 3, snapshot(3, 2, "", None));
    assert_eq!(subject.terms(), [1, 1, 2, 2]);
    assert_eq!(said.committed.len(), 3, "the leader vouches for it");
    let installed = SnapshotReply::Installed { durable: Index(3) };
    assert_eq!(said.to(2), [&Body::SnapshotReply(installed)]);
    assert!(subject.member.snapshot_work.is_empty());
}

#[test]
fn s7_pieces_are_stored_in_order() {
    let mut subject = Subject::new(3);
    let mut hear = |body| {
        let said = subject.hear(2, 1, body);
        let stored = subject.member.snapshot_work.drain(..).count();
        let cursor = said.to(2).first().map(|body| match body {
            Body::SnapshotReply(SnapshotReply::Continue { cursor, .. }) => cursor.clone(),
            body => panic!("{body:?}"),
        });
        (stored, cursor.map(|cursor| String::from_utf8(cursor.to_vec()).unwrap()))
    };
    let at = |cursor: &str| Some(cursor.to_owned());
    assert_eq!(hear(snapshot(5, 1, "b", Some("c"))), (0, at("")), "the beginning first");
    assert_eq!(hear(snapshot(5, 1, "", Some("a"))), (1, at("a")));
    assert_eq!(hear(snapshot(5, 1, "b", Some("c"))), (0, at("a")), "one was lost");
    assert_eq!(hear(snapshot(5, 1, "", Some("a"))), (0, at("a")), "one is repeated");
    assert_eq!(hear(snapshot(5, 1, "a", Some("b"))), (1, at("b")));
    assert_eq!(hear(snapshot(6, 1, "b", Some("c"))), (0, at("")), "of another snapshot");
    assert_eq!(hear(snapshot(6, 1, "", Some("a"))), (1, at("a")), "which begins anew");
    assert_eq!(hear(snapshot(6, 1, "a", None)), (1, None), "answered when it is installed");
}

#[test]
fn s7_a_snapshot_of_less_than_is_committed_is_not_needed() {
    let mut subject = Subject::new(3);
    subject.hear(2, 1, append((0, 0), &[1, 1, 1], 3));
    let said = subject.hear(2, 1, snapshot(2, 1, "", None));
    let installed = SnapshotReply::Installed { durable: Index(3) };
    assert_eq!(said.to(2), [&Body::SnapshotReply(installed)]);
    assert_eq!(subject.terms(), [1, 1, 1]);
}

// ---- Beside the paper ------------------------------------------------------------------------

#[test]
fn who_leads_an_earlier_term_than_another_disk_knows_gives_up() {
    let knows = |term| Input::LaterTerm { from: NodeId(2), term };
    let mut subject = Subject::new(3);
    subject.step(knows(Term(7)));
    assert_eq!(subject.status().term, Term(0), "who does not lead will hear of it");
    subject.lead();
    let term = subject.status().term;
    subject.step(knows(term));
    assert_eq!(subject.status().role, RoleKind::Leader, "that is its own");
    let said = subject.step(knows(Term(u64::MAX)));
    assert!(matches!(said.events[..], [Event::Malformed { .. }]), "{said:?}");
    assert_eq!(subject.status().role, RoleKind::Leader, "there is no such term");
    subject.step(knows(Term(9)));
    assert_eq!((subject.status().role, subject.status().term), (RoleKind::Follower, Term(9)));
}
