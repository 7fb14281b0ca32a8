//! A phase in which most things stay broken for good: some majority can talk to each other, both
//! ways, and whatever else is wrong must not keep it from its work.
//!
//! A fault that always heals can't show that progress never needed what was broken. Groups with a
//! majority at hand have stood still for hours because one more member heard half of the others
//! (openraft issue 2080; Cloudflare's report of November 2020).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_check::Violation;
use quorate_raft::{NodeId, Term};

use super::extremes::SLOW_MAX;
use super::{Event, Outcome, Phase, World};
use crate::clock::RIGHT_PPM;
use crate::extremes::Partial;
use crate::graphs::Graph;

/// How many election timeouts a majority that can talk has for a write.
const PATIENCE_TIMEOUTS: u32 = 10;
/// How many times it must show that it goes on, and how far these are apart at least.
const WINDOWS: u32 = 5;
const WINDOW_TIMEOUTS: u32 = 2;

/// What the phase waits for.
#[derive(Debug)]
pub(super) struct Vigil {
    /// The longest election timeout of anybody, by the slowest clock.
    timeout: Duration,
    /// How many writes were acknowledged when this window began.
    seen: u64,
    /// The window ends with the first acknowledged write from this moment on, and before that one.
    not_before: Duration,
    before: Duration,
    /// When the phase began.
    began: Duration,
    windows_left: u32,
    /// When each member of the majority was last asked.
    asked: BTreeMap<NodeId, Duration>,
    /// The term at the end of the first window, where no other may follow.
    settled: Option<Term>,
}

impl World {
    /// Breaks links for good, as the options say.
    pub(super) fn partial_begins(&mut self, partial: Partial) -> Outcome {
        let now = self.now;
        self.become_gentle();
        self.phase = Phase::Partial;
        let (graph, core) = match partial {
            Partial::Drawn => self.draw_graph(),
            Partial::Exact(links) => self.place_graph(links)?,
        };
        self.core = core;
        if partial == Partial::Drawn {
            self.break_others()?;
        }
        let blocked = graph.broken().collect();
        self.trace.line(now, || format!("for good these links fail: {blocked:?}"));
        self.net.block(blocked);
        for id in self.core.clone() {
            self.end_extremes(id);
            self.sync_soon(id);
            if self.places[&id].paused.is_some() {
                self.resume(id);
            }
            if self.places[&id].process.is_none() {
                let process = self.places[&id].processes;
                self.schedule(Duration::ZERO, Event::Restart { node: id, process });
            }
        }
        let (core, timeout) = (self.core.clone(), self.slowest_timeout());
        // Where nothing else was wrong there is nothing to catch up with.
        let more = match partial {
            Partial::Drawn => self.catching_up(),
            Partial::Exact(_) => Duration::ZERO,
        };
        let patience = timeout * PATIENCE_TIMEOUTS + more;
        self.trace.line(now, || format!("within {patience:?} {core:?} must get a write through"));
        self.vigil = Some(Vigil {
            timeout,
            seen: self.proofs_done,
            not_before: now,
            began: now,
            before: now + patience,
            windows_left: WINDOWS,
            asked: BTreeMap::new(),
            settled: None,
        });
        self.schedule(Duration::ZERO, Event::Look);
        Ok(())
    }

    /// The members whose storage is whole.
    pub(super) fn able(&self) -> Vec<NodeId> {
        let is_whole = |id: &NodeId| self.places[id].is_whole();
        self.ids().into_iter().filter(is_whole).collect()
    }

    /// Some majority whose storage is whole, with all links among them; some part of the other links.
    fn draw_graph(&mut self) -> (Graph, BTreeSet<NodeId>) {
        let ids = self.ids();
        let mut able = self.able();
        let majority = ids.len() / 2 + 1;
        assert!(able.len() >= majority, "no majority is able");
        let size = majority + self.extreme.position(able.len() - majority + 1);
        while able.len() > size {
            let out = self.extreme.position(able.len());
            able.remove(out);
        }
        let core: BTreeSet<NodeId> = able.into_iter().collect();
        let rate = *self.extreme.pick(&[0, 200, 500, 800]);
        let mut graph = Graph::none(ids.len());
        for (from, to) in graph.pairs() {
            let inside = core.contains(&from) && core.contains(&to);
            if inside || self.extreme.per_mille(rate) {
                graph.mend(from, to);
            }
        }
        (graph, core)
    }

