//! Watchers in the world: how they find members, lose them, and are told of what was published.
//!
//! At the member's end all is as in the server: the machine publishes each commit in a ring, a stream
//! that is woken by that takes its turn some time after it and says what its watchers have not been
//! told, and a clock that ticks has it report progress. Only that the stream is driven by the events of
//! the world, and not by a task.
//!
//! Watchers change nothing: no draw of theirs comes from a source of anybody else, so a run without
//! them is the same but for what is told here.

use std::time::Duration;

use quorate_check::Violation;
use quorate_check::changes::Changes;
use quorate_raft::NodeId;

use super::{Event, Outcome, Phase, World};
use crate::chance::Chance;
use crate::disk_faults::Ending;
use crate::process::Process;
use crate::sabotage::Sabotage;
use crate::watches::{WatchClient, WatchCounts, Watches};

/// Everybody who watches.
pub(super) struct Watching {
    chance: Chance,
    clients: Vec<WatchClient>,
}

impl Watching {
    /// The watchers of a seed, if these options have any.
    pub(super) fn new(seed: u64, watches: Option<Watches>) -> Self {
        let clients = watches.map_or(0, |watches| watches.clients);
        Self {
            chance: Watches::source(seed),
            clients: (0..clients).map(|_| WatchClient::default()).collect(),
        }
    }
}

impl World {
    pub(super) fn begin_watchers(&mut self) {
        for client in 0..self.watching.clients.len() {
            self.schedule_watch_client(client);
        }
    }

    fn watches(&self) -> Watches {
        self.options.watches.expect("who watches has options")
    }

    fn schedule_watch_client(&mut self, client: usize) {
        let mean = self.watches().act_mean;
        let after = self.watching.chance.long_tailed(mean);
        self.schedule(after.max(Duration::from_millis(1)), Event::WatchClient { client });
    }

    fn serving(&self, node: NodeId) -> &Process {
        self.places[&node].process.as_ref().expect("a stream ends with its process")
    }

    /// A client does something.
    pub(super) fn watch_client(&mut self, client: usize) -> Outcome {
        self.schedule_watch_client(client);
        let Some(connection) = &self.watching.clients[client].connection else {
            self.connect_watcher(client);
            return Ok(());
        };
        let node = connection.node;
        if self.places[&node].paused.is_some() {
            // Nothing that it asks for is heard. It may lose patience.
            return self.break_now_and_then(client);
        }
        let revision = self.serving(node).reading().published_revision();
        let is_faulty = self.phase == Phase::Faulty;
        match self.watching.chance.below(10) {
            0 if is_faulty => self.more_or_less_watches(client, revision),
            1..=3 => {
                let connection = self.watching.clients[client].connection.as_mut();
                let connection = connection.expect("it was there");
                // The member's own clock, at its interval of reports.
                let responses = connection.stream.tick();
                connection.under_way.extend(responses);
            }
            4..=6 => {
                let connection = self.watching.clients[client].connection.as_mut();
                let connection = connection.expect("it was there");
                connection.stream.request_progress();
                connection.behind = true;
            }
            _ => {}
        }
        self.schedule_watch_turn(client);
        self.break_now_and_then(client)
    }

    fn break_now_and_then(&mut self, client: usize) -> Outcome {
        let rate = self.watches().breaks_per_mille;
        if self.phase == Phase::Faulty && self.watching.chance.per_mille(rate) {
            self.lose_stream(client)?;
        }
        Ok(())
    }

    /// One more watch on the same stream, or one less.
    fn more_or_less_watches(&mut self, client: usize, revision: i64) {
        let (most, keys, skips) = (self.watches().per_stream, self.options.keys, self.skips());
        let newest = self.oracle.model().revision();
        let Watching { chance, clients } = &mut self.watching;
        let client = &mut clients[client];
        let wishes = client.wishes();
        if (wishes as u64) < most && chance.per_mille(600) {
            let wish = client.wish(chance, keys, newest);
            client.create(wish, revision, skips);
        } else {
            client.cancel(chance.position(wishes.max(1)), revision);
        }
    }

    fn skips(&self) -> bool {
        self.sabotage == Some(Sabotage::ResumedLate)
    }

    fn connect_watcher(&mut self, client: usize) {
        let running: Vec<NodeId> =
            self.has_state().filter(|id| self.places[id].process.is_some()).collect();
        if running.is_empty() {
            return;
        }
        let (limits, keys, skips) = (self.watches().limits(), self.options.keys, self.skips());
        let (now, newest) = (self.now, self.oracle.model().revision());
        let node = *self.watching.chance.pick(&running);
        if self.places[&node].paused.is_some() {
            return;
        }
        let revision = self.serving(node).reading().published_revision();
        let Watching { chance, clients } = &mut self.watching;
        let watcher = &mut clients[client];
        if watcher.wishes() == 0 {
            watcher.wish(chance, keys, newest);
        }
        watcher.connect(node, limits, revision, skips);
        let wishes = watcher.wishes();
        self.trace.line(now, || {
            format!("watcher {client} begins {wishes} watches at {node}, which is at {revision}")
        });
        self.schedule_watch_turn(client);
    }

