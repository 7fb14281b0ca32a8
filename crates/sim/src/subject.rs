//! Machines of others: anybody can have a machine of theirs run under the faults of this simulator.
//!
//! [`check`] takes a [`Subject`]: how to make the machine with an empty state, how clients draw a command for
//! it, and what must hold of it. Every seed is then a cluster that crashes, loses disks and messages, is cut
//! in parts, starts on what was durable, and gives snapshots to those who are behind. In each of them one
//! more machine, with which nothing goes wrong, is given each command as it is committed. Then
//!
//! - each member's machine must give the same *outcome* to the same entry,
//! - after every batch, every restart and every snapshot it must show the same [view](Subject::view), and the
//!   same [fingerprint](Machine::fingerprint) if it has any,
//! - every [invariant](Subject::invariant) must hold of it, and
//! - a [model](Subject::model), if there is one, must answer what the machine answers.
//!
//! That commands are committed once and in an order that explains what clients were told is not the
//! machine's affair, and is judged for each run as in any other of the swarm.
//!
//! # What is not here
//! A machine's own files. A simulated process keeps of a machine what its snapshot says at a moment at which
//! it became durable, and makes the next one from that: no file is ever read or written, and what a machine
//! does to be durable by itself has to be tested elsewhere. Nor any protection from a machine that draws
//! chance or reads a clock: that is found as the difference that it makes, but such a run need not find it
//! twice.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quorate_node::{Fault, Keep, Kept, Machine, Piece, RestoreError, Snapshot, State};
use quorate_raft::{EntryId, Index};

use crate::chance::Chance;
use crate::rider::{Rider, Rides, wrong};
use crate::run::{Failure, run_world};
use crate::summary::Summary;
use crate::swarm::Options;
use crate::trace::Trace;
use crate::world::{Report, World};

/// Tells the source of the commands of a seed from those of all else.
const COMMANDS: u64 = 0x636f_6d6d_616e_6473;

/// Answers a command like the machine, as text.
type Model = Box<dyn FnMut(&Bytes) -> String + Send>;

/// Something that has to hold of a machine at any time, by its name.
type Invariant<M> = (String, Box<dyn Fn(&M) -> bool + Send + Sync>);

/// A machine under test: see the [module](self).
pub struct Subject<M> {
    machine: Box<dyn Fn() -> M + Send + Sync>,
    command: Box<dyn Fn(&mut Chance) -> Bytes + Send + Sync>,
    view: Box<dyn Fn(&M) -> String + Send + Sync>,
    model: Option<Box<dyn Fn() -> Model + Send + Sync>>,
    invariants: Vec<Invariant<M>>,
}

impl<M> fmt::Debug for Subject<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

impl<S: State<Outcome: fmt::Debug>> Subject<Kept<S>> {
    /// A [`State`], with commands as for [`Subject::new`].
    pub fn of_state(command: impl Fn(&mut Chance) -> Bytes + Send + Sync + 'static) -> Self {
        Self::new(
            || Kept::open(None, Box::new(Nowhere)).expect("there is nothing to read"),
            command,
        )
    }
}

/// Where a state is kept of which the run keeps the snapshots.
struct Nowhere;

impl Keep for Nowhere {
    fn keep(&mut self, _image: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
}

impl<M: Machine<Outcome: fmt::Debug> + 'static> Subject<M> {
    /// A machine as `machine` makes it, each time with the same empty state, and commands as `command` draws
    /// them. Whatever is random in a command has to come from the [`Chance`]: then a seed is the same run
    /// for ever.
    pub fn new(
        machine: impl Fn() -> M + Send + Sync + 'static,
        command: impl Fn(&mut Chance) -> Bytes + Send + Sync + 'static,
    ) -> Self {
        Self {
            machine: Box::new(machine),
            command: Box::new(command),
            view: Box::new(|_| String::new()),
            model: None,
            invariants: Vec::new(),
        }
    }

    /// What of the state must be the same on all members after the same entry: best all of it. Compared by
    /// its `Debug`, which must not depend on the order of a hash map.
    #[must_use]
    pub fn view<V: fmt::Debug>(mut self, view: impl Fn(&M) -> V + Send + Sync + 'static) -> Self {
        self.view = Box::new(move |machine| format!("{:?}", view(machine)));
        self
    }

    /// What holds of every state after every batch of commands, on every member.
    #[must_use]
    pub fn invariant(
        mut self,
        name: &str,
        holds: impl Fn(&M) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.invariants.push((name.to_owned(), Box::new(holds)));
        self
    }

