//! Requests that want too much: to be read, to be followed, to be answered, or to be remembered.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Stage;
use super::line::{self, Line, PATIENCE, connect, message};
use crate::checks::client::Client;

const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

const GIB: u64 = 1 << 30;

/// Bodies of 1 GiB: announced and not, in JSON and as messages of gRPC. None is read to its end.
pub(super) async fn bodies(stage: &Stage) -> io::Result<String> {
    let mut bodies = JoinSet::new();
    for port in stage.ports() {
        for _ in 0..4 * stage.scale {
            let announced = format!("content-length: {GIB}\r\n");
            bodies.spawn(json_body(port, announced, false));
            bodies.spawn(json_body(port, "transfer-encoding: chunked\r\n".to_owned(), true));
            bodies.spawn(grpc_body(port, 1 << 30));
            bodies.spawn(grpc_body(port, 1 << 20));
        }
    }
    let (mut count, mut taken) = (0, 0);
    while let Some(joined) = bodies.join_next().await {
        taken += joined.map_err(io::Error::other)??;
        count += 1;
    }
    Ok(format!("{count} bodies, of which {} MiB were taken", taken >> 20))
}

/// How many bytes were taken before the member had enough.
async fn json_body(port: u16, header: String, is_chunked: bool) -> io::Result<u64> {
    let mut stream = connect(port).await?;
    let head = format!("POST /v3/kv/put HTTP/1.1\r\nhost: x\r\n{header}\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut piece = vec![b'A'; 1 << 16];
    if is_chunked {
        piece.splice(..0, *b"10000\r\n");
        piece.extend_from_slice(b"\r\n");
    }
    let first: &[u8] =
        if is_chunked { b"9\r\n{\"value\":\r\n1\r\n\"\r\n" } else { b"{\"value\":\"" };
    let mut taken = 0;
    let (mut from, mut to) = stream.split();
    if to.write_all(first).await.is_err() {
        return Ok(0);
    }
    let mut answer = [0; 1024];
    while taken < GIB {
        let wrote = tokio::select! {
            wrote = timeout(PATIENCE, to.write_all(&piece)) => wrote,
            read = from.read(&mut answer) => match read {
                // It says what is wrong, or nothing.
                Ok(1..) if !answer.starts_with(b"HTTP/1.1 200") => return Ok(taken),
                Ok(1..) => return Err(io::Error::other("a body without end was answered")),
                _ => return Ok(taken),
            },
        };
        match wrote.map_err(|_| line::late("to refuse a body"))? {
            Ok(()) => taken += piece.len() as u64,
            Err(_) => return Ok(taken),
        }
    }
    Err(io::Error::other("a body of 1 GiB was read to its end"))
}

/// The same with messages that claim to be so large.
async fn grpc_body(port: u16, claim: u32) -> io::Result<u64> {
    let line = Line::open(port).await?;
    let (answer, mut send) = line.begin(PUT).await?;
    let mut piece = vec![0; 5 + (1 << 20)];
    piece[1..5].copy_from_slice(&claim.to_be_bytes());
    let piece = Bytes::from(piece);
    let mut taken = 0;
    let mut answer = std::pin::pin!(answer);
    while taken < GIB {
        tokio::select! {
            biased;
            // An answer before the end of the request is a refusal.
            _ = &mut answer => return Ok(taken),
            sent = line::send(&mut send, piece.clone()) => {
                if !sent? {
                    return Ok(taken);
                }
                taken += piece.len() as u64;
            }
        }
    }
    Err(io::Error::other("a request of 1 GiB was read to its end"))
}

/// Things in things in things: each is refused, and none ends a thread by its depth.
pub(super) async fn nesting(stage: &Stage) -> io::Result<String> {
    let mut count = 0;
    let deep = |open: &str, close: &str| {
        let depth = (1 << 20) / (open.len() + close.len());
        open.repeat(depth) + &close.repeat(depth)
    };
    // What is unknown is passed over, however deep, and need not be refused.
    let texts = [
        (deep("[", "]"), true),
        (format!("{{\"unknown\":{}}}", deep("[", "]")), false),
        (deep("{\"unknown\":", "1}"), false),
        (deep("{\"success\":[{\"requestTxn\":", "}]}"), true),
        ("[".repeat(1 << 20), true),
        ("{\"compare\":".repeat(100_000), true),
    ];
    for port in stage.ports() {
        for (text, is_refused) in &texts {
            // A watch of nothing goes on until somebody ends it.
            let paths = ["/v3/kv/txn", "/v3/kv/put", "/v3/watch"];
            for path in &paths[..if *is_refused { 3 } else { 2 }] {
                let mut stream = connect(port).await?;
                let request = format!(
                    "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n{text}",
                    text.len()
                );
                // It may be refused before its end.
                let _ = timeout(PATIENCE, stream.write_all(request.as_bytes())).await;
                let mut answer = Vec::new();
                let mut some = (&mut stream).take(1 << 16);
                let _ = timeout(PATIENCE, some.read_to_end(&mut answer)).await;
                if *is_refused && answer.starts_with(b"HTTP/1.1 200") && *path != "/v3/watch" {
                    return Err(io::Error::other(format!("{path} took {:.60}", text)));
                }
                count += 1;
            }
        }
        let line = Line::open(port).await?;
        for depth in [5, 50, 101, 5000] {
            let code = line.call(TXN, message(&nested_txn(depth))).await?;
            if code == 0 {
                return Err(io::Error::other(format!(
                    "a transaction {depth} deep was carried out"
                )));
            }
            count += 1;
        }
    }
    Ok(format!("{count} requests"))
}

/// A transaction of a transaction, and so on, with more operations than there may be in all.
fn nested_txn(depth: usize) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(content);
        bytes
    };
    // A range over nothing that has a key: refused by whoever gets so far.
    let mut txn = field(2, &field(1, &[]));
    for _ in 0..depth {
        txn = field(2, &field(4, &txn));
    }
    txn
}

