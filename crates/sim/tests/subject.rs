//! Machines of others: a right one passes, and whatever is wrong with one is found.

#[path = "../examples/bank.rs"]
mod bank;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use quorate_node::{
    Fault, Kept, Machine, Piece, RestoreError, Snapshot, SnapshotBytes, SnapshotError, State,
};
use quorate_raft::EntryId;
use quorate_sim::trace::Trace;
use quorate_sim::{Subject, check, replay};

use bank::{Bank, Refusal};

#[test]
fn a_bank_under_all_faults_stays_the_same_on_all_members() {
    bank::main();
}

/// A bank that is wrong in some way is found out in one of the first seeds, by these words.
#[track_caller]
fn is_found<M>(subject: Subject<M>, words: &str)
where
    M: Machine<Outcome: fmt::Debug> + 'static,
{
    let failure = check(0..20, subject).expect_err("what is wrong goes unnoticed");
    assert!(failure.what.contains(words), "taken for something else: {}", failure.what);
}

/// A bank that answers with something more than it should.
#[derive(Default)]
struct Telling<T>(Bank, T);

/// What it answers with.
trait Told: Default + Send + 'static {
    fn told(&mut self, bank: &Bank) -> u64;
}

impl<T: Told> State for Telling<T> {
    type Outcome = (Result<u64, Refusal>, u64);

    fn apply(&mut self, command: &[u8]) -> Self::Outcome {
        (self.0.apply(command), self.1.told(&self.0))
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.snapshot()
    }

    fn restore(snapshot: &[u8]) -> Option<Self> {
        Some(Self(Bank::restore(snapshot)?, T::default()))
    }
}

#[track_caller]
fn what_is_told_is_found<T: Told>() {
    is_found(Subject::<Kept<Telling<T>>>::of_state(bank::command), "is answered");
}

#[derive(Default)]
struct AnyAccount;

impl Told for AnyAccount {
    fn told(&mut self, bank: &Bank) -> u64 {
        let accounts: HashSet<u8> = bank.0.keys().copied().collect();
        accounts.into_iter().next().map_or(0, u64::from)
    }
}

#[test]
fn an_order_that_is_none() {
    what_is_told_is_found::<AnyAccount>();
}

static COMMANDS_OF_ALL: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct CommandsOfAll;

impl Told for CommandsOfAll {
    fn told(&mut self, _bank: &Bank) -> u64 {
        COMMANDS_OF_ALL.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn something_outside_of_the_state() {
    what_is_told_is_found::<CommandsOfAll>();
}

#[derive(Default)]
struct CommandsOfProcess(u64);

impl Told for CommandsOfProcess {
    fn told(&mut self, _bank: &Bank) -> u64 {
        self.0 += 1;
        self.0
    }
}

#[test]
fn something_that_a_restart_forgets() {
    what_is_told_is_found::<CommandsOfProcess>();
}

/// A state that wraps a bank and does one thing otherwise.
#[derive(Clone, Debug, Default)]
struct Careless(Bank);

impl State for Careless {
    type Outcome = Result<u64, Refusal>;

    /// Whoever gives to himself has more than before.
    fn apply(&mut self, command: &[u8]) -> Self::Outcome {
        let outcome = self.0.apply(command);
        if let ([from, to, amount], Ok(_)) = (command, outcome)
            && from == to
        {
            *self.0.0.get_mut(to).expect("it was there") += u64::from(*amount);
        }
        outcome
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.snapshot()
    }

    fn restore(snapshot: &[u8]) -> Option<Self> {
        Bank::restore(snapshot).map(Self)
    }
}

#[test]
fn money_from_nowhere() {
    let careless = || Subject::<Kept<Careless>>::of_state(bank::command);
    let total = Bank::default().total();
    is_found(
        careless().invariant("no money comes or goes", move |bank| bank.0.total() == total),
        "no money comes or goes",
    );
    let right = || {
        let mut bank = Bank::default();
        move |command: &Bytes| bank.apply(command)
    };
    is_found(careless().model(right), "by the model");
}

/// Its snapshot is without the accounts that are empty.
#[derive(Clone, Debug, Default)]
struct Forgetful(Bank);

impl State for Forgetful {
    type Outcome = Result<u64, Refusal>;

    fn apply(&mut self, command: &[u8]) -> Self::Outcome {
        self.0.apply(command)
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut bank = self.0.clone();
        bank.0.retain(|_, money| *money > 0);
        bank.snapshot()
    }

    fn restore(snapshot: &[u8]) -> Option<Self> {
        Bank::restore(snapshot).map(Self)
    }
}

#[test]
fn an_account_that_a_snapshot_forgets() {
    let forgetful = || Subject::<Kept<Forgetful>>::of_state(bank::command);
    is_found(forgetful().view(|bank| bank.0.clone()), "after a snapshot");
    is_found(forgetful(), "is answered");
}

/// A bank that is a machine by itself: its snapshot is one account after the other. A wrong one is not frozen:
/// whoever reads on sees what was applied meanwhile.
struct Teller {
    bank: Arc<Mutex<Bank>>,
    applied: EntryId,
    membership: Option<Bytes>,
    incoming: Bank,
    freezes: bool,
}

impl Teller {
    fn new(freezes: bool) -> Self {
        let (bank, incoming) = (Arc::default(), Bank(BTreeMap::new()));
        Self { bank, applied: EntryId::ZERO, membership: None, incoming, freezes }
    }

    fn bank(&self) -> MutexGuard<'_, Bank> {
        self.bank.lock().expect("nobody panicked")
    }
}

impl Machine for Teller {
    type Outcome = Result<u64, Refusal>;

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        EntryId::ZERO
    }

