//! What a repair does in a data directory, step by step. After a crash between any two of them, or in one,
//! the member refuses to start or is repaired, and all that was ever in its log is still there.

use std::fmt;
use std::path::{Path, PathBuf};

use quorate_host::{Repair, Verdict, whole_file};

use super::{FINISHED, UNFINISHED};
use crate::identity::{Identity, STORE};
use crate::rebuild::{LOG, is_there, remove};

/// Where the log is that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    InPlace,
    /// There is none.
    Nowhere,
    /// Where a repair left it that was cut off.
    CutOff,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Note that the member has no vote in the cluster that it was of.
    GiveUpVote,
    /// Write the new log, which gets this name when it is complete.
    WriteLog(&'static str),
    /// Put something aside.
    PutAside { from: PathBuf, to: PathBuf },
    /// Put the log of this name in its place.
    PutInPlace(&'static str),
}

impl Step {
    /// Takes it, durably, in this data directory, for this repair.
    ///
    /// # Errors
    /// If the disk refuses. The text is meant for the operator.
    pub(super) fn take(&self, data_dir: &Path, repair: &Repair) -> Result<(), String> {
        match self {
            Self::GiveUpVote => Identity::note_rejoining(data_dir),
            Self::WriteLog(name) => {
                let unfinished = data_dir.join(UNFINISHED);
                remove(&unfinished)?;
                repair.write(&unfinished)?;
                if *name == UNFINISHED {
                    return Ok(());
                }
                rename(data_dir, &unfinished, &data_dir.join(name))
            }
            Self::PutAside { from, to } => rename(data_dir, from, to),
            Self::PutInPlace(name) => rename(data_dir, &data_dir.join(name), &data_dir.join(LOG)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GiveUpVote => f.write_str(
                "the member has no vote any more in its old cluster, whose promises it does not know",
            ),
            Self::WriteLog(_) => f.write_str("a new log is written"),
            Self::PutAside { from, to } => {
                write!(f, "{} is put aside as it is: {}", from.display(), to.display())
            }
            Self::PutInPlace(_) => f.write_str("the new log takes its place"),
        }
    }
}

/// What is to be done, in this order.
///
/// # Errors
/// If the disk does not tell what is there. The text is meant for the operator.
pub(super) fn steps(
    data_dir: &Path,
    repair: &Repair,
    source: Source,
    is_store_lost: bool,
) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let is_cut_off = source == Source::CutOff;
    let is_log_new = repair.verdict == Verdict::Damaged;
    // What was read stays where it is until the new log is in its place.
    let new = if is_log_new && is_cut_off { UNFINISHED } else { FINISHED };
    if is_log_new {
        if !is_cut_off {
            // Of an earlier state of the store, or made of the log that is there.
            put_aside(&mut steps, data_dir, FINISHED, LOG)?;
        }
        steps.push(Step::WriteLog(new));
    }
    if is_store_lost {
        put_aside(&mut steps, data_dir, STORE, STORE)?;
    }
    if is_log_new || is_cut_off {
        put_aside(&mut steps, data_dir, LOG, LOG)?;
        steps.push(Step::PutInPlace(new));
    }
    if new == UNFINISHED {
        put_aside(&mut steps, data_dir, FINISHED, LOG)?;
    }
    Ok(steps)
}

/// Tidies up after repairs that were cut off, for a member that has started: a log that they left is put
/// aside, and what they looked with is removed, as it keeps files of the store from going.
///
/// # Errors
/// If the disk refuses. The text is meant for the operator.
pub(crate) fn tidy_up(data_dir: &Path) -> Result<(), String> {
    for name in [UNFINISHED, super::SCRATCH] {
        remove(&data_dir.join(name))?;
    }
    match aside(&[], data_dir, FINISHED, LOG)? {
        Some((from, to)) => rename(data_dir, &from, &to),
        None => Ok(()),
    }
}

/// Puts this directory aside, if it is there, as a damaged one of this kind.
fn put_aside(steps: &mut Vec<Step>, data_dir: &Path, name: &str, kind: &str) -> Result<(), String> {
    let aside = aside(steps, data_dir, name, kind)?;
    steps.extend(aside.map(|(from, to)| Step::PutAside { from, to }));
    Ok(())
}

/// From where to where a directory is to be put aside, if it is there; to a name that is free, and stays so
/// when these steps are taken.
fn aside(
    steps: &[Step],
    data_dir: &Path,
    name: &str,
    kind: &str,
) -> Result<Option<(PathBuf, PathBuf)>, String> {
    let from = data_dir.join(name);
    if !is_there(&from)? {
        return Ok(None);
    }
    let mut number = 1;
    loop {
        let path = data_dir.join(format!("{kind}.damaged-{number}"));
        let is_taken = |step: &Step| matches!(step, Step::PutAside { to, .. } if *to == path);
        if !is_there(&path)? && !steps.iter().any(is_taken) {
            return Ok(Some((from, path)));
        }
        number += 1;
    }
}

fn rename(data_dir: &Path, from: &Path, to: &Path) -> Result<(), String> {
    whole_file::rename(data_dir, from, to)
        .map_err(|error| format!("can't move {} to {}: {error}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use bytes::Bytes;
    use quorate_raft::{Entry, EntryId, Payload, Term};

    use super::*;
    use crate::config::Config;
    use crate::repair::{Ending, Plan, Wishes, repair};

    /// So much that each entry has a record of its own.
    const ENTRY_BYTES: usize = 700_000;

    /// A member alone whose log has entries, some of them damaged, here or where a repair left it that
    /// was cut off. It has no store.
    fn member(log: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = format!("--data-dir={}", directory.path().display());
        let config = Config::parse(vec![data_dir], []).expect("good flags");
        Identity::load_or_create(&config, &crate::Log::new(config.log_level, std::io::sink()))
            .expect("a new member");
        Identity::note_founded(directory.path()).expect("noted");
        let entry = |index| {
            let payload = Payload::Command(Bytes::from(vec![index as u8; ENTRY_BYTES]));
            Entry { id: EntryId::new(1, index), payload }
        };
        let whole = Repair {
            verdict: Verdict::Damaged,
            damage: Vec::new(),
            machine: EntryId::ZERO,
            base: EntryId::ZERO,
            kept: (1..=4).map(entry).collect(),
            lost: Vec::new(),
            given_up: Vec::new(),
            is_end_known: true,
            term: Term(1),
        };
        let path = directory.path().join(log);
        whole.write(&path).expect("written");
        let segment = path.join("0000000000000001.wal");
        let mut bytes = fs::read(&segment).expect("read");
        let at = 5 * ENTRY_BYTES / 2;
        bytes[at..at + 512].fill(0xa5);
        fs::write(segment, bytes).expect("damaged");
        directory
    }

    /// What is in the files that have something to do with the log.
    fn logs(data_dir: &Path) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::new();
        for entry in fs::read_dir(data_dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if !path.is_dir() || path.file_name().is_some_and(|name| name == "store") {
                continue;
            }
            for file in fs::read_dir(path).expect("a directory") {
                all.insert(fs::read(file.expect("an entry").path()).expect("read"));
            }
        }
        all
    }

    #[test]
    fn a_crash_between_any_two_steps_loses_no_log_and_the_repair_can_be_given_again() {
        for log in [LOG, FINISHED] {
            let mut count = None;
            let mut taken = 0;
            while count.is_none_or(|count| taken <= count) {
                let directory = member(log);
                let data_dir = directory.path();
                let before = logs(data_dir);
                let plan =
                    Plan::make(data_dir, false, &mut |_| {}).expect("it can be").expect("damaged");
                count = Some(plan.steps.len());
                for step in &plan.steps[..taken] {
                    step.take(data_dir, &plan.repair).expect("taken");
                }
                let kept = plan.repair.kept.clone();
                drop(plan);
                let mut said = String::new();
                let wishes = Wishes { accept_data_loss: true, ..Wishes::default() };
                let ending = repair(data_dir, wishes, &mut |text| said.push_str(text));
                let ending =
                    ending.unwrap_or_else(|error| panic!("{log}, {taken}: {error} {said}"));
                let is_done = !said.contains("A repair does this");
                assert_eq!(ending == Ending::Sound, is_done, "{log}, {taken}: {said}");
                tidy_up(data_dir).expect("tidied up");
                assert!(before.is_subset(&logs(data_dir)), "{log}, {taken}: a log is gone");
                let mut found =
                    quorate_host::IdleLog::hold(&data_dir.join(LOG)).expect("it is there");
                let found = found.examine(EntryId::ZERO, true).expect("it is a log");
                assert_eq!((found.verdict, &found.kept), (Verdict::Whole, &kept), "{log}, {taken}");
                taken += 1;
            }
            assert!(count.is_some_and(|count| count >= 3), "{log}: {count:?} steps");
        }
    }
}
