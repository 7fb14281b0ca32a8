//! Connections as clients would begin them, in pieces of any size.

use std::collections::VecDeque;
use std::task::Waker;

use http::{Request, Response};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::huffman::tests::encode;
use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// What etcdctl 3.4 calls a server.
const URL: &str = "http://127.0.0.1:2379";
const ZEROS: &str = "000000000000000000000";

/// The types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A connection that begins with these frames.
fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &SETTINGS, &frames.concat()].concat()
}

/// A string of less than 127 bytes.
fn text(coded: bool, text: &str) -> Vec<u8> {
    let bytes = if coded { encode(text.as_bytes()) } else { text.into() };
    let length = u8::try_from(bytes.len()).expect("a short text");
    assert!(length < 127, "a length of one byte");
    [&[u8::from(coded) << 7 | length], &bytes[..]].concat()
}

/// A block with `:method: GET` and `:path: /` before and after a field that begins so.
fn block(field: &[&[u8]]) -> Vec<u8> {
    [&[0x82], &field.concat()[..], &[0x84]].concat()
}

/// The same bytes after they passed at once.
fn passed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    Frames::default().pass(&mut bytes);
    bytes
}

/// A stream that is read in these pieces and has to be waited for before each.
struct Pieces {
    left: VecDeque<Vec<u8>>,
    waited: bool,
}

