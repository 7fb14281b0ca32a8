//! Extremes as they happen: clocks that jump and stand, processes that starve, disks that hang.

use std::time::Duration;

use quorate_raft::NodeId;

use super::{Event, Phase, World};
use crate::coverage::Fault;
use crate::swarm::Recurring;

/// The longest that a slow member computes without a break.
pub(super) const SLOW_MAX: Duration = Duration::from_secs(3);

impl World {
    /// Whether faults go on, and the extreme if it has any part in the run.
    fn going_on<T>(&self, extreme: Option<T>) -> Option<T> {
        extreme.filter(|_| self.phase == Phase::Faulty)
    }

    pub(super) fn begin_extremes(&mut self) {
        let extremes = self.options.extremes.clone();
        if let Some(factor) = extremes.disks.gray {
            let node = *self.extreme.pick(&self.ids());
            self.place(node).disk_factor = factor;
            self.report.gray = Some(node);
        }
        self.recur_extreme(extremes.clocks.jumps, Event::JumpClock);
        self.recur_extreme(extremes.clocks.freezes, Event::FreezeClock);
        self.recur_extreme(extremes.processes.slow_cpu.map(|slow| slow.episodes), Event::SlowCpu);
        self.recur_extreme(extremes.disks.hangs.map(|hangs| hangs.episodes), Event::HangDisk);
    }

    fn recur_extreme(&mut self, fault: Option<Recurring>, event: Event) {
        if let Some(fault) = fault {
            let after = self.extreme.long_tailed(fault.every);
            self.schedule(after, event);
        }
    }

    pub(super) fn jump_clock(&mut self) {
        let Some(fault) = self.going_on(self.options.extremes.clocks.jumps) else { return };
        let (now, node) = (self.now, *self.extreme.pick(&self.ids()));
        let by = self.extreme.long_tailed(fault.lasts);
        self.note(Fault::ClockJump, node);
        self.trace.line(now, || format!("the clock of {node} jumps by {by:?}"));
        self.place(node).clock.jump(now, by);
        self.wake_by_clock(node);
        self.recur_extreme(Some(fault), Event::JumpClock);
    }

    /// A clock stands still. Most often one of whoever leads: it answers, and says nothing by itself, until
    /// somebody else was elected and it does not know.
    pub(super) fn freeze_clock(&mut self) {
        let Some(fault) = self.going_on(self.options.extremes.clocks.freezes) else { return };
        let cluster = self.invariants.cluster();
        let mut candidates = self.ids();
        candidates.retain(|id| cluster.member(*id).leads.is_some());
        if candidates.is_empty() || self.extreme.per_mille(400) {
            candidates = self.ids();
        }
        let (now, node) = (self.now, *self.extreme.pick(&candidates));
        if self.place(node).clock.freeze(now) {
            self.note(Fault::ClockFreeze, node);
            self.trace.line(now, || format!("the clock of {node} stands still"));
            let lasts = self.extreme.long_tailed(fault.lasts);
            self.schedule(lasts, Event::ThawClock { node });
        }
        self.recur_extreme(Some(fault), Event::FreezeClock);
    }

    pub(super) fn thaw_clock(&mut self, node: NodeId) {
        let now = self.now;
        if self.place(node).clock.thaw(now) {
            self.trace.line(now, || format!("the clock of {node} goes on"));
            self.wake_by_clock(node);
        }
    }

    /// A clock shows something else than it would have: who waits for it waits anew.
    fn wake_by_clock(&mut self, node: NodeId) {
        let deadline = self.places[&node].process.as_ref().map(|process| process.deadline());
        if let Some(deadline) = deadline {
            self.schedule_wake(node, deadline);
        }
    }

    pub(super) fn slow_cpu(&mut self) {
        let Some(slow) = self.going_on(self.options.extremes.processes.slow_cpu) else { return };
        let (now, node) = (self.now, *self.extreme.pick(&self.ids()));
        if self.place(node).cpu_factor == 1 {
            self.note(Fault::SlowCpu, node);
            self.trace.line(now, || format!("{node} computes {} times slower", slow.factor));
            self.place(node).cpu_factor = slow.factor;
            let lasts = self.extreme.long_tailed(slow.episodes.lasts);
            self.schedule(lasts, Event::RestoreCpu { node });
        }
        self.recur_extreme(Some(slow.episodes), Event::SlowCpu);
    }

    pub(super) fn restore_cpu(&mut self, node: NodeId) {
        let now = self.now;
        self.trace.line(now, || format!("{node} computes as usual"));
        self.end_starvation(node);
    }

    /// A member that computed slowly does not any more, nor what it is about.
    fn end_starvation(&mut self, node: NodeId) {
        let place = self.place(node);
        let starved = std::mem::replace(&mut place.cpu_factor, 1) > 1;
        if starved && place.process.is_some() {
            // The turn and the job that it waits for may be seconds away.
            place.turn_scheduled = false;
            place.applying = false;
            self.schedule_turn(node);
            self.begin_job(node);
        }
    }

    /// How long a member computes.
    pub(super) fn compute_time(&mut self, node: NodeId, mean: Duration) -> Duration {
        match self.places[&node].cpu_factor {
            1 => self.chance.long_tailed(mean),
            factor => {
                let mean = mean.max(Duration::from_micros(10)) * factor;
                self.chance.long_tailed(mean).min(SLOW_MAX)
            }
        }
    }

    pub(super) fn hang_disk(&mut self) {
        let Some(hangs) = self.going_on(self.options.extremes.disks.hangs) else { return };
        let node = *self.extreme.pick(&self.ids());
        if self.place(node).hung.is_none() {
            self.note(Fault::DiskHang, node);
            self.hang(node);
            if !self.extreme.per_mille(hangs.for_good_per_mille) {
                let lasts = self.extreme.long_tailed(hangs.episodes.lasts);
                self.schedule(lasts, Event::DiskAnswers { node });
            }
        }
        self.recur_extreme(Some(hangs.episodes), Event::HangDisk);
    }

    /// From now on no sync of this member ends, and no process can start.
    pub(super) fn hang(&mut self, node: NodeId) {
        let now = self.now;
        self.trace.line(now, || format!("the disk of {node} hangs"));
        self.place(node).hung = Some(Vec::new());
    }

    pub(super) fn disk_answers(&mut self, node: NodeId) {
        let now = self.now;
        let Some(held) = self.place(node).hung.take() else { return };
        self.trace.line(now, || format!("the disk of {node} answers"));
        for event in held {
            self.schedule(Duration::ZERO, event);
        }
    }

    /// Ends what is still extreme at a member.
    pub(super) fn end_extremes(&mut self, node: NodeId) {
        let syncs_slowly = self.options.extremes.disks.sync_mean.is_some();
        let place = self.place(node);
        let was_slow = syncs_slowly || place.disk_factor > 1;
        place.disk_factor = 1;
        self.end_starvation(node);
        self.thaw_clock(node);
        self.end_disk_faults(node);
        self.disk_answers(node);
        if was_slow {
            self.sync_soon(node);
        }
    }

    /// A sync under way that may take minutes ends like one that begins now.
    pub(super) fn sync_soon(&mut self, node: NodeId) {
        let place = self.place(node);
        if place.process.as_ref().is_some_and(|process| process.syncing().is_some()) {
            self.schedule_sync(node);
        }
    }

    /// A fault meets a member.
    pub(super) fn note(&mut self, fault: Fault, node: NodeId) {
        let stage = self.places[&node].stage;
        self.report.coverage.note(fault, stage);
    }
}
