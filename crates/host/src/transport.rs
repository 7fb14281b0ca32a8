//! How a connection between two members is made, and what protects it: the seam for encryption.
//!
//! A connection carries frames in one direction only, from the one who made it, and the opposite
//! direction only the answer to the handshake. One thread at a time therefore owns each end, and a
//! transport needs no halves that two threads could use.
//!
//! What protects a connection stands below everything that members say on it, the greeting included
//! (`handshake.rs`): whatever a member believes of another has come through it. A member has one transport, for those
//! whom it calls as for those who call it, and no transport falls back on less.

mod authenticated;
mod hello;
mod networks;
mod record;
mod secrets;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use quorate_raft::Time;
use rustix::io::Errno;
use rustix::net::SendFlags;

pub use self::authenticated::Authenticated;
#[cfg(feature = "fuzz")]
pub(crate) use self::authenticated::fuzz;
pub use self::networks::{Networks, PlainWithin};
#[cfg(feature = "fuzz")]
pub(crate) use self::secrets::parse as parse_secrets;
pub use self::secrets::{SECRET_BYTES_MIN, Secret, Secrets, SecretsEvent, WeakSecret};
use crate::clock::Clock;
use crate::handshake;

/// What protects what members say to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing but a checksum.
    Plain,
    /// A tag on everything, made with a shared secret.
    Authenticated,
    /// TLS.
    Encrypted,
}

impl Protection {
    /// What somebody seems to speak who begins like this, if it is any of them.
    pub(crate) fn spoken(first: &[u8]) -> Option<Self> {
        if first.starts_with(&handshake::MAGIC) {
            Some(Self::Plain)
        } else if first.starts_with(&hello::MAGIC) {
            Some(Self::Authenticated)
        } else if first.starts_with(&[22, 3]) {
            // A handshake record, of any version since 1996.
            Some(Self::Encrypted)
        } else {
            None
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plainly",
            Self::Authenticated => "with tags (hmac)",
            Self::Encrypted => "TLS",
        })
    }
}

/// Makes and accepts connections.
pub trait Transport: Send + Sync {
    /// Connects to an address (`host:port`), within about this time for each address it resolves to, and as much again
    /// for what a protocol has to exchange first.
    ///
    /// # Errors
    /// The network's own, and a [`PeerError`](crate::PeerError) as the cause of one.
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection>;

    /// Takes in a connection that somebody else made. Must not wait for the other side; what a
    /// protocol has to exchange first happens at the first read.
    ///
    /// # Errors
    /// The network's own, and a [`PeerError`](crate::PeerError) as the cause of one.
    fn accept(&self, socket: TcpStream) -> io::Result<Connection>;
}

/// What can be read from and written to.
///
/// A read reads from the socket once at most, so that a deadline on the socket is one of the read, too. Where that is not
/// enough to return a byte, it is [`Interrupted`](io::ErrorKind::Interrupted), and called again.
pub trait Stream: Read + Write + Send {
    /// Writes as much as the network takes at once, and says how much that is: perhaps nothing.
    /// Never waits. What is left goes through [`Write`] before anything else.
    ///
    /// Without it, as by default, a message passes through a thread of its own on its way out. A
    /// protocol that cannot take a part of its input loses nothing else by leaving it so.
    ///
    /// # Errors
    /// Those after which the connection is of no use.
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        Ok(0)
    }
}

impl Stream for TcpStream {
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send_now(self, bytes)
    }
}

/// Gives the network as much as it takes at once, and says how much that is.
fn send_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    let flags = flags | SendFlags::NOSIGNAL;
    match rustix::net::send(socket, bytes, flags) {
        Ok(written) => Ok(written),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// A connection.
pub struct Connection {
    /// What is read and written.
    pub stream: Box<dyn Stream>,
    /// The socket below it, for deadlines and to end the connection from another thread.
    pub socket: TcpStream,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The socket may have other owners, and the other side should hear of the end at once.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A connection that is read from until a deadline, however slowly the bytes drip in: for what has to be exchanged before
/// anybody is believed. Leaves a timeout on the socket.
pub struct Hurried<'a> {
    connection: &'a mut Connection,
    clock: Clock,
    until: Time,
}

impl<'a> Hurried<'a> {
    /// For so long from now on.
    #[must_use]
    pub fn new(connection: &'a mut Connection, patience: Duration) -> Self {
        let clock = Clock::start();
        Self { connection, clock, until: clock.now() + patience }
    }
}

impl fmt::Debug for Hurried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hurried").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.since(self.clock.now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.connection.socket.set_read_timeout(Some(left))?;
        self.connection.stream.read(buffer)
    }
}

/// Plain TCP, with anybody. See [`PlainWithin`] for one that looks whom it speaks with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Tcp {
    fn connection(socket: TcpStream) -> io::Result<Connection> {
        // Frames are written whole, and each is waited for.
        socket.set_nodelay(true)?;
        Ok(Connection { stream: Box::new(socket.try_clone()?), socket })
    }

    /// Connects to the first of the addresses that this resolves to that may be used and answers.
    fn connect_where(
        address: &str,
        timeout: Duration,
        may: impl Fn(SocketAddr) -> io::Result<()>,
    ) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in address.to_socket_addrs()? {
            match may(address).and_then(|()| TcpStream::connect_timeout(&address, timeout)) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Transport for Tcp {
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection> {
        Self::connect_where(address, timeout, |_| Ok(())).and_then(Self::connection)
    }

    fn accept(&self, socket: TcpStream) -> io::Result<Connection> {
        Self::connection(socket)
    }
}
