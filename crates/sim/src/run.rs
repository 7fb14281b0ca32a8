//! One seed from its beginning to its end, whatever that is.

use core::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use crate::extremes::Extremes;
use crate::sabotage::Sabotage;
use crate::swarm::Options;
use crate::trace::Trace;
use crate::world::{Report, World};

/// A run that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What the run was made of.
    pub options: Options,
    /// When it went wrong, in the run's own time.
    pub at: Duration,
    /// The property violated, and how; or what the code said when it panicked.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, options, at, what } = self;
        writeln!(f, "seed {seed} fails after {:.6} s: {what}", at.as_secs_f64())?;
        writeln!(f, "{options}")?;
        let plain = if options.extremes == Extremes::none() { " --plain" } else { "" };
        write!(f, "replay: cargo run --release -p quorate-sim -- {seed}{plain}")
    }
}

/// Runs a seed. A panic of the code under test is a failure like any other.
///
/// # Errors
/// What went wrong.
pub fn run(seed: u64, sabotage: Option<Sabotage>, trace: Trace) -> Result<Report, Box<Failure>> {
    run_with(seed, Options::of_seed(seed), sabotage, trace)
}

/// Runs a seed with options that need not be the seed's own.
///
/// # Errors
/// What went wrong.
pub fn run_with(
    seed: u64,
    options: Options,
    sabotage: Option<Sabotage>,
    trace: Trace,
) -> Result<Report, Box<Failure>> {
    let mut world = World::new(seed, options.clone(), sabotage, trace);
    let result = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    let what = match result {
        Ok(Ok(report)) => return Ok(report),
        Ok(Err(violation)) => violation.to_string(),
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            format!("panic: {}", text.unwrap_or("with something that is no text"))
        }
    };
    Err(Box::new(Failure { seed, options, at: world.now(), what }))
}
