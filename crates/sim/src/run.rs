//! One seed from its beginning to its end, whatever that is.

use core::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use crate::extremes::Partial;
use crate::graphs::Graph;
use crate::quiet::Quiet;
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
    /// The command that runs it again, if there is one: the options may be those of a test alone, and no
    /// command commits a sabotage.
    pub replay: Option<String>,
    /// What was broken on purpose.
    pub sabotage: Option<Sabotage>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, options, at, what, replay, sabotage } = self;
        writeln!(f, "seed {seed} fails after {:.6} s: {what}", at.as_secs_f64())?;
        writeln!(f, "{options}")?;
        match (sabotage, replay) {
            (Some(sabotage), _) => {
                write!(f, "replay: by a test that breaks {sabotage:?}; no command does")
            }
            (None, Some(replay)) => {
                write!(f, "replay: cargo run --release -p quorate-sim -- {replay}")
            }
            (None, None) => {
                write!(f, "replay: by whoever chose these options; no command draws them")
            }
        }
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
    let world = World::new(seed, options.clone(), sabotage, trace);
    run_world(world, seed, options, sabotage)
}

/// Runs a world of these options to its end.
pub(crate) fn run_world(
    mut world: World,
    seed: u64,
    options: Options,
    sabotage: Option<Sabotage>,
) -> Result<Report, Box<Failure>> {
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
    let replay = match &options {
        _ if sabotage.is_some() => None,
        usual if *usual == Options::of_seed(seed) => Some(seed.to_string()),
        plain if *plain == Options::plain(seed) => Some(format!("{seed} --plain")),
        over if *over == Options::over_limit(seed) => Some(format!("{seed} --over-limit")),
        ordinary if *ordinary == Options::ordinary() => Some(format!("{seed} --ordinary")),
        _ => None,
    };
    Err(Box::new(Failure { seed, options, at: world.now(), what, replay, sabotage }))
}

/// Breaks the links of a healthy cluster so that only those of a graph are left, and demands that a
/// majority that can talk goes on with its work.
///
/// # Errors
/// What went wrong.
pub fn run_graph(members: u64, graph: Graph, trace: Trace) -> Result<Report, Box<Failure>> {
    on_graph(Options::calm(members), graph, "", trace)
}

/// The same for a group that is quiet when the links break.
///
/// # Errors
/// What went wrong.
pub fn run_quiet_graph(members: u64, graph: Graph, trace: Trace) -> Result<Report, Box<Failure>> {
    let mut options = Options::calm(members);
    // The clients work after 300 ms, pause after 400, and pause still when the links break.
    let ms = Duration::from_millis;
    options.quiet = Some(Quiet { after: options.heartbeat, every: ms(400), lull: ms(300) });
    options.faulty_for = ms(690);
    on_graph(options, graph, " --quiet", trace)
}

fn on_graph(
    mut options: Options,
    graph: Graph,
    flags: &str,
    trace: Trace,
) -> Result<Report, Box<Failure>> {
    let members = options.members;
    options.extremes.partial = Some(Partial::Exact(graph));
    let number = graph.number();
    run_with(number, options, None, trace).map_err(|mut failure| {
        failure.replay = Some(format!("graphs --nodes {members} --only {number}{flags}"));
        failure
    })
}
