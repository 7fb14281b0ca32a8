//! Whether a connection has begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The word that a client has said what it wants. Whoever hears it first tells it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Begun(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    was_told: AtomicBool,
    notify: Notify,
}

impl Begun {
    /// Tells it; again is no harm.
    pub(crate) fn tell(&self) {
        // Told for each request.
        if !self.0.was_told.load(Ordering::Relaxed)
            && !self.0.was_told.swap(true, Ordering::Relaxed)
        {
            self.0.notify.notify_one();
        }
    }

    /// Resolves once, after it was told. For one who waits.
    pub(crate) async fn told(&self) {
        self.0.notify.notified().await;
    }
}
