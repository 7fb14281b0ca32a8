//! The thread that writes sealed memtables to disk.

use crate::shared::Shared;
use quorate_mvcc::engine::EngineError;
use std::sync::Arc;

/// Flushes whatever is sealed until the engine stops.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn run(shared: &Shared) -> Result<(), EngineError> {
    loop {
        let head = shared.wait_until(|head| head.stopping || !head.sealed.is_empty())?;
        if head.stopping {
            return Ok(());
        }
        let (generation, bound) = (Arc::clone(&head.generation), head.bound);
        // The tree flushes all that is sealed when it begins, so at least these.
        let count = head.sealed.len();
        drop(head);

        generation.flush(bound)?;

        shared.change(|shared| {
            let mut head = shared.head();
            // A snapshot that was installed meanwhile has its own memtables and position.
            if Arc::ptr_eq(&head.generation, &generation) {
                let flushed = head.sealed.drain(..count).next_back();
                head.durable = flushed.expect("there was something to flush").applied;
                head.compaction_due = true;
            }
        });
    }
}
