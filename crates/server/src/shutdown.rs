//! The word that the member ends, for all of its tasks.

use tokio::sync::watch;

/// Says it, once.
#[derive(Debug)]
pub(crate) struct ShutdownSender(watch::Sender<bool>);

/// Hears it.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

/// Both ends.
pub(crate) fn channel() -> (ShutdownSender, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownSender(sender), Shutdown(receiver))
}

impl ShutdownSender {
    pub(crate) fn send(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Resolves when the member ends, and for ever after.
    pub(crate) async fn requested(&mut self) {
        // Without a sender there is no server either.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}
