//! Runs the scripts in `tests/scripts`: what happens in a cluster, told as a conversation.
//!
//! A script decides everything that chance decides elsewhere: whose timer goes off, which message
//! arrives, which write is synced. What the cluster does then is written below each command, and
//! compared. `UPDATE_GOLDENFILES=1 cargo test -p quorate-raft --test scripts` writes it anew; read
//! the difference before you commit it.
//!
//! ```text
//! n1 → n2  t3 Append 4@2 +[5@3 b] commit 4    a message leaves
//! n1 ✗ n2  t3 ...                             it is lost at once
//! n1 ← n2  t3 ...                             it arrives
//! n1 writes s7 5@3 b                          a record goes to the log
//! n1 applies 5@3 b                            an entry is handed out
//! n1: leads t3                                an event
//! ```
//!
//! Unless a script says otherwise, writes are synced at once and hosts do their snapshot work at
//! once. Messages wait until they are delivered. The commands are those of `Script::run_command`.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use common::Member;
use goldenscript::{ArgumentConsumer, Command, Context};
use quorate_raft::{
    AppendReply, Body, Config, DiskId, Effects, ElectionPolicy, Entry, EntryId, Event, GroupId,
    HardState, Input, Lease, Limits, Membership, Message, NodeId, Payload, ReadId, Record,
    Recovered, RoleKind, Seq, SnapshotReply, Time,
};

#[test]
fn scripts() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<PathBuf> =
        directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are scripts in {}", directory.display());
    let failed: Vec<_> = paths
        .iter()
        .filter(|path| {
            let run = || goldenscript::run(&mut Script::default(), path).unwrap();
            catch_unwind(AssertUnwindSafe(run)).is_err()
        })
        .map(|path| path.file_name().unwrap().to_string_lossy())
        .collect();
    assert!(failed.is_empty(), "{} of {} scripts: {failed:?}", failed.len(), paths.len());
}

type Outcome = Result<(), Box<dyn Error>>;

#[derive(Default)]
struct Script {
    now: Time,
    members: BTreeMap<NodeId, Member>,
    /// Messages on their way, in the order in which they were sent.
    network: Vec<Message>,
    /// Links that lose everything.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Members whose writes wait for `sync`.
    held: BTreeSet<NodeId>,
    /// Whether snapshot work waits for `snapshot`.
    snapshots_wait: bool,
    reads: u64,
    output: String,
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        self.output.clear();
        let mut arguments = command.consume_args();
        self.run_command(&command.name, &mut arguments)?;
        arguments.reject_next()?;
        Ok(std::mem::take(&mut self.output))
    }
}

