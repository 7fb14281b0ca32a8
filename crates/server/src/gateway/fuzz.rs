//! Requests in JSON, as any bytes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use quorate_proto::json;

use super::request::JsonMessages;
use super::{CALLS, Call, Kind, metadata, path_of_call};

/// The largest text of a message, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The paths of all calls.
pub fn paths() -> impl Iterator<Item = String> {
    CALLS.iter().map(|(path, _)| format!("/v3/{path}"))
}

struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// A request for a path whose body arrives in these pieces. Gives back the messages of gRPC that it stands for.
///
/// # Panics
/// If a message takes more memory than its text may, or is not the one that is written as JSON again.
pub fn request(path: &str, pieces: &[Bytes]) -> Vec<Vec<u8>> {
    let Some(call) = path_of_call(path).and_then(Call::find) else { return Vec::new() };
    let is_stream = call.kind == Kind::BidirectionalStream;
    let body = Pieces(pieces.iter().cloned().collect());
    let mut body = JsonMessages::new(body, call.messages.input(), is_stream, TEXT_BYTES_MAX);
    let mut messages = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.into_data().expect("there is nothing but data");
                let message = frame[5..].to_vec();
                assert_eq!(frame[..5], [&[0][..], &(message.len() as u32).to_be_bytes()].concat());
                is_the_same(call.messages.input(), &message);
                messages.push(message);
            }
            Poll::Ready(Some(Err(_)) | None) => break,
            Poll::Pending => panic!("all pieces are there"),
        }
    }
    let (read, text) = (messages.iter().map(Vec::len).sum::<usize>(), pieces.concat().len());
    assert!(read <= 4 * text, "{read} bytes of {text} bytes of text");
    messages
}

/// An answer to a path, as any bytes of a message.
///
/// # Panics
/// If what is written as JSON is not JSON, or stands for another message.
pub fn answer(path: &str, message: &[u8]) {
    let Some(call) = path_of_call(path).and_then(Call::find) else { return };
    for kind in [call.messages.input(), call.messages.output()] {
        let mut text = String::new();
        if json::write(kind, message, &mut text).is_ok() {
            let is_json = serde_json::from_str::<serde_json::Value>(&text);
            assert!(is_json.is_ok(), "{text}");
        }
    }
}

fn is_the_same(kind: &'static json::Message, message: &[u8]) {
    let mut text = String::new();
    // Deeper than gRPC itself decodes it.
    if json::write(kind, message, &mut text).is_err() {
        return;
    }
    let read = json::read(kind, text.as_bytes()).expect("what was written is read");
    assert_eq!(read, message, "{text}");
}

/// The headers of a request.
pub fn headers(headers: &HeaderMap) {
    let metadata = metadata(headers);
    assert_eq!(metadata.get("te").map(|value| value.as_bytes()), Some(&b"trailers"[..]));
    let allowed = |name: &str| name == "grpc-timeout" || !name.starts_with("grpc-");
    assert!(metadata.keys().all(|name| allowed(name.as_str())), "{metadata:?}");
}
