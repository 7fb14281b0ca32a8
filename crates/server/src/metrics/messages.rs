//! How many messages there are in a body of gRPC.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Metrics;

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Counts the messages of a body that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// What has come of a prefix.
    prefix: [u8; PREFIX_BYTES],
    prefix_length: usize,
    /// So many bytes of the message behind it are still to come.
    left: usize,
    /// The length of the longest message that has begun.
    largest: usize,
}

impl Messages {
    /// How many messages come to their end in this piece.
    pub(super) fn add(&mut self, mut piece: &[u8]) -> u64 {
        let mut ended = 0;
        while !piece.is_empty() {
            let length = if self.prefix_length < PREFIX_BYTES {
                let length = piece.len().min(PREFIX_BYTES - self.prefix_length);
                let end = self.prefix_length + length;
                self.prefix[self.prefix_length..end].copy_from_slice(&piece[..length]);
                self.prefix_length = end;
                let [_, a, b, c, d] = self.prefix;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.prefix_length == PREFIX_BYTES {
                    self.largest = self.largest.max(self.left);
                }
                length
            } else {
                let length = piece.len().min(self.left);
                self.left -= length;
                length
            };
            if self.prefix_length == PREFIX_BYTES && self.left == 0 {
                ended += 1;
                self.prefix_length = 0;
            }
            piece = &piece[length..];
        }
        ended
    }
}

/// Counts what a client sends in one call.
#[derive(Debug)]
pub(crate) struct Received {
    metrics: Arc<Metrics>,
    method: usize,
    messages: Messages,
}

impl Received {
    /// For the call at this position of the list.
    pub(crate) fn new(metrics: Arc<Metrics>, method: usize) -> Self {
        Self { metrics, method, messages: Messages::default() }
    }

    /// A piece of the body has come.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.metrics.received_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        let messages = self.messages.add(piece);
        let received = &self.metrics.calls[self.method].received_messages;
        received.fetch_add(messages, Ordering::Relaxed);
    }

    /// The length of the longest message that has begun.
    pub(crate) fn largest(&self) -> usize {
        self.messages.largest
    }

    /// Whether no message has begun that has not ended.
    pub(crate) fn is_whole(&self) -> bool {
        self.messages.prefix_length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_come() {
        let mut body = Vec::new();
        for length in [0_u8, 1, 7, 0] {
            body.extend_from_slice(&[0, 0, 0, 0, length]);
            body.extend(std::iter::repeat_n(0xff, length.into()));
        }
        for size in 1..=body.len() {
            let mut messages = Messages::default();
            let counts: Vec<_> = body.chunks(size).map(|piece| messages.add(piece)).collect();
            assert_eq!(counts.iter().sum::<u64>(), 4, "in pieces of {size}");
            assert_eq!((messages.largest, messages.prefix_length), (7, 0));
            assert_eq!(messages.add(&body[..5]), 1, "nothing is left over");
        }
    }
}
