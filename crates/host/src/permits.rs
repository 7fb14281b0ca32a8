//! Permits: what a client's work needs to enter, given back when it ends.
//!
//! Refusing at the door is what lets every queue behind it stay unbounded in form and bounded in
//! fact. Between the threads of the host themselves there are no such limits: a loop that waits for
//! room in the queue of its own worker is how such loops deadlock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of permits and of bytes.
#[derive(Debug)]
pub struct Permits {
    count_max: usize,
    bytes_max: usize,
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// One permit with its bytes. Given back when dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    bytes: usize,
}

impl Permits {
    /// So many.
    #[must_use]
    pub fn new(count_max: usize, bytes_max: usize) -> Arc<Self> {
        let (count, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { count_max, bytes_max, count, bytes })
    }

    /// A permit for work of so many bytes, if there is one left.
    #[must_use]
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        // Add first and look after, so that two who come at once cannot both get the last one.
        let permit = Permit { permits: Arc::clone(self), bytes };
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = count < self.count_max && bytes_before.saturating_add(bytes) <= self.bytes_max;
        fits.then_some(permit)
    }
}

impl Permit {
    /// Whether no other permit of its kind is out.
    pub(crate) fn is_only(&self) -> bool {
        self.permits.count.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.count.fetch_sub(1, Ordering::Relaxed);
        self.permits.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_end_by_count_and_by_bytes_and_come_back() {
        let permits = Permits::new(2, 10);
        let first = permits.take(4).unwrap();
        assert!(first.is_only());
        assert!(permits.take(7).is_none(), "eleven bytes are too many");
        let second = permits.take(6).unwrap();
        assert!(permits.take(0).is_none(), "two are out");
        assert!(!first.is_only());
        drop(first);
        assert!(permits.take(5).is_none());
        assert!(permits.take(4).is_some());
        drop(second);
        assert!(permits.take(10).is_some(), "refusals took nothing with them");
    }
}
