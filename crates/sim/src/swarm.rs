//! The options of a run. In the swarm every one is drawn from the seed.
//!
//! A run with all faults at middling rates explores the same middling behaviour again and again: a
//! lossy network hides what needs a long pipeline, frequent crashes hide what needs a long log.
//! So each seed first draws *which* faults it has at all and how strong they are (swarm testing:
//! Groce and others, ISSTA 2012; TigerBeetle's VOPR does the same).

use core::fmt;
use std::time::Duration;

use quorate_raft::{ElectionPolicy, Lease, NodeId};

use crate::alarms::Alarms;
use crate::chance::Chance;
use crate::disk_faults::{DiskFaults, OverLimit, Scrub};
use crate::extremes::{Disks, Extremes, Hangs};
use crate::leases::Leases;
use crate::process::node_id;
use crate::quiet::Quiet;
use crate::settings::policy_of;
use crate::stale_reads::StaleReads;
use crate::tenure;
use crate::watches::Watches;

/// How a partition cuts the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionStyle {
    /// Two halves that hear nothing of each other.
    Halves,
    /// One member is cut off.
    Single,
    /// One half does not hear the other, which hears everything.
    OneWay,
    /// Some directed links fail, whichever.
    Links,
    /// Two parts hear each other only through one member, which hears all.
    Bridge,
    /// Each member hears its two neighbours in a ring.
    Ring,
    /// Each partition has a style of its own.
    Any,
}

impl PartitionStyle {
    /// The styles that say how to cut.
    pub const EACH: [Self; 6] =
        [Self::Halves, Self::Single, Self::OneWay, Self::Links, Self::Bridge, Self::Ring];
}

/// A fault that comes again and again: the mean time between two, and how long one lasts on
/// average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurring {
    /// The mean time from the end of one to the next.
    pub every: Duration,
    /// The mean time that it lasts.
    pub lasts: Duration,
}

impl Recurring {
    /// Something that is over at once.
    #[must_use]
    pub const fn moments(every: Duration) -> Self {
        Self { every, lasts: Duration::ZERO }
    }

    /// With both times drawn, each from a range of milliseconds.
    #[must_use]
    pub fn draw(chance: &mut Chance, every: (u64, u64), lasts: (u64, u64)) -> Self {
        Self {
            every: chance.duration(ms(every.0), ms(every.1)),
            lasts: chance.duration(ms(lasts.0), ms(lasts.1)),
        }
    }
}

