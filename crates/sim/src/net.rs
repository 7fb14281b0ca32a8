//! The network: what becomes of a message on its way.
//!
//! Every message is lost, delayed and repeated on its own, so any two may swap places. Links are
//! directed: that one member hears another says nothing about the other direction. A link may be
//! slower than others, carry only so many messages at once, and clog: what it holds comes later, all
//! of it.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_raft::NodeId;

use crate::chance::Chance;
use crate::coverage::Fault;
use crate::extremes::{Clogs, Replays};
use crate::links::Links;
use crate::swarm::{Options, PartitionStyle};

/// A delay is as drawn at this factor.
const USUAL_PERCENT: u32 = 100;

/// The links between the members.
#[derive(Debug)]
pub struct Net {
    chance: Chance,
    /// Decides what [`Extremes`](crate::extremes::Extremes) add.
    extreme: Chance,
    delay_min: Duration,
    delay_mean: Duration,
    loss_per_mille: u64,
    duplicate_per_mille: u64,
    capacity: Option<u64>,
    clogs: Option<Clogs>,
    replays: Option<Replays>,
    members: Vec<NodeId>,
    /// Links that carry nothing: (from, to).
    blocked: BTreeSet<(NodeId, NodeId)>,
    links: Links<Link>,
    counts: NetCounts,
}

/// One direction between two members.
#[derive(Clone, Debug)]
struct Link {
    /// Messages that left and have not arrived, repetitions too.
    in_flight: u64,
    /// Until when it holds what arrives.
    clogged_until: Duration,
    /// What a delay is multiplied by, in percent.
    delay_percent: u32,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounts {
    /// Messages given to the network.
    pub sent: u64,
    /// Those lost, by chance, in a partition, or because the link was full.
    pub lost: u64,
    /// Those of the lost that found the link full.
    pub refused: u64,
    /// Those that arrived a second time.
    pub repeated: u64,
    /// Those that arrived once more much later.
    pub replayed: u64,
    /// Links that clogged.
    pub clogs: u64,
    /// Messages that a clogged link held.
    pub held: u64,
}

/// After which times a message arrives: never, once, or more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    after: [Option<Duration>; 3],
    /// Why it is not there once and soon.
    faults: [Option<Fault>; 3],
}

impl Arrivals {
    /// All of them, the first one first; the others may be earlier all the same.
    pub fn iter(&self) -> impl Iterator<Item = Duration> + '_ {
        self.after.iter().flatten().copied()
    }

    /// What went wrong with it.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + '_ {
        self.faults.iter().flatten().copied()
    }

    fn never(fault: Fault) -> Self {
        Self { after: [None; 3], faults: [Some(fault), None, None] }
    }

    /// Whether it never arrives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.after[0].is_none()
    }
}

/// What becomes of a message at the end of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is there.
    Arrives,
    /// The link was cut meanwhile.
    Lost,
    /// The link is clogged: it is there so much later, or held again.
    Held(Duration),
}

impl Net {
    /// A network that works.
    #[must_use]
    pub fn new(
        members: Vec<NodeId>,
        options: &Options,
        chance: Chance,
        mut extreme: Chance,
    ) -> Self {
        let network = &options.extremes.network;
        let usual =
            Link { in_flight: 0, clogged_until: Duration::ZERO, delay_percent: USUAL_PERCENT };
        let mut links = Links::new(members.len(), usual);
        if network.lopsided {
            for (from, to) in links.pairs() {
                links.get_mut(from, to).delay_percent = *extreme.pick(&[10, 50, 100, 300, 1_000]);
            }
        }
        Self {
            chance,
            extreme,
            delay_min: options.delay_min,
            delay_mean: options.delay_mean,
            loss_per_mille: options.loss_per_mille,
            duplicate_per_mille: options.duplicate_per_mille,
            capacity: network.capacity,
            clogs: network.clogs,
            replays: network.replays,
            members,
            blocked: BTreeSet::new(),
            links,
            counts: NetCounts::default(),
        }
    }

    /// Takes a message.
    pub fn route(&mut self, now: Duration, from: NodeId, to: NodeId) -> Arrivals {
        let arrivals = self.draw(now, from, to);
        self.counts.repeated += u64::from(arrivals.after[1].is_some());
        self.counts.replayed += u64::from(arrivals.after[2].is_some());
        self.links.get_mut(from, to).in_flight += arrivals.iter().count() as u64;
        arrivals
    }

