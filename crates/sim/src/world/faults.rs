//! What goes wrong in the first phase of a run, again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_node::Input;
use quorate_raft::NodeId;

use super::{Event, Outcome, Phase, World};
use crate::coverage::Fault;
use crate::model::Request;
use crate::process::GROUP;

impl World {
    pub(super) fn crash_somebody(&mut self) -> Outcome {
        let Some(fault) = self.options.crashes.filter(|_| self.phase == Phase::Faulty) else {
            return Ok(());
        };
        let all = self.chance.per_mille(self.options.power_cut_per_mille);
        let ids = self.ids();
        let victims = if all { ids } else { vec![*self.chance.pick(&ids)] };
        for id in victims {
            if self.places[&id].process.is_some() {
                self.note(if all { Fault::PowerCut } else { Fault::Crash }, id);
                self.crash(id)?;
                let down = self.chance.long_tailed(fault.lasts);
                let process = self.places[&id].processes;
                self.schedule(down, Event::Restart { node: id, process });
            }
        }
        self.recur(Some(fault), Event::Crash);
        Ok(())
    }

    /// Somebody loses the disk, unless too few others have theirs: of what a quorum promised, some
    /// disk that was not lost has to know.
    pub(super) fn wipe_somebody(&mut self) -> Outcome {
        let Some(fault) = self.options.wipes.filter(|_| self.phase == Phase::Faulty) else {
            return Ok(());
        };
        let ids = self.ids();
        let node = *self.chance.pick(&ids);
        if self.can_lose_disk(node) {
            self.note(Fault::DiskLost, node);
            self.crash(node)?;
            self.wipe(node)?;
            let down = self.chance.long_tailed(fault.lasts);
            let process = self.places[&node].processes;
            self.schedule(down, Event::Restart { node, process });
        }
        self.recur(Some(fault), Event::Wipe);
        Ok(())
    }

    pub(super) fn pause_somebody(&mut self) {
        let Some(fault) = self.options.pauses.filter(|_| self.phase == Phase::Faulty) else {
            return;
        };
        let node = *self.chance.pick(&self.ids());
        let place = self.place(node);
        if place.process.is_some() && place.paused.is_none() {
            let lasts = self.chance.long_tailed(fault.lasts);
            self.pause(node, lasts);
        }
        self.recur(Some(fault), Event::Pause);
    }

    /// Pauses a member for so long, if it runs.
    pub(super) fn pause(&mut self, node: NodeId, lasts: Duration) {
        let now = self.now;
        let place = self.place(node);
        if place.process.is_some() && place.paused.is_none() {
            place.paused = Some(Vec::new());
            let process = place.processes;
            self.trace.line(now, || format!("{node} is paused"));
            self.note(Fault::Pause, node);
            self.schedule(lasts, Event::Resume { node, process });
        }
    }

    pub(super) fn resume(&mut self, node: NodeId) {
        let now = self.now;
        let Some(held) = self.place(node).paused.take() else { return };
        self.trace.line(now, || format!("{node} goes on"));
        for event in held {
            self.schedule(Duration::ZERO, event);
        }
        // What would have woken it is among the events held back, if its time has come.
        let place = self.place(node);
        if place.wake_at.is_some_and(|at| at < now) {
            place.wake_at = None;
        }
        self.schedule_turn(node);
    }

    pub(super) fn partition(&mut self) {
        let Some(fault) = self.options.partitions.filter(|_| self.phase == Phase::Faulty) else {
            return;
        };
        let now = self.now;
        let style = self.options.extremes.network.partition_style;
        let style = style.unwrap_or(self.options.partition_style);
        let links = self.net.partition(style).clone();
        self.trace.line(now, || format!("these links fail: {links:?}"));
        let met: BTreeSet<NodeId> = links.iter().flat_map(|(from, to)| [*from, *to]).collect();
        met.into_iter().for_each(|node| self.note(Fault::Partition, node));
        let lasts = self.chance.long_tailed(fault.lasts);
        self.schedule(lasts, Event::Heal);
    }

    pub(super) fn heal(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        let now = self.now;
        self.net.heal();
        self.trace.line(now, || "all links work".to_owned());
        self.recur(self.options.partitions, Event::Partition);
    }

    pub(super) fn transfer(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        let ids = self.ids();
        let node = *self.chance.pick(&ids);
        let to = self.chance.per_mille(700).then(|| *self.chance.pick(&ids));
        if self.places[&node].process.is_some() {
            self.note(Fault::Transfer, node);
        }
        self.post(node, Input::Transfer { group: GROUP, to });
        if let Some(every) = self.options.transfer_every {
            let after = self.chance.long_tailed(every);
            self.schedule(after, Event::Transfer);
        }
    }

    pub(super) fn compact(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        let newest = self.oracle.model().revision();
        let revision = newest - i64::try_from(self.chance.below(8)).expect("below eight");
        let node = *self.chance.pick(&self.ids());
        if self.places[&node].process.is_some() {
            let id = self.ask(node, Request::Compact { revision });
            self.chores.insert(id, node);
        }
        if let Some(every) = self.options.compact_every {
            let after = self.chance.long_tailed(every);
            self.schedule(after, Event::Compact);
        }
    }
}
