//! What protects the connections between members.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_host::{
    Authenticated, Networks, PlainWithin, Secrets, SecretsEvent, Transport, wall_clock,
};
use quorate_tls::{
    Allowed, ClientSettings, Clients, Identity, ServerSettings, Servers, Trust, self_signed,
};

use super::tls::{Automatic, protocol, validity};
use super::typed::Typed;
use super::{Stop, Url};
use crate::log::{Level, Log};
use crate::peer_tls::PeerTls;

/// What protects the connections between members: the same on all of them.
#[derive(Clone, Debug)]
pub enum PeerLinks {
    /// Nothing, so only members on this machine or within these networks are spoken with.
    Plain {
        /// The networks.
        within: Networks,
    },
    /// A tag on everything that is said, made with a secret that all members share.
    Authenticated {
        /// The file of the secret.
        secrets: PathBuf,
    },
    /// TLS.
    Encrypted(Box<EncryptedLinks>),
}

/// How connections between members are encrypted.
#[derive(Clone, Debug)]
pub struct EncryptedLinks {
    /// Whom this member lets in, and what it shows them.
    pub server: ServerSettings,
    /// Whom it believes, and what it shows them.
    pub client: ClientSettings,
    /// The certificate that is to be made if there is none yet. `None` if it was given.
    pub automatic: Option<Automatic>,
}

/// The URLs of members that the flags name.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerUrls<'a> {
    /// Where this member listens.
    pub(super) listen: &'a [Url],
    /// Where others are told to find it.
    pub(super) advertise: &'a [Url],
    /// All of them, `name=url,…`.
    pub(super) initial_cluster: &'a str,
}

/// What to do where members would speak plainly across a network.
const ADVICE: &str = "use https URLs and certificates, or protect it with --peer-auth=hmac and --peer-secret-file=FILE \
                      on all members, or, if the network itself is safe, name it with --peer-insecure-allow=ADDRESS or \
                      NETWORK/BITS on all of them";

/// What both ends say that they speak, so that no other server with such a certificate can be taken for a member.
const ALPN: &[u8] = b"quorate-peer";

/// The flags that mean something with TLS only, and have a text.
const OF_TLS: [&str; 8] = [
    "peer-cert-file",
    "peer-key-file",
    "peer-client-cert-file",
    "peer-client-key-file",
    "peer-trusted-ca-file",
    "peer-crl-file",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
];

