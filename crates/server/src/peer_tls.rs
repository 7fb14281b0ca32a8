//! TLS between members: both ends show certificates, by the authorities that the operator named.
//!
//! The threads between members block, so this is rustls itself, without a runtime. What protects a connection stands
//! below everything that members say on it (docs/adr/0008), and nothing above knows of it.
//!
//! The files are looked at whenever a connection is made. Connections that are there stay as they are.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use quorate_host::{Connection, Hurried, PeerError, Stream, Tcp, Transport};
use quorate_tls::rustls::pki_types::ServerName;
use quorate_tls::rustls::{self, ClientConnection, ServerConnection};
use quorate_tls::{ClientSettings, Look, Reloading, ServerSettings, Source};

use crate::log::Log;

/// What is encrypted at once, in bytes.
const SEAL_BYTES: usize = 256 << 10;

/// The longest reason that is told: it may have the names of a certificate of anybody in it.
const REASON_CHARS_MAX: usize = 200;

/// TLS between members.
pub(crate) struct PeerTls {
    /// For who connects to this member.
    server: Arc<Settings<ServerSettings>>,
    /// For whom this member connects to.
    client: Settings<ClientSettings>,
}

/// What one end of connections needs, as the files have it.
struct Settings<S: Source> {
    reloading: Reloading<S>,
    log: Log,
}

impl PeerTls {
    /// # Errors
    /// If the files are of no use, with the reason.
    pub(crate) fn open(
        server: &ServerSettings,
        client: &ClientSettings,
        log: &Log,
    ) -> Result<Self, String> {
        let server = Reloading::new(server.clone()).map_err(|error| error.to_string())?;
        let client = Reloading::new(client.clone()).map_err(|error| error.to_string())?;
        for warning in &server.current().warnings {
            log.warn(warning);
        }
        let server = Settings { reloading: server, log: log.clone() };
        let client = Settings { reloading: client, log: log.clone() };
        Ok(Self { server: Arc::new(server), client })
    }
}

impl<S: Source> Settings<S> {
    /// What there is now.
    fn now(&self) -> Arc<S::Value> {
        match self.reloading.look() {
            Look::Same => {}
            Look::Reloaded => {
                self.log.info("new connections of peers have the certificates that were changed");
            }
            Look::Kept(error) => {
                self.log
                    .error("certificates of peers were changed and can't be used: those before stay in use")
                    .with("error", error);
            }
        }
        self.reloading.current()
    }
}

impl Transport for PeerTls {
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection> {
        let mut connection = Tcp.connect(address, timeout)?;
        connection.socket.set_write_timeout(Some(timeout))?;
        let name = server_name(address).ok_or_else(|| {
            refused("the address is neither a name nor a number that a certificate could have")
        })?;
        let tls = ClientConnection::new(self.client.now().config.clone(), name);
        let mut tls = rustls::Connection::from(tls.map_err(refused)?);
        shake_hands(&mut tls, &mut connection, timeout)?;
        connection.socket.set_write_timeout(None)?;
        let link = Link::new(connection.socket.try_clone()?, State::Open(Box::new(tls)));
        connection.stream = Box::new(link);
        Ok(connection)
    }

    fn accept(&self, socket: TcpStream) -> io::Result<Connection> {
        let mut connection = Tcp.accept(socket)?;
        let hearing = State::Hearing(Arc::clone(&self.server));
        connection.stream = Box::new(Link::new(connection.socket.try_clone()?, hearing));
        Ok(connection)
    }
}

/// The name that the certificate must have of who is found at `host:port`.
fn server_name(address: &str) -> Option<ServerName<'static>> {
    let (host, _) = address.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).ok()
}

fn shake_hands(
    tls: &mut rustls::Connection,
    connection: &mut Connection,
    patience: Duration,
) -> io::Result<()> {
    let socket = connection.socket.try_clone()?;
    let mut hurried = Hurried::new(connection, patience);
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut &socket)?;
        }
        if !tls.is_handshaking() {
            return Ok(());
        }
        match tls.read_tls(&mut hurried) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        process(tls, &socket)?;
    }
}