/// What a run is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The members, all of them voters at first.
    pub members: u64,
    /// The clients, each of which has one request under way at a time.
    pub clients: u64,
    /// The keys that the clients fight over.
    pub keys: u64,
    /// The mean pause of a client between two requests.
    pub think: Duration,
    /// Of a thousand requests, how many are reads.
    pub reads_per_mille: u64,
    /// The bytes of a value.
    pub value_bytes: u64,
    /// How long faults go on; the liveness phase comes after it.
    pub faulty_for: Duration,

    /// The leader's heartbeat.
    pub heartbeat: Duration,
    /// The election timeout.
    pub election_timeout: Duration,
    /// How long members wait for a leader, given that.
    pub election_policy: ElectionPolicy,
    /// How long a node lets a request wait.
    pub request_timeout: Duration,
    /// The bytes of log that a member keeps for slow followers.
    pub retained_bytes_max: usize,
    /// The bytes of one append message.
    pub append_bytes_max: usize,
    /// The bytes of one piece of a snapshot.
    pub snapshot_piece_bytes_max: usize,
    /// How many parts in a million each node's clock may run fast or slow.
    pub clock_drift_ppm: u64,

    /// The least time a message takes.
    pub delay_min: Duration,
    /// The mean time that a message takes beyond the least. Drawn for every message, so messages
    /// overtake one another.
    pub delay_mean: Duration,
    /// Of a thousand messages, how many are lost.
    pub loss_per_mille: u64,
    /// Of a thousand messages, how many arrive twice.
    pub duplicate_per_mille: u64,
    /// Partitions, if any.
    pub partitions: Option<Recurring>,
    /// How they cut.
    pub partition_style: PartitionStyle,

    /// The bytes of a segment of the log.
    pub segment_bytes: u64,
    /// The bytes of a record of the log; longer appends are split.
    pub record_bytes_max: usize,
    /// The mean time that a sync takes.
    pub sync_mean: Duration,
    /// Of a thousand syncs, how many hang for a second or so.
    pub slow_sync_per_mille: u64,
    /// The mean time between two moments at which a state machine becomes durable by itself.
    pub flush_every: Duration,
    /// The mean time that the machine takes for a job.
    pub apply_mean: Duration,
    /// The mean time from an input to the step that takes it in; inputs that arrive meanwhile are
    /// taken in together.
    pub loop_mean: Duration,

    /// Crashes, if any; each member on its own.
    pub crashes: Option<Recurring>,
    /// Of a thousand crashes, how many take all members down at once, as a power cut does.
    pub power_cut_per_mille: u64,
    /// Disks that are lost, if any are, each with a crash before it; never so many that a quorum of
    /// the members has not got its disk.
    pub wipes: Option<Recurring>,
    /// Damage of what is on the disks, if there is any, each with a crash before it; never of the last
    /// copy of anything.
    pub damage: Option<Recurring>,
    /// Of a thousand elections, how many are followed by the worst that can befall them.
    pub upsets_per_mille: u64,
    /// Pauses, if any: a member gets no events for a while and all of them after it.
    pub pauses: Option<Recurring>,
    /// The mean time between two requests to hand leadership over, if there are any.
    pub transfer_every: Option<Duration>,
    /// The mean time between two commands that compact the history of keys, if there are any.
    pub compact_every: Option<Duration>,
    /// The mean time between two requests to change who belongs to the group, if there are any.
    pub churn_every: Option<Duration>,
    /// Whether whoever asks for other members has a goal and pursues it step by step, and does not ask for what may be
    /// refused.
    pub reconciles: bool,
    /// How long a voter has to look failed until it makes way for a learner, if it does.
    pub replace_after: Option<Duration>,
    /// Whether some members are wanted more than others as the leader. The last phase then demands that one of
    /// those leads.
    pub priorities: bool,
    /// The member that keeps no state, if one does.
    pub witness: Option<NodeId>,
    /// Whether the liveness phase first demands progress of a bare majority, while all others stay
    /// down or cut off.
    pub core_first: bool,
    /// What goes wrong beyond that.
    pub extremes: Extremes,
    /// Who looks on, if anybody.
    pub watches: Option<Watches>,
    /// Whether leaders answer reads by a lease.
    pub leader_lease: Option<Lease>,
    /// Which reads may be stale, if any.
    pub stale_reads: Option<StaleReads>,
    /// Who uses leases, if anybody.
    pub leases: Option<Leases>,
    /// The alarms for want of space, if any.
    pub alarms: Option<Alarms>,
    /// Whether the group may fall quiet.
    pub quiet: Option<Quiet>,
}

/// Tells the source of the extremes of a seed from that of all else.
const EXTREMES: u64 = 0x65_7874_7265_6d65;

/// The same for whether a seed is a turmoil.
const TURMOIL: u64 = 0x74_7572_6d6f_696c;

/// The same for how long members wait for a leader.
const POLICY: u64 = 0x70_6f6c_6963_7901;

/// The same for damage beyond the limit, where somebody asks for it.
const OVER_LIMIT: u64 = 0x6f_7665_725f_6c69;

/// The same for members that come and go.
const CHURN: u64 = 0x6368_7572_6e73;

/// Of a thousand seeds, in how many members come and go.
const CHURN_PER_MILLE: u64 = 250;

/// The same for how much members are wanted as the leader.
const PRIORITIES: u64 = 0x7072_696f_7273;

/// Of a thousand seeds that may have them, how many have favourites.
const PRIORITIES_PER_MILLE: u64 = 300;

/// The same for a witness.
const WITNESS: u64 = 0x77_6974_6e65_7373;

/// Of a thousand seeds that may have one, how many have a witness.
const WITNESS_PER_MILLE: u64 = 250;

/// Of a thousand seeds, how many are a turmoil.
const TURMOIL_PER_MILLE: u64 = 150;

/// Options are written in milliseconds.
pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

