//! Two members and their certificates, over real sockets.

#[path = "../../../tls/tests/handshakes/pki.rs"]
mod pki;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use quorate_tls::{Allowed, Clients, Identity, Protocol, Servers, Trust};
use tempfile::TempDir;

use self::pki::Authority;
use super::*;
use crate::log::Level;

const LONG: Duration = Duration::from_secs(60);

/// A folder with an authority, and what it signs.
struct Folder {
    authority: Authority,
    folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { authority: Authority::new(folder.path(), "authority"), folder }
    }

    /// One that believes this authority.
    fn transport(&self, own: &Identity, allowed: Allowed) -> PeerTls {
        let revoked = Some(self.revoked()).filter(|path| path.exists());
        let trust = Trust { authorities: self.authority.file(), revoked };
        let alpn = vec![b"test".to_vec()];
        let server = ServerSettings {
            identity: own.clone(),
            clients: Clients::Verified(trust.clone(), allowed.clone()),
            protocol: Protocol::default(),
            alpn: alpn.clone(),
        };
        let client = ClientSettings {
            identity: Some(own.clone()),
            servers: Servers::Verified(trust, allowed),
            protocol: Protocol::default(),
            alpn,
        };
        let log = Log::new(Level::Fatal, io::sink());
        PeerTls::open(&server, &client, &log).expect("good files")
    }

    fn revoked(&self) -> PathBuf {
        self.folder.path().join("revoked")
    }

    /// One with a certificate that this authority signed.
    fn member(&self, name: &str, serial: u64) -> PeerTls {
        self.transport(&self.authority.sign(name, serial), Allowed::All)
    }
}

/// Both ends, after something was said, or what each of them says of it.
fn pair(
    ours: &PeerTls,
    theirs: &PeerTls,
) -> Result<(Connection, Connection), (Option<PeerError>, Option<PeerError>)> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let connecting = || {
        let mut connection = ours.connect(&address, LONG)?;
        connection.stream.write_all(b"first")?;
        let answer = read_exact::<6>(&mut connection)?;
        assert_eq!(&answer, b"second");
        Ok(connection)
    };
    let accepting = || {
        let (socket, _) = listener.accept()?;
        let mut connection = theirs.accept(socket)?;
        let said = read_exact::<5>(&mut connection)?;
        assert_eq!(&said, b"first");
        connection.stream.write_all(b"second")?;
        Ok(connection)
    };
    thread::scope(|scope| {
        let connected = scope.spawn(connecting);
        let accepted: io::Result<Connection> = accepting();
        let connected: io::Result<Connection> = connected.join().expect("no panic");
        match (connected, accepted) {
            (Ok(connected), Ok(accepted)) => Ok((connected, accepted)),
            (connected, accepted) => Err((connected.err().map(said), accepted.err().map(said))),
        }
    })
}

fn read_exact<const N: usize>(connection: &mut Connection) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    connection.stream.read_exact(&mut bytes).map(|()| bytes)
}

/// What an error says of TLS; the network's own word otherwise.
fn said(error: io::Error) -> PeerError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<PeerError>());
    inner.cloned().unwrap_or(PeerError::Io(error.kind()))
}

/// Who accepts says why it does not hear who connects.
fn assert_not_heard(ours: &PeerTls, theirs: &PeerTls) {
    let (connected, accepted) = pair(ours, theirs).expect_err("they do not believe each other");
    assert!(matches!(accepted, Some(PeerError::Tls(_))), "{accepted:?}");
    assert!(connected.is_some(), "and it hears no answer");
}

#[test]
fn bytes_pass_both_ways_in_any_portions() {
    let folder = Folder::new();
    let (mut ours, mut theirs) =
        pair(&folder.member("a", 1), &folder.member("b", 2)).expect("they believe each other");
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for piece in bytes.chunks(300_007) {
                ours.stream.write_all(piece).expect("sent");
            }
        });
        let mut arrived = vec![0; bytes.len()];
        for piece in arrived.chunks_mut(70_001) {
            theirs.stream.read_exact(piece).expect("it comes");
        }
        assert!(arrived == bytes);
    });
}

