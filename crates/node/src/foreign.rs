//! Commands of other nodes' clients, from the moment a leader takes them until it proposes them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_raft::Term;

use crate::proposal::ProposalId;

/// A command of another node's client, taken in a term that this node leads or led.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) term: Term,
    pub(crate) id: ProposalId,
    pub(crate) command: Bytes,
}

/// Those that are not yet proposed. Nobody here has asked for them, so their number and their bytes
/// are bounded where they come in.
#[derive(Debug, Default)]
pub(crate) struct ForeignCommands {
    queue: VecDeque<Foreign>,
    /// The bytes of all commands in the queue.
    bytes: usize,
}

impl ForeignCommands {
    /// Queues a command, or gives it back if there would be more than so many of so many bytes.
    pub(crate) fn push(
        &mut self,
        foreign: Foreign,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<(), Foreign> {
        let bytes = self.bytes.saturating_add(foreign.command.len());
        if self.queue.len() >= count_max || bytes > bytes_max {
            return Err(foreign);
        }
        self.bytes = bytes;
        self.queue.push_back(foreign);
        Ok(())
    }

    /// Takes out those that were taken in another term than one that this node leads, all if it leads none.
    pub(crate) fn take_stale(&mut self, led: Option<Term>) -> Vec<Foreign> {
        if self.queue.iter().all(|foreign| Some(foreign.term) == led) {
            return Vec::new();
        }
        let queue = self.take().into_iter();
        let (kept, stale): (Vec<_>, Vec<_>) = queue.partition(|foreign| Some(foreign.term) == led);
        self.bytes = kept.iter().map(|foreign| foreign.command.len()).sum();
        self.queue = kept.into();
        stale
    }

    /// Takes them all, in order.
    pub(crate) fn take(&mut self) -> VecDeque<Foreign> {
        self.bytes = 0;
        core::mem::take(&mut self.queue)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::NodeId;

    use super::*;

    fn foreign(term: u64, bytes: usize) -> Foreign {
        let id = ProposalId { origin: NodeId(2), incarnation: 1, number: 1 };
        Foreign { term: Term(term), id, command: alloc::vec![0; bytes].into() }
    }

    #[test]
    fn what_waits_is_bounded_in_count_and_in_bytes_and_room_comes_back() {
        let mut commands = ForeignCommands::default();
        let push = |commands: &mut ForeignCommands, term, bytes| {
            commands.push(foreign(term, bytes), 3, 10).is_ok()
        };
        assert!(push(&mut commands, 1, 6) && push(&mut commands, 2, 4));
        assert!(!push(&mut commands, 2, 1), "eleven bytes are too many");
        assert_eq!(commands.take_stale(Some(Term(2))).len(), 1);
        assert!(push(&mut commands, 2, 6), "the first is gone");
        assert!(push(&mut commands, 2, 0) && !push(&mut commands, 2, 0), "three are enough");
        assert_eq!(commands.take().len(), 3);
        assert!(push(&mut commands, 3, 10));
        assert_eq!(commands.take_stale(None).len(), 1);
        assert!(commands.is_empty() && push(&mut commands, 3, 10));
    }
}
