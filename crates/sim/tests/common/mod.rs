//! What several tests demand.

use quorate_sim::run::{Failure, run_with};
use quorate_sim::sabotage::Sabotage;
use quorate_sim::swarm::Options;
use quorate_sim::trace::Trace;

/// This sabotage is found in one of these seeds, and the first time by one of these properties.
#[track_caller]
pub(crate) fn is_found(
    sabotage: Sabotage,
    mut seeds: impl Iterator<Item = u64>,
    options: impl Fn(u64) -> Options,
    by: &[&str],
) {
    let fails = |seed| run_with(seed, options(seed), Some(sabotage), Trace::off()).err();
    let failure: Option<Box<Failure>> = seeds.find_map(fails);
    let failure = failure.unwrap_or_else(|| panic!("{sabotage:?} goes unnoticed in all seeds"));
    assert!(
        by.iter().any(|property| failure.what.starts_with(property)),
        "{sabotage:?} is taken for something else: {}",
        failure.what
    );
}
