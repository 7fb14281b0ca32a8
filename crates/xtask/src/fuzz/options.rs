//! What is asked of the fuzzer.

/// How long each target runs unless told otherwise, in seconds of a processor.
const SECONDS: u64 = 60;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// All, if none is named.
    pub(super) targets: Vec<String>,
    pub(super) seconds: u64,
    /// Whether the corpus that everybody has becomes the best of what is there now.
    pub(super) keep: bool,
}

impl Options {
    /// Reads the arguments; nothing if they make no sense.
    pub(super) fn parse(arguments: &[String]) -> Option<Self> {
        let mut options = Self { targets: Vec::new(), seconds: SECONDS, keep: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--target" => options.targets.push(arguments.next()?.clone()),
                "--seconds" => options.seconds = arguments.next()?.parse().ok()?,
                "--keep" => options.keep = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        let parse = |line: &str| {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Options::parse(&arguments)
        };
        let options = parse("--target log --seconds 5 --target peer").unwrap();
        assert_eq!((options.targets, options.seconds), (vec!["log".into(), "peer".into()], 5));
        assert!(parse("--keep").unwrap().keep);
        assert_eq!(parse("").unwrap().seconds, SECONDS);
        assert_eq!(parse("--seconds soon"), None);
        assert_eq!(parse("log"), None);
    }
}
