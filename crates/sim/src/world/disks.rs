//! Disks that fail, are full, or go bad beneath a running log; and what becomes of their members.
//!
//! What a host does then is done here: a log that fails ends the process, which is started again; one
//! that has no room waits for it; a start that fails is tried again; and a running log verifies itself
//! and mends what it finds.
//!
//! Damage comes in three kinds. What `damage.rs` does to a member that is down, and what goes bad here without
//! anybody's knowing, is done first, looked at then, and taken back if it can't be survived. A *blow* beyond
//! the limit is not weighed: after it members may refuse to begin or wait for ever, and this says when that is
//! right.

use std::time::Duration;

use quorate_check::Violation;
use quorate_node::{Begin, Unfit, begin};
use quorate_raft::{EntryId, Index, NodeId, Remembered};

use super::place::Struck;
use super::{Event, Outcome, Phase, World, storage_of};
use crate::coverage::Fault;
use crate::disk_faults::Ending;
use crate::engine::SharedEngine;
use crate::ills::{Failing, Failure};
use crate::sabotage::Sabotage;
use crate::storage::Trouble;
use crate::swarm::Recurring;

/// What happens to disks.
#[derive(Clone, Copy, Debug)]
pub(super) enum DiskEvent {
    Error,
    BreakDown,
    Works { node: NodeId },
    Fill,
    Room { node: NodeId },
    Stray,
    Rot,
    Scrub { node: NodeId, process: u64 },
    Blow { left: u64 },
}

/// What a log loses beyond the limit.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// A few sectors, or one of the two copies of what its end is.
    Sectors,
    /// Sectors everywhere.
    Log,
    /// A file.
    File,
    /// Sectors everywhere, and both copies of what the end of the log is, where that can be noticed.
    LogAndMark,
}

/// How soon somebody looks again who found the log busy.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The mean time to the next try of a start that failed.
const TRY_AGAIN: Duration = Duration::from_millis(200);

impl World {
    pub(super) fn begin_disk_faults(&mut self) {
        let faults = &self.options.extremes.disk_faults;
        let events = [
            (faults.errors, DiskEvent::Error),
            (faults.breakdowns, DiskEvent::BreakDown),
            (faults.full, DiskEvent::Fill),
            (faults.strays.map(Recurring::moments), DiskEvent::Stray),
            (faults.rot.map(Recurring::moments), DiskEvent::Rot),
        ];
        let blows = faults.over_limit.map(|over| (over.blows, over.blows_max));
        if let Some(flaky) = faults.flaky {
            for node in self.ids() {
                let chance = self.rot.fork();
                self.place(node).storage.ills().get_flaky(flaky, chance);
            }
        }
        for (fault, event) in events {
            self.recur_at_disks(fault, event);
        }
        if let Some((blows, left)) = blows {
            self.recur_at_disks(Some(blows), DiskEvent::Blow { left });
        }
    }

    fn recur_at_disks(&mut self, fault: Option<Recurring>, event: DiskEvent) {
        if let Some(fault) = fault {
            let after = self.rot.long_tailed(fault.every);
            self.schedule(after, Event::Disk(event));
        }
    }

    pub(super) fn disk_event(&mut self, event: DiskEvent) -> Outcome {
        let faults = &self.options.extremes.disk_faults;
        let is_faulty = self.phase == Phase::Faulty;
        let (errors, breakdowns, full) = (faults.errors, faults.breakdowns, faults.full);
        let (strays, rot, over) = (faults.strays, faults.rot, faults.over_limit);
        match event {
            DiskEvent::Works { node } => self.disk_works(node),
            DiskEvent::Room { node } => self.room(node),
            DiskEvent::Scrub { node, process } => {
                if self.is_current(node, process) {
                    self.scrub(node)?;
                }
            }
            _ if !is_faulty => return Ok(()),
            DiskEvent::Error => self.arm_somebody(),
            DiskEvent::BreakDown => self.break_somebody(),
            DiskEvent::Fill => self.fill_somebody(),
            DiskEvent::Stray | DiskEvent::Rot => self.spoil_somebody(event)?,
            DiskEvent::Blow { left } => {
                self.blow()?;
                let next = over.filter(|_| left > 1).map(|over| over.blows);
                self.recur_at_disks(next, DiskEvent::Blow { left: left.saturating_sub(1) });
            }
        }
        let again = match event {
            DiskEvent::Error => errors,
            DiskEvent::BreakDown => breakdowns,
            DiskEvent::Fill => full,
            DiskEvent::Stray => strays.map(Recurring::moments),
            DiskEvent::Rot => rot.map(Recurring::moments),
            _ => None,
        };
        self.recur_at_disks(again, event);
        Ok(())
    }

