//! From a socket to a connection that is worth serving: encrypted or in clear, and begun in time.
//!
//! Whoever connects has until one deadline to say what it wants: the first byte tells TLS from the rest, a handshake
//! follows or not, and then the first request, or HTTP/2's preface, must come. Nothing before that is believed to
//! come from a client: connections that have not begun have a place in the [`Lobby`], which has room for so many, and
//! the one that waited longest makes room for the next. Those that have begun stay; how many there may be in all, the
//! [`Crowd`] knows.

mod begun;
mod crowd;
mod lobby;
mod shown;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) use self::begun::Begun;
pub(crate) use self::crowd::{Crowd, Guest, Origin};
pub(crate) use self::lobby::Lobby;
pub(crate) use self::shown::Shown;
pub(crate) use self::stream::Stream;
use crate::tls::Tls;

/// The type of a record that begins a TLS connection: a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// What Go's server answers, and so etcd's.
const NOT_PLAIN: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How much of a request is read that is not served.
const UNREAD_MAX: u64 = 64 << 10;

/// How the connections of a socket begin.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor {
    /// Whether connections in clear are served.
    pub(crate) plain: bool,
    /// What encrypted ones are served with.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) lobby: Arc<Lobby>,
    /// The time that a connection has to begin.
    pub(crate) patience: Duration,
}

/// The name that a connection's certificate was made out for, where such names are users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertifiedName(pub(crate) Arc<str>);

/// A connection that is worth serving.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    /// Who it is, where that is a user.
    pub(crate) name: Option<CertifiedName>,
    /// What it was let in for.
    pub(crate) shown: Shown,
}

impl Accepted {
    fn plain(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream), name: None, shown: Shown::nothing() }
    }
}

impl Acceptor {
    /// Tells what a connection is, and shakes hands if it is encrypted. `None` if it is nothing to be served.
    pub(crate) async fn accept(
        &self,
        mut stream: TcpStream,
        from: SocketAddr,
    ) -> io::Result<Option<Accepted>> {
        // Answers are small and waited for; to hold them back for a fuller packet would only delay them.
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Some(Accepted::plain(stream))) };
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first == [HANDSHAKE] {
            return tls.handshake(stream, from).await.map(Some);
        }
        if self.plain {
            return Ok(Some(Accepted::plain(stream)));
        }
        if first[0].is_ascii_uppercase() {
            refuse_plain(&mut stream).await?;
        }
        Ok(None)
    }
}

/// Says what is wrong. What was sent is read, as the answer would be lost with a reset otherwise.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(NOT_PLAIN).await?;
    stream.shutdown().await?;
    let mut unread = stream.take(UNREAD_MAX);
    let mut scratch = [0; 1024];
    while unread.read(&mut scratch).await? > 0 {}
    Ok(())
}
