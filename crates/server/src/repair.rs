//! `quorate repair`: what its operator can do about a member that is alone, has lost something and does
//! not start.
//!
//! Without a word of his nothing is changed. The log is read as it is, the store through a mirror of
//! links, in which the entries that would be kept are applied to tell the revision that they lead to. So
//! what he reads before is what he gets after.
//!
//! With his word, in this order, so that after a crash at any point the member still refuses to start,
//! or is repaired, and the command can be given again:
//!
//! ```text
//! wal.repaired.tmp → wal.repaired      a new log, complete and durable
//! store → store.damaged-N              only if the store is lost
//! wal → wal.damaged-N
//! wal.repaired → wal
//! ```
//!
//! A member that had others is repaired only if all of them are lost for ever. Before anything else it is noted as
//! one without a vote then, should they not be lost after all.
//!
//! After a crash before the last step, `wal.repaired` is the log: it is read instead of the one that is not
//! there, if it begins where the store ends. Nothing is deleted but what a repair
//! has not finished to write, and what is put aside is as it was found.

mod steps;

use std::fmt::{self, Write as _};
use std::path::Path;

use quorate_host::{IdleLog, Repair, Verdict};
use quorate_raft::EntryId;
use quorate_store::Mirrored;

use crate::identity::Identity;
use crate::look::Look;
use crate::rebuild::{LOG, Rebuild, is_there};
use crate::recover;
use steps::{Source, Step, steps};

pub(crate) use steps::tidy_up;

/// Why nothing is left to look for at a witness.
pub(crate) const IS_WITNESS: &str = "this member is a witness: it has no data to save. If what it has is damaged, the \
                                     others give it back; or remove it, and add another one";

/// The new log, while it is written and when it is complete.
const UNFINISHED: &str = "wal.repaired.tmp";
const FINISHED: &str = "wal.repaired";

/// Where the store is looked at.
const SCRATCH: &str = "repair.tmp";

/// Why a member can't be repaired that has lost everything.
const NOTHING_LEFT: &str = "nothing that could be served is left to repair; bring back a copy of the whole \
                            data directory";

/// How a repair ends that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is nothing to repair, and nothing was changed.
    Sound,
    /// There is something to repair. Nothing was changed, as that was not asked for.
    Found,
    /// It is repaired: the member starts.
    Repaired,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Also to repair a member that had others, as all of them are lost for ever. It has no vote after that, as
    /// it no longer knows what it promised them; [`recover`] makes a new cluster of it.
    pub last_of_its_cluster: bool,
    /// Whether to do it, and to lose what is told.
    pub accept_data_loss: bool,
}

/// Tells how the member in a data directory stands, and repairs it if its operator accepts what is lost by
/// that. `say` is given what he should read, in paragraphs.
///
/// # Errors
/// If the member is not one that can be repaired here, with the reason. Nothing was changed then; or the
/// disk refused in the midst of it, and the repair can be tried again.
pub fn repair(
    data_dir: &Path,
    wishes: Wishes,
    say: &mut dyn FnMut(&str),
) -> Result<Ending, String> {
    let is_last = wishes.last_of_its_cluster;
    let Some(plan) = Plan::make(data_dir, is_last, say)? else { return Ok(Ending::Sound) };
    if !wishes.accept_data_loss {
        let command = if is_last { command_for_last(data_dir) } else { command(data_dir) };
        say(&format!("Nothing was changed. To do this: {command} --accept-data-loss"));
        return Ok(Ending::Found);
    }
    for step in &plan.steps {
        step.take(data_dir, &plan.repair)?;
    }
    say(&match plan.steps.first() {
        Some(Step::GiveUpVote) => {
            format!("It is done. `{}` makes a new cluster of it.", recover::command(data_dir))
        }
        _ => "It is done: start the member.".to_owned(),
    });
    Ok(Ending::Repaired)
}

/// How an operator asks what is damaged.
pub(crate) fn command(data_dir: &Path) -> String {
    format!("quorate repair --data-dir {}", data_dir.display())
}

/// How the operator of this member asks what is damaged, whom no other member can give anything back.
pub(crate) fn command_for(identity: &Identity, data_dir: &Path) -> String {
    if identity.members.len() == 1 { command(data_dir) } else { command_for_last(data_dir) }
}

/// How an operator asks what is left of the last member of a cluster.
pub(crate) fn command_for_last(data_dir: &Path) -> String {
    format!("{} --last-of-its-cluster", command(data_dir))
}

/// What would be done, with the member held.
struct Plan {
    /// What the new log is made of.
    repair: Repair,
    steps: Vec<Step>,
    /// Keeps the member from being started.
    _log: IdleLog,
    _store: Option<Mirrored>,
}