    /// Takes a part of a call, which arrives once or not at all: what carries it drops repetitions.
    pub fn call(&mut self, now: Duration, from: NodeId, to: NodeId) -> Arrivals {
        let mut arrivals = self.draw(now, from, to);
        let is_repeated = |fault: &Fault| matches!(fault, Fault::Duplicate | Fault::Replay);
        arrivals.faults = arrivals.faults.map(|fault| fault.filter(|fault| !is_repeated(fault)));
        arrivals.after = [arrivals.after[0], None, None];
        self.links.get_mut(from, to).in_flight += arrivals.iter().count() as u64;
        arrivals
    }

    /// What becomes of something that is sent.
    fn draw(&mut self, now: Duration, from: NodeId, to: NodeId) -> Arrivals {
        self.counts.sent += 1;
        if self.is_blocked(from, to) {
            self.counts.lost += 1;
            return Arrivals::default();
        }
        if self.chance.per_mille(self.loss_per_mille) {
            self.counts.lost += 1;
            return Arrivals::never(Fault::Loss);
        }
        if self.capacity.is_some_and(|most| self.links.get(from, to).in_flight >= most) {
            self.counts.lost += 1;
            self.counts.refused += 1;
            return Arrivals::never(Fault::LinkFull);
        }
        let mut arrivals = Arrivals::default();
        arrivals.after[0] = Some(self.delay(from, to));
        if self.chance.per_mille(self.duplicate_per_mille) {
            arrivals.faults[0] = Some(Fault::Duplicate);
            // A repetition may come much later, when the world has moved on.
            let late = if self.chance.per_mille(200) { 50 } else { 2 };
            let first = self.delay(from, to);
            arrivals.after[1] = Some(first + self.chance.long_tailed(self.delay_mean * late));
        }
        arrivals.after[2] = self.replay();
        arrivals.faults[1] = arrivals.after[2].map(|_| Fault::Replay);
        arrivals.faults[2] = self.clog(now, from, to).then_some(Fault::Clog);
        arrivals
    }

    fn replay(&mut self) -> Option<Duration> {
        let Replays { per_mille, after } = self.replays?;
        if !self.extreme.per_mille(per_mille) {
            return None;
        }
        Some(self.extreme.long_tailed(after))
    }

    fn clog(&mut self, now: Duration, from: NodeId, to: NodeId) -> bool {
        let Some(clogs) = self.clogs else { return false };
        let link = self.links.get_mut(from, to);
        let clogs_now = link.clogged_until <= now && self.extreme.below(10_000) < clogs.per_myriad;
        if clogs_now {
            self.counts.clogs += 1;
            link.clogged_until = now + self.extreme.long_tailed(clogs.lasts);
        }
        clogs_now
    }

    fn delay(&mut self, from: NodeId, to: NodeId) -> Duration {
        let percent = self.links.get(from, to).delay_percent;
        let delay = self.delay_min + self.chance.long_tailed(self.delay_mean);
        if percent == USUAL_PERCENT { delay } else { delay * percent / USUAL_PERCENT }
    }

    /// A message has come to the end of its way, or of the time that it was held.
    pub fn deliver(&mut self, now: Duration, from: NodeId, to: NodeId) -> Delivery {
        let is_blocked = self.is_blocked(from, to);
        let link = self.links.get_mut(from, to);
        if !is_blocked && link.clogged_until > now {
            self.counts.held += 1;
            let wait = link.clogged_until - now;
            let in_order = self.clogs.is_none_or(|clogs| clogs.in_order);
            let spread =
                if in_order { Duration::ZERO } else { self.extreme.long_tailed(self.delay_mean) };
            return Delivery::Held(wait + spread);
        }
        link.in_flight = link.in_flight.checked_sub(1).expect("it was on its way");
        if is_blocked { Delivery::Lost } else { Delivery::Arrives }
    }

    /// Who held a message that had arrived is gone, and the message with it.
    pub fn forget(&mut self, from: NodeId, to: NodeId) {
        let link = self.links.get_mut(from, to);
        link.in_flight = link.in_flight.checked_sub(1).expect("it was on its way");
    }

