//! TCP between members that share a secret: who does not know it is not heard, and what was changed on the way, left out,
//! repeated or sent back ends the connection. Nothing is encrypted.
//!
//! The exchange that begins a connection is in `hello.rs`, what follows in `record.rs`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::hello::{self, ANSWER_BYTES, CALL_BYTES, Keys, Nonce};
use super::record::{Opener, RECORD_BYTES_MAX, TAG_BYTES};
use super::secrets::Secrets;
use super::{Connection, Hurried, Stream, Tcp, Transport, send_now};
use crate::error::PeerError;

/// What is read at once, in bytes, unless a record is known to be larger.
const WINDOW_BYTES: usize = 16 << 10;

/// What is sealed at once, in bytes.
const SEAL_BYTES: usize = 4 * RECORD_BYTES_MAX;

/// TCP with a tag on everything, by a secret that the members share.
#[derive(Clone, Debug)]
pub struct Authenticated {
    secrets: Arc<Secrets>,
}

impl Authenticated {
    /// With these secrets.
    #[must_use]
    pub fn new(secrets: Arc<Secrets>) -> Self {
        Self { secrets }
    }
}

impl Transport for Authenticated {
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection> {
        let mut connection = Tcp.connect(address, timeout)?;
        connection.socket.set_write_timeout(Some(timeout))?;
        let secrets = self.secrets.now();
        let call = hello::call(&secrets[0], &nonce()?);
        connection.stream.write_all(&call)?;
        let mut answer = [0; ANSWER_BYTES];
        read_message(&mut Hurried::new(&mut connection, timeout), &mut answer)?;
        let keys = hello::heed(&secrets[0], &call, &answer)?;
        connection.socket.set_write_timeout(None)?;
        let link =
            Link::new(connection.socket.try_clone()?, State::Open(Box::new(Open::new(keys))));
        connection.stream = Box::new(link);
        Ok(connection)
    }

    fn accept(&self, socket: TcpStream) -> io::Result<Connection> {
        let mut connection = Tcp.accept(socket)?;
        let secrets = Arc::clone(&self.secrets);
        let hearing = Hearing { secrets, call: [0; CALL_BYTES], arrived: 0 };
        let link = Link::new(connection.socket.try_clone()?, State::Hearing(hearing));
        connection.stream = Box::new(link);
        Ok(connection)
    }
}

fn nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

