//! How connections of clients are encrypted, in etcd's flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_tls::{
    Allowed, Clients, Identity, Protocol, Reloading, ServerSettings, Trust, Version,
};

use super::{Stop, Typed, Url, duration, number};

/// The time in which a new connection must have come to its first request, where none is given.
const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The longest validity of a certificate that a member makes for itself.
const VALIDITY_YEARS_MAX: u32 = 100;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How connections of clients are encrypted, and how long they may take to begin.
#[derive(Clone, Debug)]
pub struct Tls {
    /// With what; `None` if no URL asks for it.
    pub server: Option<ServerSettings>,
    /// The certificate that is to be made if there is none yet.
    pub automatic: Option<Automatic>,
    /// Whether who sends no token is the user that the client's certificate names.
    pub names_are_users: bool,
    /// The time in which a new connection must have come to its first request, encrypted or not.
    pub handshake_timeout: Duration,
}

/// A certificate that a member makes for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automatic {
    /// Where it is kept.
    pub directory: PathBuf,
    /// The names and addresses for which it is made out.
    pub hosts: Vec<String>,
    /// How long it is valid.
    pub valid: Duration,
}

/// A socket for clients: one address, whichever URLs have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSocket {
    /// The first of its URLs.
    pub url: Url,
    /// Whether connections in clear are served.
    pub plain: bool,
    /// Whether encrypted ones are.
    pub secure: bool,
}

impl ClientSocket {
    /// The sockets of some URLs, in their order.
    #[must_use]
    pub fn of(urls: &[Url]) -> Vec<Self> {
        let mut sockets: Vec<Self> = Vec::new();
        for url in urls {
            let (plain, secure) = (!url.is_secure(), url.is_secure());
            match sockets.iter_mut().find(|it| it.url.address() == url.address()) {
                Some(socket) => {
                    socket.plain |= plain;
                    socket.secure |= secure;
                }
                None => sockets.push(Self { url: url.clone(), plain, secure }),
            }
        }
        sockets
    }
}

impl Tls {
    pub(super) fn mean(
        typed: &Typed,
        data_dir: &Path,
        listen: &[Url],
        metrics: &[Url],
        warnings: &mut Vec<String>,
    ) -> Result<Self, Stop> {
        let handshake_timeout = duration(typed, "handshake-timeout", HANDSHAKE_TIMEOUT_DEFAULT)?;
        if handshake_timeout.is_zero() {
            return Err(Stop::Refused("--handshake-timeout must be more than 0".into()));
        }
        let all = [listen, metrics].concat();
        let (own, automatic) = identity(typed, data_dir, &all, warnings)?;
        let clients = clients(typed)?;
        let protocol = protocol(typed)?;
        let demands_certificates = is_on(typed, "client-cert-auth");
        for url in listen.iter().filter(|url| !url.is_secure()) {
            if path(typed, "cert-file").is_some() {
                warnings.push(format!(
                    "scheme is http while key and cert files are present; ignoring key and cert \
                     files: {url}"
                ));
            }
            if demands_certificates {
                warnings.push(format!(
                    "scheme is http while --client-cert-auth is enabled; ignoring client cert auth \
                     for this URL: {url}"
                ));
            }
        }
        let server = match (own, all.iter().position(Url::is_secure)) {
            (_, None) => None,
            (Some(identity), Some(_)) => {
                let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                Some(ServerSettings { identity, clients, protocol, alpn })
            }
            (None, Some(at)) => {
                let (of, url) = (if at < listen.len() { "client" } else { "metrics" }, &all[at]);
                return Err(Stop::Refused(format!(
                    "TLS key/cert (--cert-file, --key-file) must be provided for {of} url {url} \
                     with HTTPS scheme"
                )));
            }
        };
        Ok(Self {
            automatic: automatic.filter(|_| server.is_some()),
            names_are_users: demands_certificates && server.is_some(),
            server,
            handshake_timeout,
        })
    }
}

