//! A bank whose accounts are replicated, tried under the faults of the simulator: members crash, lose their disks,
//! are cut off and are given snapshots, and the bank must stay the same on all of them.
//!
//! `cargo run --release -p quorate-sim --example bank`

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_node::{Kept, State};
use quorate_sim::{Chance, Subject, check};

/// What the bank begins with, all of it in the account [`Bank::VAULT`].
const MONEY: u64 = 1_000;
/// So many accounts there are at most.
const ACCOUNTS: u64 = 6;

/// The accounts, each with what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bank(pub(crate) BTreeMap<u8, u64>);

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Senseless,
    Exists,
    NoSuchAccount,
    NotEnough,
}

impl Bank {
    const VAULT: u8 = 0;

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn open(&mut self, account: u8) -> Result<u64, Refusal> {
        if self.0.contains_key(&account) {
            return Err(Refusal::Exists);
        }
        self.0.insert(account, 0);
        Ok(0)
    }

    /// Returns what is left to the one who gave.
    fn transfer(&mut self, from: u8, to: u8, amount: u64) -> Result<u64, Refusal> {
        if !self.0.contains_key(&to) {
            return Err(Refusal::NoSuchAccount);
        }
        let giver = self.0.get_mut(&from).ok_or(Refusal::NoSuchAccount)?;
        *giver = giver.checked_sub(amount).ok_or(Refusal::NotEnough)?;
        *self.0.get_mut(&to).expect("it was there") += amount;
        Ok(self.0[&from])
    }
}

impl Default for Bank {
    fn default() -> Self {
        Self([(Self::VAULT, MONEY)].into())
    }
}

impl State for Bank {
    type Outcome = Result<u64, Refusal>;

    fn apply(&mut self, command: &[u8]) -> Self::Outcome {
        match *command {
            [account] => self.open(account),
            [from, to, amount] => self.transfer(from, to, u64::from(amount)),
            _ => Err(Refusal::Senseless),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let row = |(account, money): (&u8, &u64)| [&[*account][..], &money.to_be_bytes()].concat();
        self.0.iter().flat_map(row).collect()
    }

    fn restore(snapshot: &[u8]) -> Option<Self> {
        let rows = snapshot.chunks(9).map(|row| {
            let (account, money) = row.split_first()?;
            Some((*account, u64::from_be_bytes(money.try_into().ok()?)))
        });
        rows.collect::<Option<_>>().map(Self)
    }
}

/// What a client asks for: now and then a new account, or something that makes no sense.
pub(crate) fn command(chance: &mut Chance) -> Bytes {
    let account = |chance: &mut Chance| chance.below(ACCOUNTS) as u8;
    Bytes::from(match chance.below(10) {
        0 => vec![account(chance)],
        1 => vec![],
        _ => vec![account(chance), account(chance), chance.below(200) as u8],
    })
}

pub(crate) fn main() {
    let bank = Subject::<Kept<Bank>>::of_state(command)
        .view(|bank| Bank::clone(bank))
        .invariant("no money comes or goes", |bank| bank.total() == MONEY);
    let summary = check(0..12, bank).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(summary.snapshots > 10 && summary.tally.writes > 1_000, "too little went on");
}
