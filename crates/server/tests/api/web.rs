//! The least of an HTTP/1.1 client that these tests need, with nothing in between that would mend what is sent.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::cluster::within;

/// An answer whose head has come. The body comes when it is asked for.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    stream: BufReader<OwnedReadHalf>,
    /// For as long as the answer is read, the connection is not closed on this side either.
    _write: Option<OwnedWriteHalf>,
}

/// Sends a request, and returns when the head of the answer has come.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut headers = headers.to_vec();
    let length = format!("content-length: {}", body.len());
    headers.push(&length);
    let stream = open(address, method, path, &headers, body).await;
    let (read, write) = stream.into_split();
    let answer = within(head(read)).await;
    Answer { _write: Some(write), ..answer }
}

/// Opens a connection, and sends a request on it.
pub(crate) async fn open(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    // A server that refuses what is too large need not read all of it.
    let _ = stream.write_all(body).await;
    stream
}

/// Reads the head of an answer.
pub(crate) async fn head(stream: OwnedReadHalf) -> Answer {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = stream.read_line(&mut head).await.expect("a head");
        assert!(read > 0, "the head is cut off: {head:?}");
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), stream, _write: None }
}

impl Answer {
    fn is_chunked(&self) -> bool {
        self.head.contains("transfer-encoding: chunked")
    }

    /// The next piece of a body that comes in pieces; `None` at its end.
    async fn piece(&mut self) -> Option<String> {
        let mut length = String::new();
        self.stream.read_line(&mut length).await.expect("a length");
        let length = usize::from_str_radix(length.trim_end(), 16).expect("a length");
        let mut piece = vec![0; length + 2];
        self.stream.read_exact(&mut piece).await.expect("a piece");
        piece.truncate(length);
        (length > 0).then(|| String::from_utf8(piece).expect("text"))
    }

    /// The whole body.
    pub(crate) async fn body(mut self) -> String {
        let mut body = String::new();
        if self.is_chunked() {
            while let Some(piece) = within(self.piece()).await {
                body.push_str(&piece);
            }
        } else {
            within(self.stream.read_to_string(&mut body)).await.expect("a body");
        }
        body
    }

    /// The next line of a stream, as JSON; `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        assert!(self.is_chunked(), "{}", self.head);
        let piece = within(self.piece()).await?;
        assert!(piece.ends_with('\n') && piece.trim_end().lines().count() == 1, "{piece:?}");
        Some(serde_json::from_str(&piece).expect("JSON"))
    }
}
