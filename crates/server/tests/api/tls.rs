//! Encrypted connections, and who is let in by which certificate.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use quorate_proto::authpb::permission::Type;
use quorate_proto::authpb::{Permission, UserAddOptions};
use quorate_proto::etcdserverpb as pb;
use quorate_server::log::Level;
use quorate_server::{Config, Listeners, Log, Server};
use quorate_tls::rustls::pki_types::ServerName;
use quorate_tls::{
    Allowed, Certificate, ClientSettings, Files, Identity, Protocol, Servers, Source, Trust,
    Version,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request};

use crate::cluster::{assert_refused, get, put, within};
use crate::pki::Authority;

/// A member that serves encrypted connections, and who signed its certificate.
struct Member {
    // Dropped in this order: the server ends before its directory goes.
    server: Server,
    config: Config,
    address: SocketAddr,
    authority: Authority,
    folder: TempDir,
}

impl Member {
    /// With flags that know the folder of the certificates, where there is `ours.pem` for the authority and
    /// `ours-server.crt` and `.key` for the server. `{}` in them stands for it.
    async fn start(flags: &[&str]) -> Self {
        Self::start_at(&["https"], flags, |_| ()).await
    }

    async fn start_at(schemes: &[&str], flags: &[&str], prepare: impl FnOnce(&Authority)) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let authority = Authority::new(folder.path(), "ours");
        authority.sign("server", 1);
        prepare(&authority);
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (client, peer) = (bind(), bind());
        let address = client.local_addr().expect("bound");
        let urls: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://{address}")).collect();
        let peer_url = format!("http://{}", peer.local_addr().expect("bound"));
        let path = folder.path().display().to_string();
        let mut all = vec![
            format!("--data-dir={path}/data"),
            format!("--listen-client-urls={}", urls.join(",")),
            format!("--advertise-client-urls={}", urls.join(",")),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
        ];
        all.extend(flags.iter().map(|flag| flag.replace("{}", &path)));
        let config = Config::parse(all, []).expect("good flags");
        let metrics = flags.iter().filter(|flag| flag.starts_with("--listen-metrics-urls="));
        let metrics = metrics.map(|_| bind()).collect();
        let listeners = Listeners { client: vec![client], peer: vec![peer], metrics };
        let server = Server::start_on(&config, listeners, Log::to_stderr(Level::Fatal));
        let server = server.expect("started");
        assert!(within(server.ready()).await, "clients are served");
        Self { server, config, address, authority, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a client needs that believes the authority.
    fn client(&self, identity: Option<Identity>) -> ClientSettings {
        let trust = Trust { authorities: self.authority.file(), revoked: None };
        ClientSettings {
            identity,
            servers: Servers::Verified(trust, Allowed::All),
            protocol: Protocol::default(),
            alpn: Vec::new(),
        }
    }

    /// The same with a certificate of this name.
    fn client_as(&self, name: &str) -> ClientSettings {
        self.client(Some(self.authority.sign(name, 7)))
    }

    async fn channel(&self, settings: &ClientSettings) -> Result<Channel, String> {
        let to = Connector { address: self.address, connector: connector(settings) };
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address));
        let connected = within(endpoint.expect("a URL").connect_with_connector(to)).await;
        connected.map_err(|error| reasons(&error))
    }

    /// Reads a key.
    async fn ask(&self, settings: &ClientSettings) -> Result<(), String> {
        let mut kv = pb::kv_client::KvClient::new(self.channel(settings).await?);
        within(kv.range(get("k"))).await.map(drop).map_err(|status| reasons(&status))
    }

    async fn handshake(&self, settings: &ClientSettings) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        within(connector(settings).connect(name, stream)).await.expect("a handshake")
    }

    /// With which alert a client is turned away. It believes itself connected when that comes.
    async fn alert(&self, settings: &ClientSettings) -> String {
        let mut stream = self.handshake(settings).await;
        let read = within(stream.read(&mut [0])).await;
        read.expect_err("it is turned away").to_string()
    }

    /// The common name of the certificate that the server shows.
    async fn shown(&self, settings: &ClientSettings) -> String {
        let stream = self.handshake(settings).await;
        let shown = stream.get_ref().1.peer_certificates().expect("it has one");
        let shown = Certificate::parse(&shown[0]).expect("it is one");
        shown.common_name.unwrap_or_default()
    }

    /// A page, over HTTP/1.1.
    async fn page(&self, settings: &ClientSettings, path: &str) -> String {
        let mut stream = self.handshake(settings).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.expect("an answer");
        answer
    }
}

