//! What became of a target.

use std::{fmt, fs, io};

/// The parts of a second in which Linux tells the time of a processor, to programs of all its machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// A row of the table.
#[derive(Debug, PartialEq)]
pub(super) struct Report {
    name: String,
    executions: u64,
    /// The edges of the program that were reached.
    edges: u64,
    /// The inputs that there are, of this machine and of everybody.
    inputs: u64,
    /// Seconds of a processor.
    pub(super) spent: f64,
    /// What was found, in words.
    pub(super) findings: Vec<String>,
}

impl Report {
    pub(super) const TITLE: &str =
        "target        executions    edges   inputs   seconds   findings";

    pub(super) fn new(name: &str) -> Self {
        let findings = Vec::new();
        Self { name: name.to_owned(), executions: 0, edges: 0, inputs: 0, spent: 0.0, findings }
    }

    /// Adds what libFuzzer said.
    pub(super) fn take(&mut self, said: &str, is_sound: bool) {
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
        let executions = said.lines().find_map(|line| line.strip_prefix(EXECUTIONS)).map(number);
        // After a finding there are no such figures, and the last line of progress has to do.
        let progress = said.lines().rfind(|line| line.contains(" cov: "));
        let progress: Vec<&str> = progress.unwrap_or_default().split_whitespace().collect();
        let begun = progress.first().map(|text| number(text.trim_start_matches('#')));
        self.executions += executions.or(begun).unwrap_or(0);
        let after = |name: &str| {
            let at = progress.iter().position(|word| *word == name)?;
            let figure = progress.get(at + 1)?;
            figure.split('/').next().map(number)
        };
        self.edges = after("cov:").unwrap_or(self.edges);
        self.inputs = after("corp:").unwrap_or(self.inputs);
        if !is_sound {
            self.findings.push(what_was_found(said));
        }
    }
}

/// Before the number of inputs that were given.
const EXECUTIONS: &str = "stat::number_of_executed_units:";

/// A panic with its reason, or what libFuzzer calls it; and the file with the input.
fn what_was_found(said: &str) -> String {
    let mut lines = said.lines();
    let panic = lines.find(|line| line.contains("panicked at"));
    let reason = panic.and_then(|_| lines.next());
    let called = said.lines().find(|line| line.contains("ERROR: libFuzzer: "));
    let file = said.lines().find_map(|line| line.split_once("Test unit written to "));
    let what = panic.or(called).unwrap_or("it ended, and did not say why");
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let file = file.map(|(_, file)| format!(": {file}")).unwrap_or_default();
    format!("{what}{reason}{file}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, executions, edges, inputs, spent, findings } = self;
        let findings = findings.len();
        write!(f, "{name:<10}  {executions:>12} {edges:>8} {inputs:>8} {spent:>9.1} {findings:>10}")
    }
}

/// The time that the children that have ended had of a processor, in seconds.
///
/// # Errors
/// If the system does not tell.
pub(super) fn processor_seconds() -> io::Result<f64> {
    let told = fs::read_to_string("/proc/self/stat")?;
    spent_by_children(&told).ok_or_else(|| io::Error::other("/proc/self/stat says something else"))
}

fn spent_by_children(stat: &str) -> Option<f64> {
    // The name of the program is in brackets, and may have any characters.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_libfuzzers() {
        let said = "#2\tINITED cov: 7 ft: 8 corp: 1/1b\n#900\tDONE   cov: 77 ft: 88 corp: 9/99b lim: 4\n\
                    Done 900 runs\nstat::number_of_executed_units: 901\n";
        let mut report = Report::new("log");
        report.take(said, true);
        report.take(said, true);
        assert_eq!((report.executions, report.edges, report.inputs), (1802, 77, 9));
        assert!(report.findings.is_empty());
    }

    #[test]
    fn a_finding_is_told_with_its_reason() {
        let said = "#512\tpulse  cov: 7 ft: 8 corp: 1/1b\nthread 'x' panicked at a.rs:1:2:\nno!\n\
                    ==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='f/'; Test unit written to f/crash-1\n";
        let mut report = Report::new("log");
        report.take(said, false);
        assert_eq!(report.executions, 512);
        assert_eq!(report.findings, ["thread 'x' panicked at a.rs:1:2: no!: f/crash-1"]);
        let mut report = Report::new("log");
        report.take("==1== ERROR: libFuzzer: timeout after 20 seconds\n", false);
        assert_eq!(report.findings, ["==1== ERROR: libFuzzer: timeout after 20 seconds"]);
    }

    #[test]
    fn the_time_of_children_is_found() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 250 50 20 0 1 0 9 9";
        assert_eq!(spent_by_children(stat), Some(3.0));
        assert_eq!(spent_by_children("7 (a)"), None);
        processor_seconds().expect("Linux tells");
    }
}
