//! The second phase of a run: nothing goes wrong any more, and progress is due.

use std::time::Duration;

use quorate_check::Violation;
use quorate_raft::{NodeId, RoleKind};

use super::{Event, Outcome, Phase, World};
use crate::disk_faults::Ending;

impl World {
    /// The time of faults is over, or the first part of what comes after it.
    pub(super) fn phase_ends(&mut self) -> Outcome {
        if let Some(partial) = self.options.extremes.partial
            && self.phase == Phase::Faulty
            && self.able().len() > self.places.len() / 2
        {
            return self.partial_begins(partial);
        }
        let now = self.now;
        self.become_gentle();
        let ids = self.ids();
        self.core = ids.iter().copied().collect();
        self.net.heal();
        self.phase = Phase::Whole;
        let majority = ids.len() / 2 + 1;
        let whole = ids.iter().filter(|id| self.places[id].is_whole()).count();
        if std::mem::take(&mut self.options.core_first) && majority <= whole {
            self.phase = Phase::Core;
            while self.core.len() > majority {
                let out = *self.chance.pick(&ids);
                self.core.remove(&out);
            }
            self.swap_lacking();
            if !self.can_be_had_from(&self.core) {
                // The witness no longer has what the others of them lack, and they wait for who is out.
                self.core = ids.iter().copied().collect();
                self.phase = Phase::Whole;
            }
            let core = self.core.clone();
            self.net.isolate_all_but(&core);
        }
        let core = self.core.clone();
        self.trace.line(now, || format!("from now on progress is due at {core:?}"));
        self.proven.clear();
        self.phase_ends = now + self.patience();
        self.halts_at = None;
        self.schedule(Duration::ZERO, Event::Look);
        for id in ids {
            self.end_extremes(id);
            if self.places[&id].paused.is_some() {
                self.resume(id);
            }
            if !core.contains(&id) {
                continue;
            }
            if self.places[&id].process.is_none() {
                let process = self.places[&id].processes;
                self.schedule(Duration::ZERO, Event::Restart { node: id, process });
            }
        }
        Ok(())
    }

    /// A majority with a member that lacks something is none: each such gives its place to one that does
    /// not.
    fn swap_lacking(&mut self) {
        let lacks = |id: &NodeId| !self.places[id].is_whole();
        let out: Vec<NodeId> = self.core.iter().copied().filter(lacks).collect();
        let others = self.ids().into_iter().filter(|id| !self.core.contains(id) && !lacks(id));
        let into: Vec<NodeId> = others.take(out.len()).collect();
        assert_eq!(into.len(), out.len(), "a majority is whole");
        self.core.retain(|id| !out.contains(id));
        self.core.extend(into);
    }

    /// How long progress may take once nothing stands in its way: many elections, and the restarts
    /// and snapshots of all members, one piece after another.
    pub(super) fn patience(&self) -> Duration {
        let entries = u32::try_from(self.oracle.last().0).expect("a run is short");
        let usual = self.options.election_timeout * 60
            + self.options.request_timeout * 2
            + self.options.heartbeat / 4 * entries
            + Duration::from_secs(20)
            // A favourite that lost the lead again and again waits for it ever longer.
            + self.options.election_timeout * if self.options.priorities { 400 } else { 0 };
        // Timeouts may be twice as long, and clocks half as fast.
        let extremes = &self.options.extremes;
        let longer = [extremes.processes.mixed_settings, extremes.clocks.wild];
        usual * (1 << longer.into_iter().filter(|is| *is).count())
    }

    /// Disks and links work as they should, in a fraction of a heartbeat.
    pub(super) fn become_gentle(&mut self) {
        let quick = self.options.heartbeat / 16;
        self.net.become_reliable();
        self.net.become_timely(quick);
        self.options.sync_mean = self.options.sync_mean.min(quick);
        self.options.apply_mean = self.options.apply_mean.min(quick);
        self.options.loop_mean = self.options.loop_mean.min(quick / 8);
        self.options.slow_sync_per_mille = 0;
    }