impl Options {
    /// The members of an ordinary cluster.
    pub const ORDINARY_MEMBERS: u64 = 5;

    /// The options of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut extreme = Chance::new(seed ^ EXTREMES);
        let extremes = Extremes::draw(&mut extreme);
        let plain = Self::plain(seed);
        let sync_mean = extremes.disks.sync_mean.unwrap_or(plain.sync_mean);
        let options = Self {
            sync_mean,
            extremes,
            watches: Watches::of_seed(seed),
            leases: Leases::of_seed(seed),
            alarms: Alarms::of_seed(seed),
            stale_reads: StaleReads::of_seed(seed),
            ..plain
        };
        let mut turmoil = Chance::new(seed ^ TURMOIL);
        let options = if turmoil.per_mille(TURMOIL_PER_MILLE) {
            options.in_turmoil(&mut turmoil)
        } else {
            options
        };
        let election_policy = policy_of(&mut Chance::new(seed ^ POLICY));
        let quiet = Quiet::of_seed(seed, options.heartbeat, options.election_timeout);
        let options = tenure::of_seed(seed, Self { election_policy, quiet, ..options });
        match options.extremes.disk_faults.over_limit {
            Some(over_limit) => options.beyond(over_limit),
            None => options
                .in_churn(&mut Chance::new(seed ^ CHURN))
                .with_favourites(&mut Chance::new(seed ^ PRIORITIES))
                .with_witness(&mut Chance::new(seed ^ WITNESS)),
        }
    }

    /// Perhaps with a witness, in a cluster where it is of use. Then a majority is not cut off from all others for
    /// good, as it may need what a witness does not have.
    fn with_witness(self, chance: &mut Chance) -> Self {
        if self.members < 3 || !chance.per_mille(WITNESS_PER_MILLE) {
            return self;
        }
        let witness = Some(node_id(chance.below(self.members)));
        Self { witness, extremes: Extremes { partial: None, ..self.extremes }, ..self }
    }

    /// Perhaps with members that are wanted more than others as the leader; not where members come and go, or
    /// where a leader must not change.
    fn with_favourites(self, chance: &mut Chance) -> Self {
        let is_steady = self.churn_every.is_none() && self.extremes.partial.is_none();
        let priorities = is_steady && chance.per_mille(PRIORITIES_PER_MILLE);
        Self { priorities, ..self }
    }

    /// Perhaps with members that come and go. Then no disk is lost or damaged: of what a few members alone had
    /// when they were all that belonged to the group, nobody else could give it back.
    fn in_churn(self, chance: &mut Chance) -> Self {
        if self.members == 1 || !chance.per_mille(CHURN_PER_MILLE) {
            return self;
        }
        let churn_every = Some(self.election_timeout * *chance.pick(&[1, 3, 10]));
        let reconciles = chance.per_mille(400);
        let options = Self { churn_every, reconciles, ..self };
        let options = if chance.per_mille(400) { options.replacing(chance) } else { options };
        let disk_faults = DiskFaults {
            strays: None,
            rot: None,
            over_limit: None,
            ..options.extremes.disk_faults
        };
        Self {
            wipes: None,
            damage: None,
            upsets_per_mille: 0,
            core_first: false,
            extremes: Extremes { partial: None, disk_faults, ..options.extremes },
            ..options
        }
    }

    /// With learners that take the places of voters that fail; some do, for long enough, and are not removed meanwhile.
    fn replacing(self, chance: &mut Chance) -> Self {
        Self {
            churn_every: Some(self.election_timeout * 10),
            replace_after: Some(self.heartbeat * *chance.pick(&[1, 3, 10])),
            crashes: Some(Recurring::draw(chance, (300, 2_000), (500, 5_000))),
            ..self
        }
    }

    /// The options of a seed, with damage beyond what can be survived.
    #[must_use]
    pub fn over_limit(seed: u64) -> Self {
        Self::of_seed(seed).beyond(OverLimit::draw(&mut Chance::new(seed ^ OVER_LIMIT)))
    }

    /// With damage beyond what can be survived, and without what would ask for progress after it. Members stay: whether
    /// enough of them have everything would depend on who belonged to the group at each entry. All of them keep a
    /// state, which is looked at when it is over.
    fn beyond(self, over_limit: OverLimit) -> Self {
        let disk_faults = DiskFaults { over_limit: Some(over_limit), ..self.extremes.disk_faults };
        let extremes = Extremes { partial: None, disk_faults, ..self.extremes };
        Self {
            core_first: false,
            churn_every: None,
            reconciles: false,
            replace_after: None,
            witness: None,
            extremes,
            ..self
        }
    }

    /// A small cluster in which nobody leads for long: elections follow one another within a few
    /// messages' time, and meet crashes, lost disks and what the network still carries from terms ago.
    /// What goes wrong only where three or four of these meet within milliseconds is a matter of years
    /// elsewhere.
    fn in_turmoil(self, chance: &mut Chance) -> Self {
        let heartbeat = ms(*chance.pick(&[10, 20]));
        let election_timeout =
            heartbeat * u32::try_from(chance.between(3, 5)).expect("at most five");
        let mut often = |per_mille, every: (u64, u64), lasts: (u64, u64)| {
            chance.per_mille(per_mille).then(|| Recurring::draw(chance, every, lasts))
        };
        Self {
            partitions: often(800, (20, 400), (20, 600)),
            crashes: often(700, (30, 600), (5, 300)),
            wipes: often(600, (100, 1_500), (5, 200)),
            pauses: often(500, (50, 600), (10, 500)),
            // Beside a lost disk, damage on another is often a fault too many: an entry that was never
            // committed can't be given up, since nobody knows what the lost disk had acknowledged.
            damage: None,
            extremes: Extremes {
                disk_faults: DiskFaults {
                    strays: None,
                    rot: None,
                    over_limit: None,
                    ..self.extremes.disk_faults
                },
                ..self.extremes
            },
            members: *chance.pick(&[3, 3, 3, 5, 5]),
            clients: chance.between(4, 10),
            keys: chance.between(1, 4),
            think: ms(5),
            reads_per_mille: chance.between(0, 500),
            value_bytes: 8,
            heartbeat,
            election_timeout,
            retained_bytes_max: *chance.pick(&[0, 256, 2_048, 1 << 20]),
            delay_mean: *chance.pick(&[ms(1), heartbeat, election_timeout / 2, election_timeout]),
            sync_mean: us(*chance.pick(&[200, 1_000, 5_000, 20_000])),
            transfer_every: chance.per_mille(500).then(|| chance.duration(ms(20), ms(300))),
            upsets_per_mille: *chance.pick(&[0, 300, 700]),
            ..self
        }
    }

    /// The options of a seed without its extremes, watchers and leases, and with the fixed election
    /// policy, as all runs were before there were any others.
    #[must_use]
    pub fn plain(seed: u64) -> Self {
        Self::draw(&mut Chance::new(seed).fork())
    }

    /// A cluster where all is well: a quick network, quick disks, and a few clients. Whoever wants
    /// something to go wrong says what.
    #[must_use]
    pub fn calm(members: u64) -> Self {
        Self {
            members,
            clients: 4,
            keys: 8,
            think: ms(10),
            reads_per_mille: 300,
            value_bytes: 64,
            faulty_for: ms(500),
            heartbeat: ms(20),
            election_timeout: ms(100),
            election_policy: ElectionPolicy::Adaptive,
            request_timeout: ms(1_000),
            retained_bytes_max: 1 << 20,
            append_bytes_max: 1 << 20,
            snapshot_piece_bytes_max: 1 << 20,
            clock_drift_ppm: 100,
            delay_min: us(100),
            delay_mean: us(400),
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            partitions: None,
            partition_style: PartitionStyle::Any,
            segment_bytes: 128 << 10,
            record_bytes_max: 64 << 10,
            sync_mean: us(500),
            slow_sync_per_mille: 0,
            flush_every: ms(500),
            apply_mean: us(20),
            loop_mean: us(5),
            crashes: None,
            power_cut_per_mille: 0,
            wipes: None,
            pauses: None,
            transfer_every: None,
            compact_every: None,
            damage: None,
            upsets_per_mille: 0,
            churn_every: None,
            reconciles: false,
            replace_after: None,
            priorities: false,
            witness: None,
            core_first: false,
            extremes: Extremes::none(),
            watches: None,
            leader_lease: None,
            stale_reads: None,
            leases: None,
            alarms: None,
            quiet: None,
        }
    }

    /// A cluster as one runs it, and as one tests it: the times of production, ten clients that ask for
    /// something each second, others that watch and that hold leases, and every few seconds a fault. Nothing of
    /// it is drawn, so that what it costs can be compared.
    #[must_use]
    pub fn ordinary() -> Self {
        let recurring = |every, lasts| Some(Recurring { every: ms(every), lasts: ms(lasts) });
        let rarely = ms(20_000);
        Self {
            clients: 10,
            keys: 10,
            think: ms(1_000),
            reads_per_mille: 400,
            value_bytes: 256,
            faulty_for: ms(60_000),
            heartbeat: ms(100),
            election_timeout: ms(1_000),
            election_policy: ElectionPolicy::Adaptive,
            request_timeout: ms(7_000),
            loss_per_mille: 2,
            duplicate_per_mille: 2,
            partitions: recurring(10_000, 4_000),
            crashes: recurring(5_000, 2_000),
            power_cut_per_mille: 50,
            pauses: recurring(10_000, 1_000),
            wipes: recurring(30_000, 2_000),
            damage: recurring(20_000, 2_000),
            transfer_every: Some(rarely),
            compact_every: Some(ms(5_000)),
            slow_sync_per_mille: 2,
            core_first: true,
            extremes: Extremes {
                disks: Disks {
                    hangs: Some(Hangs {
                        episodes: Recurring { every: rarely, lasts: ms(3_000) },
                        for_good_per_mille: 0,
                    }),
                    ..Disks::default()
                },
                disk_faults: DiskFaults {
                    errors: recurring(20_000, 2_000),
                    full: recurring(30_000, 3_000),
                    rot: Some(rarely),
                    scrub: Some(Scrub { cycle: ms(5_000), piece_bytes: 32 << 10 }),
                    ..DiskFaults::default()
                },
                ..Extremes::none()
            },
            watches: Some(Watches {
                clients: 2,
                per_stream: 2,
                ring_bytes: 1 << 20,
                advance_bytes: 1 << 20,
                fragment_bytes: 1 << 20,
                turn_mean: ms(2),
                act_mean: ms(600),
                breaks_per_mille: 30,
            }),
            leases: Some(Leases {
                clients: 2,
                ttl_max: 3,
                act_mean: ms(400),
                renewals_per_mille: 600,
                revocations_per_mille: 30,
            }),
            ..Self::calm(Self::ORDINARY_MEMBERS)
        }
    }

    /// Options without extremes.
    #[must_use]
    pub fn draw(chance: &mut Chance) -> Self {
        let members = *chance.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]);
        let heartbeat = ms(*chance.pick(&[10, 20, 50, 100]));
        let election_timeout =
            heartbeat * u32::try_from(chance.between(3, 10)).expect("at most ten");
        // Half of all runs live on a fast network and half on one that can miss heartbeats.
        let (delay_min, delay_mean) = if chance.per_mille(500) {
            (us(chance.between(10, 500)), us(chance.between(50, 2_000)))
        } else {
            (chance.duration(us(10), heartbeat / 4), chance.duration(ms(1), heartbeat * 2))
        };
        let rate = |chance: &mut Chance, most| {
            if chance.per_mille(400) { 0 } else { chance.between(1, most) }
        };
        let recurring = |chance: &mut Chance, every: (u64, u64), lasts: (u64, u64)| {
            chance.per_mille(600).then(|| Recurring::draw(chance, every, lasts))
        };
        let sometimes = |chance: &mut Chance, every: (u64, u64)| {
            chance.per_mille(500).then(|| chance.duration(ms(every.0), ms(every.1)))
        };
        Self {
            members,
            clients: chance.between(1, 13),
            keys: chance.between(1, 12),
            think: ms(*chance.pick(&[5, 20, 100, 400])),
            reads_per_mille: chance.between(0, 700),
            value_bytes: *chance.pick(&[8, 64, 64, 512, 4_096]),
            faulty_for: ms(chance.between(2_000, 12_000)),
            heartbeat,
            election_timeout,
            election_policy: ElectionPolicy::Fixed,
            request_timeout: ms(*chance.pick(&[300, 1_000, 3_000, 7_000])),
            retained_bytes_max: *chance.pick(&[0, 256, 2_048, 16_384, 1 << 20]),
            append_bytes_max: *chance.pick(&[1, 512, 4_096, 1 << 20]),
            snapshot_piece_bytes_max: *chance.pick(&[128, 512, 4_096, 1 << 20]),
            clock_drift_ppm: *chance.pick(&[0, 100, 50_000]),
            delay_min,
            delay_mean,
            loss_per_mille: rate(chance, 300),
            duplicate_per_mille: rate(chance, 500),
            partitions: recurring(chance, (100, 4_000), (100, 4_000)),
            partition_style: *chance.pick(&[
                PartitionStyle::Halves,
                PartitionStyle::Single,
                PartitionStyle::OneWay,
                PartitionStyle::Links,
            ]),
            segment_bytes: *chance.pick(&[4 << 10, 16 << 10, 128 << 10]),
            record_bytes_max: *chance.pick(&[8 << 10, 64 << 10]),
            sync_mean: us(*chance.pick(&[20, 200, 1_000, 5_000, 20_000])),
            slow_sync_per_mille: rate(chance, 20),
            flush_every: ms(chance.between(5, 2_000)),
            apply_mean: us(*chance.pick(&[1, 20, 200, 2_000])),
            loop_mean: us(*chance.pick(&[0, 5, 100, 1_000])),
            crashes: recurring(chance, (100, 5_000), (10, 2_000)),
            power_cut_per_mille: rate(chance, 300),
            pauses: recurring(chance, (200, 5_000), (10, 2_000)),
            transfer_every: sometimes(chance, (50, 3_000)),
            compact_every: sometimes(chance, (20, 1_000)),
            churn_every: None,
            reconciles: false,
            replace_after: None,
            priorities: false,
            witness: None,
            core_first: chance.per_mille(500),
            wipes: {
                // Drawn last, from a source of its own: all else in a seed is what it was before.
                let mut chance = chance.fork();
                chance
                    .per_mille(300)
                    .then(|| Recurring::draw(&mut chance, (300, 4_000), (10, 1_000)))
            },
            damage: {
                let mut chance = chance.fork();
                chance
                    .per_mille(300)
                    .then(|| Recurring::draw(&mut chance, (200, 4_000), (10, 1_000)))
            },
            upsets_per_mille: 0,
            extremes: Extremes::none(),
            watches: None,
            leader_lease: None,
            stale_reads: None,
            leases: None,
            alarms: None,
            quiet: None,
        }
    }
}

