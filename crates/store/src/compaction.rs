//! The thread that merges tables: it keeps seeks short and gives space back, a step at a time.
//!
//! The ordinary steps follow from how much is written, and what was removed gives its space back when
//! something new is written over it. After a large removal that may be never, and on a full disk
//! nothing new may be written. So when one row in eight only says that another is gone, everything is
//! merged; and since those rows come from removals, that costs a few row writes for each. On a disk that
//! is nearly full ([`Engine::reclaim`]) one such row is enough.
//!
//! [`Engine::reclaim`]: quorate_mvcc::engine::Engine::reclaim

use crate::shared::Shared;
use quorate_mvcc::engine::EngineError;
use std::sync::Arc;

/// Space is not worth a merge of everything while a store takes less than a memtable.
pub(crate) const RECLAIM_BYTES_MIN: u64 = 16 << 20;

/// A merge of more than this would hold the ordinary ones up for too long. etcd's default quota.
const RECLAIM_BYTES_MAX: u64 = 2 << 30;

/// Compacts after each flush until nothing is left to do, until the engine stops.
///
/// # Errors
/// If a table is damaged or the disk refuses.
pub(crate) fn run(shared: &Shared) -> Result<(), EngineError> {
    loop {
        let mut head = shared.wait_until(|head| {
            // What is sealed goes first: what it removed is part of the garbage.
            let wanted = head.reclaim_wanted && head.sealed.is_empty();
            head.stopping || head.compaction_due || wanted
        })?;
        if head.stopping {
            return Ok(());
        }
        head.compaction_due = false;
        let wanted = head.sealed.is_empty() && std::mem::take(&mut head.reclaim_wanted);
        let (generation, bound) = (Arc::clone(&head.generation), head.bound);
        drop(head);

        let worth_it = RECLAIM_BYTES_MIN..=RECLAIM_BYTES_MAX;
        let step = generation.compact(bound).and_then(|done| {
            let rows = generation.rows();
            let much = worth_it.contains(&generation.disk_bytes()) && rows.hold_much_garbage(0);
            let reclaims = wanted && rows.tombstones > 0 || !done && much;
            if reclaims {
                generation.reclaim(bound)?;
            }
            Ok(done || reclaims)
        });
        match step {
            Ok(true) => shared.publish(&generation, |head| head.compaction_due = true),
            Ok(false) => {}
            // Merging takes room before it gives any back. It may be there later.
            Err(EngineError::Full(_)) => {
                shared.wait_for_room();
                shared.head().compaction_due = true;
            }
            Err(error) => return Err(error),
        }
    }
}
