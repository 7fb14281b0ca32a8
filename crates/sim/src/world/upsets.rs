//! What befalls a cluster just after an election, in a turmoil.
//!
//! For a short while two members believe that they lead, and what keeps the older one from doing harm
//! is only what those who deposed it remember. So this is the moment to make one of them forget. Three
//! things happen at once: whoever led before is heard again, with all links, and awake if it was paused;
//! the winner falls silent, to be the one who led before when the next one wins; and a member that may
//! have voted for it loses its disk, and is back at once.

use quorate_raft::NodeId;

use super::{Event, Outcome, Phase, World};
use crate::coverage::Fault;

impl World {
    /// Somebody was elected.
    pub(super) fn plan_upset(&mut self, winner: NodeId) {
        let rate = self.options.upsets_per_mille;
        if rate > 0 && self.phase == Phase::Faulty && self.chance.per_mille(rate) {
            // It may have got something committed by then.
            let after = self.chance.duration(self.options.delay_min, self.options.election_timeout);
            self.schedule(after, Event::Upset { winner });
        }
    }

    pub(super) fn upset(&mut self, winner: NodeId) -> Outcome {
        let cluster = self.invariants.cluster();
        let mut voters = self.ids();
        voters.retain(|id| *id != winner && cluster.member(*id).leads.is_none());
        if self.phase != Phase::Faulty || voters.is_empty() {
            return Ok(());
        }
        self.net.heal();
        for id in self.ids() {
            self.resume(id);
        }
        let silence = self.chance.long_tailed(self.options.election_timeout * 4);
        self.pause(winner, silence);
        let victim = *self.chance.pick(&voters);
        if self.can_lose_disk(victim) {
            self.note(Fault::DiskLost, victim);
            self.crash(victim)?;
            self.wipe(victim)?;
            let down = self.chance.long_tailed(self.options.heartbeat / 8);
            let process = self.places[&victim].processes;
            self.schedule(down, Event::Restart { node: victim, process });
        }
        Ok(())
    }
}
