//! The name by which a client calls a server, byte for byte: client libraries check it, old ones do not.

use prost::Message;
use quorate_proto::etcdserverpb as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, put, within};

/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Flags of frames.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame, with its type, flags, and stream.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u8,
    payload: Vec<u8>,
}

async fn write(connection: &mut TcpStream, frame: &Frame) {
    let [_, length @ ..] = (frame.payload.len() as u32).to_be_bytes();
    let head = [&length[..], &[frame.kind, frame.flags, 0, 0, 0, frame.stream]].concat();
    connection.write_all(&[head, frame.payload.clone()].concat()).await.expect("sent");
}

async fn read(connection: &mut TcpStream) -> Frame {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await.expect("a frame");
    let [high, middle, low, kind, flags, .., stream] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    connection.read_exact(&mut payload).await.expect("a whole frame");
    Frame { kind, flags, stream, payload }
}

/// A field of HPACK that is entered into the table, by the number of its name there.
fn entered(name: u8, value: &str) -> Vec<u8> {
    [&[0x40 | name, value.len() as u8], value.as_bytes()].concat()
}

/// A field whose name is spelled and that is not entered.
fn spelled(name: &str, value: &str) -> Vec<u8> {
    let lengths = [name.len() as u8, value.len() as u8];
    [&[0x00, lengths[0]], name.as_bytes(), &[lengths[1]], value.as_bytes()].concat()
}

/// Asks for the key `a` and waits for the value.
async fn get(connection: &mut TcpStream, stream: u8, authority: &[u8]) -> Vec<u8> {
    let block = [
        // The method POST and the scheme http.
        &[0x83, 0x86],
        authority,
        &spelled(":path", "/etcdserverpb.KV/Range"),
        &spelled("content-type", "application/grpc"),
        &spelled("te", "trailers"),
    ]
    .concat();
    write(connection, &Frame { kind: HEADERS, flags: END_HEADERS, stream, payload: block }).await;
    let message = pb::RangeRequest { key: "a".into(), ..Default::default() }.encode_to_vec();
    let payload = [&[0, 0, 0, 0, message.len() as u8], &message[..]].concat();
    write(connection, &Frame { kind: DATA, flags: END_STREAM, stream, payload }).await;

    let mut answer = Vec::new();
    loop {
        let frame = read(connection).await;
        assert!(!matches!(frame.kind, RST_STREAM | GOAWAY), "refused: {:?}", frame.payload);
        if frame.stream != stream {
            continue;
        }
        if frame.kind == DATA {
            answer.extend_from_slice(&frame.payload);
        }
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    let answer = pb::RangeResponse::decode(&answer[5..]).expect("a message");
    answer.kvs[0].value.to_vec()
}

#[tokio::test]
async fn any_name_will_do() {
    let cluster = Cluster::start(1).await;
    cluster.kv(0).await.put(put("a", "value")).await.expect("written");
    for name in [
        "127.0.0.1:2379",
        // etcdctl 3.4, etcd's client 3.5.0 for Go, and clients in Go on a Unix socket.
        "http://127.0.0.1:2379",
        "#initially=[127.0.0.1:2379]",
        "%2Ftmp%2Fetcd.sock",
    ] {
        let mut connection = TcpStream::connect(cluster.address(0)).await.expect("a connection");
        connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
        let settings = Frame { kind: SETTINGS, flags: 0, stream: 0, payload: Vec::new() };
        write(&mut connection, &settings).await;
        let answer = within(get(&mut connection, 1, &entered(1, name))).await;
        assert_eq!(answer, b"value", "{name}");
        // The name is the only entry of the table, so it has the first number after the static ones.
        let answer = within(get(&mut connection, 3, &[0x80 | 62])).await;
        assert_eq!(answer, b"value", "{name}, by reference");
    }
}
