//! Connections of clients that name the server, as any bytes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::AnyAuthority;

/// A socket on which these pieces arrive, and then the end.
struct Pieces(VecDeque<Bytes>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else { return Poll::Ready(Ok(())) };
        let taken = piece.split_to(piece.len().min(buffer.remaining()));
        buffer.put_slice(&taken);
        if !piece.is_empty() {
            self.0.push_front(piece);
        }
        Poll::Ready(Ok(()))
    }
}

/// What a reader finds, who reads so much at once.
fn found(pieces: &[Bytes], window: usize) -> Vec<u8> {
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
    let mut connection = AnyAuthority::new(Pieces(pieces));
    let (mut all, mut space) = (Vec::new(), vec![0; window]);
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut connection).poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return all,
            Poll::Ready(Ok(())) => all.extend_from_slice(buffer.filled()),
            other => panic!("the pieces are there: {other:?}"),
        }
    }
}

/// A connection on which these pieces arrive.
///
/// # Panics
/// If what is found behind it is longer or shorter, or depends on the pieces.
pub fn connection(pieces: &[Bytes], window: usize) {
    let whole = Bytes::from(pieces.concat());
    let read = found(pieces, window.clamp(1, 4096));
    assert_eq!(read.len(), whole.len(), "no length changes");
    assert_eq!(read, found(&[whole], 64 << 10), "how it arrives makes no difference");
}