impl Script {
    fn run_command(&mut self, name: &str, arguments: &mut ArgumentConsumer<'_>) -> Outcome {
        match name {
            // cluster nodes=N [learners=N] [spare=N] [witnesses=IDS] [policy=fixed|backoff|adaptive] [quiet_after=MS]
            // [lease=PPM] [limits …]: new members n1, n2, …; who is spare belongs to no group.
            "cluster" => self.cluster(arguments),
            // disk NODE terms=1-1-2 [term=N]: restarts it with such a log.
            "disk" => self.disk(arguments),
            // timeout NODE: its deadline comes.
            "timeout" => {
                let id = self.node(arguments)?;
                let deadline = self.raft(id)?.deadline();
                if deadline == Time::NEVER {
                    return Err("it waits for nothing".into());
                }
                self.now = self.now.max(deadline);
                self.step(id, Input::Timeout);
                Ok(())
            }
            // elect NODE: its deadline comes, and it wins; nothing but the election is delivered.
            "elect" => {
                let id = self.node(arguments)?;
                self.now = self.now.max(self.raft(id)?.deadline());
                self.step(id, Input::Timeout);
                for kind in ["PreVote", "PreVoteReply", "Vote", "VoteReply"] {
                    let is_meant = |message: &Message| {
                        (message.from == id || message.to == id)
                            && body(&message.body).split(' ').next() == Some(kind)
                    };
                    let (election, rest) =
                        std::mem::take(&mut self.network).into_iter().partition(is_meant);
                    self.network = rest;
                    let election: Vec<Message> = election;
                    election.into_iter().for_each(|message| self.deliver(message));
                }
                if self.raft(id)?.status().role != RoleKind::Leader {
                    return Err(format!("{id} does not win").into());
                }
                Ok(())
            }
            // beat NODE COUNT [after=MILLISECONDS]: its deadline comes so often, and each time all is
            // delivered that much later, and the answers as much later again. Ends when it has none.
            "beat" => {
                let id = self.node(arguments)?;
                let count: u64 = argument(arguments, "count")?;
                let after: u64 = arguments.take_key("after").map_or(Ok(0), str::parse)?;
                for _ in 0..count {
                    let deadline = self.raft(id)?.deadline();
                    if deadline == Time::NEVER {
                        writeln!(self.output, "{id} is quiet")?;
                        return Ok(());
                    }
                    self.now = self.now.max(deadline);
                    self.step(id, Input::Timeout);
                    while !self.network.is_empty() {
                        self.now = self.now + Duration::from_millis(after);
                        for message in std::mem::take(&mut self.network) {
                            self.deliver(message);
                        }
                    }
                }
                Ok(())
            }
            // timer NODE …: in how long its deadline comes.
            "timer" => {
                while let Some(id) = arguments.next_pos() {
                    let id = NodeId(id.parse()?);
                    match self.raft(id)?.deadline() {
                        Time::NEVER => writeln!(self.output, "{id}: never")?,
                        at => {
                            writeln!(self.output, "{id}: in {} ms", at.since(self.now).as_millis())?
                        }
                    }
                }
                Ok(())
            }
            // wake NODE [doubted]: it is to be awake, as its leader's node is not heard, or for no such reason.
            "wake" => {
                let id = self.node(arguments)?;
                let doubted = arguments.next_pos() == Some("doubted");
                self.step(id, Input::Wake { doubted });
                Ok(())
            }
            // wait MILLISECONDS: time passes, and nobody's timer goes off.
            "wait" => {
                let span: u64 = argument(arguments, "milliseconds")?;
                self.now = self.now + Duration::from_millis(span);
                Ok(())
            }
            // deliver [from=NODE] [to=NODE] [type=NAME] [count=N]: what is on its way now.
            "deliver" => {
                let messages = self.take_messages(arguments)?;
                if messages.is_empty() {
                    writeln!(self.output, "nothing is on its way")?;
                }
                messages.into_iter().for_each(|message| self.deliver(message));
                Ok(())
            }
            // settle: delivers until all is quiet.
            "settle" => {
                for _ in 0..1000 {
                    for message in std::mem::take(&mut self.network) {
                        self.deliver(message);
                    }
                    if self.network.is_empty() {
                        return Ok(());
                    }
                }
                Err("it never becomes quiet".into())
            }
            // drop [from=NODE] [to=NODE] [type=NAME] [count=N]: loses messages.
            "drop" => {
                for message in self.take_messages(arguments)? {
                    writeln!(self.output, "{}", arrow(&message, "✗"))?;
                }
                Ok(())
            }
            // repeat [from=NODE] [to=NODE] [type=NAME]: they will arrive once more, at the end.
            "repeat" => {
                let messages = self.take_messages(arguments)?;
                self.network.extend(messages.iter().cloned());
                self.network.extend(messages);
                Ok(())
            }
            // delay [from=NODE] …: they will arrive after all others.
            "delay" => {
                let messages = self.take_messages(arguments)?;
                self.network.extend(messages);
                Ok(())
            }
            // damage [from=NODE] …: pieces of snapshots arrive with other bytes.
            "damage" => {
                for mut message in self.take_messages(arguments)? {
                    if let Body::Snapshot(chunk) = &mut message.body {
                        chunk.data = Bytes::from(vec![0xff; chunk.data.len()]);
                    }
                    self.network.push(message);
                }
                Ok(())
            }
            // partition GROUP GROUP …: only within a group does anything arrive. A group is 1-2.
            "partition" => {
                let mut groups = Vec::new();
                while let Some(group) = arguments.next_pos() {
                    let ids: Result<Vec<u64>, _> = group.split('-').map(str::parse).collect();
                    groups.push(ids?);
                }
                let group = |id: NodeId| groups.iter().position(|group| group.contains(&id.0));
                for from in self.members.keys() {
                    for to in self.members.keys() {
                        if group(*from) != group(*to) {
                            self.cut.insert((*from, *to));
                        }
                    }
                }
                Ok(())
            }
            // cut FROM TO: what one says to the other does not arrive.
            "cut" => {
                let (from, to) = (self.node(arguments)?, self.node(arguments)?);
                self.cut.insert((from, to));
                Ok(())
            }
            // heal: everything arrives again.
            "heal" => {
                self.cut.clear();
                Ok(())
            }
            // propose NODE COMMAND …: several are one batch.
            "propose" => {
                let id = self.node(arguments)?;
                let mut commands = Vec::new();
                while let Some(command) = arguments.next_pos() {
                    commands.push(Bytes::copy_from_slice(command.as_bytes()));
                }
                self.step(id, Input::Propose(commands));
                Ok(())
            }
            // read NODE
            "read" => {
                let id = self.node(arguments)?;
                self.reads += 1;
                self.step(id, Input::Read(ReadId { incarnation: id.0, counter: self.reads }));
                Ok(())
            }
            // transfer NODE TO
            "transfer" => {
                let (id, to) = (self.node(arguments)?, self.node(arguments)?);
                self.step(id, Input::Transfer(to));
                Ok(())
            }
            // unfit NODE [OTHER …]: its host would not have these lead.
            "unfit" => {
                let id = self.node(arguments)?;
                let mut members = Vec::new();
                while let Some(other) = arguments.next_pos() {
                    members.push(NodeId(other.parse()?));
                }
                self.step(id, Input::Unfit(members));
                Ok(())
            }
            // change NODE voters=1-2-3 [learners=4-5] [witnesses=5]
            "change" => {
                let id = self.node(arguments)?;
                let (voters, learners) = (ids(arguments, "voters")?, ids(arguments, "learners")?);
                let witnesses = ids(arguments, "witnesses")?;
                let wanted = Membership { voters, learners, witnesses, ..Membership::default() };
                self.step(id, Input::Change(wanted));
                Ok(())
            }
            // compact NODE: its machine is durable up to what it applied.
            "compact" => {
                let id = self.node(arguments)?;
                let effects = self.members.get_mut(&id).unwrap().compact(self.now);
                self.after(id, effects);
                Ok(())
            }
            // hold NODE: its writes wait for `sync`.
            "hold" => {
                let id = self.node(arguments)?;
                self.held.insert(id);
                Ok(())
            }
            // release NODE: its writes are synced at once again, also those that waited.
            "release" => {
                let id = self.node(arguments)?;
                self.held.remove(&id);
                self.after(id, Effects::default());
                Ok(())
            }
            // sync NODE [COUNT]: its first COUNT writes, or all, become durable.
            "sync" => {
                let id = self.node(arguments)?;
                let count = arguments.next_pos().map_or(Ok(usize::MAX), str::parse)?;
                let seq = self.members.get_mut(&id).unwrap().sync(count);
                let seq = seq.ok_or("all its writes are synced")?;
                self.step(id, Input::Durable(seq));
                Ok(())
            }
            // durable NODE SEQ: the same news once more, or late.
            "durable" => {
                let id = self.node(arguments)?;
                let seq = Seq(argument(arguments, "seq")?);
                self.step(id, Input::Durable(seq));
                Ok(())
            }
            // snapshots wait|go: whether hosts do their snapshot work at once.
            "snapshots" => {
                self.snapshots_wait = arguments.next_pos() == Some("wait");
                Ok(())
            }
            // snapshot NODE: the next piece of its snapshot work.
            "snapshot" => {
                let id = self.node(arguments)?;
                if !self.work_on_snapshot(id) {
                    return Err("it has no snapshot work".into());
                }
                Ok(())
            }
            // crash NODE [survive=N] [unnoted]: it loses what was not synced but the first N writes; and its
            // host had not noted yet that it counts again.
            "crash" => {
                let id = self.node(arguments)?;
                let survive = arguments.take_key("survive").map_or(Ok(0), str::parse)?;
                self.raft(id)?;
                let member = self.members.get_mut(&id).unwrap();
                member.crash(survive);
                if arguments.next_pos() == Some("unnoted") {
                    member.begin_to_rejoin();
                }
                Ok(())
            }
            // wipe NODE [unsaid]: its disk is lost while it is down, and a new one put in its place. It
            // rejoins when it is started, unless whoever starts it does not say what happened.
            "wipe" => {
                let id = self.node(arguments)?;
                let member = self.members.get_mut(&id).unwrap();
                member.wipe();
                if arguments.next_pos() == Some("unsaid") {
                    member.config.rejoining = None;
                }
                Ok(())
            }
            // start NODE: after a crash.
            "start" => {
                let id = self.node(arguments)?;
                let member = self.members.get_mut(&id).unwrap();
                member.start(self.now);
                if member.raft.as_ref().unwrap().deadline() <= self.now
                    && member.config.membership.voters.len() > 1
                {
                    // It has something to say before anything happens.
                    self.step(id, Input::Timeout);
                }
                self.show_status(id);
                Ok(())
            }
            // forge from=NODE to=NODE term=N KIND …: a message that nobody sent. An entry is
            // index@term.command.
            "forge" => self.forge(arguments),
            // status [NODE]
            "status" => {
                let ids = match arguments.next_pos() {
                    Some(id) => vec![NodeId(id.parse()?)],
                    None => self.members.keys().copied().collect(),
                };
                ids.into_iter().for_each(|id| self.show_status(id));
                Ok(())
            }
            // log [NODE]: what is written, with a bar after what is durable.
            "log" => {
                let ids = match arguments.next_pos() {
                    Some(id) => vec![NodeId(id.parse()?)],
                    None => self.members.keys().copied().collect(),
                };
                ids.into_iter().for_each(|id| self.show_log(id));
                Ok(())
            }
            name => Err(format!("there is no command {name}").into()),
        }
    }

