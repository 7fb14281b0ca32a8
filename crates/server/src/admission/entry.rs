//! How a request is let in: its messages wait until there is memory for them, and have to come in time.
//!
//! Whoever says that a large message follows has memory for it from then on, and would have it for ever if it could say
//! no more.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use quorate_host::Turn;
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::Held;
use crate::rpc::Failure;

/// A claim that waits.
type Waiting = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// How the messages of one request come in.
pub(crate) struct Entry {
    held: Held,
    /// The longest message that is read at all.
    message_bytes_max: usize,
    /// The longest message that memory was claimed for.
    claimed: usize,
    waiting: Option<Waiting>,
    /// What came, and waits for its claim.
    frame: Option<Frame<Bytes>>,
    /// The time that a message has to arrive.
    patience: Duration,
    /// Whether a message must come, or the rest of one.
    is_due: bool,
    /// When that is too late.
    late: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

impl Entry {
    /// For a call that has yet to wait for its `turn`, if there is one. `is_due` if it has a message for sure.
    pub(crate) fn new(
        held: Held,
        turn: Option<Turn>,
        message_bytes_max: usize,
        patience: Duration,
        is_due: bool,
    ) -> Self {
        let mut entry = Self {
            held,
            message_bytes_max,
            claimed: 0,
            waiting: None,
            frame: None,
            patience,
            is_due,
            late: None,
        };
        entry.wait_for(turn);
        entry
    }

    fn wait_for(&mut self, turn: Option<Turn>) {
        if let Some(turn) = turn {
            self.waiting = Some(Box::pin(self.held.clone().wait(turn)));
        }
    }

    /// Whether something that came waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.frame.is_some()
    }

    /// Notes a piece of the body that has come, and the longest message that has begun by now; whether all of them have
    /// ended, too.
    pub(crate) fn came(
        &mut self,
        largest: usize,
        is_whole: bool,
        frame: Frame<Bytes>,
    ) -> Result<(), Status> {
        self.frame = Some(frame);
        self.is_due = !is_whole;
        if is_whole {
            self.late = None;
        }
        // What is longer is refused when the service reads it.
        let largest = largest.min(self.message_bytes_max);
        if largest > self.claimed {
            let more = largest - self.claimed;
            self.claimed = largest;
            let turn = self.held.ask_for_message(more)?;
            self.wait_for(turn);
        }
        Ok(())
    }

    /// Resolves when nothing waits for its claim, with what did.
    pub(crate) fn poll_waiting(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Status>> {
        if let Some(waiting) = &mut self.waiting {
            let granted = ready!(waiting.as_mut().poll(context));
            self.waiting = None;
            granted?;
        }
        Poll::Ready(Ok(self.frame.take()))
    }

    /// Resolves with a refusal when what must come is late.
    pub(crate) fn poll_late<T>(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Box<dyn Error + Send + Sync>>>> {
        if !self.is_due {
            return Poll::Pending;
        }
        let patience = self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(late.as_mut().poll(context));
        self.is_due = false;
        Poll::Ready(Some(Err(Status::from(Failure::Timeout).into())))
    }
}
