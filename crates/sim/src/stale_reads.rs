//! Reads that may be stale, in some runs: what clients ask for instead of a linearizable read, and what has to be known
//! to judge the answers ([`quorate_check::staleness`]).
//!
//! How stale an answer is, a member says by its own clock. So whenever a client is answered it is noted what the
//! clock of each member shows, whatever these clocks do: one that jumps makes answers look staler than they are, and
//! one that stands makes the bound a longer time, and neither is an excuse.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_check::staleness::{Acknowledged, Demand};
use quorate_node::Freshness;
use quorate_raft::{Index, NodeId, Time};

use crate::chance::Chance;
use crate::oracle::RequestId;
use crate::swarm::ms;

/// How a run uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleReads {
    /// Of a thousand reads, how many may be stale.
    pub per_mille: u64,
    /// Of a thousand of these, how many ask for a position instead of a bound.
    pub positions_per_mille: u64,
    /// The bounds that are asked for.
    pub bound: Duration,
}

/// Tells the source of all this from that of all else in a seed.
const STALE: u64 = 0x73_7461_6c65;

impl StaleReads {
    /// Those of a seed, if it has any: three in ten do.
    #[must_use]
    pub fn of_seed(seed: u64) -> Option<Self> {
        let mut chance = Chance::new(seed ^ STALE);
        chance.per_mille(300).then(|| Self {
            per_mille: *chance.pick(&[200, 500, 800]),
            positions_per_mille: *chance.pick(&[0, 200]),
            bound: ms(*chance.pick(&[5, 50, 500, 5_000])),
        })
    }
}

/// A read that may be stale, and has not been answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// What the clock of the member showed.
    pub(crate) at: Time,
    pub(crate) demand: Demand,
}

/// What is known for judging them.
#[derive(Debug)]
pub(crate) struct Judging {
    options: Option<StaleReads>,
    chance: Chance,
    pub(crate) open: BTreeMap<RequestId, Asked>,
    acknowledged: BTreeMap<NodeId, Acknowledged>,
    /// How many were judged.
    pub(crate) judged: u64,
}

impl Judging {
    pub(crate) fn new(seed: u64, options: Option<StaleReads>) -> Self {
        Self {
            options,
            chance: Chance::new(!seed ^ STALE),
            open: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            judged: 0,
        }
    }

    /// Whether there are any.
    pub(crate) fn is_on(&self) -> bool {
        self.options.is_some()
    }

    /// How new the state is to be that a client reads. Clients have seen no position beyond `seen`.
    pub(crate) fn freshness(&mut self, seen: Index) -> Freshness {
        let Some(options) = self.options else { return Freshness::Linearizable };
        if !self.chance.per_mille(options.per_mille) {
            return Freshness::Linearizable;
        }
        if self.chance.per_mille(options.positions_per_mille) {
            return Freshness::AtLeast(seen);
        }
        Freshness::AtMost(self.chance.duration(Duration::ZERO, options.bound))
    }

    /// Somebody was answered from a state that reaches so far, at what is this moment for the clock of this member.
    pub(crate) fn note(&mut self, node: NodeId, at: Time, index: Index) {
        self.acknowledged.entry(node).or_default().note(at, index);
    }

    /// What had been acknowledged, by the clock of this member.
    pub(crate) fn acknowledged(&mut self, node: NodeId) -> &Acknowledged {
        self.acknowledged.entry(node).or_default()
    }
}