    // ---- What commands do ------------------------------------------------------------------

    fn cluster(&mut self, arguments: &mut ArgumentConsumer<'_>) -> Outcome {
        *self = Self::default();
        let policy = match arguments.take_key("policy").unwrap_or("fixed") {
            "fixed" => ElectionPolicy::Fixed,
            "backoff" => ElectionPolicy::Backoff,
            "adaptive" => ElectionPolicy::Adaptive,
            policy => return Err(format!("there is no policy {policy}").into()),
        };
        let lease = arguments.take_key("lease").map(str::parse).transpose()?;
        let lease = lease.map(|drift_ppm| Lease { drift_ppm });
        let mut number = |key: &str, default: usize| -> Result<usize, Box<dyn Error>> {
            Ok(arguments.take_key(key).map_or(Ok(default), str::parse)?)
        };
        let quiet_after = number("quiet_after", usize::MAX)?;
        let quiet_after =
            (quiet_after != usize::MAX).then(|| Duration::from_millis(quiet_after as u64));
        let nodes = number("nodes", 3)? as u64;
        let learners = number("learners", 0)? as u64;
        let spare = number("spare", 0)? as u64;
        let piece_length = number("piece", 1 << 20)?;
        let defaults = Limits::default();
        let limits = Limits {
            append_bytes_max: number("append_bytes", defaults.append_bytes_max)?,
            inflight_messages_max: number("inflight", defaults.inflight_messages_max)?,
            inflight_bytes_max: number("inflight_bytes", defaults.inflight_bytes_max)?,
            uncommitted_bytes_max: number("uncommitted_bytes", defaults.uncommitted_bytes_max)?,
            pending_reads_max: number("reads", defaults.pending_reads_max)?,
            retained_bytes_max: number("retained", defaults.retained_bytes_max)?,
            retained_bytes_min: number("kept", 0)?,
        };
        let mut membership = Membership::of_voters((1..=nodes).map(NodeId));
        membership.learners = (nodes + 1..=nodes + learners).map(NodeId).collect();
        let witnesses = ids(arguments, "witnesses")?;
        let members = membership.members();
        membership.witnesses = witnesses.intersection(&members).copied().collect();
        for id in (1..=nodes + learners + spare).map(NodeId) {
            let config = Config {
                id,
                group: GroupId(1),
                membership: membership.clone(),
                heartbeat_interval: Duration::from_millis(100),
                election_timeout: Duration::from_millis(1000),
                election_policy: policy,
                quiet_after,
                incarnation: 1,
                seed: id.0,
                rejoining: None,
                lease,
                witness: witnesses.contains(&id),
                limits,
            };
            let mut member = Member::new(config, self.now);
            member.piece_length = piece_length;
            self.members.insert(id, member);
        }
        Ok(())
    }

