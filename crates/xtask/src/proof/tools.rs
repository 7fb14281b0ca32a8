//! The tools whose reports make the page, and how they are run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io, thread};

use serde_json::Value;

use super::bugs;
use super::demands;
use super::record::Record;
use crate::checks::{capsule, options};
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
    /// What else one may tell them, and they remain the same check.
    more: &'static str,
    /// The variables that change what they do.
    variables: &'static [&'static str],
}

/// All of them, in the order of the page.
pub(super) const ALL: [Tool; 13] = [
    Tool {
        name: "swarm",
        commands: &["cargo run --release -p quorate-sim -- swarm --coverage"],
        full: "--seeds 100000 --jobs 2",
        quick: Some("--seeds 500 --jobs 2"),
        more: "--from",
        variables: &[],
    },
    Tool {
        name: "over-limit",
        commands: &["cargo run --release -p quorate-sim -- swarm --over-limit"],
        full: "--seeds 10000 --jobs 2",
        quick: Some("--seeds 100 --jobs 2"),
        more: "--from",
        variables: &[],
    },
    Tool {
        name: "bench",
        commands: &["cargo run --release -p quorate-sim -- bench"],
        full: "--seconds 120 --at-least 500",
        quick: Some("--seconds 20 --at-least 500"),
        more: "",
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
        more: "",
        variables: &[],
    },
    // Tens of thousands, so they are run by themselves.
    Tool {
        name: "graphs-5",
        commands: &["cargo run --release -p quorate-sim -- graphs --nodes 5"],
        full: "--jobs 2",
        quick: None,
        more: "",
        variables: &[],
    },
    Tool {
        name: "cuts",
        commands: &[
            "cargo run --release -p quorate-sim -- cuts --nodes 3",
            "cargo run --release -p quorate-sim -- cuts --nodes 5",
        ],
        full: "--jobs 2",
        quick: None,
        more: "--seed",
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
        more: "",
        variables: &[],
    },
    Tool {
        name: "museum",
        commands: &["cargo xtask museum"],
        full: "--record",
        quick: Some("--quick"),
        more: "--from --seeds-max",
        variables: &[],
    },
    Tool {
        name: "damage",
        commands: &["cargo xtask damage"],
        full: "",
        quick: Some(""),
        more: "",
        variables: &["DAMAGE_SECONDS", "DAMAGE_POSITIONS", "DAMAGE_SEED", "CHECK_ETCD"],
    },
    Tool {
        name: "crash-points",
        commands: &["cargo xtask crash-points"],
        full: "",
        quick: Some(""),
        more: "",
        variables: &["CRASH_POINTS_STEP", "CRASH_POINTS_RESTARTS", "CRASH_POINTS_SEED"],
    },
    Tool {
        name: "power-cut",
        commands: &["cargo xtask power-cut"],
        full: "",
        quick: Some(""),
        more: "",
        variables: &["POWER_CUT_SECONDS", "POWER_CUT_SEED"],
    },
    Tool {
        name: "full-disk",
        commands: &["cargo xtask full-disk"],
        full: "",
        quick: Some(""),
        more: "",
        variables: &[],
    },
    Tool {
        name: "blackbox",
        commands: &["cargo xtask blackbox"],
        full: "",
        quick: Some(""),
        more: "",
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

    /// Whether it does what only a capsule allows.
    fn needs_capsule(&self) -> bool {
        matches!(self.name, "crash-points" | "power-cut" | "full-disk" | "blackbox")
    }

    /// Runs it and stores its report.
    ///
    /// A tool that failed is stored too, as one that did not pass, whether it left a report or not: what is
    /// there of an earlier run must not stand for this one. So is one that ended well and whose report does
    /// not bear that out. What can be known before is looked at before, as a run may take hours.
    ///
    /// # Errors
    ///
    /// A tree with changes that are not committed, a command line that is not the tool's, or a machine that
    /// can't have what it needs.
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
            own_bugs: bugs::all()?.len() as u64,
        };
        if self.needs_capsule() {
            capsule::probe().map_err(|refused| {
                io::Error::other(format!("{} needs what is refused here: {refused}", self.name))
            })?;
        }
        let mut lines = Vec::new();
        for command in self.commands {
            let words: Vec<&str> = command.split_whitespace().chain(told.iter().copied()).collect();
            let typed = format!("{}{}", self.settings(), words.join(" "));
            self.demand_own(command, &typed)?;
            lines.push((words, typed));
        }
        for (words, typed) in lines {
            println!("proof: {typed}");
            let file = workspace::root().join("target").join(format!("proof-{}.json", self.name));
            options::forget(&file)?;
            let ended_well = execute(&words, &file)?;
            let mut report = left(&file);
            without_places(&mut report);
            record.passed &= ended_well && !report.is_null();
            record.commands.push(typed);
            record.reports.push(report);
        }
        if let Err(error) = self.verify(&record).and_then(|()| self.demand_enough(&record, size)) {
            println!("proof: {error}");
            record.passed = false;
        }
        let path = Record::path(self.name);
        fs::create_dir_all(path.parent().expect("it has a folder"))?;
        fs::write(&path, record.to_text()).map_err(|error| workspace::at(&path, &error))?;
        Ok(record)
    }

    /// Demands that a record is one of this tool: of all its command lines in their order, told nothing but
    /// what they can be told without becoming another check; and if it passed, that nothing was left out.
    ///
    /// # Errors
    ///
    /// What is not so.
    pub(super) fn verify(&self, record: &Record) -> io::Result<()> {
        let wrong =
            |what: String| Err(io::Error::other(format!("the report {}: {what}", self.name)));
        if record.commands.len() != self.commands.len() {
            let (stored, own) = (record.commands.len(), self.commands.len());
            return wrong(format!("it is of {stored} commands, and {own} make one"));
        }
        for (own, typed) in self.commands.iter().zip(&record.commands) {
            self.demand_own(own, typed)?;
        }
        for report in record.reports.iter().filter(|_| record.passed) {
            demands::of_a_pass(self.name, report).or_else(|error| wrong(error.to_string()))?;
        }
        Ok(())
    }

    /// Demands of a new record that it bears what the page is to claim. One that is made for a page in minutes
    /// bears less, and the page says so.
    ///
    /// # Errors
    ///
    /// What it is short of.
    fn demand_enough(&self, record: &Record, size: &Size<'_>) -> io::Result<()> {
        let reports = record.reports.iter();
        let short: Vec<String> =
            reports.flat_map(|report| demands::shortfalls(self.name, report)).collect();
        if short.is_empty() || matches!(size, Size::Quick) {
            return Ok(());
        }
        let (name, what) = (self.name, short.join("; "));
        Err(io::Error::other(format!("the report {name} falls short: {what}")))
    }

    /// Demands that what was typed is one of the tool's own command lines.
    fn demand_own(&self, own: &str, typed: &str) -> io::Result<()> {
        let wrong = |what: String| Err(io::Error::other(format!("{typed}: {what}")));
        let is_setting = |word: &&str| word.contains('=') && !word.starts_with('-');
        let mut words = typed.split_whitespace().peekable();
        while let Some(setting) = words.next_if(is_setting) {
            let (name, value) = setting.split_once('=').expect("it was looked for");
            if !self.variables.contains(&name) {
                return wrong(format!("{name} is not for the tool {}", self.name));
            }
            if name == "CHECK_PROGRAM" && value != "quorate" {
                return wrong("a proof is of quorate".to_owned());
            }
            if name == "BLACKBOX_NETWORK" && value == "loopback" {
                return wrong("a proof has all kinds of faults".to_owned());
            }
        }
        for expected in own.split_whitespace() {
            if words.next() != Some(expected) {
                return wrong(format!("the tool {} is run as {own:?}", self.name));
            }
        }
        let known = [self.full, self.quick.unwrap_or_default(), self.more].join(" ");
        let known: Vec<&str> =
            known.split_whitespace().filter(|word| word.starts_with("--")).collect();
        match words.find(|word| word.starts_with("--") && !known.contains(word)) {
            Some(other) => wrong(format!("the tool {} is not told {other}", self.name)),
            None => Ok(()),
        }
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

/// The report in a file; null if none was left, or only the beginning of one.
fn left(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
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

    use super::super::record::tests::record;
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

    fn tool(name: &str) -> &'static Tool {
        ALL.iter().find(|tool| tool.name == name).expect("it is one of them")
    }

    /// Whether a stored record of one command and its report stands for a tool.
    fn verified(name: &str, typed: &str, passed: bool, report: Value) -> Result<(), String> {
        let commands = vec![typed.to_owned()];
        let record = Record { commands, passed, ..record(report) };
        tool(name).verify(&record).map_err(|error| error.to_string())
    }

    #[test]
    fn a_report_is_of_the_command_lines_of_its_tool() {
        let swarm = "cargo run --release -p quorate-sim -- swarm --coverage";
        let verified = |name, typed: &str| verified(name, typed, false, json!({}));
        verified("swarm", &format!("{swarm} --seeds 7 --jobs 2 --from 9")).unwrap();
        verified("swarm", &format!("{swarm} --over-limit --seeds 7")).unwrap_err();
        verified("over-limit", &format!("{swarm} --seeds 7")).unwrap_err();
        verified("museum", "cargo xtask museum --only HalfElects").unwrap_err();
        verified("graphs", "cargo run --release -p quorate-sim -- graphs --nodes 2").unwrap_err();
        verified("blackbox", "BLACKBOX_SECONDS=9 cargo xtask blackbox").unwrap();
        verified("blackbox", "POWER_CUT_SECONDS=9 cargo xtask blackbox").unwrap_err();
        verified("blackbox", "CHECK_PROGRAM=etcd cargo xtask blackbox").unwrap_err();
        verified("blackbox", "BLACKBOX_NETWORK=loopback cargo xtask blackbox").unwrap_err();
    }

    #[test]
    fn only_of_a_run_that_passed_more_is_demanded() {
        let good = json!({"program": "quorate", "passed": true, "violations": []});
        let less = [json!({"passed": false}), json!({}), Value::Null];
        verified("blackbox", "cargo xtask blackbox", true, good).unwrap();
        for report in less {
            verified("blackbox", "cargo xtask blackbox", false, report.clone()).unwrap();
            verified("blackbox", "cargo xtask blackbox", true, report).unwrap_err();
        }
    }

    #[test]
    fn a_new_report_that_falls_short_does_not_pass_unless_it_is_made_in_minutes() {
        let demand = |seeds: u64, size: &Size<'_>| {
            tool("over-limit").demand_enough(&record(json!({"seeds": seeds})), size).is_ok()
        };
        assert!(demand(10_000, &Size::Full) && demand(10_000, &Size::Told(&[])));
        assert!(!demand(9_999, &Size::Full) && !demand(9_999, &Size::Told(&[])));
        assert!(demand(9_999, &Size::Quick));
    }

    #[test]
    fn half_a_report_is_none() {
        let path = env::temp_dir().join(format!("quorate-half-{}", std::process::id()));
        assert_eq!(left(&path), Value::Null);
        fs::write(&path, "{\"seeds\": 7").unwrap();
        assert_eq!(left(&path), Value::Null);
        fs::write(&path, "{\"seeds\": 7}").unwrap();
        assert_eq!(left(&path), json!({"seeds": 7}));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_list_of_places_stays_out() {
        let mut report = json!({"programs": {"quorate": {"summary": "all", "places": [1, 2]}}});
        without_places(&mut report);
        assert_eq!(report, json!({"programs": {"quorate": {"summary": "all"}}}));
    }
}
