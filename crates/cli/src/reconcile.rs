//! `member reconcile`: the members that there are to be, all at once.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_proto::etcdserverpb::Member as Listed;
use quorate_proto::quoratepb::{DesiredMember, ReconcileRequest, ReconcileResponse, Role, Step};

use tonic::{Code, Status};

use crate::connect::{Clients, Connection, Error, request};
use crate::member::{list, name};
use crate::output;

/// How soon the next step is asked for.
const NEXT_STEP: Duration = Duration::from_millis(500);

/// A refusal counts when it was heard so often: a leader that is new has not heard from everybody yet.
const REFUSALS: u32 = 6;

/// Whom there are to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Reconcile {
    /// The voters, each by its name and where other members reach it; with several URLs it is named once for each.
    #[arg(required = true, value_name = "NAME=URL")]
    voters: Vec<String>,
    /// A member that gets the data and has no vote.
    #[arg(long, value_name = "NAME=URL")]
    learner: Vec<String>,
    /// A learner that takes the place of a voter that has failed (`--replace-failed-after`).
    #[arg(long, value_name = "NAME=URL")]
    spare: Vec<String>,
    /// A voter that keeps no data. A member that is one stays one.
    #[arg(long, value_name = "NAME=URL")]
    witness: Vec<String>,
    /// Only tell what would be done.
    #[arg(long)]
    dry_run: bool,
}

impl Reconcile {
    pub(crate) async fn run(self, connection: &Connection) -> Result<(), Error> {
        let wanted = wanted(&[
            (Role::Voter, &self.voters),
            (Role::Learner, &self.learner),
            (Role::Spare, &self.spare),
            (Role::Witness, &self.witness),
        ])?;
        let mut before = list(connection).await?;
        plan(&before, &wanted).into_iter().for_each(output::line);
        if self.dry_run {
            let told = step(connection, &wanted, true).await?;
            output::line(match told.step() {
                Step::Done => "there is nothing to do".to_owned(),
                Step::Change => "it can begin".to_owned(),
                Step::Wait => format!("it has begun, and waits: {}", told.reason),
                Step::Refuse => return Err(refused(told.reason)),
            });
            return Ok(());
        }
        let (mut waits_for, mut refusals) = (String::new(), 0);
        loop {
            let took = match step(connection, &wanted, false).await {
                // Nobody leads at the moment.
                Err(Error::Refused(status)) if is_passing(&status) && refusals < REFUSALS => {
                    refusals += 1;
                    tokio::time::sleep(NEXT_STEP).await;
                    continue;
                }
                took => took?,
            };
            refusals = if took.step() == Step::Refuse { refusals + 1 } else { 0 };
            match took.step() {
                Step::Done => {
                    output::line("these are the members");
                    return Ok(());
                }
                Step::Change => {
                    changes(&before, &took.members).into_iter().for_each(output::line);
                    start(&before, &took.members, &wanted).into_iter().for_each(output::line);
                    before = took.members;
                }
                Step::Refuse if refusals >= REFUSALS => return Err(refused(took.reason)),
                Step::Wait if took.reason != waits_for => {
                    output::line(format!("waits: {}", took.reason));
                    waits_for = took.reason;
                }
                Step::Wait | Step::Refuse => {}
            }
            tokio::time::sleep(NEXT_STEP).await;
        }
    }
}

/// A member that there is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    role: Role,
    urls: Vec<String>,
}

/// Reads `NAME=URL`, as `--initial-cluster` has it: a name that comes again has one more URL.
fn wanted(all: &[(Role, &[String])]) -> Result<Vec<Wanted>, Error> {
    let mut members: Vec<Wanted> = Vec::new();
    for (role, typed) in all {
        for typed in *typed {
            let Some((name, url)) = typed.split_once('=') else {
                return Err(Error::Input(format!("{typed} is not NAME=URL")));
            };
            match members.iter_mut().find(|member| member.name == name) {
                Some(member) if member.role == *role => member.urls.push(url.to_owned()),
                Some(_) => return Err(Error::Input(format!("{name} can't be two things"))),
                None => members.push(Wanted {
                    name: name.to_owned(),
                    role: *role,
                    urls: vec![url.to_owned()],
                }),
            }
        }
    }
    Ok(members)
}

async fn step(
    connection: &Connection,
    wanted: &[Wanted],
    dry_run: bool,
) -> Result<ReconcileResponse, Error> {
    let members = wanted
        .iter()
        .map(|member| DesiredMember { peer_urls: member.urls.clone(), role: member.role.into() });
    let message = ReconcileRequest { members: members.collect(), dry_run };
    let call = |c: Clients, t| {
        let request = request(message.clone(), t);
        async move { c.membership().reconcile(request).await }
    };
    connection.call(call).await
}

fn refused(reason: String) -> Error {
    Error::Refused(Status::failed_precondition(reason))
}

/// Whether the same may be answered in a moment.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// Whether this one is meant.
fn is_found(member: &Listed, wanted: &Wanted) -> bool {
    member.peer_ur_ls.iter().any(|url| wanted.urls.contains(url))
}

/// Whether it is to have a vote.
fn votes(wanted: &Wanted) -> bool {
    matches!(wanted.role, Role::Voter | Role::Witness)
}

