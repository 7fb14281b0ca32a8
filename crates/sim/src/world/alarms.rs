//! Alarms come and go: see [`crate::alarms`].

use quorate_mvcc::Alarm;
use quorate_raft::NodeId;

use super::{Event, Phase, World};
use crate::alarms;
use crate::model::Request;

impl World {
    pub(super) fn begin_alarms(&mut self) {
        if let Some(alarms) = self.options.alarms {
            self.schedule(alarms.episodes.every, Event::Alarm);
        }
    }

    /// Somebody raises an alarm, or takes one back.
    pub(super) fn alarm(&mut self) {
        let Some(of_run) = self.options.alarms.filter(|_| self.phase == Phase::Faulty) else {
            return;
        };
        let running: Vec<NodeId> =
            self.has_state().filter(|id| self.places[id].process.is_some()).collect();
        if !running.is_empty() {
            let raised: Vec<Alarm> = self.oracle.model().alarms().collect();
            let node = *self.alarming.pick(&running);
            let command = alarms::next(&raised, self.options.members, &mut self.alarming);
            let id = self.ask(node, Request::Alarm(command));
            self.chores.insert(id, node);
        }
        let is_raised = self.oracle.model().alarms().next().is_some();
        let mean = if is_raised { of_run.episodes.lasts } else { of_run.episodes.every };
        let after = self.alarming.long_tailed(mean);
        self.schedule(after, Event::Alarm);
    }
}