    fn apply(&mut self, _entry: EntryId, command: &Bytes) -> Result<Self::Outcome, Fault> {
        Ok(self.bank().apply(command))
    }

    fn membership(&self) -> Option<Bytes> {
        self.membership.clone()
    }

    fn set_membership(&mut self, _: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.membership = Some(membership.clone());
        Ok(())
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.applied = through;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        let frozen = || Arc::new(Mutex::new(self.bank().clone()));
        let bank = if self.freezes { frozen() } else { Arc::clone(&self.bank) };
        Ok(Box::new(Accounts { bank, last: self.applied }))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        if piece.first {
            self.incoming.0.clear();
        }
        let account = Bank::restore(&piece.data);
        let account = account.ok_or_else(|| RestoreError::Rejected("no account".into()))?;
        self.incoming.0.extend(account.0);
        if piece.end {
            *self.bank() = self.incoming.clone();
            self.applied = piece.last;
            self.membership = Some(piece.membership.clone());
        }
        Ok(())
    }
}

struct Accounts {
    bank: Arc<Mutex<Bank>>,
    last: EntryId,
}

impl Snapshot for Accounts {
    fn last(&self) -> EntryId {
        self.last
    }

    fn read(&mut self, cursor: &[u8], _bytes_max: usize) -> Result<SnapshotBytes, SnapshotError> {
        let from = cursor.first().copied().unwrap_or(0);
        let bank = self.bank.lock().expect("nobody panicked");
        let mut accounts = bank.0.range(from..).map(|(account, money)| (*account, *money));
        let account = accounts.next().ok_or(SnapshotError::Cursor)?;
        let next = accounts.next().map(|(account, _)| Bytes::from(vec![account]));
        Ok(SnapshotBytes { data: Bank([account].into()).snapshot().into(), next })
    }
}

#[test]
fn a_machine_with_a_snapshot_of_its_own() {
    let teller = |freezes| {
        Subject::new(move || Teller::new(freezes), bank::command)
            .view(|teller: &Teller| teller.bank().clone())
    };
    check(0..9, teller(true)).unwrap_or_else(|failure| panic!("{failure}"));
    is_found(teller(false), "after a snapshot");
}

#[test]
fn a_seed_is_the_same_run_for_ever_and_can_be_watched() {
    let bank = || Subject::<Kept<Bank>>::of_state(bank::command);
    let unwatched = replay(3, bank(), Trace::off()).expect("the seed passes");
    let watched = replay(3, bank(), Trace::to(|_| {})).expect("the seed passes");
    assert_eq!(unwatched, watched);
}
