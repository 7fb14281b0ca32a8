//! What became of the damaged members, in a table and in a line.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use crate::checks::damage::place::Place;
use crate::checks::damage::{is_right_refusal, names_the_place};

/// What became of a damaged member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It serves all that was acknowledged, and counts again.
    Healed,
    /// It ended by itself, and said this.
    Refused(String),
    /// It served an older state: acknowledged writes are gone.
    Lost(String),
    /// It served what never was, or holds something else than the others.
    Wrong(String),
    /// It neither served in time nor ended.
    Silent(String),
}

impl Outcome {
    const NAMES: [&'static str; 5] = ["healed", "refused", "lost", "wrong", "silent"];

    fn number(&self) -> usize {
        match self {
            Self::Healed => 0,
            Self::Refused(_) => 1,
            Self::Lost(_) => 2,
            Self::Wrong(_) => 3,
            Self::Silent(_) => 4,
        }
    }

    fn said(&self) -> &str {
        match self {
            Self::Healed => "",
            Self::Refused(s) | Self::Lost(s) | Self::Wrong(s) | Self::Silent(s) => s,
        }
    }

    /// Its name, and the beginning of what was said.
    fn line(&self) -> String {
        const LINE: usize = 400;
        let said: String = self.said().chars().take(LINE).collect();
        let end = if said.len() < self.said().len() { " …" } else { "" };
        format!("{} {said}{end}", Self::NAMES[self.number()])
    }
}

/// All outcomes of one program.
#[derive(Debug, Default)]
pub(crate) struct Report {
    one: Vec<(Place, Outcome)>,
    possible: usize,
    at_once: Vec<Outcome>,
    /// What became of the member that has nobody to ask, and whether its files are what they were.
    alone: Option<(Place, Outcome, bool)>,
    /// Why it ended before all was done, if it did.
    broken_off: Option<String>,
}

impl Report {
    /// One member of three was damaged.
    pub(crate) fn one(&mut self, place: Place, outcome: Outcome) {
        if !matches!(outcome, Outcome::Healed) {
            println!("  {place}: {}", outcome.line());
        }
        self.one.push((place, outcome));
    }

    /// So many places there are.
    pub(crate) fn possible(&mut self, count: usize) {
        self.possible = count;
    }

    /// All three were damaged.
    pub(crate) fn at_once(&mut self, outcome: Outcome) {
        self.at_once.push(outcome);
    }

    /// The only member was damaged.
    pub(crate) fn alone(&mut self, place: Place, outcome: Outcome, unchanged: bool) {
        self.alone = Some((place, outcome, unchanged));
    }

    /// It could not go on, because of this.
    pub(crate) fn broken_off(&mut self, error: &io::Error) {
        self.broken_off = Some(error.to_string());
    }

    fn count(&self, of: fn(&Outcome) -> bool) -> usize {
        self.one.iter().filter(|(_, outcome)| of(outcome)).count()
            + self.at_once.iter().filter(|outcome| of(outcome)).count()
    }

    /// Prints what became of which files.
    pub(crate) fn print(&self, program: &str) {
        println!("{program}: {} of {} places of one member", self.one.len(), self.possible);
        println!("  {:<34} {}", "file", Outcome::NAMES.map(|name| format!("{name:>8}")).concat());
        let mut families: BTreeMap<String, [usize; 5]> = BTreeMap::new();
        for (place, outcome) in &self.one {
            families.entry(place.family()).or_default()[outcome.number()] += 1;
        }
        let mut at_once = [0; 5];
        for outcome in &self.at_once {
            at_once[outcome.number()] += 1;
        }
        families.insert("the logs of all three at once".to_owned(), at_once);
        for (family, counts) in families {
            println!("  {family:<34} {}", counts.map(|count| format!("{count:>8}")).concat());
        }
        for outcome in self.at_once.iter().filter(|outcome| **outcome != Outcome::Healed) {
            println!("  all three: {}", outcome.line());
        }
        if let Some(why) = &self.broken_off {
            println!("  broken off: {why}");
        }
        if let Some((place, outcome, unchanged)) = &self.alone {
            println!(
                "  alone, {place}: {}; its files are {}",
                outcome.line(),
                if *unchanged { "as they were" } else { "changed" }
            );
        }
    }

    /// A line about it.
    pub(crate) fn summary(&self) -> String {
        let healed = self.count(|outcome| matches!(outcome, Outcome::Healed));
        let lost = self.count(|outcome| matches!(outcome, Outcome::Lost(_)));
        let wrong = self.count(|outcome| matches!(outcome, Outcome::Wrong(_)));
        let silent = self.count(|outcome| matches!(outcome, Outcome::Silent(_)));
        let refused = self.count(|outcome| matches!(outcome, Outcome::Refused(_)));
        let documented = self
            .one
            .iter()
            .filter(|(place, outcome)| is_right_refusal(place, outcome.said()))
            .count();
        let others = match (refused - documented, silent) {
            (0, 0) => String::new(),
            (refused, silent) => format!(", {refused} refused to start, {silent} never served"),
        };
        let alone = match &self.alone {
            None => "not run",
            Some((_, Outcome::Refused(_), true)) => "refused, files unchanged",
            Some((_, Outcome::Refused(_), false)) => "refused, files changed",
            Some((_, Outcome::Healed, _)) => "went on whole",
            Some((_, Outcome::Lost(_) | Outcome::Wrong(_), _)) => {
                "went on without acknowledged writes"
            }
            Some((_, Outcome::Silent(_), _)) => "never served",
        };
        let end = self.broken_off.as_ref().map_or("", |_| "; broken off");
        format!(
            "{} positions, {wrong} wrong, {lost} lost, {healed} healed, {documented} refused as \
             documented{others}; alone: {alone}{end}",
            self.one.len() + self.at_once.len(),
        )
    }