    /// One of the next calls of a disk fails.
    fn arm_somebody(&mut self) {
        let node = *self.rot.pick(&self.ids());
        let written = self.rot.position(600);
        let failing = *self.rot.pick(&[
            Failing::Read,
            Failing::Read,
            Failing::Write,
            Failing::ShortWrite(written),
            Failing::Sync,
            Failing::Sync,
            Failing::Sync,
            Failing::SyncDirectory,
            Failing::Create,
            Failing::Remove,
        ]);
        self.place(node).storage.ills().arm(failing);
    }

    /// For a while every call of a disk fails.
    fn break_somebody(&mut self) {
        let (now, node) = (self.now, *self.rot.pick(&self.ids()));
        let Some(fault) = self.options.extremes.disk_faults.breakdowns else { return };
        self.note(Fault::DiskBroken, node);
        self.trace.line(now, || format!("the disk of {node} fails at everything"));
        self.place(node).storage.ills().break_down();
        let lasts = self.rot.long_tailed(fault.lasts);
        self.schedule(lasts, Event::Disk(DiskEvent::Works { node }));
    }

    fn disk_works(&mut self, node: NodeId) {
        let now = self.now;
        self.trace.line(now, || format!("the disk of {node} works"));
        self.place(node).storage.ills().work();
        let flaky = self.options.extremes.disk_faults.flaky;
        if let Some(flaky) = flaky.filter(|_| self.phase == Phase::Faulty) {
            let chance = self.rot.fork();
            self.place(node).storage.ills().get_flaky(flaky, chance);
        }
    }

    /// For a while a disk has no room.
    fn fill_somebody(&mut self) {
        let (now, node) = (self.now, *self.rot.pick(&self.ids()));
        let Some(fault) = self.options.extremes.disk_faults.full else { return };
        if self.places[&node].storage.ills().is_full() {
            return;
        }
        self.note(Fault::DiskFull, node);
        self.trace.line(now, || format!("the disk of {node} is full"));
        self.place(node).storage.ills().fill();
        let lasts = self.rot.long_tailed(fault.lasts);
        self.schedule(lasts, Event::Disk(DiskEvent::Room { node }));
    }

    /// There is room, though not at the first try.
    fn room(&mut self, node: NodeId) {
        let now = self.now;
        if !self.places[&node].storage.ills().is_full() {
            return;
        }
        let refusals = self.rot.below(3);
        self.trace.line(now, || format!("the disk of {node} has room"));
        let place = self.place(node);
        place.storage.ills().give_room(refusals);
        if std::mem::take(&mut place.waits_for_room) && place.process.is_some() {
            self.schedule_sync(node);
        }
    }

    /// Whether a commit that would end now waits for room instead.
    pub(super) fn waits_for_room(&mut self, node: NodeId) -> bool {
        let place = self.place(node);
        if place.storage.lacks_room() {
            place.waits_for_room = true;
            self.report.disks.waited += 1;
            let now = self.now;
            self.trace.line(now, || format!("{node} waits for room"));
        }
        self.places[&node].waits_for_room
    }

    /// Ends what is wrong with a disk, as far as it can end.
    pub(super) fn end_disk_faults(&mut self, node: NodeId) {
        self.place(node).storage.ills().work();
        self.room(node);
    }