    /// A specification that shares no line with the machine: `model` makes one, and it answers one command
    /// after another as the machine should.
    #[must_use]
    pub fn model<F: FnMut(&Bytes) -> M::Outcome + Send + 'static>(
        mut self,
        model: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        self.model = Some(Box::new(move || {
            let mut answer = model();
            Box::new(move |command| format!("{:?}", answer(command)))
        }));
        self
    }

    /// All that is compared of a state.
    fn shown(&self, machine: &M) -> Arc<str> {
        let view = (self.view)(machine);
        match machine.fingerprint() {
            Some(fingerprint) => format!("{fingerprint} {view}").into(),
            None => view.into(),
        }
    }

    fn keeps_invariants(&self, machine: &M) -> Result<(), Fault> {
        let broken = self.invariants.iter().find(|(_, holds)| !holds(machine));
        match broken {
            None => Ok(()),
            Some((name, _)) => {
                let (at, view) = (machine.applied(), (self.view)(machine));
                Err(wrong(format!("after {at} this does not hold: {name} {view}")))
            }
        }
    }
}

/// Runs each of these seeds with a machine of one's own, and ends with the first that fails. What the runs
/// were like together tells whether enough went wrong in them.
///
/// ```
/// use bytes::Bytes;
/// use quorate_node::{Kept, State};
/// use quorate_sim::{Chance, Subject, check};
///
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl State for Counter {
///     type Outcome = u64;
///
///     fn apply(&mut self, command: &[u8]) -> u64 {
///         self.0 += command.len() as u64;
///         self.0
///     }
///
///     fn snapshot(&self) -> Vec<u8> {
///         self.0.to_be_bytes().to_vec()
///     }
///
///     fn restore(snapshot: &[u8]) -> Option<Self> {
///         Some(Self(u64::from_be_bytes(snapshot.try_into().ok()?)))
///     }
/// }
///
/// let pluses = |chance: &mut Chance| Bytes::from(vec![b'+'; chance.position(9)]);
/// let counter = Subject::<Kept<Counter>>::of_state(pluses).view(|counter| counter.0);
/// let summary = check(0..3, counter).unwrap_or_else(|failure| panic!("{failure}"));
/// assert_eq!(summary.runs, 3);
/// ```
///
/// # Errors
/// The first run that failed. [`replay`] tells what happened in it.
pub fn check<M: Machine<Outcome: fmt::Debug> + 'static>(
    seeds: impl IntoIterator<Item = u64>,
    subject: Subject<M>,
) -> Result<Summary, Box<Failure>> {
    let (subject, mut summary) = (Arc::new(subject), Summary::default());
    for seed in seeds {
        let report = run(seed, &subject, Trace::off())?;
        summary.add(&Ok(report));
    }
    Ok(summary)
}

/// Runs one seed again, with a line for all that happens.
///
/// # Errors
/// What goes wrong.
pub fn replay<M: Machine<Outcome: fmt::Debug> + 'static>(
    seed: u64,
    subject: Subject<M>,
    trace: Trace,
) -> Result<Report, Box<Failure>> {
    run(seed, &Arc::new(subject), trace)
}

fn run<M: Machine<Outcome: fmt::Debug> + 'static>(
    seed: u64,
    subject: &Arc<Subject<M>>,
    trace: Trace,
) -> Result<Report, Box<Failure>> {
    // Those who watch the store and use its leases have no part in this.
    let options = Options { watches: None, leases: None, alarms: None, ..Options::of_seed(seed) };
    let mut world = World::new(seed, options.clone(), None, trace);
    world.carry(Arc::new(Course::new(subject)), Chance::new(seed ^ COMMANDS));
    run_world(world, seed, options, None)
}

/// A subject in one run.
struct Course<M> {
    subject: Arc<Subject<M>>,
    reference: Arc<Mutex<Reference<M>>>,
}

impl<M> fmt::Debug for Course<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subject.fmt(f)
    }
}

impl<M: Machine<Outcome: fmt::Debug> + 'static> Course<M> {
    fn new(subject: &Arc<Subject<M>>) -> Self {
        let machine = (subject.machine)();
        let reference = Reference {
            shown: [(Index(0), subject.shown(&machine))].into(),
            outcomes: BTreeMap::new(),
            model: subject.model.as_ref().map(|model| model()),
            machine,
        };
        Self { subject: Arc::clone(subject), reference: Arc::new(Mutex::new(reference)) }
    }
}

