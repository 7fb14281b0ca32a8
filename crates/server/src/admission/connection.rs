//! The end of a connection on which nobody reads, where others need its memory.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::Memory;

/// How often it is looked whether somebody waits for memory, where a client does not read for so long.
pub(crate) fn look(patience: Duration) -> Duration {
    (patience / 10).min(Duration::from_millis(500))
}

/// A connection, for whoever may end it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    is_over: Arc<Notify>,
    /// The time that a client has to read a piece of an answer.
    patience: Duration,
}

impl Connection {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { is_over: Arc::default(), patience }
    }

    /// Resolves when it is to end. For one who waits.
    pub(crate) async fn is_over(&self) {
        self.is_over.notified().await;
    }

    /// Ends it if something is still there after its time, and others wait for memory.
    pub(super) fn end_if_unread(
        self,
        memory: Arc<Memory>,
        unread: &Arc<()>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let unread: Weak<()> = Arc::downgrade(unread);
        async move {
            sleep(self.patience).await;
            while unread.strong_count() > 0 {
                sleep(look(self.patience)).await;
                if memory.waiting() == 0 {
                    continue;
                }
                // Whatever else there is to free has the same time again.
                sleep(self.patience).await;
                if memory.waiting() > 0 && unread.strong_count() > 0 {
                    self.is_over.notify_one();
                    return;
                }
            }
        }
    }
}