/// What is going to happen, line by line.
fn plan(now: &[Listed], wanted: &[Wanted]) -> Vec<String> {
    let role = |role| match role {
        Role::Voter => "a voter",
        Role::Learner => "a learner",
        Role::Spare => "a spare, and no voter,",
        Role::Witness => "a witness",
    };
    let mut lines = Vec::new();
    for new in wanted.iter().filter(|wanted| !now.iter().any(|it| is_found(it, wanted))) {
        let at = new.urls.join(",");
        lines.push(format!("{} comes, as {} at {at}", new.name, role(new.role)));
    }
    for member in now {
        match wanted.iter().find(|wanted| is_found(member, wanted)) {
            None => lines.push(format!("{} leaves; its id is never used again", name(member))),
            Some(it) if votes(it) == member.is_learner => {
                lines.push(format!("{} becomes {}", name(member), role(it.role)));
            }
            Some(_) => {}
        }
    }
    let voters = wanted.iter().filter(|it| votes(it)).count();
    let quorum = voters / 2 + 1;
    lines.push(format!("then there are {voters} voters, of whom {quorum} have to be there"));
    lines
}

/// What a step changes, line by line.
fn changes(before: &[Listed], after: &[Listed]) -> Vec<String> {
    let was: BTreeMap<u64, &Listed> = before.iter().map(|member| (member.id, member)).collect();
    let mut lines = Vec::new();
    for member in after {
        let is = if member.is_learner { "a learner" } else { "a voter" };
        match was.get(&member.id) {
            None => lines.push(format!("{} is added, as {is}", name(member))),
            Some(was) if was.is_learner != member.is_learner => {
                lines.push(format!("{} is {is}", name(member)));
            }
            Some(_) => {}
        }
    }
    let is_gone = |member: &&Listed| !after.iter().any(|after| after.id == member.id);
    lines.extend(before.iter().filter(is_gone).map(|gone| format!("{} has left", name(gone))));
    lines
}

/// How the members are started that a step added.
fn start(before: &[Listed], after: &[Listed], wanted: &[Wanted]) -> Vec<String> {
    let called = |member: &Listed| {
        let it = wanted.iter().find(|wanted| is_found(member, wanted));
        it.map_or_else(|| member.name.clone(), |it| it.name.clone())
    };
    let all = after.iter().flat_map(|member| {
        member.peer_ur_ls.iter().map(move |url| format!("{}={url}", called(member)))
    });
    let all = all.collect::<Vec<_>>().join(",");
    let is_new = |member: &&Listed| !before.iter().any(|before| before.id == member.id);
    let line = |member: &Listed| {
        format!(
            "start it, if it does not run yet: quorate server --name={} --initial-cluster-state=existing \
             --initial-advertise-peer-urls={} --initial-cluster={all} …",
            called(member),
            member.peer_ur_ls.join(",")
        )
    };
    after.iter().filter(is_new).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: u64, url: &str, is_learner: bool) -> Listed {
        Listed { id, peer_ur_ls: vec![url.into()], is_learner, ..Listed::default() }
    }

    fn typed(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn members_are_typed_as_in_an_initial_cluster() {
        let (voters, spares) =
            (typed(&["a=http://a:1", "b=http://b:1", "a=http://a:2"]), typed(&["c=http://c:1"]));
        let all = wanted(&[(Role::Voter, &voters), (Role::Spare, &spares)]).expect("well typed");
        let found: Vec<_> =
            all.iter().map(|it| (it.name.as_str(), it.role, it.urls.len())).collect();
        assert_eq!(found, [("a", Role::Voter, 2), ("b", Role::Voter, 1), ("c", Role::Spare, 1)]);
        let twice = typed(&["a=http://d:1"]);
        let why = wanted(&[(Role::Voter, &voters), (Role::Learner, &twice)]).expect_err("both");
        assert_eq!(why.to_string(), "a can't be two things");
        let bare = typed(&["http://a:1"]);
        let why = wanted(&[(Role::Voter, &bare)]).expect_err("no name").to_string();
        assert_eq!(why, "http://a:1 is not NAME=URL");
    }

    #[test]
    fn a_plan_and_its_steps_say_what_changes() {
        let now = [
            listed(1, "http://a:1", false),
            listed(2, "http://b:1", false),
            listed(3, "http://c:1", true),
        ];
        let (voters, witnesses) =
            (typed(&["a=http://a:1", "c=http://c:1"]), typed(&["d=http://d:1"]));
        let wanted = wanted(&[(Role::Voter, &voters), (Role::Witness, &witnesses)]);
        let wanted = wanted.expect("well typed");
        assert_eq!(
            plan(&now, &wanted),
            [
                "d comes, as a witness at http://d:1",
                "2 leaves; its id is never used again",
                "3 becomes a voter",
                "then there are 3 voters, of whom 2 have to be there",
            ]
        );
        let mut then = now.to_vec();
        then.push(listed(0x1f, "http://d:1", true));
        assert_eq!(changes(&now, &then), ["1f is added, as a learner"]);
        let start = start(&now, &then, &wanted);
        assert!(
            start.len() == 1
                && start[0].contains("--name=d ")
                && start[0].contains("c=http://c:1,d="),
            "{start:?}"
        );
        let end = [listed(1, "http://a:1", false), listed(3, "http://c:1", false)];
        assert_eq!(changes(&now, &end), ["3 is a voter", "2 has left"]);
    }
}
