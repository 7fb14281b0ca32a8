//! What flags mean for the connections between members, and what they can't.

use std::fs;

use super::*;
use crate::config::Config;
use crate::log::Level;

fn parse(flags: &[&str]) -> Result<PeerLinks, String> {
    let flags = flags.iter().map(ToString::to_string);
    Config::parse(flags, []).map(|config| config.peer_links).map_err(|stop| stop.to_string())
}

/// What it is that protects them, in a word or two.
fn links(flags: &[&str]) -> Result<String, String> {
    parse(flags).map(|links| match links {
        PeerLinks::Plain { within } => plain(&within.to_string()),
        PeerLinks::Authenticated { secrets } => format!("hmac {}", secrets.display()),
        PeerLinks::Encrypted(_) => "tls".to_owned(),
    })
}

fn plain(within: &str) -> String {
    format!("plain {within}")
}

const HERE: &str = "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://[::1]:3";
const FAR: &str = "--initial-cluster=default=http://10.0.0.1:2380,b=http://10.0.0.2:2380";

#[test]
fn on_one_machine_nothing_has_to_be_said() {
    assert_eq!(links(&[]), Ok(plain("")));
    assert_eq!(links(&[HERE]), Ok(plain("")));
    assert_eq!(links(&["--listen-peer-urls=http://127.0.0.1:1,http://[::1]:1"]), Ok(plain("")));
    assert_eq!(links(&["--peer-auth=none"]), Ok(plain("")));
}

#[test]
fn across_a_network_a_plain_member_needs_its_name() {
    let listen = "--listen-peer-urls=http://10.0.0.1:2380";
    for flags in
        [&[listen][..], &["--listen-peer-urls=http://0.0.0.0:2380"], &[FAR], &[listen, FAR]]
    {
        let why = links(flags).expect_err("nothing is allowed");
        assert!(why.contains("--peer-insecure-allow") && why.contains("--peer-auth=hmac"), "{why}");
        let allowed = [flags, &["--peer-insecure-allow=10.0.0.0/24"]].concat();
        assert_eq!(links(&allowed), Ok(plain("10.0.0.0/24")));
    }
    let why = links(&[FAR, "--peer-insecure-allow=10.0.0.1"]).expect_err("one of them is");
    assert!(why.contains("member b at 10.0.0.2"), "{why}");
    assert!(links(&["--peer-insecure-allow=somewhere"]).is_err());
    // Where names lead is known when they are connected to.
    let names = "--initial-cluster=default=http://a.example:1,b=http://b.example:1";
    assert_eq!(links(&[names]), Ok(plain("")));
}

#[test]
fn tags_need_a_secret_and_are_never_left_out() {
    let hmac = ["--peer-auth=hmac", "--peer-secret-file=/s"];
    for flags in [&hmac[..], &[&hmac[..], &[FAR]].concat()] {
        assert_eq!(links(flags), Ok("hmac /s".to_owned()));
    }
    for bad in [
        &["--peer-auth=hmac"][..],
        &["--peer-secret-file=/s"],
        &["--peer-auth=none", "--peer-secret-file=/s"],
        &["--peer-auth=hmac", "--peer-secret-file=/s", "--peer-insecure-allow=10.0.0.0/8"],
        &["--peer-auth=maybe"],
        &["--peer-auth="],
    ] {
        assert!(links(bad).is_err(), "{bad:?}");
    }
}

const SECURE: [&str; 2] =
    ["--listen-peer-urls=https://10.0.0.1:1", "--initial-advertise-peer-urls=https://10.0.0.1:1"];
const OWN: [&str; 3] = ["--peer-cert-file=c", "--peer-key-file=k", "--peer-trusted-ca-file=a"];

fn encrypted(flags: &[&[&str]]) -> Result<EncryptedLinks, String> {
    parse(&flags.concat()).map(|links| match links {
        PeerLinks::Encrypted(links) => *links,
        other => panic!("{other:?} is not encrypted"),
    })
}

