//! Connections on which a client may call the server by any name.
//!
//! A request over HTTP/2 says in `:authority` by which name its client calls the server. hyper parses it,
//! and resets the stream when it is no authority in the sense of RFC 3986. Widespread clients send such
//! a thing: etcdctl 3.4 sends the whole URL for the commands that ask one endpoint after the other
//! (`http://127.0.0.1:2379`), version 3.5.0 of etcd's client for Go sends `#initially=[127.0.0.1:2379]`,
//! and any client in Go that dials the path of a Unix socket, such as a proxy's, sends that path. grpc-go,
//! which etcd is built on, does not look.
//!
//! Neither do we: nothing here is served by name. So every name is overwritten on its way in, before
//! hyper sees it, by one of zeros.
//!
//! ```text
//!  socket ──► AnyAuthority ── frames.rs: where header blocks are
//!                  │             └─ block.rs: where in them the names are
//!                  ▼                   └─ huffman.rs: another name of the same size
//!                hyper
//! ```
//!
//! What makes this small is that it happens **in place, and changes no length**. The encoded length of a
//! name counts for the lengths of its field, block and frame. Its decoded length counts for what HPACK's
//! dynamic table evicts and when (RFC 7541, section 4.1), and later requests refer to names in that
//! table. With both unchanged, all other bytes of the connection mean what they meant, and no table has
//! to be kept here.
//!
//! # What is not here
//!
//! No judgement. What does not parse passes as it came, and hyper refuses it with the right error.
//!
//! Three kinds of names pass as they came, too: an empty one, which has no room; one whose field is named
//! by an entry of the dynamic table, for which the static table has one; and one in a CONTINUATION
//! frame. Names are among the first fields of a block, and the frame before has room for 16 KiB of them.

mod block;
mod frames;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod huffman;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frames::{Frames, Part};
use crate::accept::Begun;

/// A connection whose reader finds zeros where a client names the server. What is written passes, and so
/// does all that is read if it does not begin as HTTP/2 does.
///
/// What is read goes into the reader's own memory and is overwritten there. Only the part of a header
/// block that came without its end is kept back until the end has come. That is at most 16 KiB, which
/// the reader would have to keep as well before it could make sense of any of it.
#[derive(Debug)]
pub(crate) struct AnyAuthority<S> {
    stream: S,
    frames: Frames,
    state: State,
    /// A header block that came in parts. Empty while what is read goes straight to the reader.
    kept: Vec<u8>,
    /// Whom to tell that the connection has begun as HTTP/2 does.
    begun: Option<Begun>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// What is read goes straight to the reader.
    Straight,
    /// So many bytes of the kept block have come.
    Gathering { come: usize },
    /// So many bytes of the kept block are with the reader already.
    Handing { out: usize },
}

impl<S> AnyAuthority<S> {
    pub(crate) fn new(stream: S) -> Self {
        let (frames, state) = (Frames::default(), State::Straight);
        Self { stream, frames, state, kept: Vec::new(), begun: None }
    }

    /// The same, which tells when HTTP/2's preface has come.
    pub(crate) fn telling(self, begun: Begun) -> Self {
        Self { begun: Some(begun), ..self }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnyAuthority<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, frames, state, kept, begun } = &mut *self;
        loop {
            match *state {
                State::Straight => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(&mut *stream).poll_read(context, buffer))?;
                    let read = &mut buffer.filled_mut()[before..];
                    let part = frames.pass(read);
                    if begun.is_some() && frames.have_begun() {
                        begun.take().expect("it is there").tell();
                    }
                    let Some(Part { at, whole }) = part else {
                        return Poll::Ready(Ok(()));
                    };
                    kept.extend_from_slice(&read[at..]);
                    *state = State::Gathering { come: kept.len() };
                    kept.resize(whole, 0);
                    buffer.set_filled(before + at);
                    // To return nothing would mean the end.
                    if at > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Gathering { come } => {
                    let mut rest = ReadBuf::new(&mut kept[come..]);
                    ready!(Pin::new(&mut *stream).poll_read(context, &mut rest))?;
                    let read = rest.filled().len();
                    let come = come + read;
                    *state = State::Gathering { come };
                    if come == kept.len() {
                        let part = frames.pass(kept);
                        assert!(part.is_none(), "a whole block passes");
                        *state = State::Handing { out: 0 };
                    } else if read == 0 {
                        // The end came first. The reader gets what there is, and then the end.
                        kept.truncate(come);
                        *state = State::Handing { out: 0 };
                    }
                }
                State::Handing { out } => {
                    let more = (kept.len() - out).min(buffer.remaining());
                    buffer.put_slice(&kept[out..out + more]);
                    *state = State::Handing { out: out + more };
                    if out + more == kept.len() {
                        kept.clear();
                        *state = State::Straight;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnyAuthority<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
