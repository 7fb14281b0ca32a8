//! The cluster that is to be founded: its members and their ids.
//!
//! Each member computes the ids alone, from flags that are the same for all, and so they agree without
//! having met. The derivation is etcd's: a member's id is made of its peer URLs and the token, the
//! cluster's of its members' ids. Where there are witnesses, which etcd has not, the cluster's is made of them too:
//! members that were told different things about them are in different clusters, and don't hear each other.

use std::collections::BTreeMap;

use super::Url;
use crate::sha1::sha1_prefix;

/// The members of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    /// The id of the cluster.
    pub cluster_id: u64,
    /// The id of the member that reads this configuration.
    pub member_id: u64,
    /// All members, ascending by id.
    pub members: Vec<InitialMember>,
}

/// A member of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where other members reach it, ascending.
    pub peer_urls: Vec<Url>,
    /// Whether it is a witness: a voter that keeps no state.
    pub is_witness: bool,
}

impl InitialCluster {
    /// Reads `name=url,name=url,…`. A name that occurs twice has several URLs. `witnesses` are names too; `own_name` and
    /// `own_urls` are the member that asks.
    pub(super) fn parse(
        text: &str,
        witnesses: &[String],
        token: &str,
        own_name: &str,
        own_urls: &[Url],
    ) -> Result<Self, String> {
        let mut by_name: BTreeMap<String, Vec<Url>> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, url) = part
                .split_once('=')
                .filter(|(name, url)| !name.is_empty() && !url.is_empty())
                .ok_or_else(|| {
                    format!("--initial-cluster: {part:?} is not of the form name=url")
                })?;
            if name.contains(char::is_control) {
                return Err(format!("--initial-cluster: {name:?} is not fit for a name"));
            }
            let url = Url::parse(url).map_err(|why| format!("--initial-cluster: {why}"))?;
            url.check_advertise().map_err(|why| format!("--initial-cluster: {why}"))?;
            by_name.entry(name.to_owned()).or_default().push(url);
        }
        for urls in by_name.values_mut() {
            urls.sort();
        }

        let listed = by_name.get(own_name).ok_or_else(|| {
            format!("couldn't find local name {own_name:?} in the initial cluster configuration")
        })?;
        check_duplicates(&by_name)?;
        check_advertised(own_name, listed, own_urls)?;
        if let Some(stranger) = witnesses.iter().find(|name| !by_name.contains_key(*name)) {
            return Err(format!(
                "--initial-witnesses: {stranger:?} is none of the members in --initial-cluster"
            ));
        }
        if by_name.keys().all(|name| witnesses.contains(name)) {
            return Err("--initial-witnesses: all members are witnesses, and nobody has the data"
                .to_owned());
        }

        let mut members: Vec<_> = by_name
            .into_iter()
            .map(|(name, peer_urls)| InitialMember {
                id: member_id(&peer_urls, token),
                is_witness: witnesses.contains(&name),
                name,
                peer_urls,
            })
            .collect();
        members.sort_by_key(|member| member.id);
        let member_id = members
            .iter()
            .find(|member| member.name == own_name)
            .map(|member| member.id)
            .expect("the member's name was looked up above");
        Ok(Self { cluster_id: cluster_id(&members), member_id, members })
    }
}

/// Two members at one address would be one member with two votes.
fn check_duplicates(by_name: &BTreeMap<String, Vec<Url>>) -> Result<(), String> {
    let mut all: Vec<_> = by_name.values().flatten().collect();
    all.sort();
    if all.windows(2).all(|pair| pair[0] != pair[1]) {
        return Ok(());
    }
    let listed: Vec<_> = by_name
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")))
        .collect();
    Err(format!("initial cluster {} has duplicate url", listed.join(",")))
}

/// What a member tells the others about itself must be what they were told about it.
fn check_advertised(name: &str, listed: &[Url], advertised: &[Url]) -> Result<(), String> {
    let join = |urls: &[&Url], prefix: &str| {
        urls.iter().map(|url| format!("{prefix}{url}")).collect::<Vec<_>>().join(",")
    };
    let prefix = format!("{name}=");
    let unlisted: Vec<_> = advertised.iter().filter(|url| !listed.contains(url)).collect();
    if !unlisted.is_empty() {
        return Err(format!(
            "--initial-cluster must include {} given --initial-advertise-peer-urls={}",
            join(&unlisted, &prefix),
            join(&advertised.iter().collect::<Vec<_>>(), ""),
        ));
    }
    let unadvertised: Vec<_> = listed.iter().filter(|url| !advertised.contains(url)).collect();
    if !unadvertised.is_empty() {
        return Err(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={}",
            join(&unadvertised, &prefix),
            join(&advertised.iter().collect::<Vec<_>>(), ""),
        ));
    }
    Ok(())
}

/// SHA-1 over the sorted URLs and the token, all joined without separators.
fn member_id(sorted_urls: &[Url], token: &str) -> u64 {
    let mut text: String = sorted_urls.iter().map(Url::as_str).collect();
    text.push_str(token);
    sha1_prefix(text.as_bytes())
}