/// Makes something of what has arrived, and says so where that must be said.
fn process(tls: &mut rustls::Connection, mut socket: &TcpStream) -> io::Result<()> {
    let processed = tls.process_new_packets().map(drop);
    // An alert as well, which tells the other side what is wrong.
    while tls.wants_write() {
        match tls.write_tls(&mut socket) {
            Err(_) if processed.is_err() => break,
            written => drop(written?),
        }
    }
    processed.map_err(|error| match error {
        rustls::Error::InvalidMessage(_) => refused("the other side does not speak TLS"),
        error => refused(error),
    })
}

fn refused(reason: impl ToString) -> io::Error {
    PeerError::Tls(reason.to_string().chars().take(REASON_CHARS_MAX).collect()).into()
}

/// One end of a connection.
struct Link {
    socket: TcpStream,
    state: State,
    /// How many bytes of the caller's are encrypted that it does not know to be taken: they come again, and first.
    sealed: usize,
}

enum State {
    /// Nothing has arrived yet from who connected.
    Hearing(Arc<Settings<ServerSettings>>),
    Open(Box<rustls::Connection>),
    /// Nothing that comes or goes is worth anything.
    Broken,
}

impl Link {
    fn new(socket: TcpStream, mut state: State) -> Self {
        if let State::Open(tls) = &mut state {
            tls.set_buffer_limit(None);
        }
        Self { socket, state, sealed: 0 }
    }

    /// The connection, once there is one in which something can be said.
    fn open(&mut self) -> io::Result<(&mut TcpStream, &mut rustls::Connection, &mut usize)> {
        match &mut self.state {
            State::Open(tls) if !tls.is_handshaking() => {
                Ok((&mut self.socket, tls, &mut self.sealed))
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn fail<T>(&mut self, error: io::Error) -> io::Result<T> {
        self.state = State::Broken;
        Err(error)
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let State::Hearing(settings) = &self.state {
            let tls = ServerConnection::new(settings.now().config.clone()).map_err(refused)?;
            let mut tls = rustls::Connection::from(tls);
            tls.set_buffer_limit(None);
            self.state = State::Open(Box::new(tls));
        }
        let State::Open(tls) = &mut self.state else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(read) = read_what_is_there(tls, buffer)? {
            return Ok(read);
        }
        if tls.read_tls(&mut self.socket)? == 0 {
            return Ok(0); // With a part of a record, perhaps, which nobody hears of.
        }
        if let Err(error) = process(tls, &self.socket) {
            return self.fail(error);
        }
        read_what_is_there(tls, buffer)?.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }
}

/// `None` if there is nothing yet.
fn read_what_is_there(
    tls: &mut rustls::Connection,
    buffer: &mut [u8],
) -> io::Result<Option<usize>> {
    match tls.reader().read(buffer) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (socket, tls, sealed) = self.open()?;
        if *sealed == 0 {
            *sealed = tls.writer().write(&bytes[..bytes.len().min(SEAL_BYTES)])?;
        }
        let count = *sealed;
        assert!(count <= bytes.len(), "what was not taken comes again");
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.fail(error),
            }
        }
        self.sealed = 0;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Stream for Link {
    /// All or nothing, as far as the caller knows: what is encrypted can't be encrypted again.
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (socket, tls, sealed) = self.open()?;
        if *sealed != 0 {
            return Ok(0);
        }
        *sealed = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut AtOnce(socket)) {
                Ok(0) => return Ok(0),
                Ok(_) => {}
                Err(error) => return self.fail(error),
            }
        }
        let taken = *sealed;
        *sealed = 0;
        Ok(taken)
    }
}

/// A socket that is given what it takes without a wait.
struct AtOnce<'a>(&'a mut TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_now(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
