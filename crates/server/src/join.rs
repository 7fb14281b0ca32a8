//! How a member with an empty data directory finds out who it is in a cluster that exists.
//!
//! `--initial-cluster` names members and where they are, as etcd's `member add` prints it. Any of the others that
//! answers knows the ids, by the URLs (`quorate_host::inquire`), and knows by now who else belongs to the cluster, and who
//! of them is a witness: so whether it is one itself is nothing that a flag says.

use std::thread;
use std::time::Duration;

use quorate_host::{Clock, Found, NodeId, inquire};

use crate::config::{Config, InitialMember, Url};
use crate::log::Log;
use crate::members::peer_urls;

/// How long to go on asking while nobody answers. Whoever starts the process may start it again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one of the others may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// The pause before all are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Who a member is in a cluster that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    /// All members, ascending by id.
    pub(crate) members: Vec<InitialMember>,
}

/// Asks the others of `--initial-cluster`, until one of them knows this member.
///
/// # Errors
/// If nobody answers in time, or this member belongs to no cluster that answers. The text is meant for the operator.
pub(crate) fn join(config: &Config, log: &Log) -> Result<Joined, String> {
    let listed = config.initial_cluster()?.members;
    let own = &config.advertise_peer;
    let others: Vec<&Url> =
        listed.iter().flat_map(|it| &it.peer_urls).filter(|url| !own.contains(url)).collect();
    if others.is_empty() {
        return Err("--initial-cluster-state=existing: --initial-cluster names no other member, \
                    so nobody has what this one had"
            .to_owned());
    }
    let addresses: Vec<String> = own.iter().map(|url| url.address().to_owned()).collect();
    let transport = config.peer_links.transport(log)?;
    let clock = Clock::start();
    let began = clock.now();
    let mut stranger = None;
    loop {
        for url in &others {
            match inquire(&*transport, url.address(), &addresses, ANSWER_PATIENCE) {
                Ok(found) => match found.id {
                    Some(id) => return Ok(joined(id.0, &found, &listed, own)),
                    None => stranger = Some(found.cluster_id),
                },
                Err(error) => {
                    drop(log.info("no answer yet from").with("url", url).with("error", error));
                }
            }
        }
        // One that answers may not have heard yet that this one was added.
        let patience = if stranger.is_some() { ANSWER_PATIENCE } else { PATIENCE };
        if clock.now().since(began) >= patience {
            break;
        }
        thread::sleep(ASK_AGAIN);
    }
    let urls = own.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
    Err(match stranger {
        Some(cluster) => format!(
            "--initial-cluster-state=existing: cluster {cluster:x} has no member at {urls}; add it first, with \
             `etcdctl member add {} --peer-urls={urls}`",
            config.name
        ),
        None => {
            "--initial-cluster-state=existing: cannot fetch cluster info from peer urls: none of \
                 them answers"
                .to_owned()
        }
    })
}

fn joined(member_id: u64, found: &Found, listed: &[InitialMember], own: &[Url]) -> Joined {
    let member = |id: u64, urls: Vec<String>| {
        let parsed = urls.iter().filter_map(|url| Url::parse(url).ok()).collect::<Vec<_>>();
        let peer_urls = if id == member_id { own.to_vec() } else { parsed };
        let named = listed.iter().find(|it| it.peer_urls == peer_urls);
        InitialMember {
            id,
            name: named.map(|it| it.name.clone()).unwrap_or_default(),
            peer_urls,
            is_witness: found.membership.is_witness(NodeId(id)),
        }
    };
    let about = |id| found.membership.about.get(id).map(|about| peer_urls(about));
    let ids = found.membership.members();
    let members = ids.iter().map(|id| member(id.0, about(id).unwrap_or_default()));
    let members = members.filter(|it| !it.peer_urls.is_empty()).collect();
    Joined { cluster_id: found.cluster_id, member_id, members }
}
