//! If a server has applied a log entry at a given index to its state machine, no other server will
//! ever apply a different log entry for the same index.
//!
//! Raft figure 3, "State Machine Safety"; §5.4.3. TLA+: `LogInv`.

use alloc::format;
use alloc::string::String;

use super::Invariant;
use crate::cluster::{Cluster, Fact};

/// See the module. Adds that every machine is given the entries in order and without a gap.
#[derive(Debug)]
pub struct StateMachineSafety;

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state_machine_safety"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        match fact {
            Fact::Committed { node, entry } => {
                let given = before.member(*node).committed;
                if entry.id.index != given.next() {
                    return Err(format!("{node} was given {given} and then {}", entry.id));
                }
                match before.committed_at(entry.id.index) {
                    Some(other) if other != *entry => Err(format!(
                        "{node} applies {} where {} was applied before{}",
                        entry.id,
                        other.id,
                        if other.id == entry.id { ", with other bytes" } else { "" }
                    )),
                    Some(_) => Ok(()),
                    None if entry.id.index.0 == before.committed.len() as u64 + 1 => Ok(()),
                    None => Err(format!(
                        "{node} applies {} and nobody applied what precedes it",
                        entry.id
                    )),
                }
            }
            Fact::MachineDurable { node, last } => match before.committed_at(last.index) {
                Some(entry) if entry.id == *last => Ok(()),
                None if last.index.0 == 0 => Ok(()),
                found => Err(format!(
                    "the machine of {node} holds {last}; committed there is {:?}",
                    found.map(|entry| entry.id)
                )),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_raft::{EntryId, Payload};

    use super::super::stage::*;
    use super::*;

    #[test]
    fn different_entries_at_one_index_are_noticed() {
        let mut stage = Stage::new(StateMachineSafety);
        stage.fine(Fact::Committed { node: A, entry: &entry(1, 1) });
        stage.fires(Fact::Committed { node: B, entry: &entry(2, 1) });
        let mut other = entry(1, 1);
        other.payload = Payload::Command(Bytes::from_static(b"x"));
        stage.fires(Fact::Committed { node: B, entry: &other });
        stage.fine(Fact::Committed { node: B, entry: &entry(1, 1) });
    }

    #[test]
    fn gaps_and_repetitions_are_noticed() {
        let mut stage = Stage::new(StateMachineSafety);
        stage.fine(Fact::Committed { node: A, entry: &entry(1, 1) });
        stage.fires(Fact::Committed { node: A, entry: &entry(1, 3) });
        stage.fires(Fact::Committed { node: A, entry: &entry(1, 1) });
    }

    #[test]
    fn a_machine_that_holds_what_nobody_committed_is_noticed() {
        let mut stage = Stage::new(StateMachineSafety);
        stage.fine(Fact::Committed { node: A, entry: &entry(1, 1) });
        stage.fine(Fact::MachineDurable { node: B, last: EntryId::new(1, 1) });
        stage.fires(Fact::MachineDurable { node: C, last: EntryId::new(2, 1) });
        stage.fires(Fact::MachineDurable { node: C, last: EntryId::new(1, 2) });
    }
}