    fn disk(&mut self, arguments: &mut ArgumentConsumer<'_>) -> Outcome {
        let id = self.node(arguments)?;
        let terms: Result<Vec<u64>, _> =
            arguments.take_key("terms").unwrap_or_default().split('-').map(str::parse).collect();
        let terms = terms?;
        let term = arguments.take_key("term").map(str::parse).transpose()?;
        let entries: Vec<Entry> = terms
            .iter()
            .zip(1..)
            .map(|(term, index)| {
                let payload = Payload::Command(Bytes::from(format!("{index}.{term}")));
                Entry { id: EntryId::new(*term, index), payload }
            })
            .collect();
        let member = self.members.get_mut(&id).unwrap();
        member.crash(0);
        let term = term.or(terms.last().copied()).unwrap_or(0);
        let hard_state = HardState { term: quorate_raft::Term(term), vote: None };
        member.disk = Recovered { hard_state, base: EntryId::ZERO, entries };
        member.written = member.disk.clone();
        member.start(self.now);
        Ok(())
    }

    fn forge(&mut self, arguments: &mut ArgumentConsumer<'_>) -> Outcome {
        let from = NodeId(key(arguments, "from")?);
        let to = NodeId(key(arguments, "to")?);
        let term = quorate_raft::Term(key(arguments, "term")?);
        let body = match arguments.next_pos().ok_or("what kind of message?")? {
            "append" => {
                let previous = entry_id(arguments.take_key("previous").ok_or("previous=?")?)?;
                let mut entries = Vec::new();
                while let Some(text) = arguments.next_pos() {
                    let (id, command) = text.split_once('.').unwrap_or((text, "forged"));
                    let payload = Payload::Command(Bytes::copy_from_slice(command.as_bytes()));
                    entries.push(Entry { id: entry_id(id)?, payload });
                }
                let commit = quorate_raft::Index(key(arguments, "commit")?);
                Body::Append(quorate_raft::Append { previous, entries, commit })
            }
            "heartbeat" => Body::Heartbeat(quorate_raft::Heartbeat {
                commit: quorate_raft::Index(key(arguments, "commit")?),
                round: arguments.take_key("round").map_or(Ok(0), str::parse)?,
                pace: None,
                quiet: arguments.take_key("quiet").map_or(Ok(false), str::parse)?,
                hold: Duration::ZERO,
            }),
            "accepted" => Body::AppendReply(AppendReply::Accepted {
                durable: quorate_raft::Index(key(arguments, "durable")?),
            }),
            "rejected" => Body::AppendReply(AppendReply::Rejected {
                previous: quorate_raft::Index(key(arguments, "previous")?),
                hint: entry_id(arguments.take_key("hint").ok_or("hint=?")?)?,
            }),
            kind @ ("granted" | "pregranted") => {
                let reply = quorate_raft::VoteReply { granted: true, incarnation: 1 };
                if kind == "granted" { Body::VoteReply(reply) } else { Body::PreVoteReply(reply) }
            }
            kind @ ("vote" | "prevote") => {
                let request = quorate_raft::RequestVote {
                    last: entry_id(arguments.take_key("last").ok_or("last=?")?)?,
                    transfer: false,
                    incarnation: 0,
                    disk: None,
                };
                if kind == "vote" { Body::Vote(request) } else { Body::PreVote(request) }
            }
            "refusal" => {
                Body::VoteReply(quorate_raft::VoteReply { granted: false, incarnation: 0 })
            }
            "timeout-now" => Body::TimeoutNow,
            "tail" => {
                let previous = entry_id(arguments.take_key("previous").ok_or("previous=?")?)?;
                let last = entry_id(arguments.take_key("last").ok_or("last=?")?)?;
                let mut entries = Vec::new();
                while let Some(text) = arguments.next_pos() {
                    let (id, command) = text.split_once('.').unwrap_or((text, "forged"));
                    let payload = Payload::Command(Bytes::copy_from_slice(command.as_bytes()));
                    entries.push(Entry { id: entry_id(id)?, payload });
                }
                Body::Tail(quorate_raft::Tail { previous, entries, last })
            }
            kind => return Err(format!("there is no kind {kind}").into()),
        };
        let disk = arguments.take_key("disk").map(str::parse).transpose()?;
        self.deliver(Message { from, to, term, rejoining: disk.map(DiskId), body });
        Ok(())
    }

