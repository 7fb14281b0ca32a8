//! `member`: who belongs to the cluster, and how that changes.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_proto::etcdserverpb::{
    Member as Listed, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest,
};
use serde_json::json;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::Run;
use crate::connect::{Connection, Error, request};
use crate::output::{self, Format};
use crate::reconcile::Reconcile;

/// How often to look whether a member has come so far.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Change who belongs to the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Member {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add a member, which becomes a voter as soon as it has caught up.
    Add {
        /// Where other members will reach it, with commas between several.
        #[arg(long, value_delimiter = ',', required = true, value_name = "URL")]
        peer_urls: Vec<String>,
        /// Leave it a learner, without a vote, until it is promoted.
        #[arg(long)]
        learner: bool,
        /// Leave it a learner, until it takes the place of a voter that has failed (`--replace-failed-after`).
        #[arg(long)]
        spare: bool,
        /// Make it a witness: a voter that keeps no data, never leads and serves no requests.
        #[arg(long)]
        witness: bool,
    },
    /// Remove a member, for ever: its id is never given to another one.
    Remove {
        /// Its id, or its name.
        member: String,
    },
    /// Tell where other members reach a member.
    Update {
        /// Its id, or its name.
        member: String,
        /// Where other members reach it, with commas between several.
        #[arg(long, value_delimiter = ',', required = true, value_name = "URL")]
        peer_urls: Vec<String>,
    },
    /// Make a voter of a learner.
    Promote {
        /// Its id, or its name.
        member: String,
    },
    /// Replace a member, dead or alive, by a new one, in one go.
    ///
    /// The new one is added as a learner and takes the place of the old one when it has caught up, in one step: the cluster
    /// never needs more members than it does now. A witness is replaced by a witness. May be interrupted, and repeated until it is done.
    Replace {
        /// The id or the name of the member that is to go.
        old: String,
        /// Where other members will reach the new one, with commas between several.
        #[arg(long, value_delimiter = ',', required = true, value_name = "URL")]
        peer_urls: Vec<String>,
        /// Only tell what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// See that these are the members, all of them: who is new comes, and who is not named leaves.
    ///
    /// New voters are learners until all of them have caught up, and then take their places in one step. No step is taken
    /// that would lose the quorum. May be interrupted, and repeated until it is done.
    Reconcile(Reconcile),
}

impl Run for Member {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        match self.action {
            Action::Add { peer_urls, learner, spare, witness } => {
                let how = How { learner: learner || spare, spare, witness, replaces: None };
                let added = add(connection, &peer_urls, how).await?;
                told(format, "added", &added);
            }
            Action::Remove { member } => {
                let member = find(&list(connection).await?, &member)?;
                let message = MemberRemoveRequest { id: member.id };
                let call = |c: crate::connect::Clients, t| async move {
                    c.cluster().member_remove(request(message, t)).await
                };
                connection.call(call).await?;
                told(format, "removed", &member);
            }
            Action::Update { member, peer_urls } => {
                let member = find(&list(connection).await?, &member)?;
                let message = MemberUpdateRequest { id: member.id, peer_ur_ls: peer_urls };
                let call = |c: crate::connect::Clients, t| {
                    let message = message.clone();
                    async move { c.cluster().member_update(request(message, t)).await }
                };
                connection.call(call).await?;
                told(format, "updated", &member);
            }
            Action::Promote { member } => {
                let member = find(&list(connection).await?, &member)?;
                let message = MemberPromoteRequest { id: member.id };
                let call = |c: crate::connect::Clients, t| async move {
                    c.cluster().member_promote(request(message, t)).await
                };
                connection.call(call).await?;
                told(format, "promoted", &member);
            }
            Action::Reconcile(reconcile) => reconcile.run(connection).await?,
            Action::Replace { old, peer_urls, dry_run } => {
                replace(connection, &old, &peer_urls, dry_run).await?;
            }
        }
        Ok(())
    }
}

fn told(format: Format, what: &str, member: &Listed) {
    match format {
        Format::Json => output::object(&json!({ what: format!("{:x}", member.id) })),
        Format::Text | Format::Raw => output::line(format!("member {} {what}", name(member))),
    }
}

