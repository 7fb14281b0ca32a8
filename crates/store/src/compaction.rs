//! The thread that merges tables: it keeps seeks short and gives space back, a step at a time.

use crate::shared::Shared;
use quorate_mvcc::engine::EngineError;
use std::sync::Arc;

/// Compacts after each flush until nothing is left to do, until the engine stops.
///
/// # Errors
/// If a table is damaged or the disk refuses.
pub(crate) fn run(shared: &Shared) -> Result<(), EngineError> {
    loop {
        let mut head = shared.wait_until(|head| head.stopping || head.compaction_due)?;
        if head.stopping {
            return Ok(());
        }
        head.compaction_due = false;
        let (generation, bound) = (Arc::clone(&head.generation), head.bound);
        drop(head);

        match generation.compact(bound) {
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
