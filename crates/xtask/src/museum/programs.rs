//! The test programs that have the bugs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::run::{PROFILE, TARGET, cargo};

/// Test programs, by package and name; what tests a library from within is called `lib`.
pub(super) struct Programs {
    all: BTreeMap<(String, String), Program>,
}

struct Program {
    executable: PathBuf,
    /// The folder of its package, in which a test may expect to run.
    folder: PathBuf,
}

impl Programs {
    /// Builds these, all of them in one go: one by one, each package would have what it depends on built anew, with
    /// other features.
    pub(super) fn build(wanted: &BTreeSet<(&str, &str)>) -> io::Result<Self> {
        let mut command = cargo();
        command
            .args(["test", "--quiet", "--no-run", "--message-format", "json-render-diagnostics"])
            .args(["--profile", PROFILE, "--target-dir", TARGET])
            .stderr(Stdio::inherit());
        for package in wanted.iter().map(|(package, _)| package).collect::<BTreeSet<_>>() {
            command.args(["--package", package]);
        }
        for program in wanted.iter().map(|(_, program)| *program).collect::<BTreeSet<_>>() {
            match program {
                "lib" => command.arg("--lib"),
                program => command.args(["--test", program]),
            };
        }
        let built = if wanted.is_empty() { None } else { Some(command.output()?) };
        if built.as_ref().is_some_and(|built| !built.status.success()) {
            return Err(io::Error::other("the tests do not build with the bugs"));
        }
        let said = built.map(|built| built.stdout).unwrap_or_default();
        let lines = String::from_utf8_lossy(&said).into_owned();
        Ok(Self { all: lines.lines().filter_map(built_test).collect() })
    }

    /// Runs all tests of a program, or those whose name is added to it.
    ///
    /// # Errors
    /// If it was not built.
    pub(super) fn command(&self, package: &str, program: &str) -> io::Result<Command> {
        let found = self.all.get(&(package.to_owned(), program.to_owned()));
        let Some(Program { executable, folder }) = found else {
            return Err(io::Error::other(format!("{package} has no test program {program}")));
        };
        let mut command = Command::new(executable);
        // What a random test finds here is no news to keep.
        command.arg("--quiet").current_dir(folder).env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
        Ok(command)
    }
}

/// The test program of which a line of cargo tells, if it does.
fn built_test(line: &str) -> Option<((String, String), Program)> {
    let message: Value = serde_json::from_str(line).ok()?;
    if !message["profile"]["test"].as_bool()? {
        return None;
    }
    let executable = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let (_, package) = message["package_id"].as_str()?.rsplit_once('#')?;
    let package = package.split('@').next()?.to_owned();
    let program = match message["target"]["kind"][0].as_str()? {
        "test" => message["target"]["name"].as_str()?.to_owned(),
        "lib" => "lib".to_owned(),
        _ => return None,
    };
    Some(((package, program), Program { executable, folder }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tells_where_a_test_program_is() {
        let line = |kind: &str, name: &str, is_test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "package_id": "path+file:///q/crates/raft#quorate-raft@0.1.0",
                "manifest_path": "/q/crates/raft/Cargo.toml",
                "target": { "kind": [kind], "name": name },
                "profile": { "test": is_test },
                "executable": "/q/target/deps/it-1",
            })
            .to_string()
        };
        let of = |line: &str| built_test(line).map(|(of, program)| (of.0, of.1, program.folder));
        let known = |program: &str| {
            Some(("quorate-raft".to_owned(), program.to_owned(), PathBuf::from("/q/crates/raft")))
        };
        assert_eq!(of(&line("test", "scripts", true)), known("scripts"));
        assert_eq!(of(&line("lib", "quorate_raft", true)), known("lib"));
        assert_eq!(of(&line("lib", "quorate_raft", false)), None);
        assert_eq!(of(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(of("running 1 test"), None);
    }
}
