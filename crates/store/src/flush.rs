//! The thread that writes sealed memtables to disk.

use crate::{memtable::newest_rows, shared::Shared};
use quorate_mvcc::engine::EngineError;
use std::sync::Arc;

/// Flushes whatever is sealed, the oldest first, until the engine stops. On a full disk it tries again and again.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn run(shared: &Shared) -> Result<(), EngineError> {
    loop {
        let head = shared.wait_until(|head| head.stopping || !head.sealed.is_empty())?;
        if head.stopping {
            return Ok(());
        }
        let generation = Arc::clone(&head.generation);
        let memtable = Arc::clone(&head.sealed.front().expect("waited for it").memtable);
        drop(head);

        match generation.flush(newest_rows(&memtable)) {
            Ok(()) => {}
            // The rows are in memory and in the log: they can wait for room.
            Err(EngineError::Full(_)) => {
                shared.head().disk_is_full = true;
                shared.notify();
                shared.wait_for_room();
                continue;
            }
            Err(error) => return Err(error),
        }

        shared.publish(&generation, |head| {
            head.unseal();
            head.disk_is_full = false;
            head.compaction_due = true;
        });
    }
}
