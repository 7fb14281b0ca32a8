//! An answer of gRPC as JSON.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use quorate_proto::json::{self, Message};
use tonic::body::Body;
use tonic::{Code, Status};

use super::METADATA;
use super::status::status_of;
use crate::admission::Held;
use crate::log::push_string;

/// What stands before a message in gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// An answer of one message.
pub(super) async fn one(message: &'static Message, response: Response<Body>) -> Response<Body> {
    let held = response.extensions().get::<Held>().cloned();
    let (head, mut messages) = split(response);
    let found = match messages.next().await {
        Next::Message(found) => found,
        Next::End(status) if status.code() == Code::Ok => return refusal(&broken("no message")),
        Next::End(status) => return refusal(&status),
    };
    match messages.next().await {
        Next::End(status) if status.code() == Code::Ok => {}
        Next::End(status) => return refusal(&status),
        Next::Message(_) => return refusal(&broken("more than one message")),
    }
    let mut text = String::new();
    match json::write(message, &found, &mut text) {
        Ok(()) => {
            let text = Bytes::from(text);
            let text = match held {
                Some(held) => held.leaving(text, true),
                None => text,
            };
            page(StatusCode::OK, &head, Body::new(Full::new(text)))
        }
        Err(why) => refusal(&broken(why)),
    }
}

/// An answer of many messages, a line each. Begins with the first, or with the reason why there is none.
pub(super) async fn stream(message: &'static Message, response: Response<Body>) -> Response<Body> {
    let (head, mut messages) = split(response);
    let first = messages.next().await;
    let status = match &first {
        Next::End(status) => status_of(status.code()),
        Next::Message(_) => StatusCode::OK,
    };
    let lines = Lines { first: Some(first), messages, message, has_ended: false };
    page(status, &head, Body::new(lines))
}

/// The answer that says why there is no other.
pub(super) fn refusal(status: &Status) -> Response<Body> {
    refusal_as(status_of(status.code()), status)
}

/// The same, with a status of HTTP that the code does not say.
pub(super) fn refusal_as(http: StatusCode, status: &Status) -> Response<Body> {
    // The first of the three was the gateway's of etcd up to 3.5, and the others are since.
    let mut text = String::from("{\"error\":");
    push_string(&mut text, status.message());
    text.push(',');
    push_reason(&mut text, status);
    text.push('}');
    page(http, &HeaderMap::new(), Body::new(Full::new(text.into())))
}

/// A code and a message, as parts of an object.
fn push_reason(text: &mut String, status: &Status) {
    text.push_str(&format!("\"code\":{},\"message\":", status.code() as i32));
    push_string(text, status.message());
}

/// Something that our own services don't do.
fn broken(why: impl ToString) -> Status {
    Status::internal(format!("the answer can't be told in JSON: {}", why.to_string()))
}