impl<M: Machine<Outcome: fmt::Debug> + 'static> Rides for Course<M> {
    fn draw(&self, chance: &mut Chance) -> Bytes {
        (self.subject.command)(chance)
    }

    fn board(&self) -> Result<Box<dyn Rider>, Fault> {
        let machine = (self.subject.machine)();
        let (subject, reference) = (Arc::clone(&self.subject), Arc::clone(&self.reference));
        if machine.applied() != EntryId::ZERO {
            return Err(wrong(format!("a new machine is at {}", machine.applied())));
        }
        let rider = Tested { subject, reference, machine };
        rider.agrees(EntryId::ZERO, "at its beginning")?;
        Ok(Box::new(rider))
    }
}

/// The machine with which nothing goes wrong, and all that it ever said.
struct Reference<M> {
    machine: M,
    model: Option<Model>,
    outcomes: BTreeMap<Index, String>,
    /// What it showed after each entry that carried a command.
    shown: BTreeMap<Index, Arc<str>>,
}

impl<M: Machine<Outcome: fmt::Debug> + 'static> Reference<M> {
    /// Takes in an entry, unless it has. Members apply all in order, and none has a snapshot that no other
    /// has made: so whatever is new here is the next one.
    fn learn(
        &mut self,
        subject: &Subject<M>,
        entry: EntryId,
        command: &Bytes,
    ) -> Result<(), Fault> {
        if self.outcomes.last_key_value().is_some_and(|(last, _)| entry.index <= *last) {
            return Ok(());
        }
        let outcome = format!("{:?}", self.machine.apply(entry, command)?);
        self.machine.commit(entry)?;
        subject.keeps_invariants(&self.machine)?;
        let expected = self.model.as_mut().map(|answer| answer(command));
        if let Some(expected) = expected.filter(|expected| *expected != outcome) {
            return Err(wrong(format!(
                "{command:?} at {entry} is answered {outcome}, and by the model {expected}"
            )));
        }
        self.outcomes.insert(entry.index, outcome);
        self.shown.insert(entry.index, subject.shown(&self.machine));
        Ok(())
    }

    fn shown_at(&self, index: Index) -> &Arc<str> {
        let (_, shown) =
            self.shown.range(..=index).next_back().expect("there is one of the beginning");
        shown
    }
}

/// The machine of one process.
struct Tested<M> {
    subject: Arc<Subject<M>>,
    reference: Arc<Mutex<Reference<M>>>,
    machine: M,
}

impl<M: Machine<Outcome: fmt::Debug> + 'static> Tested<M> {
    /// Whether the machine is where it should be, and shows what it should.
    fn agrees(&self, at: EntryId, when: &str) -> Result<(), Fault> {
        let applied = self.machine.applied();
        if applied != at {
            return Err(wrong(format!("{when} it says that it is at {applied}, and not at {at}")));
        }
        let reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        let (shown, expected) = (self.subject.shown(&self.machine), reference.shown_at(at.index));
        if shown != *expected {
            return Err(wrong(format!(
                "{when} at {at} it shows {shown}; without any fault it would be {expected}"
            )));
        }
        self.subject.keeps_invariants(&self.machine)
    }
}

impl<M: Machine<Outcome: fmt::Debug> + 'static> Rider for Tested<M> {
    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<(), Fault> {
        let mut reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        reference.learn(&self.subject, entry, command)?;
        let outcome = format!("{:?}", self.machine.apply(entry, command)?);
        let expected = reference.outcomes.get(&entry.index).expect("it was learned");
        if outcome == *expected {
            return Ok(());
        }
        Err(wrong(format!(
            "{command:?} at {entry} is answered {outcome}; without any fault it would be {expected}"
        )))
    }

    fn membership(&self) -> Option<Bytes> {
        self.machine.membership()
    }

    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.machine.set_membership(entry, membership)
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.machine.commit(through)?;
        self.agrees(through, "after a batch")
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        self.machine.snapshot()
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), Fault> {
        self.machine.restore(piece).map_err(|error| match error {
            RestoreError::Fault(fault) => fault,
            RestoreError::Rejected(why) => {
                wrong(format!("a snapshot of its own up to {} is refused: {why}", piece.last))
            }
        })?;
        if piece.end { self.agrees(piece.last, "after a snapshot") } else { Ok(()) }
    }
}
