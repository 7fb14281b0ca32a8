//! Connections of clients: who connects, and which protocol they speak.
//!
//! One port serves gRPC and plain HTTP, as in etcd. The first bytes of a connection tell HTTP/1.1 from
//! HTTP/2 (hyper looks at them), and the content type tells gRPC from the rest.
//!
//! Below hyper there is [`AnyAuthority`], because hyper is stricter than widespread clients about the
//! name by which they call a server.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::body::Body;

use crate::authority::AnyAuthority;
use crate::config::Config;
use crate::http::Pages;
use crate::log::Log;
use crate::rpc::Services;
use crate::shutdown::Shutdown;

/// How long to wait before the next connection when the last could not be accepted. Too many open
/// files is the usual reason, and it does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How much of a request's body may be under way before the client has to wait: enough for a large
/// value to arrive without a pause. HTTP/2's own 64 KiB are not.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Everything that answers requests.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) services: Services,
    pub(crate) pages: Pages,
}

/// An answer that is being made.
type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl Front {
    /// Begins an answer. It is in a box of its own because hyper moves the futures of requests about.
    fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        let is_grpc = request.version() == Version::HTTP_2
            && request
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            return Box::pin(self.services.call(request));
        }
        let front = self.clone();
        Box::pin(async move { front.pages.answer(request).await })
    }
}

/// How connections are served.
pub(crate) fn protocols(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // A client that opens a connection and says nothing is hyper's business, and that takes a timer.
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout);
    builder
}

/// Accepts connections until `stop` is true, then lets the requests that are under way finish.
pub(crate) async fn serve(
    listener: TcpListener,
    protocols: auto::Builder<TokioExecutor>,
    front: Arc<Front>,
    mut stop: Shutdown,
    log: Log,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Without this, the ends of connections would pile up.
            Some(_) = connections.join_next() => continue,
            () = stop.requested() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(
                    stream,
                    protocols.clone(),
                    front.clone(),
                    stop.clone(),
                ));
            }
            Err(error) => {
                log.warn("failed to accept a connection").with("error", error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection to its end. How it ends is the client's business: a reset or a broken request
/// is nothing an operator could act on.
async fn connection(
    stream: TcpStream,
    protocols: auto::Builder<TokioExecutor>,
    front: Arc<Front>,
    mut stop: Shutdown,
) {
    // Answers are small and waited for; to hold them back for a fuller packet would only delay them.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let answer = front.answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let stream = TokioIo::new(AnyAuthority::new(stream));
    let mut connection = pin!(protocols.serve_connection(stream, service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.requested() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