    /// What is not as Quorate promises.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut broken = Vec::new();
        broken.extend(self.broken_off.iter().map(|why| format!("broken off: {why}")));
        for (place, outcome) in &self.one {
            let is_right = match outcome {
                Outcome::Healed => true,
                Outcome::Refused(said) => is_right_refusal(place, said),
                _ => false,
            };
            if !is_right {
                broken.push(format!("{place}: {}", outcome.line()));
            }
        }
        for outcome in self.at_once.iter().filter(|outcome| **outcome != Outcome::Healed) {
            broken.push(format!("all three damaged: {}", outcome.line()));
        }
        match &self.alone {
            Some((_, outcome, true)) if names_the_place(outcome) => {}
            other => broken.push(format!("a cluster of one, damaged: {other:?}")),
        }
        if self.one.is_empty() {
            broken.push("nothing was damaged".to_owned());
        }
        broken
    }

    /// The same for a program that makes a page of it: counts by file, and each place.
    pub(crate) fn json(&self) -> Value {
        let mut files: BTreeMap<String, [u64; 5]> = BTreeMap::new();
        for (place, outcome) in &self.one {
            files.entry(place.family()).or_default()[outcome.number()] += 1;
        }
        let mut at_once = [0; 5];
        for outcome in &self.at_once {
            at_once[outcome.number()] += 1;
        }
        let counts = |counts: [u64; 5]| -> Value {
            Outcome::NAMES
                .iter()
                .zip(counts)
                .map(|(name, n)| ((*name).to_owned(), Value::from(n)))
                .collect()
        };
        let files: Value = files.into_iter().map(|(file, n)| (file, counts(n))).collect();
        let place = |scene: &str, place: &str, outcome: &Outcome| {
            let name = Outcome::NAMES[outcome.number()];
            json!({"scene": scene, "place": place, "outcome": name, "said": outcome.said()})
        };
        let one = self.one.iter().map(|(at, outcome)| place("one", &at.to_string(), outcome));
        let all = self.at_once.iter().map(|outcome| place("all at once", "", outcome));
        let alone = self.alone.iter().map(|(at, o, _)| place("alone", &at.to_string(), o));
        let places: Vec<Value> = one.chain(all).chain(alone).collect();
        json!({
            "places_possible": self.possible,
            "one_member_by_file": files,
            "all_members_at_once": counts(at_once),
            "summary": self.summary(),
            "broken_off": self.broken_off,
            "places": places,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::checks::damage::place::Kind;

    fn place(file: &str) -> Place {
        Place { file: PathBuf::from(file), offset: 512, kind: Kind::Zeroed }
    }

    fn good() -> Report {
        let mut report = Report::default();
        report.one(place("wal/1.wal"), Outcome::Healed);
        let said = "data/identity is damaged; the member can't start";
        report.one(place("identity"), Outcome::Refused(said.to_owned()));
        report.at_once(Outcome::Healed);
        let said = "segment 1 is damaged at offset 512".to_owned();
        report.alone(place("wal/1.wal"), Outcome::Refused(said), true);
        report
    }

    #[test]
    fn only_what_was_promised_passes() {
        assert_eq!(good().violations(), [""; 0]);
        let said = || "identity is damaged; the member can't start".to_owned();
        let spoiled: [fn(&mut Report, String); 8] = [
            |report, said| report.one(place("wal/1.wal"), Outcome::Refused(said)),
            |report, _| report.one(place("identity"), Outcome::Refused("panicked".to_owned())),
            |report, said| report.one(place("wal/1.wal"), Outcome::Lost(said)),
            |report, said| report.at_once(Outcome::Wrong(said)),
            |report, said| report.one(place("wal/1.wal"), Outcome::Silent(said)),
            |report, _| report.alone(place("wal/1.wal"), Outcome::Healed, true),
            |report, said| report.broken_off(&io::Error::other(said)),
            |report, _| {
                let said = "segment 1 is damaged at offset 512".to_owned();
                report.alone(place("wal/1.wal"), Outcome::Refused(said), false);
            },
        ];
        for spoil in spoiled {
            let mut report = good();
            spoil(&mut report, said());
            assert_eq!(report.violations().len(), 1, "this was not promised");
        }
        assert!(!Report::default().violations().is_empty(), "nothing was done");
    }
}
