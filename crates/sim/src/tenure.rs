//! The leader's lease: in which runs leaders have one, and what it is worth if clocks are worse than was declared.
//!
//! A lease trusts that no clock is off by more than it was told ([`quorate_raft::Lease`]). So in a run with leases no
//! clock jumps and none stands still, which no bound allows; the rates of clocks are drawn up to the very bound, and
//! it is a wide one in some runs, so that what is shorter than it should be shows. All else goes wrong as in any
//! other run. Nobody may ever read what is stale there.
//!
//! That this means something shows the other half: [`play`] runs the same cluster with the same clocks twice, once with
//! what is true declared and once with a tenth of it. The first time every answer must be right. The second time
//! the checker must find stale reads, in some seeds.

use std::time::Duration;

use quorate_check::Violation;
use quorate_raft::{Lease, NodeId};

use crate::chance::Chance;
use crate::extremes::{Clocks, Extremes};
use crate::process::node_id;
use crate::settings::policy_of;
use crate::swarm::{Options, ms, us};
use crate::trace::Trace;
use crate::world::World;

/// Tells the source of these options from that of all else.
const TENURE: u64 = 0x7465_6e75_7265;

/// Of a thousand seeds, in how many leaders have a lease.
const PER_MILLE: u64 = 250;

/// The seed's options, perhaps with a lease.
#[must_use]
pub(crate) fn of_seed(seed: u64, options: Options) -> Options {
    let mut chance = Chance::new(seed ^ TENURE);
    if !chance.per_mille(PER_MILLE) {
        return options;
    }
    let drift_ppm = *chance.pick(&[100, 1_000, 50_000, 300_000, 300_000]);
    let clocks = Clocks { wild: false, jumps: None, freezes: None };
    Options {
        clock_drift_ppm: drift_ppm,
        leader_lease: Some(declared(drift_ppm)),
        extremes: Extremes { clocks, ..options.extremes },
        ..options
    }
}

fn declared(drift_ppm: u64) -> Lease {
    Lease { drift_ppm: u32::try_from(drift_ppm).expect("less than a million") }
}

/// How far each clock may be off in what is [played](play), in parts per million.
pub const DRIFT_PPM: u64 = 500_000;

/// What is declared of that, if not all.
pub const UNDERSTATED_PPM: u64 = DRIFT_PPM / 10;

/// What was played without a wrong answer.
#[derive(Clone, Copy, Debug)]
pub struct Played {
    /// How long it took in its own time.
    pub took: Duration,
    /// Reads that were answered.
    pub reads: u64,
    /// Turns of leaders that held a lease.
    pub leased: u64,
}

/// Of a thousand clusters that are played and may have one, how many have a witness.
const WITNESS_PER_MILLE: u64 = 400;

/// The witness of what is played with this seed: its promises count as those of others, and it never leads.
fn witness_of(members: u64, seed: u64) -> Option<NodeId> {
    let mut chance = Chance::new(!seed ^ TENURE);
    let has_one = members >= 3 && chance.per_mille(WITNESS_PER_MILLE);
    has_one.then(|| node_id(chance.below(members)))
}

/// So often the leader is cut off.
const CUTS: u32 = 12;

/// Plays a cluster in which the member with the slowest clock is brought to lead, and then cut off for as long as the
/// others need to elect another and to write, again and again; sometimes just as it hands over, and sometimes as
/// one of two that follow, the only one that it could reach, restarts. Clients go on reading from all of them.
/// `is_honest` says whether all of the drift is declared.
///
/// # Errors
/// The first thing that was wrong: [`is_stale_read`] says whether it is what a lease that lasts too long does.
pub fn play(members: u64, seed: u64, is_honest: bool) -> Result<Played, Violation> {
    let mut chance = Chance::new(seed ^ TENURE);
    let heartbeat = ms(*chance.pick(&[10, 20, 50]));
    let timeout = heartbeat * 5;
    let witness = witness_of(members, seed);
    let options = Options {
        clients: 16,
        keys: 2,
        think: ms(5),
        reads_per_mille: 850,
        value_bytes: 8,
        // Longer than this takes.
        faulty_for: Duration::from_secs(1 << 20),
        heartbeat,
        election_timeout: timeout,
        election_policy: policy_of(&mut chance),
        // Who asks a member to write that is cut off soon asks somebody else.
        request_timeout: timeout / 2,
        clock_drift_ppm: DRIFT_PPM,
        leader_lease: Some(declared(if is_honest { DRIFT_PPM } else { UNDERSTATED_PPM })),
        witness,
        ..Options::calm(members)
    };
    let mut world = World::new(seed, options, None, Trace::off());
    world.begin()?;
    for cut in 0..CUTS {
        // Whoever has the quickest clock is elected as a rule, and has the shortest lease.
        let leader = world.slowest_clock();
        for _ in 0..40 {
            if world.leader() == Some(leader) {
                break;
            }
            world.hands_over(leader);
            world.run_until(world.now() + timeout / 4)?;
        }
        // It has a lease when the others have answered it.
        world.run_until(world.now() + chance.duration(timeout, timeout * 2))?;
        let others: Vec<NodeId> = world.members().into_iter().filter(|id| *id != leader).collect();
        let heir = others.iter().rfind(|id| witness != Some(**id));
        match (cut % 3, others.as_slice()) {
            (1, _) => {
                world.hands_over(*heir.expect("there are two with a state"));
                world.run_until(world.now() + chance.duration(us(100), ms(3)))?;
            }
            (2, [reached, unreached @ ..]) => {
                world.cut_links(&[leader], unreached);
                world.run_until(world.now() + chance.duration(timeout * 2, timeout * 4))?;
                world.power_fails(&[*reached].into())?;
                world.starts(*reached);
            }
            _ => {}
        }
        world.cut_links(&[leader], &others);
        world.run_until(world.now() + timeout * 4)?;
        world.mend_links();
        world.run_until(world.now() + timeout * 2)?;
    }
    Ok(world.played())
}

/// Whether somebody was answered what was no longer true when it asked.
#[must_use]
pub fn is_stale_read(violation: &Violation) -> bool {
    violation.what.contains("a read of ") && violation.what.contains("was answered before it began")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_what_is_played_has_a_witness() {
        let with_one = |seeds| (0..seeds).filter(|seed| witness_of(3, *seed).is_some()).count();
        assert!((30..50).contains(&with_one(100)));
        assert!((1..5).contains(&with_one(5)), "also of the few that tests play");
        assert_eq!(witness_of(2, 1), None, "of two, one that can lead is not enough");
    }

    #[test]
    fn leases_are_in_some_runs_and_no_clock_of_those_breaks_its_bound() {
        let all: Vec<Options> = (0..400).map(Options::of_seed).collect();
        let leased = all.iter().filter(|options| options.leader_lease.is_some());
        assert!((60..140).contains(&leased.clone().count()));
        for options in leased {
            let declared = options.leader_lease.map(|lease| u64::from(lease.drift_ppm));
            assert_eq!(declared, Some(options.clock_drift_ppm));
            assert_eq!(options.extremes.clocks, Clocks::default());
        }
    }
}