#[test]
fn https_urls_mean_certificates_of_both_ends() {
    let links = encrypted(&[&SECURE, &OWN, &["--peer-crl-file=r", "--peer-cert-allowed-cn=n"]]);
    let EncryptedLinks { server, client, automatic } = links.expect("good flags");
    let own = Identity { certificate: "c".into(), key: "k".into() };
    assert_eq!((&server.identity, client.identity.as_ref()), (&own, Some(&own)));
    let Clients::Verified(trust, allowed) = server.clients else { panic!("all are let in") };
    assert_eq!(trust, Trust { authorities: "a".into(), revoked: Some("r".into()) });
    assert_eq!(allowed, Allowed::CommonNames(vec!["n".into()]));
    let Servers::Verified(theirs, names) = client.servers else { panic!("all are believed") };
    assert_eq!((theirs, names, automatic), (trust, allowed, None));

    let other = ["--peer-client-cert-file=cc", "--peer-client-key-file=ck"];
    let links = encrypted(&[&SECURE, &OWN, &other]).expect("good flags");
    assert_eq!(links.client.identity.expect("shown").certificate, Path::new("cc"));
}

#[test]
fn a_certificate_of_its_own_keeps_nobody_out_and_says_so() {
    let flags = [&SECURE[..], &["--peer-auto-tls", "--data-dir=d"]].concat();
    let links = encrypted(&[&flags]).expect("good flags");
    assert_eq!(links.automatic.expect("one is made").hosts, ["10.0.0.1"]);
    assert_eq!(links.server.identity.key, Path::new("d/fixtures/peer/key.pem"));
    assert!(matches!((links.server.clients, links.client.servers), (Clients::All, Servers::All)));
    let flags = flags.iter().map(ToString::to_string);
    let warnings = Config::parse(flags, []).expect("good flags").warnings;
    assert!(warnings[0].contains("lets in whoever comes"), "{warnings:?}");
    for more in ["--peer-trusted-ca-file=a", "--peer-client-cert-auth", "--peer-crl-file=r"] {
        assert!(encrypted(&[&SECURE, &["--peer-auto-tls", more]]).is_err(), "{more}");
    }
}

#[test]
fn nothing_that_is_asked_for_is_left_out_in_silence() {
    let http = "--initial-cluster=default=https://10.0.0.1:1,b=http://10.0.0.2:1";
    for flags in [
        &[&SECURE[..]][..],
        &[&SECURE, &OWN[..2]],
        &[&SECURE, &OWN[1..]],
        &[&SECURE[..1], &OWN],
        &[&SECURE, &OWN, &[http]],
        &[&SECURE, &OWN, &["--peer-auth=none"]],
        &[&SECURE, &OWN, &["--peer-auth=hmac", "--peer-secret-file=s"]],
        &[&SECURE, &OWN, &["--peer-insecure-allow=10.0.0.0/8"]],
        &[&SECURE, &OWN, &["--peer-client-cert-file=c"]],
        &[&SECURE, &OWN, &["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"]],
        &[&SECURE, &OWN, &["--peer-skip-client-san-verification=false"]],
        &[&["--peer-auth=tls"], &OWN],
        &[&OWN],
        &[&["--peer-auto-tls"]],
        &[&["--peer-client-cert-auth"]],
    ] {
        assert!(parse(&flags.concat()).is_err(), "{flags:?}");
    }
}

#[test]
fn a_secret_that_is_of_no_use_is_told_with_its_flag_and_without_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    let links = PeerLinks::Authenticated { secrets: path.clone() };
    let log = Log::new(Level::Fatal, std::io::sink());
    for text in [None, Some("hunter2")] {
        if let Some(text) = text {
            fs::write(&path, text).expect("written");
        }
        let why = links.transport(&log).err().expect("no secret");
        assert_eq!(links.check().as_ref(), Err(&why));
        assert!(why.starts_with("--peer-secret-file: ") && !why.contains("hunter2"), "{why}");
    }
    fs::write(&path, "0123456789abcdefghijklmnopqrstuv").expect("written");
    assert!(links.transport(&log).is_ok() && links.check().is_ok());
}