/// Reads a message of the exchange, and no further than it is one.
fn read_message(from: &mut impl Read, message: &mut [u8]) -> io::Result<()> {
    let mut arrived = 0;
    while arrived < message.len() {
        match from.read(&mut message[arrived..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => arrived += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        hello::check_head(&message[..arrived])?;
    }
    Ok(())
}

/// One end of a connection.
struct Link {
    socket: TcpStream,
    state: State,
}

enum State {
    /// Who connected has not shown yet that it knows a secret.
    Hearing(Hearing),
    Open(Box<Open>),
    /// Nothing that comes or goes is worth anything.
    Broken,
}

struct Hearing {
    secrets: Arc<Secrets>,
    call: [u8; CALL_BYTES],
    /// How much of it is there.
    arrived: usize,
}

struct Open {
    keys: Keys,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// What has arrived and was not read.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// Where in it what can be handed on begins and ends.
    from: usize,
    to: usize,
    /// Where records begin that were not opened yet, and where what has arrived ends.
    next: usize,
    end: usize,
}

/// What was sealed and not sent.
#[derive(Default)]
struct Outgoing {
    records: Vec<u8>,
    /// How many bytes of the caller's those hold that it does not know to be taken: they come again, and first.
    sealed: usize,
    /// How much of the records is sent.
    sent: usize,
}

impl Link {
    fn new(socket: TcpStream, state: State) -> Self {
        Self { socket, state }
    }

    fn fail<T>(&mut self, error: impl Into<io::Error>) -> io::Result<T> {
        self.state = State::Broken;
        Err(error.into())
    }

    fn open(&mut self) -> io::Result<(&TcpStream, &mut Open)> {
        match &mut self.state {
            State::Open(open) => Ok((&self.socket, open)),
            State::Hearing(_) | State::Broken => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Read for Link {
    /// Reads from the socket once at most, so that a deadline on it holds. `Interrupted` if that was not enough to hand
    /// anything on.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.state {
            State::Hearing(hearing) => match hearing.hear(&self.socket) {
                Ok(None) => Err(io::ErrorKind::Interrupted.into()),
                Ok(Some(keys)) => {
                    self.state = State::Open(Box::new(Open::new(keys)));
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Err(error) => Err(error),
            },
            State::Open(open) => open.read(&self.socket, buffer),
            State::Broken => Err(io::ErrorKind::NotConnected.into()),
        };
        match read {
            Err(error) if error.get_ref().is_some() => self.fail(error),
            other => other,
        }
    }
}

impl Hearing {
    /// Hears a little more of the call, and answers it when it is whole.
    fn hear(&mut self, mut socket: &TcpStream) -> io::Result<Option<Keys>> {
        let read = socket.read(&mut self.call[self.arrived..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.arrived += read;
        let outcome = match hello::check_head(&self.call[..self.arrived]) {
            Ok(()) if self.arrived < CALL_BYTES => return Ok(None),
            Ok(()) => hello::answer(&self.secrets.now(), &self.call, &nonce()?),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((answer, keys)) => {
                socket.write_all(&answer)?;
                Ok(Some(keys))
            }
            Err(error) => {
                if let Some(refusal) = hello::refusal(&error) {
                    // Whether it arrives or not, the connection ends here.
                    let _ = socket.write_all(&refusal);
                }
                Err(error.into())
            }
        }
    }
}

impl Open {
    fn new(keys: Keys) -> Self {
        Self { keys, incoming: Incoming::default(), outgoing: Outgoing::default() }
    }

    fn read(&mut self, mut source: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let incoming = &mut self.incoming;
        if incoming.from == incoming.to && !incoming.open(&mut self.keys.opener)? {
            let space = incoming.space()?;
            let read = source.read(space)?;
            if read == 0 {
                return Ok(0); // With a part of a record, which nobody hears of.
            }
            incoming.end += read;
            if !incoming.open(&mut self.keys.opener)? {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        let count = buffer.len().min(incoming.to - incoming.from);
        buffer[..count].copy_from_slice(&incoming.bytes[incoming.from..incoming.from + count]);
        incoming.from += count;
        Ok(count)
    }
}

impl Incoming {
    /// Opens the next record, if it has arrived whole.
    fn open(&mut self, opener: &mut Opener) -> Result<bool, PeerError> {
        let Some(body) = opener.open(&self.bytes[self.next..self.end])? else { return Ok(false) };
        (self.from, self.to) = (self.next + body.start, self.next + body.end);
        self.next = self.to + TAG_BYTES;
        Ok(true)
    }

    /// Where more may arrive: at least what the next record lacks.
    fn space(&mut self) -> Result<&mut [u8], PeerError> {
        self.bytes.copy_within(self.next..self.end, 0);
        (self.from, self.to, self.end, self.next) = (0, 0, self.end - self.next, 0);
        let record = Opener::record_bytes(&self.bytes[..self.end])?.unwrap_or(0);
        let wanted = record.max(WINDOW_BYTES);
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        Ok(&mut self.bytes[self.end..])
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut socket, open) = self.open()?;
        let outgoing = &mut open.outgoing;
        if outgoing.sealed == 0 {
            outgoing.seal(&mut open.keys, &bytes[..bytes.len().min(SEAL_BYTES)]);
        }
        let count = outgoing.sealed;
        assert!(count <= bytes.len(), "what was not taken comes again");
        match socket.write_all(&outgoing.records[outgoing.sent..]) {
            Ok(()) => {
                outgoing.clear();
                Ok(count)
            }
            // A part of a record may be sent, and nobody knows which.
            Err(error) => self.fail(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Stream for Link {
    /// All or nothing, as far as the caller knows: what is sealed has its number, and can't be sealed again.
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (socket, open) = self.open()?;
        let outgoing = &mut open.outgoing;
        if outgoing.sealed != 0 {
            return Ok(0);
        }
        outgoing.seal(&mut open.keys, bytes);
        match send_now(socket, &outgoing.records) {
            Ok(sent) if sent == outgoing.records.len() => {
                outgoing.clear();
                Ok(bytes.len())
            }
            Ok(sent) => {
                outgoing.sent = sent;
                Ok(0)
            }
            Err(error) => self.fail(error),
        }
    }
}

impl Outgoing {
    fn seal(&mut self, keys: &mut Keys, bytes: &[u8]) {
        keys.sealer.seal(bytes, &mut self.records);
        self.sealed = bytes.len();
    }

    fn clear(&mut self) {
        self.records.clear();
        // One large frame does not keep its memory.
        self.records.shrink_to(2 * WINDOW_BYTES);
        (self.sealed, self.sent) = (0, 0);
    }
}

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
