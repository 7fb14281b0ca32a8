//! A body of JSON as a body of gRPC.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use quorate_proto::json::{self, Message};
use tonic::Status;

use super::objects::{NoObject, Objects};
use crate::admission::Entry;
use crate::metrics::Received;
use crate::rpc::Failure;

/// The body of a request, as services read it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    source: Source,
    /// Who counts what comes.
    received: Option<Received>,
    /// How it is let in.
    entry: Option<Entry>,
}

#[derive(Debug)]
enum Source {
    /// As it came.
    Grpc(Incoming),
    /// As JSON.
    Json(JsonMessages<Incoming>),
}

/// Why a body ends before its end. A [`Status`] in it is what the client is told.
type BrokenOff = Box<dyn Error + Send + Sync>;

impl RequestBody {
    /// One that came as gRPC.
    pub(crate) fn grpc(body: Incoming) -> Self {
        Self { source: Source::Grpc(body), received: None, entry: None }
    }

    pub(super) fn json(body: JsonMessages<Incoming>) -> Self {
        Self { source: Source::Json(body), received: None, entry: None }
    }

    /// Whether it came as JSON.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.source, Source::Json(_))
    }

    /// What is in memory of it beside its messages, at most: a text, before it is one.
    pub(crate) fn text_bytes(&self) -> usize {
        match &self.source {
            Source::Grpc(_) => 0,
            Source::Json(messages) => messages.text_bytes(),
        }
    }

    /// The same, counted.
    pub(crate) fn counted(self, received: Received) -> Self {
        Self { received: Some(received), ..self }
    }

    /// The same, let in by and by.
    pub(crate) fn entering(self, entry: Entry) -> Self {
        Self { entry: Some(entry), ..self }
    }

    fn poll_source(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.source {
            Source::Grpc(body) => Pin::new(body).poll_frame(context).map_err(BrokenOff::from),
            Source::Json(body) => Pin::new(body).poll_frame(context),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        if let Some(entry) = &mut this.entry
            && let Some(frame) = ready!(entry.poll_waiting(context))?
        {
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = match this.poll_source(context) {
            Poll::Ready(frame) => frame.transpose()?,
            Poll::Pending => {
                let entry = this.entry.as_mut();
                return entry.map_or(Poll::Pending, |entry| entry.poll_late(context));
            }
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        if let (Some(data), Some(received)) = (frame.data_ref(), &mut this.received) {
            received.add(data);
        }
        match (&mut this.entry, &this.received) {
            (None, _) | (_, None) => Poll::Ready(Some(Ok(frame))),
            (Some(entry), Some(received)) => {
                entry.came(received.largest(), received.is_whole(), frame)?;
                let frame = ready!(entry.poll_waiting(context))?;
                Poll::Ready(Some(Ok(frame.expect("it has just come"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            // What waits to be let in is still to come.
            Source::Grpc(body) => {
                body.is_end_stream() && self.entry.as_ref().is_none_or(|entry| !entry.is_waiting())
            }
            Source::Json(_) => false,
        }
    }
}

/// Messages of one kind, in JSON.
#[derive(Debug)]
pub(crate) struct JsonMessages<B> {
    body: B,
    message: &'static Message,
    /// Whether there may be many, or none. Else there is one, and an empty body stands for an empty message.
    is_stream: bool,
    objects: Objects,
    text_bytes_max: usize,
    /// Whether the body has come to its end.
    has_come: bool,
    /// Whether a message was found.
    has_message: bool,
}

impl<B> JsonMessages<B> {
    /// Each message may be a text of so many bytes.
    pub(super) fn new(
        body: B,
        message: &'static Message,
        is_stream: bool,
        text_bytes_max: usize,
    ) -> Self {
        let objects = Objects::new(text_bytes_max);
        let (has_come, has_message) = (false, false);
        Self { body, message, is_stream, objects, text_bytes_max, has_come, has_message }
    }

    /// How much text there may be at once.
    fn text_bytes(&self) -> usize
    where
        B: Body,
    {
        let announced = self.body.size_hint().upper();
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
        announced.map_or(self.text_bytes_max, |bytes| bytes.min(self.text_bytes_max))
    }

    /// The next message of those that have come, in a frame of gRPC.
    fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.has_message && !self.is_stream {
            let is_all = self.objects.is_empty();
            return if is_all {
                Ok(None)
            } else {
                Err(malformed("there is more than one message"))
            };
        }
        let object = self.objects.next().map_err(|why| match why {
            NoObject::Other => malformed("expected an object"),
            NoObject::TooLarge(length) => {
                let (found, limit) = (length as u64, self.text_bytes_max as u64);
                Failure::MessageTooLarge { found, limit }.into()
            }
        })?;
        match object {
            Some(object) => self.framed(&object).map(Some),
            None if self.has_come && !self.objects.is_empty() => {
                Err(malformed("the object has no end"))
            }
            None if self.has_come && !self.is_stream => self.framed(b"{}").map(Some),
            None => Ok(None),
        }
    }

    fn framed(&mut self, object: &[u8]) -> Result<Bytes, Status> {
        let message = json::read(self.message, object).map_err(malformed)?;
        self.has_message = true;
        let length = u32::try_from(message.len()).map_err(malformed)?;
        let mut frame = BytesMut::with_capacity(5 + message.len());
        // Not compressed.
        frame.put_u8(0);
        frame.put_u32(length);
        frame.put_slice(&message);
        Ok(frame.freeze())
    }
}

impl<B> Body for JsonMessages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BrokenOff>,
{
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        loop {
            match this.next() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Ok(None) if this.has_come => return Poll::Ready(None),
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status.into()))),
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Some(piece) = frame.data_ref() {
                        this.objects.push(piece);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => this.has_come = true,
            }
        }
    }
}

fn malformed(why: impl ToString) -> Status {
    Status::invalid_argument(format!("invalid JSON: {}", why.to_string()))
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tonic::Code;

    use super::*;

    /// What becomes of a body: the messages without what stands before them, and what went wrong in the end.
    async fn read(json: &str, is_stream: bool) -> (Vec<Bytes>, Option<Status>) {
        let path = "/etcdserverpb.Lease/LeaseRevoke";
        let message = json::Method::find(path).expect("a call").input();
        let body = Full::new(Bytes::from(json.to_owned()));
        let mut body = JsonMessages::new(body, message, is_stream, 100);
        let mut messages = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame.into_data().expect("data"),
                Err(error) => {
                    let status = error.downcast::<Status>().expect("a status");
                    return (messages, Some(*status));
                }
            };
            let (head, message) = frame.split_at(5);
            assert_eq!(head, [0, 0, 0, 0, message.len() as u8]);
            messages.push(frame.slice(5..));
        }
        (messages, None)
    }

    fn code((messages, status): (Vec<Bytes>, Option<Status>)) -> (usize, Option<Code>) {
        (messages.len(), status.map(|status| status.code()))
    }

    #[tokio::test]
    async fn one_message() {
        let (messages, status) = read(" {\"ID\":\"5\"} \n", false).await;
        assert_eq!(
            (messages.as_slice(), status.is_none()),
            (&[Bytes::from_static(b"\x08\x05")][..], true)
        );
        assert_eq!(code(read("", false).await), (1, None), "an empty one");
        assert_eq!(code(read("{", false).await), (0, Some(Code::InvalidArgument)));
        assert_eq!(code(read("{}{}", false).await), (1, Some(Code::InvalidArgument)));
        assert_eq!(code(read("[]", false).await), (0, Some(Code::InvalidArgument)));
        assert_eq!(code(read("{\"ID\":[]}", false).await), (0, Some(Code::InvalidArgument)));
        let large = format!("{{\"x\":\"{}\"}}", "x".repeat(100));
        let (_, status) = read(&large, false).await;
        let status = status.expect("refused");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (108 vs. 100)");
    }

    #[tokio::test]
    async fn many_messages() {
        assert_eq!(code(read("", true).await), (0, None));
        assert_eq!(code(read("{}{\"ID\":1}\n{}", true).await), (3, None));
        assert_eq!(code(read("{}{\"ID\":}", true).await), (1, Some(Code::InvalidArgument)));
        assert_eq!(code(read("{}{\"ID\"", true).await), (1, Some(Code::InvalidArgument)));
    }
}
