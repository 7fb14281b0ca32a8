//! What the visitor asks for.

use std::path::PathBuf;

/// How many seeds a bug may stay hidden, unless the command says otherwise.
const SEEDS_MAX: u64 = 10_000;
/// The same from a seed that found it before. Where a change of the simulator made that seed another
/// run, most bugs turn up again soon.
const SEEDS_MAX_QUICK: u64 = 500;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Begin each search where the last one ended.
    pub(super) quick: bool,
    /// Look for one bug.
    pub(super) only: Option<String>,
    /// The first seed.
    pub(super) from: u64,
    /// The most seeds for one bug.
    pub(super) seeds_max: u64,
    /// Where to write the same for programs.
    pub(super) json: Option<PathBuf>,
    /// Whether to remember the seeds.
    pub(super) record: bool,
}

impl Options {
    /// Reads the arguments; nothing if they make no sense.
    pub(super) fn parse(arguments: &[String]) -> Option<Self> {
        let mut options =
            Self { quick: false, only: None, from: 0, seeds_max: 0, json: None, record: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => options.only = Some(arguments.next()?.clone()),
                "--from" => options.from = arguments.next()?.parse().ok()?,
                "--seeds-max" => options.seeds_max = arguments.next()?.parse().ok()?,
                "--json" => options.json = Some(arguments.next()?.into()),
                "--record" => options.record = true,
                _ => return None,
            }
        }
        if options.seeds_max == 0 {
            options.seeds_max = if options.quick { SEEDS_MAX_QUICK } else { SEEDS_MAX };
        }
        Some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Options> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn arguments_are_read_or_refused() {
        let options = parse("--only HalfElects --from 7 --seeds-max 9").unwrap();
        assert_eq!((options.only.as_deref(), options.from), (Some("HalfElects"), 7));
        assert_eq!(options.seeds_max, 9);
        assert_eq!(parse("").unwrap().seeds_max, SEEDS_MAX);
        assert_eq!(parse("--quick").unwrap().seeds_max, SEEDS_MAX_QUICK);
        assert_eq!(parse("--only"), None);
        assert_eq!(parse("--from seven"), None);
        assert_eq!(parse("--slow"), None);
    }
}
