//! Connections of clients: who connects, and which protocol they speak.
//!
//! One port serves gRPC and plain HTTP, as in etcd, encrypted or in clear ([`Acceptor`]). The first bytes of a
//! connection tell HTTP/1.1 from HTTP/2 (hyper looks at them), and the content type tells gRPC from the rest.
//!
//! Below hyper there is [`AnyAuthority`], because hyper is stricter than widespread clients about the
//! name by which they call a server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    CONTENT_TYPE, HeaderValue,
};
use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use quorate_host::Lane;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::body::Body;

use crate::accept::{Accepted, Acceptor, Begun, Guest, Origin};
use crate::admission::Connection;
use crate::authority::AnyAuthority;
use crate::config::Config;
use crate::gateway::{self, RequestBody};
use crate::http::Pages;
use crate::log::Log;
use crate::rpc::Services;
use crate::shutdown::Shutdown;

/// How long to wait before the next connection when the last could not be accepted. Too many open
/// files is the usual reason, and it does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many connections that found no room are worth a line: the first, and one in so many.
const REFUSED_PER_LINE: u64 = 10_000;

/// How much of a request's body may be under way before the client has to wait: enough for a large
/// value to arrive without a pause. HTTP/2's own 64 KiB are not.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// What a connection takes by itself: buffers for what is read and written, and those of TLS.
const CONNECTION_BYTES: usize = 64 << 10;

/// How long a connection over HTTP/1.1 may wait for its next request, or for the rest of it: longer than whoever
/// collects metrics lets pass.
const NEXT_REQUEST: Duration = Duration::from_secs(75);

/// Everything that answers requests.
#[derive(Debug)]
pub(crate) struct Front {
    /// What does more than to look how the member does.
    pub(crate) calls: Option<Calls>,
    pub(crate) pages: Pages,
}

/// The calls.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) services: Services,
    /// Whether they can be made in JSON, too.
    pub(crate) has_gateway: bool,
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
        if is_grpc && let Some(calls) = &self.calls {
            return Box::pin(calls.services.call(request.map(RequestBody::grpc)));
        }
        let front = self.clone();
        Box::pin(async move { for_any_origin(front.answer_http(request).await) })
    }

    async fn answer_http(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::OPTIONS {
            // A browser asks first, and looks at the headers only.
            return Response::new(Body::empty());
        }
        match &self.calls {
            Some(Calls { services, has_gateway: true })
                if gateway::path_of_call(request.uri().path()).is_some() =>
            {
                gateway::answer(services, request).await
            }
            _ => self.pages.answer(request).await,
        }
    }
}

/// Lets the scripts of any site read an answer, as etcd does unless it is told by `--cors` which ones may.
fn for_any_origin(mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = HeaderValue::from_static("accept, content-type, authorization");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    answer
}

/// How connections are served.
pub(crate) fn protocols(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The first request is in time or the connection ends; those after it over HTTP/1.1 have this time each.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.client_limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout);
    builder
}

/// The time that a message, or a piece of one, has to come or to go: as a connection has to begin, with two more for
/// what is large.
pub(crate) fn client_patience(handshake_timeout: Duration) -> Duration {
    3 * handshake_timeout
}

/// Accepts connections until `stop` is true, then lets the requests that are under way finish.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    protocols: auto::Builder<TokioExecutor>,
    front: Arc<Front>,
    mut stop: Shutdown,
    log: Log,
) {
    let client_patience = client_patience(acceptor.patience);
    let server = Arc::new(Server { acceptor, protocols, front, client_patience });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Without this, the ends of connections would pile up.
            Some(_) = connections.join_next() => continue,
            () = stop.requested() => break,
        };
        match accepted {
            Ok((stream, from)) => match server.acceptor.crowd.enter(Origin::of(from.ip())) {
                Some(guest) => {
                    connections.spawn(server.clone().connection(stream, from, guest, stop.clone()));
                }
                None => server.turn_away(from, &log),
            },
            Err(error) => {
                log.warn("failed to accept a connection").with("error", error);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// What serves the connections of a socket.
struct Server {
    acceptor: Acceptor,
    protocols: auto::Builder<TokioExecutor>,
    front: Arc<Front>,
    /// The time that a client has to read, if others wait for memory.
    client_patience: Duration,
}

impl Server {
    /// Notes that there was no room for a connection.
    fn turn_away(&self, from: SocketAddr, log: &Log) {
        let refused = &self.front.pages.member.metrics.connections_refused;
        let before = refused.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(REFUSED_PER_LINE) {
            log.warn("refused a connection: there are too many, or too many from that address")
                .with("remote-addr", from)
                .number("refused", before + 1);
        }
    }

    /// Serves one connection to its end. How it ends is the client's business: a reset or a broken request
    /// is nothing an operator could act on.
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
        _inside: Guest,
        mut stop: Shutdown,
    ) {
        let mut place = self.acceptor.lobby.enter(Origin::of(from.ip()));
        let patience = self.acceptor.patience;
        // In a box, so that it can go before the rest, and the place with it.
        let mut overdue = Box::pin(async move {
            tokio::select! {
                () = place.lost() => {}
                () = sleep(patience) => {}
            }
        });
        let accepted = tokio::select! {
            accepted = self.acceptor.accept(stream, from) => accepted,
            () = &mut overdue => return,
            () = stop.requested() => return,
        };
        let Ok(Some(Accepted { stream, name, mut shown })) = accepted else { return };

        // Whoever only asks how the member does is let in always.
        let memory = &self.front.pages.member.memory;
        let claimed = memory.claim_now(Lane::Relief, CONNECTION_BYTES);
        if claimed.is_none() && self.front.calls.is_some() {
            return;
        }
        let unread = Connection::new(self.client_patience);
        let begun = Begun::default();
        let service = service_fn(|mut request: Request<Incoming>| {
            begun.tell();
            request.extensions_mut().insert(unread.clone());
            if let Some(name) = &name {
                request.extensions_mut().insert(name.clone());
            }
            let answer = self.front.answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let stream = TokioIo::new(AnyAuthority::new(stream).telling(begun.clone()));
        let mut connection = pin!(self.protocols.serve_connection(stream, service));
        let mut barred = pin!(shown.counts_no_more());
        let goes_on = tokio::select! {
            _ = connection.as_mut() => return,
            () = &mut barred => return,
            () = begun.told() => true,
            () = &mut overdue => return,
            () = stop.requested() => false,
        };
        drop(overdue);
        if goes_on {
            tokio::select! {
                _ = connection.as_mut() => return,
                () = unread.is_over() => return,
                () = &mut barred => return,
                () = stop.requested() => {}
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