    fn schedule_watch_turn(&mut self, client: usize) {
        let heartbeat = self.options.heartbeat;
        let mut mean = self.watches().turn_mean;
        if self.phase != Phase::Faulty {
            mean = mean.min(heartbeat / 16);
        }
        let Watching { chance, clients } = &mut self.watching;
        let number = clients[client].connections;
        let Some(connection) = &mut clients[client].connection else { return };
        if !std::mem::replace(&mut connection.scheduled, true) {
            let node = connection.node;
            let after = chance.long_tailed(mean);
            self.schedule(after, Event::WatchTurn { node, client, connection: number });
        }
    }

    /// A member may have published something.
    pub(super) fn wake_watchers(&mut self, node: NodeId) {
        if self.watching.clients.is_empty() {
            return;
        }
        let publications = self.serving(node).reading().publications();
        for client in 0..self.watching.clients.len() {
            let connection = self.watching.clients[client].connection.as_ref();
            let is_news =
                connection.is_some_and(|it| it.node == node && it.publications != publications);
            if is_news {
                self.schedule_watch_turn(client);
            }
        }
    }

    /// A stream tells what there is to tell. What it told before has arrived by now.
    pub(super) fn watch_turn(&mut self, client: usize, number: u64) -> Outcome {
        let (now, skips) = (self.now, self.skips());
        let compacted = self.oracle.model().compacted();
        let watcher = &mut self.watching.clients[client];
        let (is_current, node) = match &watcher.connection {
            Some(connection) => (watcher.connections == number, connection.node),
            None => return Ok(()),
        };
        if !is_current {
            return Ok(());
        }
        let reading = self.places[&node].process.as_deref().map(Process::reading);
        let reading = reading.expect("a stream ends with its process").clone();
        let count = watcher.connection.as_ref().map_or(0, |it| it.under_way.len());
        watcher.receive(count, compacted)?;
        for wish in watcher.ended() {
            watcher.create(wish, reading.published_revision(), skips);
        }
        let connection = watcher.connection.as_mut().expect("it was there");
        connection.scheduled = false;
        connection.publications = reading.publications();
        let recent = reading.recent(connection.stream.position());
        let advance = connection.stream.advance(recent);
        let advance = advance
            .map_err(|error| Violation::new("watch", format!("{node} can't look back: {error}")))?;
        connection.behind = advance.more;
        let mut responses = advance.responses;
        if self.sabotage == Some(Sabotage::ResponseLost) && self.watching.chance.per_mille(20) {
            responses.pop();
        }
        for response in &responses {
            self.trace.line(now, || format!("{node} tells watcher {client} {response:?}"));
        }
        connection.under_way.extend(responses);
        // A response that is under way arrives with the next turn.
        if connection.behind || !connection.under_way.is_empty() {
            self.schedule_watch_turn(client);
        }
        Ok(())
    }

    /// A client loses its stream; of what is under way some still arrives.
    fn lose_stream(&mut self, client: usize) -> Outcome {
        let now = self.now;
        let compacted = self.oracle.model().compacted();
        let Watching { chance, clients } = &mut self.watching;
        let watcher = &mut clients[client];
        if let Some(connection) = &watcher.connection {
            let count = chance.position(connection.under_way.len() + 1);
            self.trace.line(now, || format!("watcher {client} loses its stream"));
            watcher.receive(count, compacted)?;
            watcher.disconnect();
        }
        Ok(())
    }

    /// A member has crashed under its watchers.
    pub(super) fn watchers_lose(&mut self, node: NodeId) -> Outcome {
        for client in 0..self.watching.clients.len() {
            let connection = self.watching.clients[client].connection.as_ref();
            if connection.is_some_and(|connection| connection.node == node) {
                self.lose_stream(client)?;
            }
        }
        Ok(())
    }

    /// Whether every watcher has a stream, on which there is nothing more to tell.
    pub(super) fn watchers_are_level(&self) -> bool {
        self.watching.clients.iter().all(|watcher| {
            watcher.connection.as_ref().is_some_and(|connection| {
                let published = self.serving(connection.node).reading().publications();
                connection.publications == published
                    && !connection.behind
                    && connection.under_way.is_empty()
            })
        })
    }

    /// Holds all that watchers were told against what happened. Those of a run that came to rest must
    /// have been told of everything.
    ///
    /// # Errors
    /// The first promise broken.
    pub(super) fn judge_watchers(&mut self) -> Result<WatchCounts, Violation> {
        let mut counts = WatchCounts::default();
        if self.watching.clients.is_empty() {
            return Ok(counts);
        }
        let model = self.oracle.model();
        let mut changes = Changes::new(model.events().iter().cloned())?;
        changes.compacted(model.compacted());
        let at_rest = self.phase == Phase::Quiet && self.report.ending != Some(Ending::Halted);
        for (number, watcher) in self.watching.clients.iter_mut().enumerate() {
            watcher.judge(&changes, at_rest).map_err(|violation| {
                let what = format!("watcher {number}: {}", violation.what);
                Violation::new(violation.property, what)
            })?;
            counts.add(&watcher.counts);
        }
        Ok(counts)
    }
}