impl PeerLinks {
    /// What the flags mean for a member with these URLs.
    pub(super) fn mean(
        typed: &Typed,
        data_dir: &Path,
        urls: PeerUrls<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Stop> {
        let secrets = text(typed, "peer-secret-file");
        let within = text(typed, "peer-insecure-allow");
        let secure = urls.listen.iter().chain(urls.advertise).any(Url::is_secure);
        let auth = match typed.get("peer-auth") {
            None if secure => "tls",
            None => "none",
            Some(auth) => auth,
        };
        if !["none", "hmac", "tls"].contains(&auth) {
            return Err(typed.invalid("peer-auth", auth));
        }
        urls.check_schemes(auth)?;
        if secrets.is_some() && auth != "hmac" {
            return refuse("--peer-secret-file has no use without --peer-auth=hmac");
        }
        if within.is_some() && auth != "none" {
            return refuse(format!(
                "--peer-insecure-allow is for members that speak plainly, and --peer-auth={auth} never does"
            ));
        }
        if auth != "tls" {
            let given = OF_TLS.iter().filter(|flag| text(typed, flag).is_some());
            let switches = ["peer-auto-tls", "peer-client-cert-auth"];
            let on = switches.iter().filter(|switch| typed.get(switch) == Some("true"));
            if let Some(flag) = given.chain(on).next() {
                return refuse(format!(
                    "--{flag} has no use without https in --listen-peer-urls and --initial-advertise-peer-urls"
                ));
            }
        }
        match (auth, secrets) {
            ("tls", _) => {
                let encrypted = EncryptedLinks::mean(typed, data_dir, urls.listen, warnings)?;
                Ok(Self::Encrypted(Box::new(encrypted)))
            }
            ("hmac", Some(path)) => Ok(Self::Authenticated { secrets: path.into() }),
            ("hmac", None) => refuse(
                "--peer-auth=hmac needs --peer-secret-file: a file with a secret that all members share, such as \
                 `openssl rand -base64 48` makes",
            ),
            _ => {
                let within = within.unwrap_or_default().parse::<Networks>();
                let within =
                    within.map_err(|why| Stop::Refused(format!("--peer-insecure-allow: {why}")))?;
                check_plain(&within, urls.listen, urls.initial_cluster)?;
                Ok(Self::Plain { within })
            }
        }
    }

    /// How connections are made. What there is to be told of them goes to the log.
    ///
    /// # Errors
    /// If the files that it needs are of no use, with the reason.
    pub(crate) fn transport(&self, log: &Log) -> Result<Arc<dyn Transport>, String> {
        match self {
            Self::Plain { within } => Ok(Arc::new(PlainWithin(within.clone()))),
            Self::Authenticated { secrets } => {
                let log = log.clone();
                let tell = move |event: &SecretsEvent| match event {
                    SecretsEvent::ReadAnew(_) => drop(log.info(&event.to_string())),
                    SecretsEvent::Kept(_) | SecretsEvent::Exposed(_) => {
                        drop(log.warn(&event.to_string()));
                    }
                };
                let secrets = Secrets::open(secrets, tell)
                    .map_err(|why| format!("--peer-secret-file: {why}"))?;
                Ok(Arc::new(Authenticated::new(Arc::new(secrets))))
            }
            Self::Encrypted(links) => {
                let EncryptedLinks { server, client, automatic } = &**links;
                if let Some(Automatic { directory, hosts, valid }) = automatic {
                    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                    self_signed(directory, &hosts, wall_clock(), *valid).map_err(|error| {
                        format!("failed to get peer self-signed certs: {error}")
                    })?;
                }
                Ok(Arc::new(PeerTls::open(server, client, log)?))
            }
        }
    }
}

impl PeerLinks {
    /// Whether the files that it needs are of use, as they are now. Makes none.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Encrypted(links) if links.automatic.is_some() => Ok(()),
            _ => self.transport(&Log::new(Level::Fatal, std::io::sink())).map(drop),
        }
    }
}

impl PeerUrls<'_> {
    /// Whether all URLs have the scheme that goes with what protects the connections.
    fn check_schemes(&self, auth: &str) -> Result<(), Stop> {
        let wanted = auth == "tls";
        let scheme = if wanted { "https" } else { "http" };
        let own =
            [("listen-peer-urls", self.listen), ("initial-advertise-peer-urls", self.advertise)];
        for (flag, urls) in own {
            if let Some(url) = urls.iter().find(|url| url.is_secure() != wanted) {
                return refuse(format!(
                    "--{flag}={url}: with --peer-auth={auth}, members have {scheme} URLs"
                ));
            }
        }
        match members(self.initial_cluster).find(|(_, url)| url.is_secure() != wanted) {
            Some((name, url)) => refuse(format!(
                "--initial-cluster: member {name} at {url}: with --peer-auth={auth}, members have {scheme} URLs"
            )),
            None => Ok(()),
        }
    }
}