    /// Something goes bad beneath a process that has all it should have, if it is not a fault too many.
    ///
    /// # Errors
    /// If what a commit wrote was never on the disk.
    fn spoil_somebody(&mut self, event: DiskEvent) -> Outcome {
        let mut chance = self.rot.fork();
        let (now, node) = (self.now, *self.rot.pick(&self.ids()));
        let place = self.place(node);
        if place.process.is_none() || !place.is_sound() {
            return Ok(());
        }
        let fault = if matches!(event, DiskEvent::Stray) {
            let strayed = place.storage.stray(&mut chance);
            strayed.map_err(|what| Violation::new("log", format!("{node}: {what}")))?
        } else {
            place.storage.rot(&mut chance);
            Some(Fault::LiveRot)
        };
        let is_spoiled = self.places[&node].storage.is_spoiled();
        let Some(fault) = fault.filter(|_| is_spoiled) else { return Ok(()) };
        let left = self.places[&node].storage.look();
        let is_known = matches!(left, Ok(Remembered::Whole(_) | Remembered::Damaged(_)));
        if is_known && self.is_survivable(None) {
            self.note(fault, node);
            self.trace.line(now, || format!("{node} has a {} and does not know", fault.name()));
        } else {
            self.place(node).storage.put_right();
        }
        Ok(())
    }

    /// What went bad beneath a process that has just ended is found when it starts again.
    pub(super) fn come_to_light(&mut self, node: NodeId) -> Outcome {
        if !self.places[&node].storage.is_spoiled() {
            return Ok(());
        }
        match self.places[&node].storage.look() {
            // What is spoiled is not needed.
            Ok(Remembered::Whole(_)) => Ok(()),
            // What it held when it went bad was survivable. What came after that may not be.
            Ok(Remembered::Damaged(_)) if self.is_survivable(None) => {
                self.report.disks.came_to_light += 1;
                self.damaged(node, false)
            }
            // What was known of it when it went bad is known no more: two terms have changed since.
            Ok(Remembered::Forgotten(_)) | Err(_) if self.can_lose_disk(node) => self.wipe(node),
            _ => {
                self.place(node).storage.put_right();
                Ok(())
            }
        }
    }

    /// A running log verifies its next piece.
    fn scrub(&mut self, node: NodeId) -> Outcome {
        let Some(scrub) = self.options.extremes.disk_faults.scrub else { return Ok(()) };
        let (now, place) = (self.now, self.place(node));
        let process = place.processes;
        let again = Event::Disk(DiskEvent::Scrub { node, process });
        if place.paused.is_some() || place.hung.is_some() {
            self.schedule(LOOK_AGAIN, again);
            return Ok(());
        }
        let scrubbed = place.storage.scrub(scrub.piece_bytes);
        self.note_failure(node);
        match scrubbed {
            Ok(None) => self.schedule(LOOK_AGAIN, again),
            Ok(Some((scrubbed, bytes))) => {
                if let Some(report) = scrubbed.damage {
                    self.report.disks.mended += 1;
                    self.trace.line(now, || format!("{node} mends its log: {report}"));
                }
                self.schedule(scrub.pause(bytes), again);
            }
            Err(trouble) => return self.fails(node, "verify its log", &trouble),
        }
        Ok(())
    }

    pub(super) fn begin_scrubbing(&mut self, node: NodeId) {
        if let Some(scrub) = self.options.extremes.disk_faults.scrub {
            let process = self.places[&node].processes;
            // A start has other things to do.
            let event = Event::Disk(DiskEvent::Scrub { node, process });
            self.schedule(scrub.pause(0), event);
        }
    }

    /// Counts what has failed at a disk, if something has.
    pub(super) fn note_failure(&mut self, node: NodeId) {
        if let Some(Failure::Once(failing)) = self.places[&node].storage.ills().take_failure() {
            let now = self.now;
            self.trace.line(now, || format!("{failing:?} fails at the disk of {node}"));
            let fault = match failing {
                Failing::Read => Fault::ReadError,
                Failing::Sync | Failing::SyncDirectory => Fault::SyncError,
                Failing::Write | Failing::ShortWrite(_) | Failing::Create | Failing::Remove => {
                    Fault::WriteError
                }
            };
            self.note(fault, node);
        }
    }

    /// The log of a running process fails. If its disk has failed, the process ends, and is started again
    /// after a while: it can't know what is durable, and only a start reads it.
    pub(super) fn fails(&mut self, node: NodeId, what: &str, trouble: &Trouble) -> Outcome {
        if !trouble.is_of_disk {
            return Err(Violation::new("log", format!("{node} can't {what}: {trouble}")));
        }
        let now = self.now;
        self.trace.line(now, || format!("{node} can't {what} and ends: {trouble}"));
        self.report.disks.ended += 1;
        let place = self.place(node);
        place.process = None;
        place.storage.end();
        self.stopped(node)?;
        self.start_later(node);
        Ok(())
    }

