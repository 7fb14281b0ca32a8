//! The tools whose reports make the page, and how they are run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io, thread};

use serde_json::Value;

use super::record::Record;
use crate::workspace;

/// A kind of report.
pub(super) struct Tool {
    /// The name of the report.
    pub(super) name: &'static str,
    /// What makes it: programs with what they are always told.
    commands: &'static [&'static str],
    /// What they are told besides, for a page to be quoted.
    full: &'static str,
    /// The same for a page that is made in minutes, if it can be.
    quick: Option<&'static str>,
    /// The variables that change what they do.
    variables: &'static [&'static str],
}

/// All of them, in the order of the page.
pub(super) const ALL: [Tool; 10] = [
    Tool {
        name: "swarm",
        commands: &["cargo run --release -p quorate-sim -- swarm --coverage"],
        full: "--seeds 100000 --jobs 2",
        quick: Some("--seeds 500 --jobs 2"),
        variables: &[],
    },
    Tool {
        name: "over-limit",
        commands: &["cargo run --release -p quorate-sim -- swarm --over-limit"],
        full: "--seeds 10000 --jobs 2",
        quick: Some("--seeds 100 --jobs 2"),
        variables: &[],
    },
    Tool {
        name: "bench",
        commands: &["cargo run --release -p quorate-sim -- bench"],
        full: "--seconds 120",
        quick: Some("--seconds 20"),
        variables: &[],
    },
    Tool {
        name: "graphs",
        commands: &[
            "cargo run --release -p quorate-sim -- graphs --nodes 2",
            "cargo run --release -p quorate-sim -- graphs --nodes 3",
            "cargo run --release -p quorate-sim -- graphs --nodes 4",
        ],
        full: "--jobs 2",
        quick: Some("--jobs 2"),
        variables: &[],
    },
    // Tens of thousands, so they are run by themselves.
    Tool {
        name: "graphs-5",
        commands: &["cargo run --release -p quorate-sim -- graphs --nodes 5"],
        full: "--jobs 2",
        quick: None,
        variables: &[],
    },
    Tool {
        name: "scenarios",
        commands: &[
            "cargo run --release -p quorate-sim -- scenario hung-leader --nodes 3",
            "cargo run --release -p quorate-sim -- scenario hung-leader --nodes 5",
            "cargo run --release -p quorate-sim -- scenario hung-idle-leader --nodes 3",
            "cargo run --release -p quorate-sim -- scenario hung-idle-leader --nodes 5",
            "cargo run --release -p quorate-sim -- scenario slow-disk --nodes 3",
            "cargo run --release -p quorate-sim -- scenario slow-disk --nodes 5",
            "cargo run --release -p quorate-sim -- scenario slow-cpu --nodes 3",
            "cargo run --release -p quorate-sim -- scenario slow-cpu --nodes 5",
            "cargo run --release -p quorate-sim -- scenario power-loss --nodes 3",
            "cargo run --release -p quorate-sim -- scenario power-loss --nodes 5",
            "cargo run --release -p quorate-sim -- scenario no-quorum --nodes 3",
        ],
        full: "--seeds 200 --jobs 2",
        quick: Some("--seeds 10 --jobs 2"),
        variables: &[],
    },
    Tool {
        name: "museum",
        commands: &["cargo xtask museum"],
        full: "--record",
        quick: Some("--quick"),
        variables: &[],
    },
    Tool {
        name: "damage",
        commands: &["cargo xtask damage"],
        full: "",
        quick: Some(""),
        variables: &["DAMAGE_SECONDS", "DAMAGE_POSITIONS", "DAMAGE_SEED", "CHECK_ETCD"],
    },
    Tool {
        name: "power-cut",
        commands: &["cargo xtask power-cut"],
        full: "",
        quick: Some(""),
        variables: &["POWER_CUT_SECONDS", "POWER_CUT_SEED", "CHECK_PROGRAM"],
    },
    Tool {
        name: "blackbox",
        commands: &["cargo xtask blackbox"],
        full: "",
        quick: Some(""),
        variables: &["BLACKBOX_SECONDS", "BLACKBOX_SEED", "BLACKBOX_NETWORK", "CHECK_PROGRAM"],
    },
];

/// How it is told apart what a tool is told.
pub(super) enum Size<'a> {
    /// See [`Tool`].
    Full,
    /// See [`Tool`].
    Quick,
    /// This.
    Told(&'a [String]),
}