pub(crate) async fn list(connection: &Connection) -> Result<Vec<Listed>, Error> {
    Ok(list_all(connection).await?.0)
}

/// The members, and the ids of those that are witnesses.
pub(crate) async fn list_all(
    connection: &Connection,
) -> Result<(Vec<Listed>, BTreeSet<u64>), Error> {
    let message = MemberListRequest { linearizable: true };
    let call = |c: crate::connect::Clients, t| async move {
        let response = c.cluster().member_list(request(message, t)).await?;
        let witnesses = witnesses(response.metadata());
        Ok(response.map(|list| (list.members, witnesses)))
    };
    connection.call(call).await
}

/// The witnesses, as the metadata of a list of members names them; an etcd has none.
fn witnesses(metadata: &MetadataMap) -> BTreeSet<u64> {
    let ids = metadata.get("quorate-witnesses").and_then(|ids| ids.to_str().ok());
    let ids = ids.unwrap_or_default().split(',');
    ids.filter_map(|id| u64::from_str_radix(id, 16).ok()).collect()
}

/// As what a member is added.
#[derive(Clone, Copy, Debug, Default)]
struct How {
    /// Whether it stays a learner.
    learner: bool,
    spare: bool,
    witness: bool,
    /// The voter whose place it takes.
    replaces: Option<u64>,
}

async fn add(connection: &Connection, peer_urls: &[String], how: How) -> Result<Listed, Error> {
    let message = MemberAddRequest { peer_ur_ls: peer_urls.to_vec(), is_learner: how.learner };
    let call = |c: crate::connect::Clients, t| {
        let mut request = request(message.clone(), t);
        if let Some(old) = how.replaces.and_then(|old| format!("{old:x}").parse().ok()) {
            request.metadata_mut().insert("quorate-replaces", old);
        }
        for (name, is_so) in [("quorate-spare", how.spare), ("quorate-witness", how.witness)] {
            if is_so {
                request.metadata_mut().insert(name, MetadataValue::from_static("yes"));
            }
        }
        async move { c.cluster().member_add(request).await }
    };
    let added = connection.call(call).await?;
    added.member.ok_or_else(|| Error::Input("the server did not say which member it added".into()))
}

/// A member by its id, in hexadecimal as it is shown, or by its name.
fn find(members: &[Listed], wanted: &str) -> Result<Listed, Error> {
    let id = u64::from_str_radix(wanted, 16).ok();
    let by_id = members.iter().find(|member| Some(member.id) == id);
    let mut named = members.iter().filter(|member| member.name == wanted);
    match (by_id, named.next(), named.next()) {
        (Some(member), _, _) | (None, Some(member), None) => Ok(member.clone()),
        (None, Some(_), Some(_)) => {
            Err(Error::Input(format!("{wanted} is the name of several members: give the id")))
        }
        (None, None, _) => {
            let all: Vec<_> = members.iter().map(name).collect();
            Err(Error::Input(format!("{wanted} is none of the members: {}", all.join(", "))))
        }
    }
}

/// How a member is called.
pub(crate) fn name(member: &Listed) -> String {
    match member.name.as_str() {
        "" => format!("{:x}", member.id),
        name => format!("{:x} ({name})", member.id),
    }
}

/// What is going to happen, line by line.
fn plan(members: &[Listed], old: &Listed, peer_urls: &[String]) -> Vec<String> {
    let voters = members.iter().filter(|member| !member.is_learner).count();
    let quorum = voters / 2 + 1;
    vec![
        format!("{} is replaced by a new member at {}:", name(old), peer_urls.join(",")),
        "  1. the new member is added as a learner: it gets the data, and nothing depends on it"
            .into(),
        "  2. when it has caught up, it becomes a voter and the old one leaves, in one joint step"
            .into(),
        format!(
            "     before and after there are {voters} voters, of whom {quorum} have to be there"
        ),
        "  3. the old one ends by itself, if it runs; its id is never used again".into(),
    ]
}

