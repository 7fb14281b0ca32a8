//! Questions between members, beside the log: what an application on one member wants to know from
//! the same application on another, such as "how long does this lease live?" from whoever leads.
//!
//! Nothing here is replicated or durable. A question is sent once, and answered or not.

use std::sync::Arc;

use bytes::Bytes;
use quorate_raft::NodeId;
use tokio::sync::oneshot;

use crate::error::AskError;

/// Answers the questions of other members, and of this one when it asks itself.
///
/// Called with who asks, what is asked, and where the answer goes. Must return at once: it holds up
/// the connection of the peer who asks. One that needs time takes the [`Reply`] elsewhere.
pub type AskHandler = Arc<dyn Fn(NodeId, Bytes, Reply) + Send + Sync>;

/// Where an answer goes. Dropped without one, it tells the asker that there is none.
#[derive(Debug)]
pub struct Reply {
    target: Option<Target>,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Target {
    /// A caller in this process.
    Here(oneshot::Sender<Result<Bytes, AskError>>),
    /// Another member.
    Peer(PeerReply),
}

/// The way back to another member.
pub(crate) struct PeerReply {
    /// Sends the answer, or that there is none.
    pub(crate) send: Box<dyn FnOnce(Option<Bytes>) + Send>,
}

impl std::fmt::Debug for PeerReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerReply").finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) fn here(sender: oneshot::Sender<Result<Bytes, AskError>>) -> Self {
        Self { target: Some(Target::Here(sender)) }
    }

    pub(crate) fn peer(reply: PeerReply) -> Self {
        Self { target: Some(Target::Peer(reply)) }
    }

    /// Answers.
    pub fn send(mut self, answer: Bytes) {
        self.finish(Some(answer));
    }

    fn finish(&mut self, answer: Option<Bytes>) {
        match self.target.take() {
            // An asker that no longer waits is no concern of the one who answers.
            Some(Target::Here(sender)) => {
                let _ = sender.send(answer.ok_or(AskError::Unanswered));
            }
            Some(Target::Peer(reply)) => (reply.send)(answer),
            None => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.finish(None);
    }
}
