//! Connections of the bad ones: bytes, frames of HTTP/2 made by hand, and requests that no client library would send.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Where the bad ones come from: this machine, as the good ones do, and another address.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How long anything is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a connection over HTTP/2 begins with, and settings that leave all as it is.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const DATA: u8 = 0;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// Connects to a member.
pub(super) async fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // In the order of ports the kernel would soon have none left for an address that is bound first.
    socket.set_reuseaddr(true)?;
    socket.bind((FROM, 0).into())?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    timeout(PATIENCE, socket.connect(to)).await.map_err(|_| late("to connect"))?
}

pub(super) fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("it took too long {what}"))
}

/// Adds a frame.
pub(super) fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a frame is small");
    to.extend_from_slice(&length.to_be_bytes()[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.put_u32(stream);
    to.extend_from_slice(payload);
}

/// The fields of a call.
pub(super) fn fields(path: &str) -> Vec<u8> {
    // POST, http, and then names of the static table with values in plain.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(&[0x04][..], path), (&[0x01], "x"), (&[0x0f, 0x10], "application/grpc")]
    {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value.as_bytes());
    }
    block.extend_from_slice(b"\0\x02te\x08trailers");
    block
}

/// A message of gRPC.
pub(super) fn message(bytes: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(5 + bytes.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(bytes.len()).expect("a message is small"));
    framed.extend_from_slice(bytes);
    framed.into()
}

/// Writes all and says that it is all, while what comes is read; until the member has ended the connection, too, which
/// it does when it has read everything or has had enough. Says which.
pub(super) async fn flood(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Flooded> {
    let (mut from, mut to) = stream.split();
    let writing = async {
        let all = to.write_all(bytes).await.is_ok();
        let _ = to.shutdown().await;
        all
    };
    let reading = async {
        let mut read = Vec::new();
        let mut scratch = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut scratch).await {
            read.extend_from_slice(&scratch[..count]);
        }
        read
    };
    let both = async { tokio::join!(writing, reading) };
    let (all, read) = timeout(PATIENCE, both).await.map_err(|_| late("to read or to refuse"))?;
    Ok(if all && !has_goaway(&read) { Flooded::ToTheEnd } else { Flooded::Refused })
}

/// What became of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flooded {
    /// All of it was read.
    ToTheEnd,
    /// The member ended it.
    Refused,
}

/// Whether there is a GOAWAY with an error among these frames.
fn has_goaway(mut frames: &[u8]) -> bool {
    while let Some((head, rest)) = frames.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if head[3] == GOAWAY && rest.get(4..8).is_some_and(|code| code != [0; 4]) {
            return true;
        }
        frames = rest.get(length..).unwrap_or_default();
    }
    false
}

/// Reads until the member ends the connection; whether it did in time.
pub(super) async fn is_ended(stream: &mut TcpStream, within: Duration) -> bool {
    let mut scratch = [0; 16 << 10];
    let ended = async { while matches!(stream.read(&mut scratch).await, Ok(1..)) {} };
    timeout(within, ended).await.is_ok()
}

/// A connection over HTTP/2 on which calls are made of bytes.
#[derive(Clone)]
pub(super) struct Line(SendRequest<Bytes>);

impl Line {
    pub(super) async fn open(port: u16) -> io::Result<Self> {
        let stream = connect(port).await?;
        let (requests, connection) = timeout(PATIENCE, h2::client::handshake(stream))
            .await
            .map_err(|_| late("to greet"))?
            .map_err(io::Error::other)?;
        // It ends with the member or with the last who uses it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self(requests))
    }

    /// Begins a call.
    pub(super) async fn begin(
        &self,
        path: &str,
    ) -> io::Result<(ResponseFuture, SendStream<Bytes>)> {
        let request = http::Request::post(format!("http://x{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(io::Error::other)?;
        let requests = self.0.clone().ready();
        let mut requests = timeout(PATIENCE, requests)
            .await
            .map_err(|_| late("to begin a call"))?
            .map_err(io::Error::other)?;
        requests.send_request(request, false).map_err(io::Error::other)
    }

    /// Makes a call with these bytes as its body. The number of gRPC's code.
    pub(super) async fn call(&self, path: &str, body: Bytes) -> io::Result<u16> {
        let (answer, mut send) = self.begin(path).await?;
        send.send_data(body, true).map_err(io::Error::other)?;
        let call = async {
            let answer = answer.await.map_err(io::Error::other)?;
            if let Some(code) = code(answer.headers()) {
                return Ok(code);
            }
            let mut body = answer.into_body();
            while let Some(piece) = body.data().await {
                let length = piece.map_err(io::Error::other)?.len();
                body.flow_control().release_capacity(length).map_err(io::Error::other)?;
            }
            let trailers = body.trailers().await.map_err(io::Error::other)?.unwrap_or_default();
            code(&trailers).ok_or_else(|| io::Error::other("a call ends without a code"))
        };
        timeout(PATIENCE, call).await.map_err(|_| late("to answer"))?
    }

    /// Begins a call and reads nothing of its answer.
    pub(super) async fn call_unread(&self, path: &str, body: Bytes) -> io::Result<RecvStream> {
        let (answer, mut send) = self.begin(path).await?;
        send.send_data(body, true).map_err(io::Error::other)?;
        let answer = timeout(PATIENCE, answer).await.map_err(|_| late("to answer"))?;
        Ok(answer.map_err(io::Error::other)?.into_body())
    }
}

/// Sends a piece of a body when there is room for it. Whether there was no refusal.
pub(super) async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes) -> io::Result<bool> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = timeout(PATIENCE, poll_fn(|context| stream.poll_capacity(context)));
        let Some(Ok(room)) = room.await.map_err(|_| late("to take a body"))? else {
            return Ok(false);
        };
        if stream.send_data(piece.split_to(room.min(piece.len())), false).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn code(fields: &http::HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}