    /// Whether a message that arrives now gets through. What is under way when a partition begins
    /// is cut off too.
    #[must_use]
    pub fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// Cuts the cluster in some way of this style, and returns the links cut.
    pub fn partition(&mut self, style: PartitionStyle) -> &BTreeSet<(NodeId, NodeId)> {
        let style = match style {
            PartitionStyle::Any => *self.extreme.pick(&PartitionStyle::EACH),
            one => one,
        };
        self.blocked.clear();
        // Whatever the style, it cuts something, and what takes more members than there are cuts in two.
        let count = self.members.len();
        let style = match style {
            _ if count < 2 => return &self.blocked,
            PartitionStyle::Bridge if count < 3 => PartitionStyle::Halves,
            PartitionStyle::Ring if count < 4 => PartitionStyle::Single,
            style => style,
        };
        let mut shuffled = self.members.clone();
        for last in (1..shuffled.len()).rev() {
            let other = self.chance.position(last + 1);
            shuffled.swap(last, other);
        }
        let size = match style {
            PartitionStyle::Single => 1,
            PartitionStyle::Bridge => self.chance.position(count - 2) + 2,
            _ => self.chance.position(count - 1) + 1,
        };
        let (left, right) = shuffled.split_at(size);
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
            PartitionStyle::Bridge => {
                // The first of the left hears both sides, and they hear nothing but it.
                let left = left.get(1..).unwrap_or_default();
                cut(&mut self.blocked, left, right);
                cut(&mut self.blocked, right, left);
            }
            PartitionStyle::Ring => {
                for (at, &from) in shuffled.iter().enumerate() {
                    for (other, &to) in shuffled.iter().enumerate() {
                        let apart = at.abs_diff(other);
                        if apart > 1 && apart + 1 < shuffled.len() {
                            self.blocked.insert((from, to));
                        }
                    }
                }
            }
            PartitionStyle::Any => unreachable!("a style was drawn"),
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

    /// These links carry nothing, and all others do.
    pub fn block(&mut self, links: BTreeSet<(NodeId, NodeId)>) {
        self.blocked = links;
    }

    /// Every link carries again.
    pub fn heal(&mut self) {
        self.blocked.clear();
    }

    /// From now on nothing is lost, repeated or held by chance.
    pub fn become_reliable(&mut self) {
        self.loss_per_mille = 0;
        self.duplicate_per_mille = 0;
        self.capacity = None;
        self.clogs = None;
        self.replays = None;
        for (from, to) in self.links.pairs() {
            self.links.get_mut(from, to).clogged_until = Duration::ZERO;
        }
    }

    /// A network that can miss heartbeats altogether can't be asked for progress: bounds the delays.
    pub fn become_timely(&mut self, delay_max: Duration) {
        self.delay_min = self.delay_min.min(delay_max / 8);
        self.delay_mean = self.delay_mean.min(delay_max / 8);
        for (from, to) in self.links.pairs() {
            self.links.get_mut(from, to).delay_percent = USUAL_PERCENT;
        }
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
        Net::new((1..=5).map(NodeId).collect(), &options, Chance::new(2), Chance::new(3))
    }

    #[test]
    fn messages_are_lost_repeated_and_overtaken_at_the_rates_given() {
        let mut net = net(|options| {
            options.loss_per_mille = 200;
            options.duplicate_per_mille = 300;
        });
        let routes: Vec<_> =
            (0..10_000).map(|_| net.route(Duration::ZERO, NodeId(1), NodeId(2))).collect();
        let lost = routes.iter().filter(|route| route.is_empty()).count();
        let twice = routes.iter().filter(|route| route.iter().count() == 2).count();
        assert!((1_800..2_200).contains(&lost), "{lost} lost");
        assert!((2_200..2_600).contains(&twice), "{twice} repeated, of the 8000 not lost");
        let first: Vec<_> = routes.iter().filter_map(|route| route.iter().next()).collect();
        assert!(first.windows(2).any(|pair| pair[0] > pair[1]), "the second overtakes the first");
        assert_eq!(net.counts().sent, 10_000);
        assert_eq!(net.counts().lost, lost as u64);
    }

    #[test]
    fn a_call_arrives_once_and_no_repetition_of_it_is_counted() {
        let mut net = net(|options| {
            (options.loss_per_mille, options.duplicate_per_mille) = (200, 300);
            let after = Duration::from_secs(5);
            options.extremes.network.replays = Some(Replays { per_mille: 500, after });
        });
        let (mut faults, mut lost) = (BTreeSet::new(), 0);
        for _ in 0..1_000 {
            let arrivals = net.call(Duration::ZERO, NodeId(1), NodeId(2));
            assert_eq!(arrivals.iter().count(), usize::from(!arrivals.is_empty()));
            lost += u64::from(arrivals.is_empty());
            faults.extend(arrivals.faults());
        }
        assert_eq!(faults, [Fault::Loss].into());
        let NetCounts { sent, repeated, replayed, .. } = net.counts();
        assert_eq!((sent, net.counts().lost, repeated, replayed), (1_000, lost, 0, 0));
        let in_flight = net.links.get(NodeId(1), NodeId(2)).in_flight;
        assert_eq!(in_flight, 1_000 - lost, "what is dropped takes no room");
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
        assert!(net.route(Duration::ZERO, from, to).is_empty());
        net.heal();
        assert!(!net.route(Duration::ZERO, from, to).is_empty());
    }

    #[test]
    fn a_bridge_hears_both_sides_and_a_ring_its_neighbours() {
        let mut net = net(|_| {});
        let hears = |net: &Net, a: NodeId| {
            (1..=5).filter(|b| NodeId(*b) != a && !net.is_blocked(a, NodeId(*b))).count()
        };
        let mut cut_in_two = 0;
        for _ in 0..50 {
            net.partition(PartitionStyle::Bridge);
            assert!((1..=5).any(|id| hears(&net, NodeId(id)) == 4), "{:?}", net.blocked);
            cut_in_two += usize::from(!net.blocked.is_empty());
        }
        assert!(cut_in_two > 10, "{cut_in_two} of 50 bridges cut anything");
        net.partition(PartitionStyle::Ring);
        assert!((1..=5).all(|id| hears(&net, NodeId(id)) == 2), "{:?}", net.blocked);
    }

    #[test]
    fn a_link_carries_so_many_messages_at_once() {
        let (a, b) = (NodeId(1), NodeId(2));
        let mut net = net(|options| {
            (options.loss_per_mille, options.duplicate_per_mille) = (0, 0);
            options.extremes.network.capacity = Some(3);
        });
        let sent = |net: &mut Net| !net.route(Duration::ZERO, a, b).is_empty();
        assert_eq!([(); 5].map(|()| sent(&mut net)), [true, true, true, false, false]);
        assert_eq!(net.counts().refused, 2);
        assert!(!net.route(Duration::ZERO, b, a).is_empty(), "the other direction is another link");
        assert_eq!(net.deliver(Duration::ZERO, a, b), Delivery::Arrives);
        assert!(sent(&mut net) && !sent(&mut net));
    }

    #[test]
    fn a_clogged_link_holds_what_arrives_until_it_opens() {
        let (a, b) = (NodeId(1), NodeId(2));
        let lasts = Duration::from_secs(1);
        let mut net = net(|options| {
            options.loss_per_mille = 0;
            options.extremes.network.clogs =
                Some(Clogs { per_myriad: 10_000, lasts, in_order: true });
        });
        assert!(!net.route(Duration::ZERO, a, b).is_empty());
        let Delivery::Held(wait) = net.deliver(Duration::ZERO, a, b) else {
            panic!("every message clogs its link");
        };
        assert_eq!(
            net.deliver(wait / 2, a, b),
            Delivery::Held(wait - wait / 2),
            "they come together"
        );
        assert_eq!(net.deliver(wait, a, b), Delivery::Arrives);
        assert_eq!((net.counts().clogs, net.counts().held), (1, 2));
    }

    #[test]
    fn a_replay_comes_when_the_world_has_moved_on() {
        let mut net = net(|options| {
            (options.loss_per_mille, options.duplicate_per_mille) = (0, 0);
            let after = Duration::from_secs(5);
            options.extremes.network.replays = Some(Replays { per_mille: 500, after });
        });
        let routes: Vec<_> =
            (0..200).map(|_| net.route(Duration::ZERO, NodeId(1), NodeId(2))).collect();
        let late = |route: &Arrivals| route.iter().any(|after| after > Duration::from_secs(2));
        let count = routes.iter().filter(|route| late(route)).count();
        assert!((40..120).contains(&count), "{count} of 200");
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