#[test]
fn what_the_network_does_not_take_at_once_is_sent_with_what_comes_next() {
    let folder = Folder::new();
    let (mut ours, mut theirs) =
        pair(&folder.member("a", 1), &folder.member("b", 2)).expect("they believe each other");
    let piece = [7; 10_000];
    let mut count = 0;
    while ours.stream.write_now(&piece).expect("sent") != 0 {
        count += piece.len();
    }
    assert_eq!(ours.stream.write_now(&piece).expect("nothing"), 0, "it does not wait");
    count += piece.len() + 3;
    thread::scope(|scope| {
        scope.spawn(|| ours.stream.write_all(&[&piece[..], b"end"].concat()).expect("sent"));
        let mut arrived = vec![0; count];
        theirs.stream.read_exact(&mut arrived).expect("it comes");
        assert!(arrived.ends_with(b"\x07end") && arrived[..count - 3].iter().all(|b| *b == 7));
    });
    assert_eq!(ours.stream.write_now(b"more").expect("sent"), 4, "and then it is as before");
    assert_eq!(&read_exact::<4>(&mut theirs).expect("it comes"), b"more");
}

#[test]
fn who_has_a_certificate_of_another_authority_is_not_heard() {
    let (ours, theirs) = (Folder::new(), Folder::new());
    let (ours, theirs) = (ours.member("a", 1), theirs.member("b", 2));
    let (connected, _) = pair(&ours, &theirs).expect_err("they do not believe each other");
    assert!(matches!(connected, Some(PeerError::Tls(_))), "{connected:?}");
    // One that believes everybody is still not heard.
    let folder = Folder::new();
    let stranger = ClientSettings {
        identity: None,
        servers: Servers::All,
        protocol: Protocol::default(),
        alpn: vec![b"test".to_vec()],
    };
    let reloading = Reloading::new(stranger).expect("without files");
    let mut nobody = folder.member("a", 1);
    nobody.client = Settings { reloading, log: Log::new(Level::Fatal, io::sink()) };
    assert_not_heard(&nobody, &folder.member("b", 2));
}

#[test]
fn names_are_looked_at_on_both_ends() {
    let folder = Folder::new();
    let allowed = |name: &str| Allowed::CommonNames(vec![name.to_owned()]);
    let own = |name: &str, serial| folder.authority.sign(name, serial);
    let picky = folder.transport(&own("a", 1), allowed("b"));
    pair(&picky, &folder.member("b", 2)).expect("it is b");
    pair(&folder.member("b", 2), &picky).expect("it is b");
    assert_not_heard(&folder.member("c", 3), &picky);
    let (connected, _) = pair(&picky, &folder.member("c", 3)).expect_err("it is c");
    assert!(matches!(connected, Some(PeerError::Tls(_))), "{connected:?}");
}

#[test]
fn what_is_revoked_is_not_heard_on_the_next_connection() {
    let folder = Folder::new();
    fs::write(folder.revoked(), folder.authority.revoke(&[99])).expect("written");
    let (ours, theirs) = (folder.member("a", 1), folder.member("b", 2));
    let (mut before, mut there) = pair(&ours, &theirs).expect("neither is revoked");
    fs::write(folder.revoked(), folder.authority.revoke(&[1])).expect("written");
    assert_not_heard(&ours, &theirs);
    before.stream.write_all(b"still there").expect("sent");
    assert_eq!(&read_exact::<11>(&mut there).expect("it comes"), b"still there");
    // A new certificate in the same files.
    folder.authority.sign_into("a", "a", 3);
    pair(&ours, &theirs).expect("another one");
}

#[test]
fn who_speaks_something_else_is_not_heard() {
    let folder = Folder::new();
    let member = folder.member("a", 1);
    for bytes in [&b"QUORATE\xff what a plain member says"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("it");
        socket.write_all(bytes).expect("sent");
        let (accepted, _) = listener.accept().expect("it is there");
        let mut connection = member.accept(accepted).expect("nothing is read yet");
        let error = read_exact::<1>(&mut connection).expect_err("no TLS");
        let reason = "the other side does not speak TLS".to_owned();
        assert_eq!(said(error), PeerError::Tls(reason));
        let error = read_exact::<1>(&mut connection).expect_err("it has ended");
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    }
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let error = folder.member("a", 1).connect(&address, Duration::from_millis(50));
    let kind = error.expect_err("nobody accepts").kind();
    assert!(matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{kind}");
}

#[test]
fn names_are_those_of_the_address() {
    for (address, name) in [("a.b:1", "a.b"), ("10.0.0.1:1", "10.0.0.1"), ("[::1]:1", "::1")] {
        let expected = ServerName::try_from(name).expect("a name");
        assert_eq!(server_name(address), Some(expected));
    }
    assert_eq!(server_name("a b:1"), None);
    assert_eq!(server_name("a"), None);
}