impl fmt::Display for Options {
    /// One option per line, in the order of the fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_options_for_ever_and_seeds_differ() {
        let draw = |seed| Options::draw(&mut Chance::new(seed));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_election_policy_is_exercised() {
        let drawn: Vec<_> = (0..100).map(|seed| Options::of_seed(seed).election_policy).collect();
        let count = |policy| drawn.iter().filter(|one| **one == policy).count();
        assert!(count(ElectionPolicy::Fixed) > 20);
        assert!(count(ElectionPolicy::Backoff) > 10);
        assert!(count(ElectionPolicy::Adaptive) > 20);
    }

    #[test]
    fn every_fault_is_absent_from_some_runs_and_present_in_others() {
        let all: Vec<Options> =
            (0..200).map(|seed| Options::draw(&mut Chance::new(seed))).collect();
        let both = |has: fn(&Options) -> bool| {
            let count = all.iter().filter(|options| has(options)).count();
            assert!((20..180).contains(&count), "{count} of 200");
        };
        both(|o| o.partitions.is_some());
        both(|o| o.crashes.is_some());
        both(|o| o.wipes.is_some());
        both(|o| o.damage.is_some());
        both(|o| o.pauses.is_some());
        both(|o| o.transfer_every.is_some());
        both(|o| o.loss_per_mille > 0);
        both(|o| o.duplicate_per_mille > 0);
        both(|o| o.core_first);
        for members in 1..=7 {
            assert!(all.iter().any(|options| options.members == members), "{members} members");
        }
    }
}