    /// Steps a member, and does what its host would do at once.
    fn step(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let member = self.members.get_mut(&id).unwrap();
        let effects = member.step(now, input);
        self.after(id, effects);
    }

    fn after(&mut self, id: NodeId, effects: Effects) {
        self.show(id, &effects);
        for message in effects.send {
            let link = (message.from, message.to);
            let is_cut = self.cut.contains(&link);
            let sign = if is_cut { "✗" } else { "→" };
            writeln!(self.output, "{}", arrow(&message, sign)).unwrap();
            if !is_cut {
                self.network.push(message);
            }
        }
        if !self.held.contains(&id)
            && let Some(seq) = self.members.get_mut(&id).unwrap().sync(usize::MAX)
        {
            self.step(id, Input::Durable(seq));
        }
        while !self.snapshots_wait && self.work_on_snapshot(id) {}
    }

    fn work_on_snapshot(&mut self, id: NodeId) -> bool {
        let member = self.members.get_mut(&id).unwrap();
        if member.snapshot_work.is_empty() {
            return false;
        }
        if let Some(input) = member.work_on_snapshot() {
            self.step(id, input);
        }
        true
    }

    fn deliver(&mut self, message: Message) {
        let id = message.to;
        if self.members[&id].is_up() {
            writeln!(self.output, "{}", arrow(&message, "←")).unwrap();
            self.step(id, Input::Message(message));
        } else {
            writeln!(self.output, "{}  ({id} is down)", arrow(&message, "✗")).unwrap();
        }
    }

