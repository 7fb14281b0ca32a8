//! Damage of what is on a disk, as far as the design promises to survive it.
//!
//! A fault that takes the last copy of something can't be survived by anybody, and one that never comes
//! near it shows little. So damage is done first, on a disk that nobody uses, and then looked at: what
//! is lost, and does another member still have each piece of it? If not, it is undone. This is what
//! TigerBeetle calls an atlas of faults.

use quorate_check::cluster::Fact;
use quorate_mvcc::engine::Engine as _;
use quorate_raft::NodeId;

use super::{Event, Outcome, Phase, World};
use crate::coverage::Fault;
use crate::engine::SharedEngine;

impl World {
    /// Somebody who is down, or goes down now, finds its storage damaged when it starts again.
    pub(super) fn damage_somebody(&mut self) -> Outcome {
        let Some(fault) = self.options.damage.filter(|_| self.phase == Phase::Faulty) else {
            return Ok(());
        };
        let ids = self.ids();
        let node = *self.chance.pick(&ids);
        if self.can_lose_machine(node) {
            self.note(Fault::MachineLost, node);
            self.crash(node)?;
            self.lose_machine(node)?;
            let down = self.chance.long_tailed(fault.lasts);
            let process = self.places[&node].processes;
            self.schedule(down, Event::Restart { node, process });
        }
        self.recur(Some(fault), Event::Damage);
        Ok(())
    }

    /// Whether, without this member's state, there still is one that reaches to where a log begins for
    /// everybody whose own does not.
    fn can_lose_machine(&self, node: NodeId) -> bool {
        let state = |id: &NodeId| {
            let place = &self.places[id];
            let has_one = *id != node && !place.rejoining;
            has_one.then(|| place.storage.engine.durable().index)
        };
        let furthest = self.places.keys().filter_map(state).max().unwrap_or_default();
        let is_reached = |id: &NodeId| {
            let begins = self.invariants.cluster().member(*id).issued.base.index;
            begins <= furthest || state(id).is_some_and(|own| begins <= own)
        };
        !self.places[&node].rejoining && self.places.keys().all(is_reached)
    }

    /// The state of a member that is down is gone.
    fn lose_machine(&mut self, node: NodeId) -> Outcome {
        let place = self.place(node);
        assert!(place.process.is_none(), "{node} runs on the disk that is to be damaged");
        place.storage.engine = SharedEngine::default();
        place.damaged = true;
        self.report.damaged += 1;
        self.trace.line(self.now, || format!("{node} loses the state of its machine"));
        self.invariants.observe(Fact::Damaged { node, machine: true })
    }
}