impl EncryptedLinks {
    fn mean(
        typed: &Typed,
        data_dir: &Path,
        listen: &[Url],
        warnings: &mut Vec<String>,
    ) -> Result<Self, Stop> {
        let is_automatic = typed.get("peer-auto-tls") == Some("true");
        let given = identity(typed, "peer-cert-file", "peer-key-file")?;
        let shown = identity(typed, "peer-client-cert-file", "peer-client-key-file")?;
        let protocol = protocol(typed)?;
        let alpn = vec![ALPN.to_vec()];
        let Some(own) = given else {
            if !is_automatic {
                return refuse(
                    "https between members needs --peer-cert-file, --peer-key-file and --peer-trusted-ca-file, or \
                     --peer-auto-tls",
                );
            }
            let unused = OF_TLS.iter().find(|flag| text(typed, flag).is_some());
            if let Some(flag) = unused {
                return refuse(format!(
                    "--{flag} has no use with --peer-auto-tls and no --peer-cert-file"
                ));
            }
            if typed.get("peer-client-cert-auth") == Some("true") {
                return refuse(
                    "--peer-client-cert-auth needs --peer-trusted-ca-file, and --peer-auto-tls has none",
                );
            }
            warnings.push(
                "--peer-auto-tls encrypts what members say, and lets in whoever comes: anybody who reaches \
                 --listen-peer-urls can speak as a member"
                    .to_owned(),
            );
            let directory = data_dir.join("fixtures").join("peer");
            let own = Identity {
                certificate: directory.join("cert.pem"),
                key: directory.join("key.pem"),
            };
            let mut hosts: Vec<_> = listen.iter().map(|url| url.host().to_owned()).collect();
            hosts.sort();
            hosts.dedup();
            let client = ClientSettings {
                identity: None,
                servers: Servers::All,
                protocol: protocol.clone(),
                alpn: alpn.clone(),
            };
            let server = ServerSettings { identity: own, clients: Clients::All, protocol, alpn };
            let automatic = Some(Automatic { directory, hosts, valid: validity(typed)? });
            return Ok(Self { server, client, automatic });
        };
        if is_automatic {
            warnings.push("ignoring peer auto TLS since certs given".to_owned());
        }
        // Who is believed without it could be anybody, and whoever speaks as a member has the cluster.
        let Some(authorities) = text(typed, "peer-trusted-ca-file") else {
            return refuse(
                "--peer-cert-file needs --peer-trusted-ca-file: whose certificates are to be believed as a member's",
            );
        };
        let revoked = text(typed, "peer-crl-file").map(PathBuf::from);
        let trust = Trust { authorities: authorities.into(), revoked };
        let names = list(typed, "peer-cert-allowed-cn");
        let hosts = list(typed, "peer-cert-allowed-hostname");
        let allowed =
            Allowed::new(&names, &hosts).map_err(|error| Stop::Refused(error.to_string()))?;
        Ok(Self {
            client: ClientSettings {
                identity: Some(shown.unwrap_or_else(|| own.clone())),
                servers: Servers::Verified(trust.clone(), allowed.clone()),
                protocol: protocol.clone(),
                alpn: alpn.clone(),
            },
            server: ServerSettings {
                identity: own,
                clients: Clients::Verified(trust, allowed),
                protocol,
                alpn,
            },
            automatic: None,
        })
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(why.into()))
}

fn text<'a>(typed: &'a Typed, flag: &str) -> Option<&'a str> {
    typed.get(flag).filter(|text| !text.is_empty())
}

fn list<'a>(typed: &'a Typed, flag: &str) -> Vec<&'a str> {
    let items = typed.get(flag).unwrap_or_default().split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}

/// A certificate and its key, if they are given.
fn identity(typed: &Typed, certificate: &str, key: &str) -> Result<Option<Identity>, Stop> {
    match (text(typed, certificate), text(typed, key)) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(Identity { certificate: certificate.into(), key: key.into() }))
        }
        _ => refuse(format!("--{certificate} and --{key} must both be present")),
    }
}

/// The members of an initial cluster with their URLs. What is wrong with them otherwise is told elsewhere.
fn members(initial_cluster: &str) -> impl Iterator<Item = (&str, Url)> {
    let members = initial_cluster.split(',').filter_map(|member| member.split_once('='));
    members.filter_map(|(name, url)| Some((name.trim(), Url::parse(url).ok()?)))
}

/// Whether a member may listen here, and speak with these, plainly. Names are looked up when they are connected to.
fn check_plain(within: &Networks, listen: &[Url], initial_cluster: &str) -> Result<(), Stop> {
    let address = |url: &Url| url.host().parse::<IpAddr>().ok();
    let is_here = |url: &Url| match address(url) {
        Some(address) => address.is_loopback(),
        None => url.host() == "localhost",
    };
    // With a list, whoever comes in is looked at then.
    if let Some(url) = listen.iter().find(|url| within.is_empty() && !is_here(url)) {
        return Err(Stop::Refused(format!(
            "--listen-peer-urls={url} lets other machines speak with this member without any protection: {ADVICE}"
        )));
    }
    for (name, url) in members(initial_cluster) {
        if let Some(address) = address(&url)
            && !within.contains(address)
        {
            return Err(Stop::Refused(format!(
                "--initial-cluster: member {} at {address} would be spoken with without any protection: {ADVICE}",
                name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
