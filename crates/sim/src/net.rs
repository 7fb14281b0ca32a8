//! The network: what becomes of a message on its way.
//!
//! Every message is lost, delayed and repeated on its own, so any two may swap places. Links are
//! directed: that one member hears another says nothing about the other direction.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_raft::NodeId;

use crate::chance::Chance;
use crate::swarm::{Options, PartitionStyle};

/// The links between the members.
#[derive(Debug)]
pub struct Net {
    chance: Chance,
    delay_min: Duration,
    delay_mean: Duration,
    loss_per_mille: u64,
    duplicate_per_mille: u64,
    members: Vec<NodeId>,
    /// Links that carry nothing: (from, to).
    blocked: BTreeSet<(NodeId, NodeId)>,
    /// What was sent and lost, and what was sent at all.
    counts: NetCounts,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounts {
    /// Messages given to the network.
    pub sent: u64,
    /// Those lost, by chance or in a partition.
    pub lost: u64,
    /// Those that arrived a second time.
    pub repeated: u64,
}

impl Net {
    /// A network that works.
    #[must_use]
    pub fn new(members: Vec<NodeId>, options: &Options, chance: Chance) -> Self {
        Self {
            chance,
            delay_min: options.delay_min,
            delay_mean: options.delay_mean,
            loss_per_mille: options.loss_per_mille,
            duplicate_per_mille: options.duplicate_per_mille,
            members,
            blocked: BTreeSet::new(),
            counts: NetCounts::default(),
        }
    }

    /// After which times a message arrives: never if the list is empty, more than once if it is
    /// longer.
    pub fn route(&mut self, from: NodeId, to: NodeId) -> Vec<Duration> {
        self.counts.sent += 1;
        if self.is_blocked(from, to) || self.chance.per_mille(self.loss_per_mille) {
            self.counts.lost += 1;
            return Vec::new();
        }
        let mut arrivals = vec![self.delay()];
        if self.chance.per_mille(self.duplicate_per_mille) {
            self.counts.repeated += 1;
            // A repetition may come much later, when the world has moved on.
            let late = if self.chance.per_mille(200) { 50 } else { 2 };
            arrivals.push(self.delay() + self.chance.long_tailed(self.delay_mean * late));
        }
        arrivals
    }

    fn delay(&mut self) -> Duration {
        self.delay_min + self.chance.long_tailed(self.delay_mean)
    }

    /// Whether a message that arrives now gets through. What is under way when a partition begins
    /// is cut off too.
    #[must_use]
    pub fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// Cuts the cluster in some way of this style, and returns the links cut.
    pub fn partition(&mut self, style: PartitionStyle) -> &BTreeSet<(NodeId, NodeId)> {
        let mut shuffled = self.members.clone();
        for last in (1..shuffled.len()).rev() {
            let other = self.chance.position(last + 1);
            shuffled.swap(last, other);
        }
        let size = match style {
            PartitionStyle::Single => 1,
            PartitionStyle::Halves | PartitionStyle::OneWay | PartitionStyle::Links => {
                self.chance.position(shuffled.len()) + 1
            }
        };
        let (left, right) = shuffled.split_at(size.min(shuffled.len()));
        self.blocked.clear();
        match style {
            PartitionStyle::Links => {
                let rate = self.chance.between(50, 600);
                for &from in &self.members {
                    for &to in &self.members {
                        if from != to && self.chance.per_mille(rate) {
                            self.blocked.insert((from, to));
                        }
                    }
                }
            }
            PartitionStyle::Halves | PartitionStyle::Single => {
                cut(&mut self.blocked, left, right);
                cut(&mut self.blocked, right, left);
            }
            PartitionStyle::OneWay => cut(&mut self.blocked, left, right),
        }
        &self.blocked
    }

    /// Cuts all others off from a core, both ways or, more cruelly, one way only: nothing they say
    /// arrives, or nothing arrives at them.
    pub fn isolate_all_but(&mut self, core: &BTreeSet<NodeId>) {
        self.blocked.clear();
        let inner: Vec<NodeId> = core.iter().copied().collect();
        for &other in &self.members {
            if !core.contains(&other) {
                let way = self.chance.below(3);
                if way != 0 {
                    cut(&mut self.blocked, &[other], &inner);
                }
                if way != 1 {
                    cut(&mut self.blocked, &inner, &[other]);
                }
            }
        }
    }

