//! If two logs contain an entry with the same index and term, then the logs are identical in all
//! entries up through the given index.
//!
//! Raft figure 3, "Log Matching"; §5.3. TLA+: `LogMatchingInv`.
//!
//! Comparing all logs pairwise at every step would be slow, so the property is checked by its
//! induction: an entry's id fixes, for all logs and for ever, what the entry holds *and* which
//! entry precedes it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use quorate_raft::{Entry, EntryId, Payload, Record};

use super::Invariant;
use crate::cluster::{self, Cluster, Fact};

/// See the module. Remembers every entry that was ever in any log, with its predecessor.
#[derive(Debug, Default)]
pub struct LogMatching {
    entries: BTreeMap<EntryId, (EntryId, Payload)>,
}

impl LogMatching {
    fn follows(&mut self, previous: EntryId, entry: &Entry) -> Result<(), String> {
        let id = entry.id;
        if id.index != previous.index.next() || id.term < previous.term {
            return Err(format!("{id} follows {previous}"));
        }
        let known = self.entries.entry(id).or_insert_with(|| (previous, entry.payload.clone()));
        if known.0 != previous {
            return Err(format!("{id} follows {previous}, and {} in another log", known.0));
        }
        if known.1 != entry.payload {
            return Err(format!("{id} holds other bytes than in another log"));
        }
        Ok(())
    }
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log_matching"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        match fact {
            Fact::Recorded { node, record: Record::Append(entries) } => {
                let log = &before.member(*node).issued;
                let Some(first) = entries.first() else {
                    return Err(format!("{node} appends nothing"));
                };
                let Some(index) = first.id.index.previous() else {
                    return Err(format!("{node} appends at index 0"));
                };
                let mut previous = if index == log.base.index {
                    log.base
                } else {
                    let found = cluster::at(log, index).map(|entry| entry.id);
                    found.ok_or_else(|| format!("{node} appends {} after a gap", first.id))?
                };
                for entry in entries {
                    self.follows(previous, entry).map_err(|what| format!("at {node}, {what}"))?;
                    previous = entry.id;
                }
                Ok(())
            }
            Fact::Started { node, recovered, .. } => {
                let mut previous = recovered.base;
                for entry in &recovered.entries {
                    self.follows(previous, entry)
                        .map_err(|what| format!("restarted {node}, {what}"))?;
                    previous = entry.id;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::Bytes;
    use quorate_raft::Recovered;

    use super::super::stage::*;
    use super::*;

    #[test]
    fn an_entry_after_different_predecessors_is_noticed() {
        let mut stage = Stage::new(LogMatching::default());
        stage.append(A, &[(1, 1), (3, 2)]);
        stage.append(B, &[(2, 1)]);
        stage.fires(Fact::Recorded { node: B, record: &append(&[(3, 2)]) });
    }

    #[test]
    fn an_entry_with_different_contents_is_noticed() {
        let mut stage = Stage::new(LogMatching::default());
        stage.append(A, &[(1, 1)]);
        let mut other = entry(1, 1);
        other.payload = Payload::Command(Bytes::from_static(b"x"));
        stage.fires(Fact::Recorded { node: B, record: &Record::Append(vec![other]) });
    }

    #[test]
    fn gaps_and_descending_terms_are_noticed() {
        let mut stage = Stage::new(LogMatching::default());
        stage.append(A, &[(2, 1)]);
        stage.fires(Fact::Recorded { node: A, record: &append(&[(2, 3)]) });
        stage.fires(Fact::Recorded { node: A, record: &append(&[(1, 2)]) });
    }

    #[test]
    fn a_log_that_comes_back_different_is_noticed() {
        let mut stage = Stage::new(LogMatching::default());
        stage.append(A, &[(1, 1), (2, 2)]);
        let recovered =
            Recovered { entries: vec![entry(2, 1), entry(2, 2)], ..Recovered::default() };
        stage.fires(Fact::Started { node: A, recovered: &recovered, applied: EntryId::ZERO });
    }
}