/// Why something failed, down to the first cause.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn connector(settings: &ClientSettings) -> TlsConnector {
    let files = Files::read(&settings.files()).expect("read");
    TlsConnector::from(settings.load(&files).expect("loaded").config)
}

/// Connects a channel to one address.
#[derive(Clone)]
struct Connector {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, connector } = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("127.0.0.1").expect("an address");
            connector.connect(name, stream).await.map(TokioIo::new)
        })
    }
}

const OWN: [&str; 2] = ["--cert-file={}/ours-server.crt", "--key-file={}/ours-server.key"];
const DEMANDING: [&str; 4] =
    [OWN[0], OWN[1], "--trusted-ca-file={}/ours.pem", "--client-cert-auth"];

/// The flags for a member with a certificate, and more.
fn own<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&OWN[..], more].concat()
}

fn demanding<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&DEMANDING[..], more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_shows_who_it_is() {
    let member = Member::start(&own(&[])).await;
    member.ask(&member.client(None)).await.expect("answered");
    let page = member.page(&member.client(None), "/health").await;
    assert!(page.ends_with("{\"health\":\"true\",\"reason\":\"\"}"), "{page}");
    let theirs = Authority::new(member.path(), "theirs");
    let trust = Trust { authorities: theirs.file(), revoked: None };
    let other =
        ClientSettings { servers: Servers::Verified(trust, Allowed::All), ..member.client(None) };
    let error = member.ask(&other).await.expect_err("it is not believed");
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_who_it_is() {
    let revoked = "--client-crl-file={}/revoked";
    let member = Member::start_at(&["https"], &demanding(&[revoked]), |authority| {
        let list = authority.file().with_file_name("revoked");
        fs::write(list, authority.revoke(&[9])).expect("written");
    })
    .await;
    member.ask(&member.client_as("alice")).await.expect("answered");
    let theirs = Authority::new(member.path(), "theirs").sign("mallory", 7);
    let revoked = member.authority.sign("bob", 9);
    for (identity, why) in [
        (None, "CertificateRequired"),
        (Some(theirs), "UnknownCA"),
        (Some(revoked), "CertificateRevoked"),
    ] {
        let client = member.client(identity);
        member.ask(&client).await.expect_err(why);
        let alert = member.alert(&client).await;
        assert!(alert.contains(why), "{alert}");
    }
    let page = member.page(&member.client_as("alice"), "/metrics").await;
    let failed = "quorate_tls_handshakes_failed_total{listener=\"client\"} ";
    assert!(page.contains(failed) && !page.contains(&format!("{failed}0\n")), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_some_names_are_let_in() {
    let hosts = "--client-cert-allowed-hostname=elsewhere.example.com,localhost";
    let member = Member::start(&demanding(&[hosts])).await;
    member.ask(&member.client_as("alice")).await.expect("its certificate is for localhost");
    let member = Member::start(&demanding(&["--client-cert-allowed-hostname=elsewhere"])).await;
    member.ask(&member.client_as("alice")).await.expect_err("its certificate is for localhost");
    let member = Member::start(&demanding(&["--client-cert-allowed-cn=alice"])).await;
    member.ask(&member.client_as("alice")).await.expect("it is alice");
    member.ask(&member.client_as("bob")).await.expect_err("it is bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_has_to_be_asked_for() {
    let protocol = Protocol::new(Version::Tls12, Version::Tls12, &[]).expect("a version");
    let member = Member::start(&own(&[])).await;
    let old =
        |member: &Member| ClientSettings { protocol: protocol.clone(), ..member.client(None) };
    let error = member.ask(&old(&member)).await.expect_err("TLS 1.3 only");
    assert!(error.contains("ProtocolVersion"), "{error}");
    let suite = "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let member = Member::start(&own(&["--tls-min-version=TLS1.2", suite])).await;
    member.ask(&old(&member)).await.expect("answered");
    member.ask(&member.client(None)).await.expect("TLS 1.3 all the same");
    let others = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];
    let protocol = Protocol::new(Version::Tls12, Version::Tls12, &others).expect("a suite");
    let other = ClientSettings { protocol, ..member.client(None) };
    member.ask(&other).await.expect_err("no suite in common");
}

async fn exchange(member: &Member, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(member.address).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    // Whether it ends or is reset is all the same.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_clear_is_told_so() {
    let member = Member::start(&own(&[])).await;
    let answer = exchange(&member, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("Client sent an HTTP request to an HTTPS server.\n"), "{answer}");
    assert_eq!(exchange(&member, b"\x00\x01\x02").await, "");
    // A record that is none ends with an alert, which is seven bytes.
    let answer = exchange(&member, &[22, 3, 1, 0, 2, 255, 255]).await;
    assert!(answer.len() <= 7, "{answer}");
    member.ask(&member.client(None)).await.expect("the others are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_tells_both_apart() {
    let member = Member::start_at(&["http", "https"], &own(&[]), |_| ()).await;
    assert_eq!(member.server.client_addresses(), [member.address]);
    let answer = exchange(&member, REQUEST).await;
    assert!(answer.ends_with("{\"health\":\"true\",\"reason\":\"\"}"), "{answer}");
    let page = member.page(&member.client(None), "/version").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    member.ask(&member.client(None)).await.expect("answered");
    let endpoint = Endpoint::from_shared(format!("http://{}", member.address)).expect("a URL");
    let channel = within(endpoint.connect()).await.expect("a connection");
    within(pb::kv_client::KvClient::new(channel).range(get("k"))).await.expect("answered");
}

/// Whatever a client begins and does not go on with ends, and nobody else has to wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn silence_ends() {
    let flags = own(&["--handshake-timeout=500ms"]);
    let member = Member::start_at(&["http", "https"], &flags, |_| ()).await;
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let mut silent = Vec::new();
    for bytes in [&b""[..], &hello, b"GET /hea", b"PRI * HTTP/2.0\r\n\r\nSM", &REQUEST[..50]] {
        let mut stream = TcpStream::connect(member.address).await.expect("a connection");
        stream.write_all(bytes).await.expect("sent");
        silent.push(stream);
    }
    // Encrypted, and then silent.
    let mut stream = member.handshake(&member.client(None)).await;
    within(async {
        // On a slow machine an honest client may be late as well, and comes again.
        while member.ask(&member.client(None)).await.is_err() {}
    })
    .await;
    for mut stream in silent {
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    }
    let _ = within(stream.read_to_end(&mut Vec::new())).await;
}

/// A connection that has begun may be silent for as long as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_begun_stays() {
    let member = Member::start(&own(&["--handshake-timeout=2s"])).await;
    let mut stream = member.handshake(&member.client(None)).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let greeting = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
    stream.write_all(&greeting).await.expect("sent");
    let mut frame = [0; 9];
    within(stream.read_exact(&mut frame)).await.expect("the server's settings");
    sleep(Duration::from_millis(2500)).await;
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], b"12345678"].concat();
    stream.write_all(&ping).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"12345678") {
        let read = within(stream.read_buf(&mut answer)).await.expect("it is open");
        assert!(read > 0, "it is open");
    }
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    within(async {
        while !is_so().await {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_have_what_is_in_the_files_now() {
    let member = Member::start(&demanding(&[])).await;
    let alice = member.client_as("alice");
    let theirs = Authority::new(member.path(), "theirs");
    let carol = member.client(Some(theirs.sign("carol", 1)));
    assert_eq!(member.shown(&alice).await, "server");
    member.ask(&carol).await.expect_err("nobody knows her authority");
    let before = member.channel(&alice).await.expect("a connection");

    member.authority.sign_into("server", "second", 2);
    until(async || member.shown(&alice).await == "second").await;
    let both = member.authority.pem() + &theirs.pem();
    fs::write(member.authority.file(), both).expect("written");
    until(async || member.ask(&carol).await.is_ok()).await;
    fs::write(member.path().join("ours-server.crt"), "half a certificate").expect("written");
    let broken = "quorate_tls_files_broken{listener=\"client\"} ";
    until(async || member.page(&alice, "/metrics").await.contains(&format!("{broken}1\n"))).await;
    assert_eq!(member.shown(&alice).await, "second");
    member.authority.sign_into("server", "third", 3);
    until(async || member.shown(&alice).await == "third").await;

    let page = member.page(&alice, "/metrics").await;
    assert!(page.contains(&format!("{broken}0\n")), "{page}");
    let end = "quorate_tls_not_after_timestamp_seconds{listener=\"client\",certificate=";
    for whose in ["own", "authority"] {
        assert!(page.contains(&format!("{end}\"{whose}\"}} 2493072000\n")), "{page}");
    }
    let mut kv = pb::kv_client::KvClient::new(before);
    within(kv.range(get("k"))).await.expect("who was connected stays so");
}

/// The rules of clients are those of whoever collects metrics over https.
#[tokio::test(flavor = "multi_thread")]
async fn probes_are_encrypted_where_their_url_says_so() {
    let flags =
        demanding(&["--listen-metrics-urls=https://127.0.0.1:0", "--client-crl-file={}/revoked"]);
    let mut member = Member::start_at(&["https"], &flags, |authority| {
        let list = authority.file().with_file_name("revoked");
        fs::write(list, authority.revoke(&[9])).expect("written");
    })
    .await;
    let (alice, bob) =
        (member.client_as("alice"), member.client(Some(member.authority.sign("bob", 9))));
    member.address = member.server.metrics_addresses()[0];
    let page = member.page(&alice, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for (client, why) in [(member.client(None), "CertificateRequired"), (bob, "CertificateRevoked")]
    {
        let alert = member.alert(&client).await;
        assert!(alert.contains(why), "{alert}");
    }
    let mut plain = TcpStream::connect(member.address).await.expect("a connection");
    plain.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    within(plain.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 400"), "{answer}");
}

/// A list that is read anew ends the connections of those whom it names, and of nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_is_put_out() {
    let revoked = "--client-crl-file={}/revoked";
    let mut list = PathBuf::new();
    let member = Member::start_at(&["https"], &demanding(&[revoked]), |authority| {
        list = authority.file().with_file_name("revoked");
        fs::write(&list, authority.revoke(&[9])).expect("written");
    })
    .await;
    let alice = member.channel(&member.client_as("alice")).await.expect("a connection");
    let bob = member.client(Some(member.authority.sign("bob", 8)));
    let mut of_bob = member.handshake(&bob).await;
    of_bob.write_all(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut answer = [0; 4096];
    within(of_bob.read(&mut answer)).await.expect("he is served");
    fs::write(&list, member.authority.revoke(&[8, 9])).expect("written");
    // He says nothing more, and is not waited for.
    while within(of_bob.read(&mut answer)).await.is_ok_and(|read| read > 0) {}
    member.ask(&bob).await.expect_err("he is not let in again");
    let mut kv = pb::kv_client::KvClient::new(alice);
    within(kv.range(get("k"))).await.expect("who was not named stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_makes_a_certificate_for_itself() {
    let member = Member::start(&["--auto-tls"]).await;
    let certificate: PathBuf = member.path().join("data/fixtures/client/cert.pem");
    let made = fs::read(&certificate).expect("it is there");
    let trust = Trust { authorities: certificate.clone(), revoked: None };
    let servers = Servers::Verified(trust, Allowed::All);
    let client = ClientSettings { servers, ..member.client(None) };
    member.ask(&client).await.expect("it is made out for the address");
    let Member { server, config, folder, .. } = member;
    within(server.shutdown()).await;
    let server = Server::start(&config, Log::to_stderr(Level::Fatal)).expect("started again");
    assert_eq!(fs::read(&certificate).expect("it is there"), made);
    drop(server);
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_does_not_start_without_its_certificate() {
    let flags = ["--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://a:1"];
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().display();
    let files = [format!("--cert-file={path}/none"), format!("--key-file={path}/none")];
    let more = [format!("--data-dir={path}/d"), "--listen-peer-urls=http://127.0.0.1:0".to_owned()];
    let flags = flags.map(str::to_owned).into_iter().chain(files).chain(more);
    let config = Config::parse(flags, []).expect("good flags");
    let error = Server::start(&config, Log::to_stderr(Level::Fatal)).expect_err("no certificate");
    assert!(error.to_string().starts_with(&format!("{path}/none: ")), "{error}");
    assert!(!folder.path().join("d").exists(), "nothing was begun");
}

fn with_header<T>(name: &'static str, value: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().insert(name, value.parse().expect("text"));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_in_a_certificate_is_a_user() {
    let member = Member::start(&demanding(&[])).await;
    let root = member.channel(&member.client_as("root")).await.expect("a connection");
    let mut auth = pb::auth_client::AuthClient::new(root);
    let add = |name: &str, password: &str| pb::AuthUserAddRequest {
        name: name.into(),
        password: password.into(),
        options: password.is_empty().then_some(UserAddOptions { no_password: true }),
        ..Default::default()
    };
    let role = |user: &str, role: &str| pb::AuthUserGrantRoleRequest {
        user: user.into(),
        role: role.into(),
    };
    within(auth.user_add(add("root", ""))).await.expect("added");
    within(auth.user_grant_role(role("root", "root"))).await.expect("granted");
    within(auth.user_add(add("alice", ""))).await.expect("added");
    within(auth.user_add(add("bob", "bobpw"))).await.expect("added");
    within(auth.role_add(pb::AuthRoleAddRequest { name: "r".into() })).await.expect("added");
    let perm = Some(Permission {
        perm_type: Type::Readwrite.into(),
        key: "a".to_owned().into(),
        range_end: "b".to_owned().into(),
    });
    let grant = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm };
    within(auth.role_grant_permission(grant)).await.expect("granted");
    within(auth.user_grant_role(role("alice", "r"))).await.expect("granted");
    within(auth.auth_enable(pb::AuthEnableRequest {})).await.expect("enabled");

    let alice = member.channel(&member.client_as("alice")).await.expect("a connection");
    let mut kv = pb::kv_client::KvClient::new(alice);
    within(kv.put(put("a1", "v"))).await.expect("her right");
    let denied = "etcdserver: permission denied";
    assert_refused(within(kv.put(put("c1", "v"))).await, Code::PermissionDenied, denied);
    let nobody = "etcdserver: user name is empty";
    let gateway = with_header("grpcgateway-accept", "*/*", put("a1", "v"));
    assert_refused(within(kv.put(gateway)).await, Code::InvalidArgument, nobody);
    let wrong = with_header("token", "no.1", put("a1", "v"));
    let text = "etcdserver: invalid auth token";
    assert_refused(within(kv.put(wrong)).await, Code::Unauthenticated, text);
    // Who sends a token is who the token says.
    let log_in = pb::AuthenticateRequest { name: "bob".into(), password: "bobpw".into() };
    let token = within(auth.authenticate(log_in)).await.expect("let in").into_inner().token;
    let by_bob = with_header("token", &token, put("a1", "v"));
    assert_refused(within(kv.put(by_bob)).await, Code::PermissionDenied, denied);

    for (name, code, text) in
        [("", Code::InvalidArgument, nobody), ("stranger", Code::PermissionDenied, denied)]
    {
        let channel = member.channel(&member.client_as(name)).await.expect("a connection");
        let mut kv = pb::kv_client::KvClient::new(channel);
        assert_refused(within(kv.put(put("a1", "v"))).await, code, text);
    }
    within(auth.user_list(pb::AuthUserListRequest {})).await.expect("root's right");
}

/// Authorities alone demand certificates, but these name no users.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_users_only_where_that_was_asked_for() {
    let member = Member::start(&DEMANDING[..3]).await;
    member.ask(&member.client(None)).await.expect_err("it has no certificate");
    let channel = member.channel(&member.client_as("root")).await.expect("a connection");
    let mut auth = pb::auth_client::AuthClient::new(channel);
    let add = pb::AuthUserAddRequest {
        name: "root".into(),
        password: "rootpw".into(),
        ..Default::default()
    };
    within(auth.user_add(add)).await.expect("added");
    let grant = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    within(auth.user_grant_role(grant)).await.expect("granted");
    within(auth.auth_enable(pb::AuthEnableRequest {})).await.expect("enabled");
    let refused = within(auth.user_list(pb::AuthUserListRequest {})).await;
    assert_refused(refused, Code::InvalidArgument, "etcdserver: user name is empty");
}