/// The whole store, again and again, by readers who do not read.
pub(super) async fn ranges(stage: &Stage) -> io::Result<String> {
    const VALUES: usize = 256;
    const VALUE_BYTES: usize = 64 << 10;
    let client = Client::new(&stage.cluster.endpoint(0), PATIENCE);
    let value = vec![b'x'; VALUE_BYTES];
    for number in 0..VALUES {
        let put = client.put(format!("range/{number}"), value.clone()).await;
        put.map_err(|status| io::Error::other(format!("a value: {status}")))?;
    }
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let all = message(&all.encode_to_vec());
    let mut asked = JoinSet::new();
    let at_once = 8 * stage.scale;
    for port in stage.ports() {
        for _ in 0..at_once {
            let all = all.clone();
            asked.spawn(async move {
                let line = Line::open(port).await?;
                // One that is refused has no answer to be kept.
                let unread = line.call_unread(RANGE, all).await;
                sleep(Duration::from_secs(3)).await;
                io::Result::Ok(unread.is_ok())
            });
        }
    }
    let mut answered = 0;
    while let Some(joined) = asked.join_next().await {
        answered += usize::from(joined.map_err(io::Error::other)??);
    }
    client.delete_prefix("range/").await.map_err(io::Error::other)?;
    let mib = (VALUES * VALUE_BYTES) >> 20;
    Ok(format!(
        "{answered} answers of {mib} MiB that nobody read, {at_once} at once for each member"
    ))
}

/// A million watches, on few streams of fewer connections.
pub(super) async fn watches(stage: &Stage) -> io::Result<String> {
    const STREAMS: u64 = 120;
    let each = 1_000_000 * stage.scale / STREAMS;
    let mut lines = Vec::new();
    for port in stage.ports() {
        for _ in 0..4 {
            lines.push(Line::open(port).await?);
        }
    }
    let mut streams = JoinSet::new();
    for (stream, line) in (0..STREAMS).zip(lines.iter().cycle()) {
        streams.spawn(watch_much(line.clone(), stream, each));
    }
    let (mut created, mut refused) = (0, 0);
    while let Some(joined) = streams.join_next().await {
        let (some, others) = joined.map_err(io::Error::other)??;
        (created, refused) = (created + some, refused + others);
    }
    if created == 0 {
        return Err(io::Error::other("nobody could watch"));
    }
    Ok(format!("{created} were created, {refused} refused"))
}

/// How many watchers a stream got, and how many it did not.
async fn watch_much(line: Line, stream: u64, count: u64) -> io::Result<(u64, u64)> {
    let (answer, mut send) = line.begin(WATCH).await?;
    let asking = async {
        let mut batch = Vec::new();
        for number in 0..count {
            let wish = WatchCreateRequest {
                key: format!("watched/{stream}/{number}").into(),
                ..WatchCreateRequest::default()
            };
            let wish = WatchRequest { request_union: Some(RequestUnion::CreateRequest(wish)) };
            batch.extend_from_slice(&message(&wish.encode_to_vec()));
            let is_enough = batch.len() > 1 << 14 || number + 1 == count;
            if is_enough && !line::send(&mut send, std::mem::take(&mut batch).into()).await? {
                return Ok(());
            }
        }
        io::Result::Ok(())
    };
    let answering = async {
        let answer = timeout(PATIENCE, answer).await.map_err(|_| line::late("to answer"))?;
        let mut body = answer.map_err(io::Error::other)?.into_body();
        let (mut created, mut refused, mut kept) = (0, 0, Vec::new());
        while created + refused < count {
            let piece = timeout(PATIENCE, body.data());
            let piece = match piece.await.map_err(|_| line::late("to watch"))? {
                Some(Ok(piece)) => piece,
                // The end of the stream is a refusal, too.
                Some(Err(error)) if !error.is_io() => return Ok((created, count - created)),
                None => return Ok((created, count - created)),
                Some(Err(error)) => return Err(io::Error::other(error)),
            };
            body.flow_control().release_capacity(piece.len()).map_err(io::Error::other)?;
            kept.extend_from_slice(&piece);
            let mut at = 0;
            while let Some(head) = kept.get(at + 1..at + 5) {
                let length = u32::from_be_bytes(head.try_into().expect("four bytes")) as usize;
                let Some(bytes) = kept.get(at + 5..at + 5 + length) else { break };
                let told = WatchResponse::decode(bytes).map_err(io::Error::other)?;
                created += u64::from(told.created && !told.canceled);
                refused += u64::from(told.canceled);
                at += 5 + length;
            }
            kept.drain(..at);
        }
        Ok((created, refused))
    };
    let (asked, answered) = tokio::join!(asking, answering);
    asked?;
    answered
}