/// SHA-1 over the sorted ids of the members; if there are witnesses, their sorted ids follow, after 0, which is nobody's.
fn cluster_id(sorted_members: &[InitialMember]) -> u64 {
    let witnesses = sorted_members.iter().filter(|member| member.is_witness);
    let mut ids: Vec<u64> = sorted_members.iter().map(|member| member.id).collect();
    if witnesses.clone().next().is_some() {
        ids.push(0);
        ids.extend(witnesses.map(|member| member.id));
    }
    let bytes: Vec<u8> = ids.into_iter().flat_map(u64::to_be_bytes).collect();
    sha1_prefix(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, name: &str, own: &str) -> Result<InitialCluster, String> {
        with_witnesses(text, &[], name, own)
    }

    fn with_witnesses(
        text: &str,
        witnesses: &[&str],
        name: &str,
        own: &str,
    ) -> Result<InitialCluster, String> {
        let own = Url::parse_list(own).expect("own URLs");
        let witnesses: Vec<_> = witnesses.iter().map(ToString::to_string).collect();
        InitialCluster::parse(text, &witnesses, "etcd-cluster", name, &own)
    }

    /// The ids that etcd 3.5 prints for its own defaults: `member list` of a member started without
    /// any flags is `8e9e05c52164694d` in cluster `cdf818194e3a8c32`.
    #[test]
    fn ids_are_those_of_etcd() {
        let url = "http://localhost:2380";
        let cluster = parse(&format!("default={url}"), "default", url).expect("one member");
        assert_eq!(format!("{:x}", cluster.member_id), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", cluster.cluster_id), "cdf818194e3a8c32");
    }

    #[test]
    fn every_member_computes_the_same() {
        let text = "a=http://h:1,b=http://h:2,c=http://h:3,a=http://h:0";
        let a = parse(text, "a", "http://h:1,http://h:0").expect("a");
        let c = parse(text, "c", "http://h:3").expect("c");
        assert_eq!((a.cluster_id, &a.members), (c.cluster_id, &c.members));
        assert_ne!(a.member_id, c.member_id);
        assert!(a.members.is_sorted_by_key(|member| member.id));
        let of_a = a.members.iter().find(|member| member.name == "a").expect("a is listed");
        let urls: Vec<_> = of_a.peer_urls.iter().map(Url::as_str).collect();
        assert_eq!(urls, ["http://h:0", "http://h:1"]);
    }

    #[test]
    fn who_was_told_of_other_witnesses_is_in_another_cluster() {
        let text = "a=http://h:1,b=http://h:2,c=http://h:3";
        let of = |witnesses: &[&str], name: &str, own: &str| {
            with_witnesses(text, witnesses, name, own).expect("good flags")
        };
        let (a, c) = (of(&["c"], "a", "http://h:1"), of(&["c"], "c", "http://h:3"));
        assert_eq!((a.cluster_id, &a.members), (c.cluster_id, &c.members));
        let witnesses: Vec<_> = a.members.iter().filter(|it| it.is_witness).collect();
        assert!(witnesses.len() == 1 && witnesses[0].id == c.member_id, "{witnesses:?}");
        let ids = [&[][..], &["b"], &["b", "c"], &["c"]];
        let ids = ids.map(|witnesses| of(witnesses, "a", "http://h:1").cluster_id);
        let distinct: std::collections::BTreeSet<_> = ids.into_iter().collect();
        assert_eq!(distinct.len(), 4, "{ids:x?}");
        assert_eq!(a.member_id, of(&[], "a", "http://h:1").member_id, "only the cluster differs");
        for (witnesses, why) in [
            (&["d"][..], "--initial-witnesses: \"d\" is none of the members in --initial-cluster"),
            (
                &["a", "b", "c"],
                "--initial-witnesses: all members are witnesses, and nobody has the data",
            ),
        ] {
            let refused = with_witnesses(text, witnesses, "a", "http://h:1");
            assert_eq!(refused.expect_err(why), why);
        }
    }

    #[test]
    fn refused() {
        for (text, name, own, why) in [
            (
                "a=http://h:1",
                "b",
                "http://h:1",
                "couldn't find local name \"b\" in the initial cluster configuration",
            ),
            (
                "a=http://h:1,b=http://h:1",
                "a",
                "http://h:1",
                "initial cluster a=http://h:1,b=http://h:1 has duplicate url",
            ),
            (
                "a=http://h:1",
                "a",
                "http://h:2",
                "--initial-cluster must include a=http://h:2 given \
                 --initial-advertise-peer-urls=http://h:2",
            ),
            (
                "a=http://h:1,a=http://h:2",
                "a",
                "http://h:2",
                "--initial-cluster has a=http://h:1 but missing from \
                 --initial-advertise-peer-urls=http://h:2",
            ),
            ("a", "a", "http://h:2", "--initial-cluster: \"a\" is not of the form name=url"),
            (
                "a\nb=http://h:1",
                "a\nb",
                "http://h:1",
                "--initial-cluster: \"a\\nb\" is not fit for a name",
            ),
            (
                "a=h:1",
                "a",
                "http://h:1",
                "--initial-cluster: URL scheme must be http, https, unix, or unixs: h:1",
            ),
        ] {
            assert_eq!(parse(text, name, own).expect_err(text), why);
        }
    }
}