    fn start_later(&mut self, node: NodeId) {
        let errors = self.options.extremes.disk_faults.errors;
        let after = self.rot.long_tailed(errors.map_or(TRY_AGAIN, |errors| errors.lasts));
        let process = self.places[&node].processes;
        self.schedule(after, Event::Restart { node, process });
    }

    /// A process did not start on what its disk holds.
    pub(super) fn cannot_start(&mut self, node: NodeId, trouble: &Trouble) -> Outcome {
        if trouble.is_of_disk {
            let now = self.now;
            self.trace.line(now, || format!("{node} can't start for now: {trouble}"));
            self.report.disks.failed_starts += 1;
            self.start_later(node);
            return Ok(());
        }
        let is_explained = self.places[&node].struck.log;
        self.refuses(node, &trouble.what, is_explained)
    }

    /// A member does not begin with what is left, as long as nobody brings it more. Right, if that is explained
    /// by a blow which hit it: all other damage was weighed.
    fn refuses(&mut self, node: NodeId, why: &str, is_explained: bool) -> Outcome {
        if !is_explained {
            return Err(Violation::new("recovery", format!("{node} can't start: {why}")));
        }
        let now = self.now;
        self.trace.line(now, || format!("{node} refuses to start: {why}"));
        self.report.disks.refused += 1;
        let place = self.place(node);
        place.refused = true;
        place.storage.close();
        if self.sabotage == Some(Sabotage::RefusalIgnored) {
            self.place(node).storage = storage_of(&self.options, None);
            return self.start(node);
        }
        Ok(())
    }

    /// What a member begins with; nothing, if it must not.
    ///
    /// # Errors
    /// If it must not, and nothing was done to it that would explain it.
    pub(super) fn how_to_begin(
        &mut self,
        node: NodeId,
        remembered: Remembered,
        machine: EntryId,
    ) -> Result<Option<Begin>, Violation> {
        match begin(&self.membership_of(node), node, remembered, machine) {
            Ok(Begin::Healing(salvage)) if !self.places[&node].damaged => {
                let what = format!("{node} lacks something, and nobody took it: {salvage:?}");
                Err(Violation::new("recovery", what))
            }
            Ok(begin) => Ok(Some(begin)),
            Err(unfit) => {
                let Struck { log, machine: has_lost_machine } = self.places[&node].struck;
                let is_explained = match unfit {
                    // No loss puts another entry in the place of one: that is a fork.
                    Unfit::Contradiction { .. } => false,
                    Unfit::MachineBehind { .. } => has_lost_machine,
                    Unfit::Damaged | Unfit::Forgotten => log,
                };
                self.refuses(node, &unfit.to_string(), is_explained).map(|()| None)
            }
        }
    }

    /// Some members, a majority as a rule, go down at once with damage that nobody has weighed.
    fn blow(&mut self) -> Outcome {
        let Some(over) = self.options.extremes.disk_faults.over_limit else { return Ok(()) };
        let mut hit = self.ids();
        let majority = hit.len() / 2 + 1;
        let count = majority + self.rot.position(hit.len() - majority + 1);
        while hit.len() > count {
            let spared = self.rot.position(hit.len());
            hit.remove(spared);
        }
        for node in hit {
            let place = self.place(node);
            // What is lost already is not hit again: a mark that was lost before, and now the end of the log, is
            // more than anybody could notice.
            if place.process.is_none() || !place.is_sound() {
                continue;
            }
            self.note(Fault::OverLimit, node);
            self.places[&node].storage.settle();
            self.crash(node)?;
            let mut chance = self.rot.fork();
            let (blow, machine) = *chance.pick(&[
                (Some(Blow::Sectors), false),
                (Some(Blow::Sectors), false),
                (Some(Blow::Log), false),
                (Some(Blow::File), false),
                (Some(Blow::LogAndMark), false),
                (Some(Blow::Sectors), true),
                (Some(Blow::Log), true),
                (None, true),
            ]);
            let promised = self.invariants.cluster().member(node).durable.hard_state;
            let storage = &mut self.place(node).storage;
            storage.harm(promised, |storage| match blow {
                Some(Blow::Sectors) => drop(storage.damage(&mut chance)),
                Some(Blow::Log) => storage.devastate(over.sectors_per_mille, &mut chance),
                Some(Blow::File) => storage.lose_file(&mut chance),
                Some(Blow::LogAndMark) => {
                    storage.devastate(over.sectors_per_mille, &mut chance);
                    storage.harm(promised, |storage| storage.lose_marks(&mut chance));
                }
                None => {}
            });
            if machine {
                storage.engine = SharedEngine::default();
            }
            let is_whole = matches!(storage.look(), Ok(Remembered::Whole(_)));
            if machine || !is_whole {
                self.place(node).struck = Struck { log: !is_whole, machine };
                self.damaged(node, machine)?;
            }
            let down = self.rot.long_tailed(over.blows.lasts);
            let process = self.places[&node].processes;
            self.schedule(down, Event::Restart { node, process });
        }
        Ok(())
    }

