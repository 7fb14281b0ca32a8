//! Encrypted or in clear: what the options and the endpoints say, as etcdctl reads them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use clap::ArgAction;
use hyper_util::rt::TokioIo;
use quorate_tls::rustls::pki_types::ServerName;
use quorate_tls::{
    Allowed, ClientSettings, Files, Identity, Protocol, Servers, Source as _, Trust, Version,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::Uri;

use super::Error;

/// How connections are encrypted.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Options {
    /// Believe members whose certificate is signed by an authority in this file (PEM).
    #[arg(long, value_name = "FILE", global = true)]
    #[arg(env = "QUORATE_CACERT", help_heading = "Connection")]
    cacert: Option<PathBuf>,
    /// The certificate to show to members (PEM).
    #[arg(long, value_name = "FILE", global = true)]
    #[arg(env = "QUORATE_CERT", help_heading = "Connection")]
    cert: Option<PathBuf>,
    /// The private key of that certificate (PEM).
    // Under another name inside, as commands have keys of their own.
    #[arg(id = "tls-key", long = "key", value_name = "FILE", global = true)]
    #[arg(env = "QUORATE_KEY", help_heading = "Connection")]
    key: Option<PathBuf>,
    /// Believe members whoever they say they are.
    #[arg(long, global = true, help_heading = "Connection")]
    insecure_skip_tls_verify: bool,
    /// Whether endpoints without a scheme may be reached in clear; they are if none of the options for
    /// encryption is given.
    #[arg(long, global = true, help_heading = "Connection", action = ArgAction::Set)]
    #[arg(default_value_t = true, default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, value_name = "BOOL")]
    insecure_transport: bool,
    /// The oldest version of TLS that is spoken, TLS1.2 or TLS1.3.
    #[arg(long, global = true, help_heading = "Connection", default_value_t = Version::Tls13)]
    tls_min_version: Version,
}

/// How endpoints are reached.
#[derive(Debug)]
pub(super) struct Transport {
    /// What encrypted connections are made with; `None` where all are in clear.
    tls: Option<Connector>,
    /// Whether endpoints are encrypted that do not say it themselves.
    is_default: bool,
    may_be_plain: bool,
}

impl Transport {
    /// Reads the files that are needed for these endpoints.
    pub(super) fn new(options: &Options, endpoints: &[String]) -> Result<Self, Error> {
        let is_default = options.cacert.is_some()
            || options.cert.is_some()
            || options.key.is_some()
            || options.insecure_skip_tls_verify
            || !options.insecure_transport;
        let is_wanted = is_default || endpoints.iter().any(|it| it.starts_with("https://"));
        let tls = is_wanted.then(|| connector(options)).transpose()?;
        Ok(Self { tls, is_default, may_be_plain: options.insecure_transport })
    }

    /// The URL of an endpoint, and what connects to it if it is encrypted.
    pub(super) fn of(&self, endpoint: &str) -> Result<(String, Option<Connector>), Error> {
        let (is_secure, url) = match endpoint.split_once("://") {
            Some(("http", _)) => (false, endpoint.to_owned()),
            Some(("https", _)) => (true, endpoint.to_owned()),
            Some(_) => {
                let why = format!("{endpoint}: only http:// and https:// endpoints are supported");
                return Err(Error::Input(why));
            }
            None if self.is_default => (true, format!("https://{endpoint}")),
            None => (false, format!("http://{endpoint}")),
        };
        if !is_secure && !self.may_be_plain {
            let why = format!("{endpoint}: --insecure-transport=false allows no http:// endpoint");
            return Err(Error::Input(why));
        }
        let tls = self.tls.clone().filter(|_| is_secure);
        Ok((url, tls))
    }
}

fn connector(options: &Options) -> Result<Connector, Error> {
    let input = |error: quorate_tls::Error| Error::Input(error.to_string());
    let identity = match (&options.cert, &options.key) {
        (Some(certificate), Some(key)) => {
            Some(Identity { certificate: certificate.clone(), key: key.clone() })
        }
        (None, None) => None,
        (Some(_), None) => return Err(Error::Input("--cert needs --key".into())),
        (None, Some(_)) => return Err(Error::Input("--key needs --cert".into())),
    };
    let servers = match &options.cacert {
        _ if options.insecure_skip_tls_verify => Servers::All,
        Some(authorities) => Servers::Verified(
            Trust { authorities: authorities.clone(), revoked: None },
            Allowed::All,
        ),
        None => Servers::of_the_system().map_err(input)?,
    };
    let protocol = Protocol::new(options.tls_min_version, Version::Tls13, &[]).map_err(input)?;
    let settings = ClientSettings { identity, servers, protocol, alpn: vec![b"h2".to_vec()] };
    let files = Files::read(&settings.files()).map_err(input)?;
    let loaded = settings.load(&files).map_err(input)?;
    Ok(Connector(TlsConnector::from(loaded.config)))
}

/// Makes encrypted connections.
#[derive(Clone)]
pub(super) struct Connector(TlsConnector);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector(..)")
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct NotConnected(io::Error);

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotConnected {}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = NotConnected;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NotConnected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connector = self.0.clone();
        Box::pin(async move { connect(connector, &url).await.map_err(NotConnected) })
    }
}

async fn connect(connector: TlsConnector, url: &Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let host = url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(443))).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await.map(TokioIo::new)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    /// The URL and whether it is encrypted, or why not.
    fn of(endpoint: &str, options: &[&str]) -> Result<(String, bool), String> {
        let options = [&["x"], options].concat();
        let Arguments { options } = Arguments::try_parse_from(options).expect("good options");
        let transport = Transport::new(&options, &[endpoint.to_owned()]);
        let found = transport.and_then(|transport| transport.of(endpoint));
        found.map(|(url, tls)| (url, tls.is_some())).map_err(|error| error.to_string())
    }

    #[test]
    fn endpoints_are_encrypted_if_they_or_the_options_say_so() {
        let plain = |url: &str| Ok((url.to_owned(), false));
        let secure = |url: &str| Ok((url.to_owned(), true));
        let skip = "--insecure-skip-tls-verify";
        assert_eq!(of("a:1", &[]), plain("http://a:1"));
        assert_eq!(of("a:1", &["--insecure-transport"]), plain("http://a:1"));
        assert_eq!(of("a:1", &[skip]), secure("https://a:1"));
        assert_eq!(of("https://a:1", &[skip]), secure("https://a:1"));
        assert_eq!(of("http://a:1", &[skip]), plain("http://a:1"));
        assert_eq!(of("a:1", &["--insecure-transport=false", skip]), secure("https://a:1"));
        let refused = of("http://a:1", &["--insecure-transport=false", skip]);
        assert!(refused.expect_err("in clear").contains("allows no http://"));
        assert!(of("unix:///a", &[]).expect_err("no such").contains("only http:// and https://"));
    }

    #[test]
    fn files_are_read_where_they_are_needed() {
        let error = of("https://a:1", &["--cacert=/nowhere"]).expect_err("no such file");
        assert!(error.starts_with("/nowhere: "), "{error}");
        assert_eq!(of("a:1", &["--cert=c"]), Err("--cert needs --key".to_owned()));
        assert_eq!(of("a:1", &["--key=k"]), Err("--key needs --cert".to_owned()));
    }
}
