//! Handshakes in memory: who is let in with which files.

mod pki;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_tls::rustls::pki_types::ServerName;
use quorate_tls::rustls::{
    self, ClientConfig, ClientConnection, ProtocolVersion, ServerConfig, ServerConnection,
};
use quorate_tls::{
    Allowed, Certificate, ClientSettings, Clients, Files, Identity, Look, Protocol, Reloading,
    ServerSettings, Servers, Source, Trust, Version, self_signed,
};
use tempfile::TempDir;

use crate::pki::Authority;

/// Lets the two ends talk until nothing is left to say.
fn shake_hands(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    loop {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes it");
        }
        let (mut rest, was_silent) = (&bytes[..], bytes.is_empty());
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory gives it");
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory takes it");
        }
        if was_silent && bytes.is_empty() {
            assert!(!client.is_handshaking() && !server.is_handshaking(), "both are silent");
            return Ok((client, server));
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory gives it");
            client.process_new_packets()?;
        }
    }
}

fn load<S: Source>(source: &S) -> Result<S::Value, quorate_tls::Error> {
    Files::read(&source.files()).and_then(|files| source.load(&files))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn server(identity: Identity, clients: Clients) -> ServerSettings {
    ServerSettings { identity, clients, protocol: Protocol::default(), alpn: vec![b"h2".to_vec()] }
}

fn client(identity: Option<Identity>, authority: &Authority) -> ClientSettings {
    let trust = Trust { authorities: authority.file(), revoked: None };
    let servers = Servers::Verified(trust, Allowed::All);
    ClientSettings { identity, servers, protocol: Protocol::default(), alpn: vec![b"h2".to_vec()] }
}

fn trusting(authority: &Authority, allowed: Allowed) -> Clients {
    Clients::Verified(Trust { authorities: authority.file(), revoked: None }, allowed)
}

/// Whether the two agree.
fn is_let_in(client: &ClientSettings, server: &ServerSettings) -> Result<(), String> {
    let (client, server) = (load(client).expect("loaded"), load(server).expect("loaded"));
    shake_hands(&client.config, &server.config).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_server_is_believed_for_its_authority() {
    let folder = folder();
    let (ours, theirs) =
        (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let settings = server(ours.sign("server", 1), Clients::All);
    assert_eq!(is_let_in(&client(None, &ours), &settings), Ok(()));
    let error = is_let_in(&client(None, &theirs), &settings).expect_err("of another authority");
    assert!(error.contains("UnknownIssuer"), "{error}");
    let anybody = ClientSettings { servers: Servers::All, ..client(None, &theirs) };
    assert_eq!(is_let_in(&anybody, &settings), Ok(()));
    let trust = Trust { authorities: ours.file(), revoked: None };
    let allowed = Allowed::CommonNames(vec!["other".to_owned()]);
    let picky =
        ClientSettings { servers: Servers::Verified(trust, allowed), ..client(None, &ours) };
    is_let_in(&picky, &settings).expect_err("its name is another");
}

#[test]
fn a_client_is_let_in_by_its_certificate() {
    let folder = folder();
    let (ours, theirs) =
        (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let (alice, mallory) = (ours.sign("alice", 7), theirs.sign("mallory", 7));
    let of = |allowed| server(ours.sign("server", 1), trusting(&ours, allowed));
    let with = |identity: &Identity| client(Some(identity.clone()), &ours);
    let any = of(Allowed::All);
    assert_eq!(is_let_in(&with(&alice), &any), Ok(()));
    is_let_in(&client(None, &ours), &any).expect_err("it has none");
    is_let_in(&with(&mallory), &any).expect_err("it is another authority's");
    let names = |name: &str| of(Allowed::new(&[name, "x"], &[]).expect("names"));
    assert_eq!(is_let_in(&with(&alice), &names("alice")), Ok(()));
    is_let_in(&with(&alice), &names("bob")).expect_err("it is no other's");
    let hosts = |name: &str| of(Allowed::new(&[], &["x", name]).expect("names"));
    assert_eq!(is_let_in(&with(&alice), &hosts("localhost")), Ok(()));
    assert_eq!(is_let_in(&with(&alice), &hosts("127.0.0.1")), Ok(()));
    is_let_in(&with(&alice), &hosts("elsewhere")).expect_err("it is for no such host");
}

#[test]
fn what_is_revoked_stays_out() {
    let folder = folder();
    let (ours, theirs) =
        (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let (alice, bob, carol) = (ours.sign("alice", 7), ours.sign("bob", 8), theirs.sign("carol", 7));
    let both = folder.path().join("both");
    fs::write(&both, ours.pem() + &theirs.pem()).expect("written");
    let revoked = folder.path().join("revoked");
    fs::write(&revoked, ours.revoke(&[7])).expect("written");
    let trust = Trust { authorities: both, revoked: Some(revoked.clone()) };
    let settings = server(ours.sign("server", 1), Clients::Verified(trust, Allowed::All));
    let with = |identity: &Identity| client(Some(identity.clone()), &ours);
    let error = is_let_in(&with(&alice), &settings).expect_err("it is revoked");
    assert!(error.contains("Revoked"), "{error}");
    assert_eq!(is_let_in(&with(&bob), &settings), Ok(()));
    assert_eq!(is_let_in(&with(&carol), &settings), Ok(()), "another authority, the same number");
    // Half a list is none.
    let text = fs::read_to_string(&revoked).expect("read");
    fs::write(&revoked, &text[..text.len() / 2]).expect("written");
    load(&settings).expect_err("it is broken");
}

#[test]
fn an_older_version_has_to_be_asked_for() {
    let folder = folder();
    let ours = Authority::new(folder.path(), "ours");
    let older = |max| Protocol::new(Version::Tls12, max, &[]).expect("versions");
    let old_client = ClientSettings { protocol: older(Version::Tls12), ..client(None, &ours) };
    let settings = server(ours.sign("server", 1), Clients::All);
    is_let_in(&old_client, &settings).expect_err("TLS 1.3 only");
    let both = ServerSettings { protocol: older(Version::Tls13), ..settings };
    assert_eq!(is_let_in(&old_client, &both), Ok(()));
    let (new, both) = (load(&client(None, &ours)), load(&both));
    let (new, both) = (new.expect("loaded").config, both.expect("loaded").config);
    let (_, server) = shake_hands(&new, &both).expect("agreed");
    assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn files_that_do_not_fit_are_told_apart() {
    let folder = folder();
    let ours = Authority::new(folder.path(), "ours");
    let (one, two) = (ours.sign("one", 1), ours.sign("two", 2));
    let wrong = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let settings = server(Identity { certificate, key }, Clients::All);
        load(&settings).expect_err("it can't be used").to_string()
    };
    let text = wrong(&one.certificate, &two.key);
    assert!(text.contains("two.key: is not the key of"), "{text}");
    let text = wrong(&one.key, &one.key);
    assert!(text.contains("one.key: has no certificate in PEM"), "{text}");
    let text = wrong(&one.certificate, &one.certificate);
    assert!(text.contains("one.crt: has no private key in PEM"), "{text}");
    let text = wrong(Path::new("/nowhere"), &one.key);
    assert!(text.starts_with("/nowhere: "), "{text}");
    // What is wrong with a key never shows what is in it.
    let key = fs::read_to_string(&one.key).expect("read");
    let secret = key.lines().nth(1).expect("a line of it").to_owned();
    fs::write(&one.key, key.replace("END", "BEGIN")).expect("written");
    let text = wrong(&one.certificate, &one.key);
    assert!(!text.contains(&secret[..8]), "{text}");
}

#[test]
fn a_key_that_all_may_read_is_told() {
    let folder = folder();
    let ours = Authority::new(folder.path(), "ours");
    let one = ours.sign("one", 1);
    let settings = server(one.clone(), Clients::All);
    for (mode, count) in [(0o644, 1), (0o640, 0)] {
        fs::set_permissions(&one.key, fs::Permissions::from_mode(mode)).expect("set");
        assert_eq!(load(&settings).expect("loaded").warnings.len(), count, "{mode:o}");
    }
}

#[test]
fn new_connections_have_what_is_in_the_files_now() {
    let folder = folder();
    let (ours, theirs) =
        (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let identity = ours.sign_into("server", "first", 1);
    let settings = server(identity.clone(), trusting(&ours, Allowed::All));
    let reloading = Reloading::new(settings).expect("loaded");
    assert_eq!(reloading.current().own_not_after, Some(2_493_072_000));
    let shown = |identity: &Identity| {
        let client = load(&client(Some(identity.clone()), &ours)).expect("loaded");
        let (client, _) = shake_hands(&client.config, &reloading.current().config).ok()?;
        Certificate::parse(client.peer_certificates()?.first()?)?.common_name
    };
    let (alice, carol) = (ours.sign("alice", 7), theirs.sign("carol", 7));
    assert_eq!((shown(&alice).as_deref(), shown(&carol)), (Some("first"), None));
    ours.sign_into("server", "second", 2);
    assert_eq!(reloading.look(), Look::Reloaded);
    assert_eq!(shown(&alice).as_deref(), Some("second"));
    fs::write(&identity.certificate, "half a certif").expect("written");
    assert!(matches!(reloading.look(), Look::Kept(_)));
    assert_eq!(shown(&alice).as_deref(), Some("second"));
    ours.sign_into("server", "third", 3);
    fs::write(ours.file(), ours.pem() + &theirs.pem()).expect("written");
    assert_eq!(reloading.look(), Look::Reloaded);
    assert_eq!(shown(&carol).as_deref(), Some("third"));
}

#[test]
fn a_certificate_of_ones_own() {
    let folder = folder();
    let directory = folder.path().join("fixtures/client");
    let (now, year) = (Duration::from_secs(1_700_000_000), Duration::from_secs(31_536_000));
    let make = || self_signed(&directory, &["localhost", "127.0.0.1"], now, year).expect("made");
    let identity = make();
    let mode = fs::metadata(&identity.key).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let settings = server(identity.clone(), Clients::All);
    let loaded = load(&settings).expect("loaded");
    assert_eq!((loaded.own_not_after, loaded.warnings.len()), (Some(1_731_536_000), 0));
    let before = fs::read(&identity.certificate).expect("read");
    assert_eq!(make(), identity);
    assert_eq!(fs::read(&identity.certificate).expect("read"), before, "it is kept");

    // As an authority, it proves itself, as long as it is valid.
    fs::remove_file(&identity.certificate).expect("removed");
    let long = self_signed(&directory, &["localhost"], now, 100 * year).expect("made");
    assert_eq!(long, identity);
    let trust = Trust { authorities: identity.certificate, revoked: None };
    let believing = ClientSettings {
        identity: None,
        servers: Servers::Verified(trust, Allowed::All),
        protocol: Protocol::default(),
        alpn: Vec::new(),
    };
    assert_eq!(is_let_in(&believing, &settings), Ok(()));
}