    fn take_messages(
        &mut self,
        arguments: &mut ArgumentConsumer<'_>,
    ) -> Result<Vec<Message>, Box<dyn Error>> {
        let from = arguments.take_key("from").map(str::parse).transpose()?.map(NodeId);
        let to = arguments.take_key("to").map(str::parse).transpose()?.map(NodeId);
        let kind = arguments.take_key("type").map(str::to_owned);
        let mut count = arguments.take_key("count").map_or(Ok(usize::MAX), str::parse)?;
        let mut taken = Vec::new();
        self.network.retain(|message| {
            let is_meant = from.is_none_or(|from| from == message.from)
                && to.is_none_or(|to| to == message.to)
                && kind.as_ref().is_none_or(|kind| {
                    body(&message.body).split(' ').next() == Some(kind.as_str())
                })
                && count > 0;
            if is_meant {
                count -= 1;
                taken.push(message.clone());
            }
            !is_meant
        });
        Ok(taken)
    }

    fn node(&self, arguments: &mut ArgumentConsumer<'_>) -> Result<NodeId, Box<dyn Error>> {
        let id = NodeId(argument(arguments, "node")?);
        self.members.get(&id).map(|_| id).ok_or_else(|| format!("there is no {id}").into())
    }

    fn raft(&self, id: NodeId) -> Result<&quorate_raft::Raft, Box<dyn Error>> {
        self.members[&id].raft.as_ref().ok_or_else(|| format!("{id} is down").into())
    }

    // ---- What is shown ---------------------------------------------------------------------

    fn show(&mut self, id: NodeId, effects: &Effects) {
        let output = &mut self.output;
        let lines = effects
            .events
            .iter()
            .map(|event| format!("{id}: {}", self::event(event)))
            .chain(effects.proposed.iter().map(|result| match result {
                Ok(span) => format!("{id}: takes the proposal as ({}, {}]", span.after, span.last),
                Err(error) => format!("{id}: refuses the proposal: {error:?}"),
            }))
            .chain(effects.changes.iter().map(|result| match result {
                Ok(at) => format!("{id}: begins the change at {at}"),
                Err(error) => format!("{id}: refuses the change: {error:?}"),
            }))
            .chain(
                effects
                    .persist
                    .iter()
                    .map(|p| format!("{id} writes {} {}", p.seq, record(&p.record))),
            )
            .chain(
                (!effects.committed.is_empty())
                    .then(|| format!("{id} applies {}", entries(&effects.committed))),
            )
            .chain(effects.reads.iter().map(|read| match read.result {
                Ok(index) => format!("{id}: read {} at {index}", read.id.counter),
                Err(error) => format!("{id}: read {} fails: {error:?}", read.id.counter),
            }))
            .chain(effects.snapshots.iter().map(|request| format!("{id} {}", work(request))));
        for line in lines {
            writeln!(output, "{line}").unwrap();
        }
    }

    fn show_status(&mut self, id: NodeId) {
        let line = match &self.members[&id].raft {
            None => format!("{id}: down"),
            Some(raft) => {
                let status = raft.status();
                let leader = status.leader.map_or("nobody".to_owned(), |id| id.to_string());
                let vote = status.vote.map_or("nobody".to_owned(), |id| id.to_string());
                let mut line = format!(
                    "{id}: {:?} {} vote={vote} leader={leader} last={} durable={} commit={} \
                     applied={}",
                    status.role,
                    status.term,
                    status.last,
                    status.durable,
                    status.commit,
                    status.applied
                );
                if status.rejoining {
                    line.push_str(" rejoining");
                }
                if status.base != EntryId::ZERO {
                    write!(line, " base={}", status.base).unwrap();
                }
                for peer in &status.peers {
                    write!(line, "\n    {}: {:?} matched={}", peer.id, peer.progress, peer.matched)
                        .unwrap();
                    if peer.inflight_messages > 0 {
                        write!(line, " inflight={}", peer.inflight_messages).unwrap();
                    }
                    if peer.rejoining {
                        line.push_str(" rejoining");
                    }
                    if !peer.active {
                        line.push_str(" silent");
                    }
                }
                line
            }
        };
        writeln!(self.output, "{line}").unwrap();
    }

    fn show_log(&mut self, id: NodeId) {
        let member = &self.members[&id];
        let mut line = format!("{id}:");
        if member.written.base != EntryId::ZERO {
            write!(line, " ({})", member.written.base).unwrap();
        }
        for entry in &member.written.entries {
            write!(line, " {}", self::entry(entry)).unwrap();
        }
        if !member.unsynced.is_empty() {
            write!(line, "  ({} writes not synced)", member.unsynced.len()).unwrap();
        }
        writeln!(self.output, "{line}").unwrap();
    }
}

