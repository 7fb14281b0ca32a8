//! How a connection between two members is made: the seam for encryption.
//!
//! A connection carries frames in one direction only, from the one who made it, and the opposite
//! direction only the answer to the handshake. One thread at a time therefore owns each end, and a
//! transport needs no halves that two threads could use.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;

/// Makes and accepts connections.
pub trait Transport: Send + Sync {
    /// Connects to an address (`host:port`), within about this time for each address it resolves to.
    ///
    /// # Errors
    /// The network's own.
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection>;

    /// Takes in a connection that somebody else made. Must not wait for the other side; what a
    /// protocol has to exchange first happens at the first read.
    ///
    /// # Errors
    /// The network's own.
    fn accept(&self, socket: TcpStream) -> io::Result<Connection>;
}

/// What can be read from and written to.
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
        let flags = SendFlags::DONTWAIT;
        #[cfg(not(target_vendor = "apple"))]
        let flags = flags | SendFlags::NOSIGNAL;
        match rustix::net::send(self, bytes, flags) {
            Ok(written) => Ok(written),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
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

/// Plain TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Tcp {
    fn connection(socket: TcpStream) -> io::Result<Connection> {
        // Frames are written whole, and each is waited for.
        socket.set_nodelay(true)?;
        Ok(Connection { stream: Box::new(socket.try_clone()?), socket })
    }
}

impl Transport for Tcp {
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => return Self::connection(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn accept(&self, socket: TcpStream) -> io::Result<Connection> {
        Self::connection(socket)
    }
}