impl Plan {
    /// Finds out what there is to do; `None` if nothing is. Says what it finds.
    fn make(
        data_dir: &Path,
        is_last: bool,
        say: &mut dyn FnMut(&str),
    ) -> Result<Option<Self>, String> {
        let Some(identity) = Identity::load(data_dir)? else {
            return Err(format!("there is no member in {}", data_dir.display()));
        };
        if identity.is_witness() {
            return Err(IS_WITNESS.to_owned());
        }
        let has_others = identity.members.len() > 1;
        if has_others && !is_last && !identity.others_have_the_state() {
            return Err(format!(
                "the others of this cluster are witnesses, and have no data. If they are not to vote any more: {}",
                command_for_last(data_dir)
            ));
        }
        if has_others && !is_last {
            return Err(format!(
                "this member is one of {}: start it, and it gets from the others what it lost; \
                 a repair would throw away what they have. If all of them are lost for ever: {}",
                identity.members.len(),
                command_for_last(data_dir)
            ));
        }
        if let Some(report) = Rebuild::new(data_dir).noted()?.filter(|_| has_others) {
            return Err(format!(
                "the store is lost, and is put aside when the member is started: do that once, and end it: {report}"
            ));
        }
        let mut look = Look::at(data_dir, &data_dir.join(SCRATCH))?;
        let mut log = IdleLog::hold(&data_dir.join(LOG))?;
        let mut repair = log.examine(look.applied(), !identity.founding)?;
        let mut source = if log.exists()? { Source::InPlace } else { Source::Nowhere };
        let finished = data_dir.join(FINISHED);
        if source == Source::Nowhere && is_there(&finished)? {
            let mut left = IdleLog::hold(&finished)?;
            match left.examine(look.applied(), true) {
                Ok(cut_off) if cut_off.base == look.applied() => {
                    (log, repair, source) = (left, cut_off, Source::CutOff);
                }
                other => say(&format!(
                    "{} is what a repair left that was cut off. It is not used: {}.",
                    finished.display(),
                    other.err().unwrap_or("the store does not end where it begins".to_owned())
                )),
            }
        }
        let is_cut_off = source == Source::CutOff;
        let before = look.revision();
        look.apply(&repair.kept)?;
        let revisions = (before, look.revision());
        let lost = look.lost().map(str::to_owned);
        let held = look.close();

        let mut damage = repair.damage.clone();
        damage.extend(lost.iter().map(|report| format!("the store is lost: {report}")));
        if repair.verdict != Verdict::Damaged && lost.is_none() && !is_cut_off {
            say(&match repair.verdict {
                Verdict::MendsItself => format!(
                    "Damaged:\n{}The store has everything that this took. Nothing is lost, and the \
                     member mends its log when it starts.",
                    list(&damage)
                ),
                Verdict::Whole | Verdict::Damaged => "Nothing is damaged.".to_owned(),
            });
            return Ok(None);
        }
        say(&format!(
            "Member {:x} of cluster {:x}, {}, in {}",
            identity.member_id,
            identity.cluster_id,
            if has_others { "the last one" } else { "alone" },
            data_dir.display()
        ));
        if !damage.is_empty() {
            say(&format!("Damaged:\n{}", list(&damage)));
        }
        say(&outlook(&repair, lost.is_some(), is_cut_off, revisions));
        if repair.end() == EntryId::ZERO && repair.verdict == Verdict::Damaged {
            return Err(NOTHING_LEFT.to_owned());
        }
        let mut steps = steps(data_dir, &repair, source, lost.is_some())?;
        if has_others {
            steps.insert(0, Step::GiveUpVote);
        }
        say(&format!("A repair does this:\n{}", list(&steps)));
        Ok(Some(Self { repair, steps, _log: log, _store: held }))
    }
}

/// What is left, what is lost, and where that leads; from one revision to another.
fn outlook(
    repair: &Repair,
    is_store_lost: bool,
    is_cut_off: bool,
    revisions: (i64, i64),
) -> String {
    let mut lines = Vec::new();
    if is_store_lost {
        lines.push("Without its store, the member begins with what its log has.".to_owned());
    } else if repair.machine == EntryId::ZERO {
        lines.push(
            "The store has nothing on disk yet: all that there is, is in the log.".to_owned(),
        );
    } else {
        let (machine, revision) = (repair.machine, revisions.0);
        let line =
            format!("The store is sound. It holds entries up to {machine}, revision {revision}.");
        lines.push(line);
    }
    if let Some(kept) = repair.kept_stretch() {
        lines.push(format!("Sound, and kept: {kept}."));
    }
    let lost = repair.lost.iter().map(|lost| (lost.first, format!("Lost: {lost}.")));
    let given_up = repair.given_up.iter().map(|given_up| {
        (given_up.first, format!("Sound, but given up, as they stand on what is lost: {given_up}."))
    });
    let mut after: Vec<_> = lost.chain(given_up).collect();
    after.sort();
    lines.extend(after.into_iter().map(|(_, line)| line));
    if !repair.is_end_known {
        lines.push("Nobody knows whether the log had more entries than these.".to_owned());
    }
    let (end, revision, term) = (repair.end(), revisions.1, repair.term.0);
    lines
        .push(format!("The member goes on from entry {end}, revision {revision}, in term {term}."));
    lines.push(if is_cut_off && repair.verdict != Verdict::Damaged {
        "A repair that was cut off left this log, and told what is lost. To put it in place is left \
         to do."
            .to_owned()
    } else if repair.loses_nothing() {
        "Nothing that was acknowledged is lost.".to_owned()
    } else {
        "Every write after it is gone, though it was acknowledged, and its revision is given to \
         another one: programs that remember a later revision have to begin anew."
            .to_owned()
    });
    lines.join("\n")
}

/// A line for each.
pub(crate) fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().fold(String::new(), |mut text, item| {
        writeln!(text, "- {item}").expect("writing to a string");
        text
    })
}