    /// This graph, in which the first place is that of the present leader.
    fn place_graph(&self, links: Graph) -> Result<(Graph, BTreeSet<NodeId>), Violation> {
        let Some(leader) = self.leader() else {
            return Err(Violation::new("liveness", "all is well, and nobody leads"));
        };
        let mut places = self.ids();
        places.retain(|id| *id != leader);
        places.insert(0, leader);
        let graph = links.renamed(&places);
        let core = graph.largest_clique();
        assert!(core.len() > places.len() / 2, "no majority can talk: nothing can be asked for");
        Ok((graph, core))
    }

    /// Whoever is not needed may be down, paused, or without a disk that answers, for good.
    fn break_others(&mut self) -> Outcome {
        for id in self.ids().into_iter().filter(|id| !self.core.contains(id)).collect::<Vec<_>>() {
            match self.extreme.below(4) {
                0 => self.crash(id)?,
                1 if self.places[&id].process.is_some() => {
                    self.place(id).paused.get_or_insert_default();
                }
                2 if self.places[&id].hung.is_none() => self.hang(id),
                _ => {}
            }
        }
        Ok(())
    }

    /// The longest election timeout of anybody in true time. Those outside the majority count too: a
    /// leader that hears nobody any more may still be heard, until it gives up.
    fn slowest_timeout(&self) -> Duration {
        let timeout = |place: &super::Place| {
            let nanos = place.settings.election_timeout.as_nanos() * u128::from(RIGHT_PPM)
                / u128::from(place.clock.ppm());
            Duration::from_nanos(u64::try_from(nanos).expect("timeouts are short"))
        };
        self.places.values().map(timeout).max().expect("there are members")
    }

    /// What it may take to bring the majority level before it can commit anything: one round trip for
    /// each entry and for each piece of a snapshot that somebody lacks.
    fn catching_up(&self) -> Duration {
        let last = self.oracle.last().0;
        let lacks = |id: &NodeId| match &self.places[id].process {
            Some(process) => last.saturating_sub(process.status().last.index.0),
            None => last,
        };
        let entries = self.core.iter().map(lacks).max().expect("a majority has members");
        // A job of a machine that began while its member was starved goes on.
        let job = self.options.extremes.processes.slow_cpu.map_or(Duration::ZERO, |_| SLOW_MAX);
        if entries == 0 {
            return job;
        }
        let state = self.options.keys * (self.options.value_bytes + 256) + 4_096;
        let pieces = state / self.options.snapshot_piece_bytes_max as u64;
        let trips = u32::try_from(entries + pieces).expect("a run is short");
        job + self.options.heartbeat / 2 * trips + self.slowest_timeout() * PATIENCE_TIMEOUTS
    }

    /// Looks whether the majority works. Returns whether the run is over.
    pub(super) fn look_at_partial(&mut self) -> Result<bool, Violation> {
        let now = self.now;
        let mut vigil = self.vigil.take().expect("the phase has begun");
        let is_exact = matches!(self.options.extremes.partial, Some(Partial::Exact(_)));
        if now >= vigil.before {
            let what = format!(
                "no write in {PATIENCE_TIMEOUTS} election timeouts of {:?}: {}",
                vigil.timeout,
                self.what_is_missing()
            );
            return Err(Violation::new("partial_liveness", what));
        }
        if self.proofs_done > vigil.seen && now >= vigil.not_before {
            let term = self
                .places
                .values()
                .filter_map(|place| Some(place.process.as_ref()?.status().term))
                .max();
            self.report.worked_after.get_or_insert(now - vigil.began);
            if is_exact && vigil.settled.is_some_and(|settled| Some(settled) != term) {
                let what = format!("election after election: {}", self.what_is_missing());
                return Err(Violation::new("partial_liveness", what));
            }
            if vigil.windows_left == 0 {
                if is_exact {
                    return Ok(true);
                }
                self.options.extremes.partial = None;
                self.phase_ends()?;
                return Ok(false);
            }
            // The first window is that of the election, and what it leads to is not settled before
            // its full time.
            let settles = if vigil.windows_left == WINDOWS && is_exact {
                vigil.before
            } else {
                now + vigil.timeout * WINDOW_TIMEOUTS
            };
            if vigil.windows_left < WINDOWS {
                vigil.settled = term;
            }
            vigil.windows_left -= 1;
            vigil.seen = self.proofs_done;
            vigil.not_before = settles;
            vigil.before = settles + vigil.timeout * PATIENCE_TIMEOUTS;
        }
        for node in self.core.clone() {
            let is_idle = !self.proofs.values().any(|at| *at == node);
            let is_due = vigil.asked.get(&node).is_none_or(|asked| now - *asked >= vigil.timeout);
            if is_idle || is_due {
                vigil.asked.insert(node, now);
                self.prove(node);
            }
        }
        self.vigil = Some(vigil);
        self.schedule(self.options.heartbeat, Event::Look);
        Ok(false)
    }
}
