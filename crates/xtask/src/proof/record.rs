//! Stored reports: what a tool measured, and where that comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Map, Value, json};

use crate::workspace;

/// Where reports lie, below the root.
pub(super) const FOLDER: &str = "docs/proof";

/// One run of a tool, or of several commands that belong together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// What was typed, in order.
    pub(super) commands: Vec<String>,
    /// What each of them left.
    pub(super) reports: Vec<Value>,
    /// Whether all of them ended well.
    pub(super) passed: bool,
    /// The commit that was built.
    pub(super) commit: String,
    /// The day, as in 2026-01-31, of Greenwich.
    pub(super) date: String,
    /// The processor.
    pub(super) machine: String,
    /// How many of its cores there were.
    pub(super) cores: u64,
    /// How many bugs of our own were listed by then: of those mended since it says nothing.
    pub(super) own_bugs: u64,
}

impl Record {
    /// The file of a report.
    pub(super) fn path(name: &str) -> PathBuf {
        workspace::root().join(FOLDER).join(format!("{name}.json"))
    }

    /// The text of the file: names in their order, so that a change of a number is a change of a line.
    pub(super) fn to_text(&self) -> String {
        let value = json!({
            "commands": self.commands,
            "reports": self.reports,
            "passed": self.passed,
            "commit": self.commit,
            "date": self.date,
            "machine": self.machine,
            "cores": self.cores,
            "own_bugs": self.own_bugs,
        });
        format!("{:#}\n", sorted(value))
    }

    /// Reads what [`Record::to_text`] wrote.
    pub(super) fn parse(text: &str) -> io::Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let field = |name: &str| {
            value.get(name).ok_or_else(|| io::Error::other(format!("{name} is missing")))
        };
        let text = |name: &str| {
            let text = field(name)?.as_str();
            text.map(str::to_owned).ok_or_else(|| io::Error::other(format!("{name} is no text")))
        };
        let list = |name: &str| {
            let list = field(name)?.as_array();
            list.cloned().ok_or_else(|| io::Error::other(format!("{name} is no list")))
        };
        let commands = list("commands")?;
        let commands: Vec<String> =
            commands.iter().filter_map(|command| Some(command.as_str()?.to_owned())).collect();
        let reports = list("reports")?;
        if commands.is_empty() || commands.len() != reports.len() {
            return Err(io::Error::other("each report has one command"));
        }
        let passed = field("passed")?.as_bool();
        Ok(Self {
            commands,
            reports,
            passed: passed.ok_or_else(|| io::Error::other("passed is neither true nor false"))?,
            commit: text("commit")?,
            date: text("date")?,
            machine: text("machine")?,
            cores: field("cores")?
                .as_u64()
                .ok_or_else(|| io::Error::other("cores is no number"))?,
            // Reports of before this was written down are of before many of them.
            own_bugs: value.get("own_bugs").and_then(Value::as_u64).unwrap_or(0),
        })
    }
}

/// All reports that were stored, by name.
///
/// # Errors
///
/// A file that is no report.
pub(super) fn all() -> io::Result<BTreeMap<String, Record>> {
    let mut records = BTreeMap::new();
    for path in workspace::files(&workspace::root().join(FOLDER), ".json")? {
        let name = stem(&path);
        let text = fs::read_to_string(&path).map_err(|error| workspace::at(&path, &error))?;
        let record = Record::parse(&text).map_err(|error| workspace::at(&path, &error))?;
        records.insert(name, record);
    }
    Ok(records)
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("it ends with .json").to_string_lossy().into_owned()
}

/// The same value with all names in alphabetical order. Whether a map is in order by itself depends on
/// what else is built.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        Value::Object(map) => {
            let map: BTreeMap<String, Value> = map.into_iter().collect();
            Value::Object(map.into_iter().map(|(k, v)| (k, sorted(v))).collect::<Map<_, _>>())
        }
        other => other,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of a report.
    pub(crate) fn record(report: Value) -> Record {
        Record {
            commands: vec!["cargo run".to_owned()],
            reports: vec![report],
            passed: true,
            commit: "0123456789abcdef".to_owned(),
            date: "2026-01-31".to_owned(),
            machine: "a machine".to_owned(),
            cores: 2,
            own_bugs: 7,
        }
    }

    #[test]
    fn what_is_stored_is_read_again_and_has_one_order() {
        let record = record(json!({"seeds": 7, "faults": {"pause": 1, "crash": 2.5}}));
        let text = record.to_text();
        assert_eq!(Record::parse(&text).unwrap(), record);
        assert!(text.find("\"crash\"") < text.find("\"pause\""), "{text}");
        assert!(text.find("\"commit\"") < text.find("\"reports\""), "{text}");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let text = record(json!(1)).to_text();
        for (from, to) in [("\"commit\"", "\"comet\""), ("true", "7"), ("[\n    1", "[")] {
            assert!(text.contains(from));
            assert!(Record::parse(&text.replace(from, to)).is_err(), "{from}");
        }
    }
}
