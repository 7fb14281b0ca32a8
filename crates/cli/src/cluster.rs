//! `status` and `members`.

use quorate_proto::etcdserverpb::{Member, StatusRequest, StatusResponse};
use serde_json::{Value, json};

use crate::Run;
use crate::connect::{Clients, Connection, Error, request};
use crate::member::list_all;
use crate::output::{self, Format};

/// Show how each member is doing.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {}

/// What a member says about itself.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusResponse,
    /// Whether it is a witness; an etcd never is.
    is_witness: bool,
}

/// Asks a member about itself.
pub(crate) async fn ask(connection: &Connection) -> Result<Said, Error> {
    let call = |c: Clients, t| async move {
        let response = c.maintenance().status(request(StatusRequest {}, t)).await?;
        let is_witness = response.metadata().contains_key("quorate-witness");
        Ok(response.map(|status| Said { status, is_witness }))
    };
    connection.call(call).await
}

impl Said {
    /// What the member is.
    pub(crate) fn role(&self) -> &'static str {
        let own = self.status.header.map(|header| header.member_id);
        match self.status.leader {
            0 => "no leader",
            id if own == Some(id) => "leader",
            _ if self.is_witness => "witness",
            _ => "follower",
        }
    }
}

impl Run for Status {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let mut rows = vec![
            ["ENDPOINT", "MEMBER", "ROLE", "TERM", "COMMITTED", "APPLIED", "SIZE", "VERSION"]
                .map(str::to_owned),
        ];
        let mut objects = Vec::new();
        let mut unreachable = Vec::new();
        for (endpoint, member) in connection.each() {
            match ask(&member).await {
                Ok(said) => {
                    let (role, status) = (said.role(), said.status);
                    let id = status.header.unwrap_or_default().member_id;
                    objects.push(json!({
                        "endpoint": endpoint,
                        "member_id": format!("{id:x}"),
                        "role": role,
                        "leader": format!("{:x}", status.leader),
                        "raft_term": status.raft_term,
                        "raft_index": status.raft_index,
                        "raft_applied_index": status.raft_applied_index,
                        "db_size": status.db_size,
                        "version": status.version,
                        "errors": status.errors,
                    }));
                    rows.push([
                        endpoint.to_owned(),
                        format!("{id:x}"),
                        role.to_owned(),
                        status.raft_term.to_string(),
                        status.raft_index.to_string(),
                        status.raft_applied_index.to_string(),
                        bytes(status.db_size),
                        status.version.clone(),
                    ]);
                }
                Err(error) => {
                    objects.push(json!({ "endpoint": endpoint, "error": error.to_string() }));
                    unreachable.push(error.to_string());
                }
            }
        }
        match format {
            Format::Json => output::object(&json!(objects)),
            Format::Text | Format::Raw => table(&rows),
        }
        if unreachable.is_empty() {
            Ok(())
        } else {
            Err(Error::Unreachable(unreachable.join("\n")))
        }
    }
}

/// List the members.
#[derive(Debug, clap::Args)]
pub(crate) struct Members {}

impl Run for Members {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let (listed, witnesses) = list_all(connection).await?;
        let is_witness = |member: &Member| witnesses.contains(&member.id);
        let peers = Peers::parse(connection.page("/peers").await.as_deref());
        match format {
            Format::Json => {
                let members = listed.iter().map(|member| {
                    json!({
                        "id": format!("{:x}", member.id),
                        "name": member.name,
                        "peer_urls": member.peer_ur_ls,
                        "client_urls": member.client_ur_ls,
                        "learner": member.is_learner,
                        "witness": is_witness(member),
                        "state": peers.text(member.id, "state"),
                        "zone": peers.text(member.id, "zone"),
                        "version": peers.text(member.id, "version"),
                    })
                });
                output::object(&json!(members.collect::<Vec<_>>()));
            }
            Format::Text | Format::Raw => {
                let mut rows = vec![
                    ["MEMBER", "NAME", "PEERS REACH IT AT", "CLIENTS AT", "ROLE", "STATE", "ZONE"]
                        .map(str::to_owned),
                ];
                rows.extend(listed.iter().map(|member| {
                    [
                        format!("{:x}", member.id),
                        member.name.clone(),
                        member.peer_ur_ls.join(","),
                        member.client_ur_ls.join(","),
                        role_in_list(member, is_witness(member)).to_owned(),
                        peers.text(member.id, "state").to_owned(),
                        peers.text(member.id, "zone").to_owned(),
                    ]
                }));
                table(&rows);
            }
        }
        Ok(())
    }
}

/// What a member is, whoever leads.
fn role_in_list(member: &Member, is_witness: bool) -> &'static str {
    match (is_witness, member.is_learner) {
        (false, false) => "voter",
        (false, true) => "learner",
        (true, false) => "witness",
        (true, true) => "witness, learner",
    }
}

/// How the members look from the one that was asked.
struct Peers(Value);

impl Peers {
    /// Of the page that a member has, or that an etcd has not.
    fn parse(page: Option<&[u8]>) -> Self {
        Self(page.and_then(|page| serde_json::from_slice(page).ok()).unwrap_or_default())
    }

    /// One of the texts about a member; empty if there is none.
    fn text(&self, member: u64, name: &str) -> &str {
        let id = format!("{member:x}");
        let peer = self.0.as_array().into_iter().flatten().find(|peer| peer["id"] == id.as_str());
        peer.and_then(|peer| peer[name].as_str()).unwrap_or_default()
    }
}

/// Prints rows with their columns aligned.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    for text in aligned(rows) {
        output::line(text);
    }
}

/// Rows with their columns aligned.
pub(crate) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

/// A size as people read it.
fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use quorate_proto::etcdserverpb::ResponseHeader;

    use super::*;

    #[test]
    fn members_are_shown_as_the_asked_one_sees_them() {
        let page = br#"[{"id":"1","state":"self"},{"id":"2","state":"failed","zone":"b"}]"#;
        let peers = Peers::parse(Some(page));
        assert_eq!([peers.text(1, "state"), peers.text(2, "state")], ["self", "failed"]);
        assert_eq!([peers.text(1, "zone"), peers.text(2, "zone")], ["", "b"]);
        assert_eq!(peers.text(3, "state"), "");
        for nothing in [None, Some(&b"404 page not found"[..])] {
            assert_eq!(Peers::parse(nothing).text(2, "state"), "");
        }
    }

    #[test]
    fn a_witness_is_shown_as_one_if_it_hears_a_leader() {
        let header = Some(ResponseHeader { member_id: 2, ..ResponseHeader::default() });
        let role = |leader, is_witness| {
            Said {
                status: StatusResponse { header, leader, ..StatusResponse::default() },
                is_witness,
            }
            .role()
        };
        assert_eq!(
            [role(1, true), role(1, false), role(2, false)],
            ["witness", "follower", "leader"]
        );
        assert_eq!([role(0, true), role(0, false)], ["no leader"; 2]);
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), "b".into()], ["long".into(), String::new()]];
        assert_eq!(aligned(&rows), ["a     b", "long"]);
    }
}