impl Tls {
    /// Whether the files that it needs are of use at this time since 1970, as they are now. Makes none. Says what an
    /// operator should look at.
    pub(crate) fn check(&self, now: Duration) -> Result<Vec<String>, String> {
        let Some(settings) = self.server.as_ref().filter(|_| self.automatic.is_none()) else {
            return Ok(Vec::new());
        };
        let reloading = Reloading::new(settings.clone()).map_err(|error| error.to_string())?;
        let loaded = reloading.current();
        let mut warnings = loaded.warnings.clone();
        let ends = [
            (loaded.own_not_after, "the certificate of --cert-file"),
            (loaded.trusted_not_after, "an authority of --trusted-ca-file"),
        ];
        let is_over = |not_after: Option<u64>| not_after.is_some_and(|end| end <= now.as_secs());
        let expired = ends.iter().filter(|(not_after, _)| is_over(*not_after));
        warnings.extend(expired.map(|(_, whose)| format!("{whose} is not valid any more")));
        Ok(warnings)
    }
}

/// How long certificates are valid that a member makes for itself.
pub(super) fn validity(typed: &Typed) -> Result<Duration, Stop> {
    let years: u32 = number(typed, "self-signed-cert-validity", 1)?;
    if !(1..=VALIDITY_YEARS_MAX).contains(&years) {
        return Err(Stop::Refused(format!(
            "--self-signed-cert-validity={years} is not between 1 and {VALIDITY_YEARS_MAX}"
        )));
    }
    Ok(years * YEAR)
}

/// Who the member is, and what is to be made for that.
fn identity(
    typed: &Typed,
    data_dir: &Path,
    listen: &[Url],
    warnings: &mut Vec<String>,
) -> Result<(Option<Identity>, Option<Automatic>), Stop> {
    let is_automatic = is_on(typed, "auto-tls");
    let valid = validity(typed)?;
    match (path(typed, "cert-file"), path(typed, "key-file")) {
        (None, None) if is_automatic => {
            if listen.iter().all(|url| !url.is_secure()) {
                warnings.push("--auto-tls has no effect without an https URL".to_owned());
            }
            let directory = data_dir.join("fixtures").join("client");
            let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
            let mut hosts: Vec<_> = listen.iter().map(|url| url.host().to_owned()).collect();
            hosts.retain(|host| !host.is_empty());
            hosts.sort();
            hosts.dedup();
            let automatic = Automatic { directory, hosts, valid };
            Ok((Some(Identity { certificate, key }), Some(automatic)))
        }
        (None, None) => Ok((None, None)),
        (Some(certificate), Some(key)) => {
            if is_automatic {
                warnings.push("ignoring client auto TLS since certs given".to_owned());
            }
            Ok((Some(Identity { certificate, key }), None))
        }
        (certificate, key) => {
            let shown = |path: &Option<PathBuf>| {
                path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
            };
            Err(Stop::Refused(format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                shown(&key),
                shown(&certificate)
            )))
        }
    }
}

/// Whom the member lets in. As in etcd, who names authorities means them.
fn clients(typed: &Typed) -> Result<Clients, Stop> {
    let Some(authorities) = path(typed, "trusted-ca-file") else {
        let needs = [
            ("client-cert-auth", is_on(typed, "client-cert-auth")),
            ("client-crl-file", path(typed, "client-crl-file").is_some()),
            ("client-cert-allowed-cn", !list(typed, "client-cert-allowed-cn").is_empty()),
            (
                "client-cert-allowed-hostname",
                !list(typed, "client-cert-allowed-hostname").is_empty(),
            ),
        ];
        return match needs.iter().find(|(_, is_given)| *is_given) {
            None => Ok(Clients::All),
            Some((flag, _)) => Err(Stop::Refused(format!(
                "--{flag} needs --trusted-ca-file: whose certificates are to be believed"
            ))),
        };
    };
    let names = list(typed, "client-cert-allowed-cn");
    let hosts = list(typed, "client-cert-allowed-hostname");
    let allowed = Allowed::new(&names, &hosts).map_err(|error| Stop::Refused(error.to_string()))?;
    let trust = Trust { authorities, revoked: path(typed, "client-crl-file") };
    Ok(Clients::Verified(trust, allowed))
}