async fn replace(
    connection: &Connection,
    old: &str,
    peer_urls: &[String],
    dry_run: bool,
) -> Result<(), Error> {
    let (members, witnesses) = list_all(connection).await?;
    let mut wanted = peer_urls.to_vec();
    wanted.sort();
    let is_new = |member: &&Listed| {
        let mut urls = member.peer_ur_ls.clone();
        urls.sort();
        urls == wanted
    };
    let before = members.iter().find(is_new);
    let old = match (find(&members, old), before) {
        (Ok(old), _) => old,
        (Err(_), Some(new)) if !new.is_learner => {
            output::line(format!("{} is there already, and {old} is gone", name(new)));
            return Ok(());
        }
        (Err(error), _) => return Err(error),
    };
    if old.is_learner {
        return Err(Error::Input(format!(
            "{} is a learner: remove it, and add another",
            name(&old)
        )));
    }
    plan(&members, &old, peer_urls).into_iter().for_each(output::line);
    if dry_run {
        return Ok(());
    }
    let new = match before {
        Some(new) if new.is_learner => new.clone(),
        Some(new) => return Err(Error::Input(format!("{} is a voter already", name(new)))),
        None => {
            let witness = witnesses.contains(&old.id);
            let how = How { witness, replaces: Some(old.id), ..How::default() };
            add(connection, peer_urls, how).await?
        }
    };
    let others: Vec<String> = members
        .iter()
        .filter(|member| member.id != old.id && member.id != new.id)
        .flat_map(|member| member.peer_ur_ls.iter().map(|url| format!("{}={url}", member.name)))
        .chain(peer_urls.iter().map(|url| format!("NAME={url}")))
        .collect();
    output::line(format!("member {:x} is added. Start it, if it does not run yet, with", new.id));
    output::line(format!(
        "  quorate server --name=NAME --initial-cluster-state=existing --initial-advertise-peer-urls={} \\",
        peer_urls.join(",")
    ));
    output::line(format!("    --initial-cluster={} …", others.join(",")));
    loop {
        let members = list(connection).await?;
        let is_old_there = members.iter().any(|member| member.id == old.id);
        match members.iter().find(|member| member.id == new.id) {
            None => return Err(Error::Input(format!("{:x} was removed meanwhile", new.id))),
            Some(new) if !new.is_learner && !is_old_there => {
                output::line(format!("{} has taken the place of {}", name(new), name(&old)));
                return Ok(());
            }
            Some(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<Listed> {
        let member = |id, name: &str| Listed { id, name: name.into(), ..Listed::default() };
        vec![member(0x1a, "a"), member(2, "b"), member(3, "b"), member(4, "")]
    }

    #[test]
    fn a_member_is_found_by_id_or_name() {
        let found = |wanted: &str| find(&members(), wanted).map(|member| member.id);
        assert_eq!(found("1a").ok(), Some(0x1a));
        assert_eq!(found("a").ok(), Some(0x1a), "no member has the id a");
        assert_eq!(found("4").ok(), Some(4));
        assert!(found("b").is_err_and(|error| error.to_string().contains("several members")));
        let nobody = found("x").expect_err("there is none").to_string();
        assert_eq!(nobody, "x is none of the members: 1a (a), 2 (b), 3 (b), 4");
    }

    #[test]
    fn witnesses_are_those_that_the_metadata_names() {
        let mut metadata = MetadataMap::new();
        assert_eq!(witnesses(&metadata), [].into());
        metadata.insert("quorate-witnesses", MetadataValue::from_static("1a,ffffffffffffffff"));
        assert_eq!(witnesses(&metadata), [0x1a, u64::MAX].into());
    }

    #[test]
    fn a_plan_says_what_it_takes() {
        let members = members();
        let plan = plan(&members, &members[0], &["http://c:1".to_owned()]).join("\n");
        assert!(plan.starts_with("1a (a) is replaced by a new member at http://c:1:"), "{plan}");
        assert!(plan.contains("4 voters, of whom 3 have to be there"), "{plan}");
    }
}
