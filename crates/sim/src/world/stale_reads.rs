//! Reads that may be stale, from the question to the judgement.

use std::time::Duration;

use quorate_check::Violation;
use quorate_check::staleness::{Demand, StaleRead, judge};
use quorate_node::Freshness;
use quorate_raft::{Index, NodeId};

use super::{Outcome, World};
use crate::model::Request;
use crate::oracle::RequestId;
use crate::stale_reads::Asked;

impl World {
    /// Notes that this read may be stale, if it may.
    pub(super) fn begin_stale(&mut self, node: NodeId, id: RequestId, freshness: Freshness) {
        let demand = match freshness {
            Freshness::Linearizable => return,
            Freshness::AtMost(bound) => Demand::AtMost(bound),
            Freshness::AtLeast(index) => Demand::AtLeast(index),
        };
        let at = self.places[&node].clock.read(self.now);
        self.stale_reads.open.insert(id, Asked { at, demand });
    }

    /// A client was answered.
    pub(super) fn note_acknowledged(&mut self) {
        if !self.stale_reads.is_on() {
            return;
        }
        let (now, index) = (self.now, self.oracle.floor());
        for (id, place) in self.places.iter() {
            self.stale_reads.note(*id, place.clock.read(now), index);
        }
    }

    /// A read that may be stale is answered.
    pub(super) fn answer_stale(
        &mut self,
        node: NodeId,
        id: RequestId,
        asked: Asked,
        told: Option<Duration>,
        seen: Index,
    ) -> Outcome {
        let process = self.places[&node].process.as_ref().expect("it answers");
        let Some(Request::Read { key }) = self.oracle.request(id) else {
            return Err(Violation::new("oracle", format!("{id:?} is no read under way")));
        };
        self.oracle.state(key, seen, &process.read(key))?;
        let Asked { at: asked, demand } = asked;
        let read = StaleRead { asked, demand, told, seen };
        judge(&read, self.stale_reads.acknowledged(node))?;
        self.stale_reads.judged += 1;
        self.oracle.read_stale(id)
    }
}
