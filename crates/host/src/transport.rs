//! How a connection between two members is made: the seam for encryption.
//!
//! A connection carries frames in one direction only, from the one who made it, and the opposite
//! direction only the answer to the handshake. One thread therefore owns each end, and a transport
//! needs no halves that two threads could use.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

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
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

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