    /// Whether there is damage that nobody promised to survive.
    pub(super) fn is_over_limit(&self) -> bool {
        self.options.extremes.disk_faults.over_limit.is_some()
    }

    pub(super) fn ended_as(&mut self, ending: Ending) {
        self.report.ending = self.is_over_limit().then_some(ending);
    }

    /// Nobody goes on any more, or not everybody, after damage beyond the limit. There must be a cause for
    /// that: members that refuse to begin, or lack what nobody has. Who has everything must run, and a
    /// majority of such members has no cause: all of it must have got writes through, and have applied what
    /// was committed up to here. Whoever answers still must answer right, and in time.
    ///
    /// # Errors
    /// If it has no cause, or somebody lies, or lets a client wait for ever.
    pub(super) fn halt(&mut self, committed: Index) -> Outcome {
        let what = self.what_is_missing();
        let no_cause = |why: String| Violation::new("liveness", format!("{why}: {what}"));
        if self.phase == Phase::Quiet {
            return Err(no_cause("all got writes through and do not come to rest".to_owned()));
        }
        if self.places.values().all(|place| !place.refused) && self.is_survivable(None) {
            return Err(no_cause(
                "nobody refused, and others have all that somebody lacks".to_owned(),
            ));
        }
        if let Some((request, node)) = self.waits_too_long() {
            return Err(no_cause(format!("{request:?} never ends at {node}")));
        }
        let whole: Vec<NodeId> =
            self.ids().into_iter().filter(|id| self.places[id].is_whole()).collect();
        let all_run = whole.iter().all(|id| self.places[id].process.is_some());
        let is_majority = whole.len() > self.places.len() / 2;
        let is_level = |id: &NodeId| {
            let process = self.places[id].process.as_ref();
            process.is_some_and(|process| committed <= process.applied().index)
        };
        let have_worked = whole.iter().all(|id| self.proven.contains(id) && is_level(id));
        let has_cause = whole.len() < self.places.len();
        if !has_cause || !all_run || is_majority && !have_worked {
            return Err(no_cause(format!("it came to a halt while {whole:?} have everything")));
        }
        self.trace.line(self.now, || format!("it has come to a halt: {what}"));
        self.ended_as(Ending::Halted);
        for (id, place) in self.places.iter() {
            let Some(process) = place.process.as_ref().filter(|process| !process.is_healing())
            else {
                continue;
            };
            let at = process.applied().index;
            for key in self.oracle.model().keys() {
                self.oracle.state(key, at, &process.read(key)).map_err(|violation| {
                    Violation::new("halt", format!("at {id}: {}", violation.what))
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::direct::tests::{ended, with_a_stranger};
    use super::*;
    use crate::process::node_id;

    /// A world that has come to a halt, since a blow took what its last member had.
    fn halted(mut world: World) -> World {
        world.phase = Phase::Whole;
        let place = world.place(node_id(2));
        (place.process, place.damaged, place.refused) = (None, true, true);
        world
    }

    #[test]
    fn a_halt_needs_a_cause_and_nobody_lies_in_it() {
        halted(ended(1)).halt(Index(1)).expect("one of them refused to begin");
        let mut without_cause = halted(ended(1));
        without_cause.place(node_id(2)).damaged = false;
        let violation = without_cause.halt(Index(1)).expect_err("nobody lacks anything");
        assert_eq!(violation.property, "liveness");
        let lies = halted(with_a_stranger(1)).halt(Index(1)).expect_err("that is another state");
        assert_eq!(lies.property, "halt");
    }
}
