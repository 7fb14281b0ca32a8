//! What protects the connections between members.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_host::{Authenticated, Networks, PlainWithin, Secrets, SecretsEvent, Transport};

use super::typed::Typed;
use super::{Stop, Url};
use crate::log::Log;

/// What protects the connections between members: the same on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// What to do where members would speak plainly across a network.
const ADVICE: &str = "protect it with --peer-auth=hmac and --peer-secret-file=FILE on all members, or, if the network \
                      itself is safe, name it with --peer-insecure-allow=ADDRESS or NETWORK/BITS on all of them";

impl PeerLinks {
    /// What the flags mean for a member that listens here and whose cluster is this.
    pub(super) fn mean(typed: &Typed, listen: &[Url], initial_cluster: &str) -> Result<Self, Stop> {
        let refuse = |why: String| Err(Stop::Refused(why));
        let secrets = typed.get("peer-secret-file").filter(|path| !path.is_empty());
        let within = typed.get("peer-insecure-allow").filter(|list| !list.is_empty());
        match (typed.get("peer-auth"), secrets, within) {
            (None | Some("none"), None, within) => {
                let within = within.unwrap_or_default().parse::<Networks>();
                let within = within
                    .map_err(|why| Stop::Refused(format!("--peer-insecure-allow: {why}")))?;
                check_plain(&within, listen, initial_cluster)?;
                Ok(Self::Plain { within })
            }
            (Some("hmac"), Some(path), None) => Ok(Self::Authenticated { secrets: path.into() }),
            (Some("hmac"), None, _) => refuse(
                "--peer-auth=hmac needs --peer-secret-file: a file with a secret that all members share, such as \
                 `openssl rand -base64 48` makes"
                    .to_owned(),
            ),
            (Some("hmac"), _, Some(_)) => refuse(
                "--peer-insecure-allow is for members that speak plainly, and --peer-auth=hmac never does"
                    .to_owned(),
            ),
            (None | Some("none"), Some(_), _) => {
                refuse("--peer-secret-file has no use without --peer-auth=hmac".to_owned())
            }
            (Some(other), _, _) => Err(typed.invalid("peer-auth", other)),
        }
    }

    /// How connections are made. What there is to be told of them goes to the log.
    ///
    /// # Errors
    /// If the file of the secret is of no use, with the reason.
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
        }
    }
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
    let members = initial_cluster.split(',').filter_map(|member| member.split_once('='));
    for (name, url) in members {
        // What is wrong with it otherwise is told elsewhere.
        let Some(address) = Url::parse(url).ok().as_ref().and_then(address) else { continue };
        if !within.contains(address) {
            return Err(Stop::Refused(format!(
                "--initial-cluster: member {} at {address} would be spoken with without any protection: {ADVICE}",
                name.trim()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;
    use crate::log::Level;

    fn links(flags: &[&str]) -> Result<PeerLinks, String> {
        let flags = flags.iter().map(ToString::to_string);
        Config::parse(flags, []).map(|config| config.peer_links).map_err(|stop| stop.to_string())
    }

    fn plain(within: &str) -> PeerLinks {
        PeerLinks::Plain { within: within.parse().expect("a list") }
    }

    const HERE: &str =
        "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://[::1]:3";
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
            assert!(
                why.contains("--peer-insecure-allow") && why.contains("--peer-auth=hmac"),
                "{why}"
            );
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
        let authenticated = PeerLinks::Authenticated { secrets: "/s".into() };
        assert_eq!(links(&hmac), Ok(authenticated.clone()));
        assert_eq!(links(&[&hmac[..], &[FAR]].concat()), Ok(authenticated));
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
            assert!(why.starts_with("--peer-secret-file: ") && !why.contains("hunter2"), "{why}");
        }
        fs::write(&path, "0123456789abcdefghijklmnopqrstuv").expect("written");
        assert!(links.transport(&log).is_ok());
    }
}