    /// Looks whether the present phase has reached what it asks for. Returns whether the run is
    /// over.
    pub(super) fn look(&mut self) -> Result<bool, Violation> {
        if self.phase == Phase::Partial {
            return self.look_at_partial();
        }
        let done = match self.phase {
            Phase::Faulty | Phase::Partial => false,
            Phase::Core | Phase::Whole => self.core.is_subset(&self.proven) && self.all_belong(),
            Phase::Quiet => {
                self.is_settled()
                    && self.watchers_are_level()
                    && self.leases_are_over()
                    && self.a_favourite_leads()
            }
        };
        if done {
            match self.phase {
                Phase::Faulty | Phase::Partial => {}
                Phase::Core => {
                    self.phase_ends()?;
                    return Ok(false);
                }
                Phase::Whole => {
                    self.phase = Phase::Quiet;
                    self.leases_settle();
                    self.phase_ends = self.now + self.patience();
                    self.halts_at = None;
                }
                Phase::Quiet => {
                    self.compare_states()?;
                    self.ended_as(Ending::Whole);
                    return Ok(true);
                }
            }
        } else if self.now >= self.phase_ends && self.is_over_limit() {
            if let Some(committed) = self.halts_at {
                self.halt(committed)?;
                return Ok(true);
            }
            // What was committed just now is still on its way to others.
            self.halts_at = Some(self.oracle.last());
            self.phase_ends = self.now + self.options.election_timeout * 10;
        } else if self.now >= self.phase_ends {
            return Err(Violation::new("liveness", self.what_is_missing()));
        }
        self.bring_all_back();
        for node in self.core.clone() {
            let asked = self.proofs.values().any(|at| *at == node);
            // A member that lags behind is left to catch up first, or its own proofs would move the
            // end of the log away from it.
            let last = self.oracle.last();
            let process = self.places[&node].process.as_ref();
            let is_level = process.is_some_and(|process| process.applied().index == last);
            if self.phase != Phase::Quiet && is_level && !asked && !self.proven.contains(&node) {
                self.prove(node);
            }
        }
        self.schedule(self.options.heartbeat, Event::Look);
        Ok(false)
    }

    pub(super) fn is_settled(&self) -> bool {
        let last = self.oracle.last();
        self.oracle.any_open().is_none()
            && self.places.values().all(|place| {
                place.rejoining.is_none()
                    && place.process.as_ref().is_some_and(|process| process.applied().index == last)
            })
    }

    /// Nobody is wanted more as the leader than who leads.
    fn a_favourite_leads(&self) -> bool {
        let status = |id: &NodeId| self.places[id].process.as_ref().map(|process| process.status());
        let ids = self.ids();
        let all = ids.iter().filter_map(|id| Some((*id, status(id)?)));
        let leaders = all.filter(|(_, status)| status.role == RoleKind::Leader);
        let leader = leaders.max_by_key(|(_, status)| status.term).map(|(id, _)| id);
        let able = ids.iter().filter(|id| !self.is_witness(**id));
        let most = able.map(|id| self.priority_of(*id)).max();
        !self.options.priorities || leader.is_some_and(|id| Some(self.priority_of(id)) == most)
    }

    pub(super) fn what_is_missing(&self) -> String {
        let open = self.oracle.any_open();
        let members: Vec<String> = self
            .places
            .iter()
            .map(|(id, place)| match &place.process {
                None => format!("{id} is down"),
                Some(process) => {
                    let applied = process.applied();
                    let status = process.status();
                    format!("{id} applied {applied}, {status:?}")
                }
            })
            .collect();
        format!(
            "in phase {:?}, of {:?} only {:?} made progress; committed up to {}; open: {open:?}; watchers \
             are told all: {}; leases are over: {}; a favourite leads: {}\n{}",
            self.phase,
            self.core,
            self.proven,
            self.oracle.last(),
            self.watchers_are_level(),
            self.leases_are_over(),
            self.a_favourite_leads(),
            members.join("\n")
        )
    }

    /// All machines hold the state of the model, to the last key and the last lease.
    pub(super) fn compare_states(&mut self) -> Outcome {
        let at = self.oracle.last();
        for (id, place) in self.places.iter().filter(|(id, _)| !self.is_witness(**id)) {
            let process = place.process.as_ref().expect("all run");
            for key in self.oracle.model().keys() {
                self.oracle.state(key, at, &process.read(key)).map_err(|violation| {
                    Violation::new("convergence", format!("at {id}: {}", violation.what))
                })?;
            }
            let held = process.reading().leases().into_iter().map(|lease| (lease.id, lease.ttl));
            let (held, model): (Vec<_>, _) = (held.collect(), self.oracle.model().leases());
            if !held.iter().copied().eq(model.iter().map(|(id, ttl)| (*id, *ttl))) {
                let what = format!("at {id}: it holds the leases {held:?}, the model {model:?}");
                return Err(Violation::new("convergence", what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::direct::tests::{ended, with_a_stranger};

    #[test]
    fn a_machine_that_came_to_another_state_is_noticed() {
        ended(1).compare_states().expect("all hold the same");
        let violation = with_a_stranger(1).compare_states().expect_err("that is another state");
        assert_eq!(violation.property, "convergence");
    }
}