impl Tool {
    /// Whether it can be run in minutes.
    pub(super) fn has_quick(&self) -> bool {
        self.quick.is_some()
    }

    /// Runs it and stores its report.
    ///
    /// # Errors
    ///
    /// A tree with changes that are not committed, or a tool that left no report. A tool that found
    /// something wrong has left one, which says so.
    pub(super) fn run(&self, size: &Size<'_>) -> io::Result<Record> {
        demand_a_clean_tree()?;
        let told: Vec<&str> = match size {
            Size::Full => self.full.split_whitespace().collect(),
            Size::Quick => self.quick.unwrap_or(self.full).split_whitespace().collect(),
            Size::Told(told) => told.iter().map(String::as_str).collect(),
        };
        let mut record = Record {
            commands: Vec::new(),
            reports: Vec::new(),
            passed: true,
            commit: output("git", &["rev-parse", "HEAD"])?,
            date: output("date", &["-u", "+%Y-%m-%d"])?,
            machine: processor(),
            cores: thread::available_parallelism()?.get() as u64,
        };
        for command in self.commands {
            let words: Vec<&str> = command.split_whitespace().chain(told.iter().copied()).collect();
            let typed = format!("{}{}", self.settings(), words.join(" "));
            println!("proof: {typed}");
            let file = workspace::root().join("target").join(format!("proof-{}.json", self.name));
            let passed = execute(&words, &file)?;
            let text = fs::read_to_string(&file).map_err(|_| {
                io::Error::other(format!("{typed} left no report: there is nothing to store"))
            })?;
            let mut report: Value = serde_json::from_str(&text)?;
            without_places(&mut report);
            record.passed &= passed;
            record.commands.push(typed);
            record.reports.push(report);
        }
        let path = Record::path(self.name);
        fs::create_dir_all(path.parent().expect("it has a folder"))?;
        fs::write(&path, record.to_text()).map_err(|error| workspace::at(&path, &error))?;
        Ok(record)
    }

    /// The variables that were set, as one types them. Of a path, its last part.
    fn settings(&self) -> String {
        let set = self.variables.iter().filter_map(|name| {
            let value = env::var(name).ok()?;
            let value = value.rsplit('/').next().unwrap_or_default();
            Some(format!("{name}={value} "))
        });
        set.collect()
    }
}

/// Runs a command with a place for its report. Returns whether it ended well.
fn execute(words: &[&str], report: &Path) -> io::Result<bool> {
    if let Err(error) = fs::remove_file(report)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(workspace::at(report, &error));
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(&words[1..])
        .arg("--json")
        .arg(report)
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .status()?;
    Ok(status.success())
}

/// The list of each place that was damaged is not stored; the counts are.
fn without_places(report: &mut Value) {
    let programs = report.get_mut("programs").and_then(Value::as_object_mut);
    for program in programs.into_iter().flat_map(|programs| programs.values_mut()) {
        if let Some(program) = program.as_object_mut() {
            program.remove("places");
        }
    }
}

/// What runs is what the commit says, or the report would name the wrong one. The reports themselves, the
/// page, and what the museum remembers may differ.
fn demand_a_clean_tree() -> io::Result<()> {
    let aside = [":!docs/proof", ":!docs/proof.md", ":!crates/planted/found.txt"];
    let changed = output("git", &[&["status", "--porcelain", "--", "."], &aside[..]].concat())?;
    if changed.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("a report names a commit, so commit these first:\n{changed}")))
}

/// What a command says, without the end of its last line.
pub(super) fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let what = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{program} {}: {what}", arguments.join(" "))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The processor's own name, where the system tells it.
fn processor() -> String {
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = known.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_tool_is_one_command_of_cargo_or_more() {
        for tool in &ALL {
            assert!(!tool.commands.is_empty(), "{}", tool.name);
            for command in tool.commands {
                let known = ["cargo run --release -p quorate-sim -- ", "cargo xtask "];
                assert!(known.iter().any(|known| command.starts_with(known)), "{command}");
            }
        }
    }

    #[test]
    fn the_list_of_places_stays_out() {
        let mut report = json!({"programs": {"quorate": {"summary": "all", "places": [1, 2]}}});
        without_places(&mut report);
        assert_eq!(report, json!({"programs": {"quorate": {"summary": "all"}}}));
    }
}