pub(super) fn protocol(typed: &Typed) -> Result<Protocol, Stop> {
    let refused = |error: quorate_tls::Error| Stop::Refused(error.to_string());
    let version = |flag: &str| match typed.get(flag) {
        None | Some("") => Ok(Version::Tls13),
        Some(text) => text.parse::<Version>().map_err(refused),
    };
    let suites = list(typed, "cipher-suites");
    let (min, max) = (version("tls-min-version")?, version("tls-max-version")?);
    Protocol::new(min, max, &suites).map_err(|error| match min {
        Version::Tls13 if !suites.is_empty() => Stop::Refused(format!(
            "--cipher-suites: {error} (TLS1.2 is only spoken with --tls-min-version=TLS1.2)"
        )),
        _ => refused(error),
    })
}

fn is_on(typed: &Typed, switch: &str) -> bool {
    typed.get(switch) == Some("true")
}

fn path(typed: &Typed, flag: &str) -> Option<PathBuf> {
    typed.get(flag).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn list<'a>(typed: &'a Typed, flag: &str) -> Vec<&'a str> {
    let items = typed.get(flag).unwrap_or_default().split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    const SECURE: [&str; 2] =
        ["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://a:1"];
    const OWN: [&str; 2] = ["--cert-file=c", "--key-file=k"];

    fn parse(flags: &[&[&str]]) -> Result<Config, Stop> {
        Config::parse(flags.concat().into_iter().map(str::to_owned), [])
    }

    fn refused(flags: &[&[&str]]) -> String {
        parse(flags).expect_err("it is refused").to_string()
    }

    #[test]
    fn nothing_is_encrypted_that_nobody_asked_for() {
        let config = parse(&[]).expect("good flags");
        assert!(config.tls.server.is_none() && !config.tls.names_are_users);
        assert_eq!(config.tls.handshake_timeout, Duration::from_secs(10));
        let config = parse(&[&OWN]).expect("good flags");
        assert!(config.tls.server.is_none());
        assert!(
            config.warnings[0].contains("ignoring key and cert files"),
            "{:?}",
            config.warnings
        );
    }

    #[test]
    fn a_certificate_and_a_key() {
        let config = parse(&[&SECURE, &OWN]).expect("good flags");
        let server = config.tls.server.expect("encrypted");
        assert_eq!(server.identity, Identity { certificate: "c".into(), key: "k".into() });
        assert!(matches!(server.clients, Clients::All));
        let text = "TLS key/cert (--cert-file, --key-file) must be provided for client url \
                    https://127.0.0.1:1 with HTTPS scheme";
        assert_eq!(refused(&[&SECURE]), text);
        let text = "KeyFile and CertFile must both be present[key: , cert: c]";
        assert_eq!(refused(&[&SECURE, &OWN[..1]]), text);
    }

    #[test]
    fn certificates_of_clients() {
        let on = ["--client-cert-auth", "--trusted-ca-file=a", "--client-crl-file=r"];
        let config = parse(&[&SECURE, &OWN, &on]).expect("good flags");
        assert!(config.tls.names_are_users);
        let Some(ServerSettings { clients: Clients::Verified(trust, allowed), .. }) =
            config.tls.server
        else {
            panic!("certificates are demanded");
        };
        assert_eq!(trust, Trust { authorities: "a".into(), revoked: Some("r".into()) });
        assert_eq!(allowed, Allowed::All);
        // Authorities alone demand certificates too, as in etcd, but these name no users.
        let config = parse(&[&SECURE, &OWN, &on[1..2]]).expect("good flags");
        assert!(!config.tls.names_are_users);
        assert!(matches!(config.tls.server.expect("encrypted").clients, Clients::Verified(..)));
        for flag in [on[0], on[2], "--client-cert-allowed-hostname=a", "--client-cert-allowed-cn=a"]
        {
            let text = refused(&[&SECURE, &OWN, &[flag]]);
            assert!(
                text.ends_with("needs --trusted-ca-file: whose certificates are to be believed")
            );
        }
        let names = ["--client-cert-allowed-hostname=a", "--client-cert-allowed-cn=b"];
        let text = refused(&[&SECURE, &OWN, &on, &names]);
        assert!(text.starts_with("AllowedCN and AllowedHostname are mutually exclusive"), "{text}");
    }

    #[test]
    fn versions_and_suites() {
        let of = |flags: &[&str]| parse(&[&SECURE, &OWN, flags]).map(drop);
        of(&["--tls-min-version=TLS1.2", "--tls-max-version=TLS1.2"]).expect("good flags");
        let suite = "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        of(&[suite, "--tls-min-version=TLS1.2"]).expect("good flags");
        let text = of(&[suite]).expect_err("of no use").to_string();
        assert!(text.contains("only TLS1.3 is enabled") && text.contains("--tls-min-version"));
        let text = of(&["--tls-max-version=TLS1.2"]).expect_err("nothing is left").to_string();
        assert_eq!(text, "min version (TLS1.3) is greater than max version (TLS1.2)");
        of(&["--tls-min-version=TLS1.1"]).expect_err("too old");
    }

    #[test]
    fn a_certificate_of_its_own() {
        let flags = ["--auto-tls", "--data-dir=d", "--self-signed-cert-validity=2"];
        let config = parse(&[&SECURE, &flags]).expect("good flags");
        let automatic = config.tls.automatic.expect("one is made");
        assert_eq!(automatic.directory, Path::new("d/fixtures/client"));
        assert_eq!((automatic.hosts, automatic.valid), (vec!["127.0.0.1".to_owned()], 2 * YEAR));
        let config = parse(&[&SECURE, &OWN, &flags]).expect("good flags");
        assert_eq!(config.tls.automatic, None);
        assert_eq!(config.warnings, ["ignoring client auto TLS since certs given"]);
        assert!(refused(&[&["--self-signed-cert-validity=0"]]).contains("between 1 and 100"));
    }

    #[test]
    fn probes_may_be_encrypted_where_clients_are_not() {
        let metrics = ["--listen-metrics-urls=https://127.0.0.1:1"];
        let config = parse(&[&metrics, &OWN]).expect("good flags");
        assert!(config.tls.server.is_some());
        let text = refused(&[&metrics]);
        assert!(text.contains("for metrics url https://127.0.0.1:1"), "{text}");
        let config = parse(&[&metrics, &["--auto-tls", "--data-dir=d"]]).expect("good flags");
        let automatic = config.tls.automatic.expect("one is made");
        assert!(automatic.hosts.contains(&"127.0.0.1".to_owned()));
    }

    #[test]
    fn files_are_looked_at_when_the_configuration_is_checked() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        let key = rcgen::KeyPair::generate().expect("a key");
        let named = rcgen::CertificateParams::new(["a".to_owned()]).expect("a name");
        let certificate = named.self_signed(&key).expect("signed");
        std::fs::write(at("c"), certificate.pem()).expect("written");
        std::fs::write(at("k"), rcgen::KeyPair::generate().expect("a key").serialize_pem())
            .expect("written");
        let own = [
            format!("--cert-file={}", at("c").display()),
            format!("--key-file={}", at("k").display()),
        ];
        let own = own.each_ref().map(String::as_str);
        let now = quorate_host::wall_clock();
        let check = |flags: &[&str]| parse(&[&SECURE, flags]).expect("good flags").tls.check(now);
        let text = check(&own).expect_err("another key");
        assert!(text.contains(&own[1]["--key-file=".len()..]), "{text}");
        std::fs::write(at("k"), key.serialize_pem()).expect("written");
        check(&own).expect("they fit");
        let end = Duration::from_secs(u64::from(u32::MAX) * 100);
        let config = parse(&[&SECURE, &own]).expect("good flags");
        let warnings = config.tls.check(end).expect("they fit");
        let expired = "the certificate of --cert-file is not valid any more";
        assert!(warnings.iter().any(|warning| warning == expired), "{warnings:?}");
        check(&OWN).expect_err("no such files");
        let trusted = format!("--trusted-ca-file={}", at("nowhere").display());
        let text = check(&[own[0], own[1], &trusted]).expect_err("no authorities");
        assert!(text.contains("nowhere"), "{text}");
        let automatic = parse(&[&SECURE, &["--auto-tls"]]).expect("good flags");
        automatic.tls.check(now).expect("it is made at the start");
    }

    #[test]
    fn one_address_is_one_socket() {
        let urls = "http://a:1,https://a:1,https://b:1";
        let sockets = ClientSocket::of(&Url::parse_list(urls).expect("URLs"));
        let found = sockets.iter().map(|it| (it.url.address(), it.plain, it.secure));
        assert_eq!(found.collect::<Vec<_>>(), [("a:1", true, true), ("b:1", false, true)]);
    }
}