/// A page with the metadata in `head`.
fn page(status: StatusCode, head: &HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in head {
        let is_protocol = name.as_str().starts_with("grpc-");
        let name = HeaderName::from_bytes(format!("{METADATA}{name}").as_bytes());
        if let (false, Ok(name)) = (is_protocol, name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The metadata of an answer, and its messages.
fn split(response: Response<Body>) -> (HeaderMap, Messages) {
    let (head, body) = response.into_parts();
    // An answer without a body has its status in the headers.
    let end = Status::from_header_map(&head.headers);
    (head.headers, Messages { body, bytes: BytesMut::new(), end })
}

/// The messages of an answer.
struct Messages {
    body: Body,
    /// What has come of the next.
    bytes: BytesMut,
    /// How the answer has ended.
    end: Option<Status>,
}

enum Next {
    Message(Bytes),
    End(Status),
}

impl Messages {
    async fn next(&mut self) -> Next {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Some(message) = self.take() {
                return Poll::Ready(Next::Message(message));
            }
            if let Some(status) = &self.end {
                return Poll::Ready(Next::End(status.clone()));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        self.end = Status::from_header_map(trailers);
                    } else if let Ok(data) = frame.into_data() {
                        self.bytes.extend_from_slice(&data);
                    }
                }
                Some(Err(status)) => self.end = Some(status),
                None => self.end = Some(broken("it has no status")),
            }
        }
    }

    /// Takes a message that has come as a whole.
    fn take(&mut self) -> Option<Bytes> {
        let prefix = self.bytes.first_chunk::<PREFIX_BYTES>()?;
        let [_, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        if self.bytes.len() - PREFIX_BYTES < length {
            return None;
        }
        self.bytes.advance(PREFIX_BYTES);
        Some(self.bytes.split_to(length).freeze())
    }
}

/// A body of lines, one for each message, and one for the reason of a bad end.
struct Lines {
    first: Option<Next>,
    messages: Messages,
    message: &'static Message,
    has_ended: bool,
}

impl Lines {
    /// The line for what comes next; none for a good end.
    fn line(&mut self, next: Next) -> Option<Bytes> {
        let status = match next {
            Next::Message(found) => {
                let mut text = String::from("{\"result\":");
                match json::write(self.message, &found, &mut text) {
                    Ok(()) => {
                        text.push_str("}\n");
                        return Some(text.into());
                    }
                    Err(why) => broken(why),
                }
            }
            Next::End(status) => status,
        };
        self.has_ended = true;
        if status.code() == Code::Ok {
            return None;
        }
        let mut text = String::from("{\"error\":{");
        push_reason(&mut text, &status);
        text.push_str("}}\n");
        Some(text.into())
    }
}

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => first,
            None => ready!(self.messages.poll_next(context)),
        };
        Poll::Ready(self.line(next).map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::{BodyExt, StreamBody};
    use tonic::codegen::tokio_stream;

    use super::*;

    fn revoked() -> &'static Message {
        json::Method::find("/etcdserverpb.Lease/LeaseRevoke").expect("a call").output()
    }

    /// An answer of gRPC whose data comes in these pieces, with these trailers.
    fn response(
        pieces: &[&'static [u8]],
        trailers: &[(&'static str, &'static str)],
    ) -> Response<Body> {
        let mut frames: VecDeque<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Status>(Frame::data(Bytes::from_static(piece))))
            .collect();
        let trailers = trailers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let trailers: HeaderMap = trailers.collect();
        if !trailers.is_empty() {
            frames.push_back(Ok(Frame::trailers(trailers)));
        }
        let mut response = Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("quorate-x", HeaderValue::from_static("7"));
        response
    }

    async fn text(response: Response<Body>) -> (u16, String) {
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("it ends").to_bytes();
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    const GOOD: &[(&str, &str)] = &[("grpc-status", "0")];
    const BAD: &[(&str, &str)] = &[("grpc-status", "14"), ("grpc-message", "say%20%22no%22")];

    #[tokio::test]
    async fn one_message() {
        let pieces: &[&'static [u8]] = &[b"\0\0\0", b"\0\x04\x0a", b"\x02\x18\x09"];
        let answer = one(revoked(), response(pieces, GOOD)).await;
        let headers = answer.headers().clone();
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["grpc-metadata-content-type"], "application/grpc");
        assert_eq!(headers["grpc-metadata-quorate-x"], "7");
        assert_eq!(text(answer).await, (200, r#"{"header":{"revision":"9"}}"#.to_owned()));
        let refused = r#"{"error":"say \"no\"","code":14,"message":"say \"no\""}"#.to_owned();
        assert_eq!(text(one(revoked(), response(&[], BAD)).await).await, (503, refused.clone()));
        assert_eq!(text(one(revoked(), response(pieces, BAD)).await).await, (503, refused));
        // Not of ours, and no reason to panic.
        for (pieces, trailers) in [
            (&[][..], GOOD),
            (&[][..], &[][..]),
            (pieces, &[][..]),
            (&[&b"\0\0\0\0\x01\x0a"[..]][..], GOOD),
        ] {
            let answer = one(revoked(), response(pieces, trailers)).await;
            assert_eq!(answer.status(), 500, "{pieces:?} {trailers:?}");
        }
    }

    #[tokio::test]
    async fn lines_of_a_stream() {
        let pieces: &[&'static [u8]] = &[b"\0\0\0\0\0\0\0\0\0\x02", b"\x0a\0"];
        let lines = "{\"result\":{}}\n{\"result\":{\"header\":{}}}\n".to_owned();
        let answer = stream(revoked(), response(pieces, GOOD)).await;
        assert_eq!(text(answer).await, (200, lines.clone()));
        let end = "{\"error\":{\"code\":14,\"message\":\"say \\\"no\\\"\"}}\n";
        let answer = stream(revoked(), response(pieces, BAD)).await;
        assert_eq!(text(answer).await, (200, lines + end));
        // Before anything was said, the status can still tell.
        let answer = stream(revoked(), response(&[], BAD)).await;
        assert_eq!(text(answer).await, (503, end.to_owned()));
        assert_eq!(text(stream(revoked(), response(&[], GOOD)).await).await, (200, String::new()));
    }
}