impl Pieces {
    /// Cuts at each of the positions that is inside.
    fn new(bytes: &[u8], cuts: &[usize]) -> Self {
        let mut cuts: Vec<_> = cuts.iter().copied().filter(|cut| *cut < bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let left = cuts.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect();
        Self { left, waited: false }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waited = !self.waited;
        if self.waited {
            return Poll::Pending;
        }
        let Some(mut piece) = self.left.pop_front() else { return Poll::Ready(Ok(())) };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            self.left.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads to the end through a buffer of this size.
fn read_through(pieces: Pieces, size: usize) -> Vec<u8> {
    let mut connection = AnyAuthority::new(pieces);
    let mut context = Context::from_waker(Waker::noop());
    let (mut all, mut memory) = (Vec::new(), vec![0xaa; size]);
    loop {
        let mut buffer = ReadBuf::new(&mut memory);
        match Pin::new(&mut connection).poll_read(&mut context, &mut buffer) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return all,
            Poll::Ready(read) => {
                read.expect("pieces do not fail");
                all.extend_from_slice(buffer.filled());
            }
        }
    }
}

#[test]
fn a_name_is_overwritten_in_every_form_of_a_field() {
    for form in [0b0100_0000, 0b0000_0000, 0b0001_0000] {
        for field in [
            vec![vec![form | 1]],
            vec![vec![form], text(false, ":authority")],
            vec![vec![form], text(true, ":authority")],
        ] {
            let field = field.concat();
            let bytes = connection(&[frame(HEADERS, 4, &block(&[&field, &text(false, URL)]))]);
            let expected = connection(&[frame(HEADERS, 4, &block(&[&field, &text(false, ZEROS)]))]);
            assert_eq!(passed(&bytes), expected, "{field:x?}");

            let bytes = connection(&[frame(HEADERS, 4, &block(&[&field, &text(true, URL)]))]);
            let zeros = text(true, &ZEROS.replacen('0', "~", 1));
            let expected = connection(&[frame(HEADERS, 4, &block(&[&field, &zeros]))]);
            assert_eq!(passed(&bytes), expected, "{field:x?}");
        }
    }
}

#[test]
fn padding_and_priority_are_not_taken_for_fields() {
    let field = block(&[&[0x41], &text(false, URL)]);
    let zeros = block(&[&[0x41], &text(false, ZEROS)]);
    // What looks like the beginning of a field in either place is none.
    for (flags, before, after) in [
        (0x08, &[3][..], &[0x41, 1, b'x'][..]),
        (0x20, &[0x41, 3, b'x', b'y', b'z'], &[]),
        (0x28, &[3, 0x41, 3, b'x', b'y', b'z'], &[0x41, 1, b'x']),
    ] {
        let bytes = connection(&[frame(HEADERS, flags, &[before, &field, after].concat())]);
        let expected = connection(&[frame(HEADERS, flags, &[before, &zeros, after].concat())]);
        assert_eq!(passed(&bytes), expected, "{flags:x}");
    }
}

#[test]
fn what_is_no_name_stays() {
    let name = block(&[&[0x41], &text(false, URL)]);
    let long = [name.clone(), vec![0x84; 16_385 - name.len()]].concat();
    for bytes in [
        connection(&[frame(DATA, 0, &name)]),
        connection(&[frame(CONTINUATION, 0, &name)]),
        // A frame longer than any that is taken.
        connection(&[frame(HEADERS, 0, &long)]),
        // More padding than there is room.
        connection(&[frame(HEADERS, 8, &[&[255], &name[..]].concat())]),
        connection(&[frame(HEADERS, 8, &[])]),
        connection(&[frame(HEADERS, 0x20, &[1, 2, 3])]),
        // Another field, spelled and by its entry (`:path`), and a name without its end.
        connection(&[frame(HEADERS, 0, &block(&[&[0x40], &text(false, "x"), &text(false, URL)]))]),
        connection(&[frame(HEADERS, 0, &block(&[&[0x44], &text(false, "/a")]))]),
        connection(&[frame(HEADERS, 0, &name[..20])]),
        // A length of more bytes than a number may have.
        connection(&[frame(HEADERS, 0, &[0x41, 0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1])]),
        // No HTTP/2, or not yet.
        [b"GET / HTTP/1.1\r\n\r\n", &connection(&[frame(HEADERS, 0, &name)])[..]].concat(),
        [&PREFACE[..23], b"\r", &frame(HEADERS, 0, &name)].concat(),
        b"PRI".to_vec(),
    ] {
        assert_eq!(passed(&bytes), bytes);
        assert_eq!(read_through(Pieces::new(&bytes, &[]), 100_000), bytes);
    }
}

#[test]
fn fields_around_a_name_may_have_any_length() {
    let value = "v".repeat(300);
    // 300 is 127 + 173, and 173 is 0x2d and one group more.
    let long = [&[0x40, 1, b'k', 0x7f, 0xad, 0x01], value.as_bytes()].concat();
    let size_update = [0x3f, 0xe1, 0x1f];
    let fields = |name| [&size_update, &long[..], &[0x41], &text(false, name), &long].concat();
    let bytes = connection(&[frame(HEADERS, 4, &fields(URL)), frame(HEADERS, 4, &fields(URL))]);
    let zeros = connection(&[frame(HEADERS, 4, &fields(ZEROS)), frame(HEADERS, 4, &fields(ZEROS))]);
    assert_eq!(passed(&bytes), zeros);
}

#[test]
fn an_end_within_a_block_comes_after_its_bytes() {
    let bytes = connection(&[frame(HEADERS, 4, &block(&[&[0x41], &text(false, URL)]))]);
    for length in 0..bytes.len() {
        for size in [1, 24, 1000] {
            let read = read_through(Pieces::new(&bytes[..length], &[40, 50]), size);
            assert_eq!(read, bytes[..length], "cut at {length}, read by {size}");
        }
    }
}

/// A frame that may have a name in it, or be broken.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        "[ -~]{0,100}".prop_map(|name| [vec![0x41], text(false, &name)].concat()),
        "[!-z]{0,80}".prop_map(|name| [vec![0x01], text(true, &name)].concat()),
        "[!-z]{0,80}".prop_map(|value| [vec![0x7e], text(true, &value)].concat()),
        (0x80u8..).prop_map(|entry| vec![entry]),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    let block = prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat());
    let kind = prop_oneof![3 => Just(HEADERS), 1 => 0u8..12];
    let flags = prop_oneof![Just(4), any::<u8>()];
    (kind, flags, block).prop_map(|(kind, flags, block)| frame(kind, flags, &block))
}