// ---- Arguments -----------------------------------------------------------------------------

fn argument(arguments: &mut ArgumentConsumer<'_>, name: &str) -> Result<u64, Box<dyn Error>> {
    let text = arguments.next_pos().ok_or_else(|| format!("{name}?"))?;
    text.parse().map_err(|_| format!("{name}: {text} is no number").into())
}

/// Parses `key=1-2-3`; nothing is none.
fn ids(
    arguments: &mut ArgumentConsumer<'_>,
    key: &str,
) -> Result<BTreeSet<NodeId>, Box<dyn Error>> {
    let text = arguments.take_key(key).unwrap_or_default();
    let ids = text.split('-').filter(|id| !id.is_empty());
    Ok(ids.map(|id| id.parse().map(NodeId)).collect::<Result<_, _>>()?)
}

fn key(arguments: &mut ArgumentConsumer<'_>, name: &str) -> Result<u64, Box<dyn Error>> {
    let text = arguments.take_key(name).ok_or_else(|| format!("{name}=?"))?;
    text.parse().map_err(|_| format!("{name}: {text} is no number").into())
}

/// Parses `index@term`.
fn entry_id(text: &str) -> Result<EntryId, Box<dyn Error>> {
    let (index, term) = text.split_once('@').ok_or("an entry is index@term")?;
    Ok(EntryId::new(term.parse()?, index.parse()?))
}

// ---- Words ---------------------------------------------------------------------------------

fn arrow(message: &Message, sign: &str) -> String {
    let Message { from, to, term, rejoining, body } = message;
    let (left, right) = if sign == "←" { (to, from) } else { (from, to) };
    let mark = rejoining.map_or_else(String::new, |disk| format!("  (new {disk})"));
    format!("{left} {sign} {right}  {term} {}{mark}", self::body(body))
}

fn body(body: &Body) -> String {
    let transfer = |is: bool| if is { " transfer" } else { "" };
    match body {
        Body::PreVote(request) => format!("PreVote last {}", request.last),
        Body::Rejoin(request) => format!("Rejoin round {}", request.round),
        Body::RejoinReply(reply) => {
            format!("RejoinReply round {} last {}", reply.round, reply.last.0)
        }
        Body::PreVoteReply(reply) => format!("PreVoteReply {}", yes(reply.granted)),
        Body::Vote(request) => format!("Vote last {}{}", request.last, transfer(request.transfer)),
        Body::VoteReply(reply) => format!("VoteReply {}", yes(reply.granted)),
        Body::Append(append) => {
            format!(
                "Append {} +[{}] commit {}",
                append.previous,
                entries(&append.entries),
                append.commit.0
            )
        }
        Body::AppendReply(AppendReply::Accepted { durable }) => format!("Accepted {}", durable.0),
        Body::AppendReply(AppendReply::Rejected { previous, hint }) => {
            format!("Rejected {} hint {hint}", previous.0)
        }
        Body::Heartbeat(heartbeat) => {
            let quiet = if heartbeat.quiet { " quiet" } else { "" };
            let hold = span(" hold", heartbeat.hold);
            let (commit, round) = (heartbeat.commit.0, heartbeat.round);
            format!("Heartbeat commit {commit} round {round}{hold}{quiet}")
        }
        Body::HeartbeatReply(reply) => {
            let quiet = if reply.quiet { " quiet" } else { "" };
            format!("HeartbeatReply round {}{}{quiet}", reply.round, span(" held", reply.held))
        }
        Body::Snapshot(chunk) => format!("Snapshot {}", piece(chunk)),
        Body::SnapshotReply(SnapshotReply::Continue { last, cursor }) => {
            format!("Continue snapshot {last} at {}", text(cursor))
        }
        Body::SnapshotReply(SnapshotReply::Installed { durable }) => {
            format!("Installed {}", durable.0)
        }
        Body::ReadIndex(request) => format!("ReadIndex read {}", request.id.counter),
        Body::ReadIndexReply(reply) => match reply.index {
            Some(index) => format!("ReadIndexReply read {} at {index}", reply.id.counter),
            None => format!("ReadIndexReply read {} no", reply.id.counter),
        },
        Body::TimeoutNow => "TimeoutNow".to_owned(),
        Body::Tail(tail) => {
            format!("Tail {} +[{}] of {}", tail.previous, entries(&tail.entries), tail.last)
        }
        Body::AskTail(ask) => format!("AskTail {}", ask.after),
    }
}