    /// Every link carries again.
    pub fn heal(&mut self) {
        self.blocked.clear();
    }

    /// From now on nothing is lost or repeated by chance.
    pub fn become_reliable(&mut self) {
        self.loss_per_mille = 0;
        self.duplicate_per_mille = 0;
    }

    /// A network that can miss heartbeats altogether can't be asked for progress: bounds the delays.
    pub fn become_timely(&mut self, delay_max: Duration) {
        self.delay_min = self.delay_min.min(delay_max / 8);
        self.delay_mean = self.delay_mean.min(delay_max / 8);
    }

    /// What became of messages so far.
    #[must_use]
    pub fn counts(&self) -> NetCounts {
        self.counts
    }
}

fn cut(blocked: &mut BTreeSet<(NodeId, NodeId)>, from: &[NodeId], to: &[NodeId]) {
    blocked.extend(from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(change: impl FnOnce(&mut Options)) -> Net {
        let mut options = Options::draw(&mut Chance::new(1));
        change(&mut options);
        Net::new((1..=5).map(NodeId).collect(), &options, Chance::new(2))
    }

    #[test]
    fn messages_are_lost_repeated_and_overtaken_at_the_rates_given() {
        let mut net = net(|options| {
            options.loss_per_mille = 200;
            options.duplicate_per_mille = 300;
        });
        let routes: Vec<_> = (0..10_000).map(|_| net.route(NodeId(1), NodeId(2))).collect();
        let lost = routes.iter().filter(|route| route.is_empty()).count();
        let twice = routes.iter().filter(|route| route.len() == 2).count();
        assert!((1_800..2_200).contains(&lost), "{lost} lost");
        assert!((2_200..2_600).contains(&twice), "{twice} repeated, of the 8000 not lost");
        let first: Vec<_> = routes.iter().filter_map(|route| route.first()).collect();
        assert!(first.windows(2).any(|pair| pair[0] > pair[1]), "the second overtakes the first");
        assert_eq!(net.counts().sent, 10_000);
        assert_eq!(net.counts().lost, lost as u64);
    }

    #[test]
    fn partitions_cut_as_their_style_says_until_they_heal() {
        let mut net = net(|options| options.loss_per_mille = 0);
        let symmetric = |net: &Net| net.blocked.iter().all(|&(a, b)| net.is_blocked(b, a));
        let mut one_way = 0;
        for _ in 0..50 {
            net.partition(PartitionStyle::Single);
            assert_eq!(net.blocked.len(), 8, "one of five is cut off both ways");
            assert!(symmetric(&net));
            net.partition(PartitionStyle::Halves);
            assert!(symmetric(&net));
            net.partition(PartitionStyle::OneWay);
            one_way += usize::from(!net.blocked.is_empty() && !symmetric(&net));
        }
        assert!(one_way > 25, "{one_way} of 50 one-way partitions cut something");
        let (from, to) = *net.blocked.first().unwrap_or(&(NodeId(1), NodeId(2)));
        net.blocked.insert((from, to));
        assert_eq!(net.route(from, to), []);
        net.heal();
        assert_ne!(net.route(from, to), []);
    }

    #[test]
    fn a_core_hears_itself_and_lacks_all_others_in_one_direction_at_least() {
        let mut net = net(|_| {});
        let core: BTreeSet<_> = [NodeId(2), NodeId(4), NodeId(5)].into();
        net.isolate_all_but(&core);
        for a in 1..=5 {
            for b in 1..=5 {
                let (a, b) = (NodeId(a), NodeId(b));
                let inside = core.contains(&a) && core.contains(&b);
                assert!(!inside || !net.is_blocked(a, b));
                if core.contains(&a) && !core.contains(&b) {
                    assert!(net.is_blocked(a, b) || net.is_blocked(b, a));
                }
            }
        }
    }
}