proptest! {
    #[test]
    fn the_pieces_make_no_difference(
        frames in prop::collection::vec(any_frame(), 0..8),
        cuts in prop::collection::vec(0usize..2000, 0..40),
        size in 1usize..500,
    ) {
        let bytes = connection(&frames);
        let whole = passed(&bytes);
        prop_assert_eq!(whole.len(), bytes.len());
        prop_assert_eq!(&read_through(Pieces::new(&bytes, &cuts), size), &whole);
        // The names that are there now are those that would be put there.
        prop_assert_eq!(&passed(&whole), &whole);
    }

    #[test]
    fn any_bytes_pass(
        bytes: Vec<u8>,
        cuts in prop::collection::vec(0usize..200, 0..10),
        size in 1usize..50,
    ) {
        prop_assert_eq!(&read_through(Pieces::new(&bytes, &cuts), size), &bytes);
        let bytes = [PREFACE, &bytes].concat();
        let read = read_through(Pieces::new(&bytes, &cuts), size);
        prop_assert_eq!(read, passed(&bytes));
    }
}

/// A real client and a real server with their tables between them: every field arrives as it was
/// sent, while names are replaced, entered into the table, referred to, and evicted by others.
#[tokio::test]
async fn the_tables_of_both_ends_agree() {
    const REQUESTS: usize = 300;
    // Small, so that pieces are too.
    let (near, far) = duplex(100);
    let server = tokio::spawn(async move {
        let connection = h2::server::handshake(AnyAuthority::new(far)).await;
        let mut connection = connection.expect("a connection");
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request.expect("a good request");
            let (parts, _) = request.into_parts();
            let name = parts.uri.authority().expect("a name").as_str();
            let mut response =
                Response::builder().header("name", name).body(()).expect("a response");
            response.headers_mut().extend(parts.headers);
            respond.send_response(response, true).expect("sent");
        }
    });
    let (client, connection) = h2::client::handshake(near).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("it takes requests");
    for number in 0..REQUESTS {
        // Some come again at once, some after they were evicted, and some are larger than the table.
        let name = match number % 6 {
            0 | 1 => "127.0.0.1:2379".to_owned(),
            2 => format!("[::1]:{number}"),
            3 => format!("{}@host", "long".repeat(number % 100)),
            4 => format!("user{}.example.com", number % 24),
            _ => format!("a{}", "~".repeat(number * 5)),
        };
        let header = format!("{}-{}", "value".repeat(number % 30), number % 7);
        let request = Request::builder()
            .uri(format!("http://{name}/path"))
            .header("changing", &header)
            .header("lasting", "value")
            .body(())
            .expect("a request");
        client = client.ready().await.expect("it takes requests");
        let (response, _) = client.send_request(request, true).expect("sent");
        let response = response.await.expect("answered");
        let [changing, lasting, received] = ["changing", "lasting", "name"]
            .map(|field| response.headers()[field].to_str().expect("a text"));
        assert_eq!((changing, lasting), (header.as_str(), "value"));
        assert_eq!(received.len(), name.len(), "{name} became {received}");
        assert!(received.bytes().all(|byte| matches!(byte, b'0' | b'~')), "{received}");
    }
    drop(client);
    connection.await.expect("it ran").expect("a good end");
    server.await.expect("it ran");
}

#[tokio::test]
async fn what_is_written_passes() {
    let (near, mut far) = duplex(100);
    let bytes = connection(&[frame(HEADERS, 4, &block(&[&[0x41], &text(false, URL)]))]);
    let mut writer = AnyAuthority::new(near);
    writer.write_all(&bytes).await.expect("written");
    writer.shutdown().await.expect("ended");
    let mut read = Vec::new();
    far.read_to_end(&mut read).await.expect("read");
    assert_eq!(read, bytes);
}