/// How long something lasts, if it does.
fn span(what: &str, lasts: Duration) -> String {
    if lasts.is_zero() { String::new() } else { format!("{what} {} ms", lasts.as_millis()) }
}

fn yes(granted: bool) -> &'static str {
    if granted { "yes" } else { "no" }
}

fn text(cursor: &[u8]) -> String {
    if cursor.is_empty() {
        "the start".to_owned()
    } else {
        String::from_utf8_lossy(cursor).into_owned()
    }
}

fn piece(chunk: &quorate_raft::SnapshotChunk) -> String {
    let next = chunk.next.as_ref().map_or("last".to_owned(), |next| format!("next {}", text(next)));
    format!("{} from {}, {next}", chunk.meta.last, text(&chunk.cursor))
}

fn entries(entries: &[Entry]) -> String {
    entries.iter().map(entry).collect::<Vec<_>>().join(", ")
}

fn entry(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Noop => format!("{} -", entry.id),
        Payload::Command(command) => format!("{} {}", entry.id, String::from_utf8_lossy(command)),
        Payload::Membership(membership) => format!("{} {}", entry.id, self::membership(membership)),
    }
}

/// `{1 2 3}`; `{1 2 3 → 1 2 4}` on the way to another one; learners after a bar; `4/d1` if it was given its
/// vote with that disk; `3w` for a witness.
fn membership(membership: &Membership) -> String {
    let Membership { voters, outgoing, learners, witnesses, disks, about: _ } = membership;
    let name = |id: &NodeId| {
        let mark = if witnesses.contains(id) { "w" } else { "" };
        let disk = disks.get(id).map_or_else(String::new, |disk| format!("/{disk}"));
        format!("{}{mark}{disk}", id.0)
    };
    let ids = |ids: &BTreeSet<NodeId>| ids.iter().map(name).collect::<Vec<_>>().join(" ");
    let before = if outgoing.is_empty() { String::new() } else { ids(outgoing) + " → " };
    let after = if learners.is_empty() { String::new() } else { format!(" | {}", ids(learners)) };
    format!("{{{before}{}{after}}}", ids(voters))
}

fn record(record: &Record) -> String {
    match record {
        Record::HardState(HardState { term, vote: Some(vote) }) => format!("{term} vote {vote}"),
        Record::HardState(HardState { term, vote: None }) => format!("{term}"),
        Record::Append(entries) => self::entries(entries),
        Record::Compact(base) => format!("compact to {base}"),
        Record::Reset(base) => format!("reset to {base}"),
    }
}

fn work(request: &quorate_raft::SnapshotRequest) -> String {
    match request {
        quorate_raft::SnapshotRequest::Read { to, last, cursor } => {
            let last = last.map_or("new".to_owned(), |last| last.to_string());
            format!("reads snapshot {last} for {to} from {}", text(cursor))
        }
        quorate_raft::SnapshotRequest::Write(chunk) => format!("stores snapshot {}", piece(chunk)),
        quorate_raft::SnapshotRequest::Release { to } => format!("releases the snapshot for {to}"),
    }
}

fn event(event: &Event) -> String {
    let name = |leader: &Option<NodeId>| leader.map_or("nobody".to_owned(), |id| id.to_string());
    match event {
        Event::BecameFollower { term, leader } => format!("follows {} in {term}", name(leader)),
        Event::LeaderChanged { term, leader } => {
            format!("hears that {} leads {term}", name(leader))
        }
        Event::BecamePreCandidate { term } => format!("would campaign, in {term}"),
        Event::BecameCandidate { term } => format!("campaigns in {term}"),
        Event::BecameLeader { term } => format!("leads {term}"),
        Event::LostQuorum { term } => format!("gives up {term}, for it hears from no quorum"),
        Event::DiskIsSlow { term } => format!("leads {term} and has the slow disk"),
        Event::TransferStarted { to } => format!("hands over to {to}"),
        Event::TransferAborted { to, reason } => format!("does not hand over to {to}: {reason}"),
        Event::Truncated { from, last } => format!("drops {from} to {last}"),
        Event::SnapshotStarted { to } => format!("has to send {to} a snapshot"),
        Event::SnapshotInstalled { meta } => format!("has the snapshot {}", meta.last),
        Event::Rejoined { term, last } => format!("counts again, in {term} with {last}"),
        Event::MembershipChanged { at, membership } => {
            format!("belongs to {} since {at}", self::membership(membership))
        }
        Event::LogLost { leader, last, acknowledged } => {
            format!("has {last}, and {leader} knows that it acknowledged {acknowledged}")
        }
        Event::Malformed { from, reason } => format!("drops a message of {from}: {reason}"),
    }
}
