//! The leader's lease holds inside of the drift that was declared, and breaks outside of it: `quorate-sim lease` plays
//! more seeds of the same.

use quorate_sim::tenure::{is_stale_read, play};

/// So many seeds suffice to find a stale read where too little is declared.
const SEEDS: u64 = 8;

#[test]
fn no_read_is_stale_with_clocks_as_declared() {
    for seed in 0..SEEDS {
        let played =
            play(3, seed, true).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        assert!(played.leased > 100 && played.reads > 100, "seed {seed}: {played:?}");
    }
}

#[test]
fn some_reads_are_stale_with_worse_clocks() {
    let mut stale = 0;
    for seed in 0..SEEDS {
        match play(3, seed, false) {
            Ok(_) => {}
            Err(violation) if is_stale_read(&violation) => stale += 1,
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    assert!(stale > 0, "in {SEEDS} seeds with too little declared no read was stale");
}
