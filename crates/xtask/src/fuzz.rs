//! Builds the fuzzer (`crates/fuzz`), and gives each target some time of a processor.
//!
//! The coverage that guides it is LLVM's own, which the stable compiler has behind `-C passes`: see
//! `docs/adr/0013-fuzzing.md`. Only what is built for the target gets it, and so no build script.
//!
//! ```text
//!  crates/fuzz/corpus/NAME       what everybody has, and `cargo test` runs
//!  target/fuzz/corpus/NAME       what was found on this machine besides
//!  target/fuzz/findings/NAME     the input that a target did not survive
//!  target/fuzz/NAME.log          what libFuzzer said
//! ```

mod options;
mod report;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace;
use options::Options;
use report::Report;

/// How the command is used.
const USAGE: &str = "[--target NAME]… [--seconds N] [--keep]";

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "fuzz";

/// What is built goes there, and what is found.
const PLACE: &str = "target/fuzz";
const CORPUS: &str = "crates/fuzz/corpus";

/// What makes the compiler count which edges are run, and tell what is compared with what.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The longest input, in bytes; the longest time for one, in seconds; the most memory, in MiB.
const LIMITS: [&str; 3] = ["-max_len=16384", "-timeout=20", "-rss_limit_mb=1024"];

/// Runs the targets.
///
/// # Errors
/// If something is found, or can't be built.
pub(crate) fn run() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let Some(options) = Options::parse(&arguments) else {
        return Err(io::Error::other(format!("usage: cargo xtask fuzz {USAGE}")));
    };
    let mut names = targets()?;
    if !options.targets.is_empty() {
        if let Some(unknown) = options.targets.iter().find(|name| !names.contains(name)) {
            let names = names.join(", ");
            return Err(io::Error::other(format!("no target is named {unknown}: {names}")));
        }
        names.clone_from(&options.targets);
    }
    let fuzzer = build()?;
    println!("{}", Report::TITLE);
    let mut findings = 0;
    for name in &names {
        let target = Target { name, fuzzer: &fuzzer };
        let report = target.fuzz(options.seconds)?;
        println!("{report}");
        findings += report.findings.len();
        for finding in &report.findings {
            println!("  {finding}");
        }
        if options.keep && report.findings.is_empty() {
            target.keep()?;
        }
    }
    println!("fuzz: {} targets, {findings} findings", names.len());
    if findings == 0 { Ok(()) } else { Err(io::Error::other("something was found")) }
}

/// The names of all targets: each has a folder in the corpus, as a test of theirs demands.
fn targets() -> io::Result<Vec<String>> {
    let folder = workspace::root().join(CORPUS);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| workspace::at(&folder, &error))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build() -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace::root())
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "quorate-fuzz",
            "--bin",
            "quorate-fuzz",
        ])
        .args(["--features", "libfuzzer", "--profile", PROFILE])
        .args(["--target", TRIPLE, "--target-dir", PLACE])
        .status()?;
    if !status.success() {
        return Err(io::Error::other("the fuzzer does not build (it needs a C++ compiler, too)"));
    }
    Ok(workspace::root().join(PLACE).join(TRIPLE).join(PROFILE).join("quorate-fuzz"))
}

struct Target<'a> {
    name: &'a str,
    fuzzer: &'a Path,
}

impl Target<'_> {
    /// What everybody has.
    fn kept(&self) -> PathBuf {
        workspace::root().join(CORPUS).join(self.name)
    }

    /// A folder of this machine, which is there.
    fn folder(&self, kind: &str) -> io::Result<PathBuf> {
        let path = workspace::root().join(PLACE).join(kind).join(self.name);
        fs::create_dir_all(&path).map_err(|error| workspace::at(&path, &error))?;
        Ok(path)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.fuzzer);
        command.env("QUORATE_FUZZ_TARGET", self.name).args(LIMITS).stdin(Stdio::null());
        command
    }

    /// Runs until so many seconds of a processor are spent, or something is found.
    fn fuzz(&self, seconds: u64) -> io::Result<Report> {
        let (corpus, findings) = (self.folder("corpus")?, self.folder("findings")?);
        let log = workspace::root().join(PLACE).join(format!("{}.log", self.name));
        let mut report = Report::new(self.name);
        let begin = report::processor_seconds()?;
        while report.spent < seconds as f64 && report.findings.is_empty() {
            let left = (seconds as f64 - report.spent).ceil();
            let file = File::create(&log).map_err(|error| workspace::at(&log, &error))?;
            let status = self
                .command()
                .args(["-print_final_stats=1", &format!("-max_total_time={left}")])
                .arg(format!("-artifact_prefix={}/", findings.display()))
                .args([&corpus, &self.kept()])
                .stdout(file.try_clone()?)
                .stderr(file)
                .status()?;
            let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
            report.take(&said, status.success());
            report.spent = report::processor_seconds()? - begin;
        }
        Ok(report)
    }

    /// Puts the fewest inputs that reach all that is reached into the corpus that everybody has. What was found once
    /// stays.
    fn keep(&self) -> io::Result<()> {
        let (corpus, kept, fewest) = (self.folder("corpus")?, self.kept(), self.folder("fewest")?);
        for entry in fs::read_dir(&fewest)? {
            fs::remove_file(entry?.path())?;
        }
        let merged = self
            .command()
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .args([&fewest, &kept, &corpus])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !merged.success() {
            return Err(io::Error::other(format!("the corpus of {} can't be merged", self.name)));
        }
        for entry in fs::read_dir(&kept)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("found-") {
                fs::remove_file(entry.path())?;
            }
        }
        for entry in fs::read_dir(&fewest)? {
            let entry = entry?;
            fs::copy(entry.path(), kept.join(entry.file_name()))?;
        }
        Ok(())
    }
}
