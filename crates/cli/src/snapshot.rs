//! `snapshot` and `import`: backups, and how one comes from etcd.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Subcommand};
use quorate_proto::etcdserverpb::SnapshotRequest;
use quorate_server::backup::{self, SnapshotFile, Wishes};
use quorate_server::recover::BUMP_DEFAULT;
use serde_json::json;
use tonic::Request;

use crate::connect::{Connection, Error};
use crate::output::{self, Format};
use crate::{Client, Run};

const RESTORE_HELP: &str = "\
Make the data directory of a member of a new cluster out of a snapshot: of Quorate, or of etcd.

Do this for every member of the new cluster, from the same file, with the same --initial-cluster; then
start them. Members that were made of different files are in different clusters.

By default the revision moves by 1,000,000,000 and all before is compacted, so that a watcher that had
seen changes that are not in the file is told so, and reads everything anew. Who is certain that nobody
has (the cluster was stopped before the file was saved) keeps the history with --bump-revision=0
--mark-compacted=false.";

pub(crate) const IMPORT_HELP: &str = "\
Make the data directory of a member of a new cluster out of what an etcd has: its data directory, when
it was ended (with SIGTERM, so that nothing is left in its log alone), or a snapshot of it.

Keys with their history, revisions and leases, users, passwords, roles and permissions come along, and
revisions go on where they were. So nobody may write to that etcd any more: if somebody may have, or if
the file is older than the last writes, use `quorate snapshot restore`, which moves the revision.

For several members, do this for each of them from the same copy, with the same --initial-cluster.";

/// What is done with snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Save all that a member has to a file, which etcd's tools understand.
    Save(Client<Save>),
    /// Verify a file, and tell what it holds.
    Status(Status),
    /// Make a member of a new cluster out of a file.
    #[command(long_about = RESTORE_HELP)]
    Restore(Restore),
}

/// The options of `snapshot save`.
#[derive(Debug, clap::Args)]
pub(crate) struct Save {
    /// Where to. A file of that name is replaced when the new one is complete.
    file: PathBuf,
}

/// The options of `snapshot status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// The file.
    file: PathBuf,
    /// Take a file without a hash, or with a wrong one.
    #[arg(long)]
    skip_hash_check: bool,
    #[command(flatten)]
    output: output::Options,
}

/// The new member.
#[derive(Debug, clap::Args)]
struct Member {
    /// The directory to make it in: one that is empty, or not there.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The member's name.
    #[arg(long)]
    name: Option<String>,
    /// All members of the new cluster, as NAME=URL,…
    #[arg(long, value_name = "MEMBERS")]
    initial_cluster: Option<String>,
    /// Makes the ids of the members different from those of another cluster.
    #[arg(long, value_name = "TOKEN")]
    initial_cluster_token: Option<String>,
    /// Where the others reach this member.
    #[arg(long, value_name = "URLS")]
    initial_advertise_peer_urls: Option<String>,
    /// Take a file without a hash, or with a wrong one.
    #[arg(long)]
    skip_hash_check: bool,
}

/// The options of `snapshot restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    member: Member,
    /// How far the revision moves: beyond all that may have been seen since the file was saved.
    #[arg(long, value_name = "N", default_value_t = BUMP_DEFAULT)]
    bump_revision: i64,
    /// Compact all before the new revision. Goes with a revision that moves, and only with that.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    mark_compacted: bool,
}

/// The options of `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The data directory of an etcd that was ended, or a snapshot of it.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    #[command(flatten)]
    member: Member,
}

pub(crate) fn run(snapshot: Snapshot) -> ExitCode {
    match snapshot {
        Snapshot::Save(client) => crate::execute(client),
        Snapshot::Status(options) => ended("snapshot status", status(&options)),
        Snapshot::Restore(options) => {
            let Restore { file, member, bump_revision, mark_compacted } = options;
            // As in etcd: one without the other fools watchers.
            if mark_compacted != (bump_revision > 0) {
                let why = "--mark-compacted goes with a --bump-revision above 0, and only with one";
                return ended("snapshot restore", Err(why.to_owned()));
            }
            ended("snapshot restore", make(&file, member, bump_revision))
        }
    }
}

pub(crate) fn import(options: Import) -> ExitCode {
    ended("import", make(&options.from, options.member, 0))
}

fn make(from: &Path, member: Member, bump: i64) -> Result<(), String> {
    let wishes = Wishes {
        name: member.name,
        initial_cluster: member.initial_cluster,
        initial_cluster_token: member.initial_cluster_token,
        initial_advertise_peer_urls: member.initial_advertise_peer_urls,
        bump,
        skip_hash_check: member.skip_hash_check,
    };
    backup::restore(from, &member.data_dir, &wishes, &mut |text| output::line(text))
}

fn ended(command: &str, result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn status(options: &Status) -> Result<(), String> {
    let found = backup::status(&options.file, options.skip_hash_check)?;
    if options.output.format() == Format::Json {
        output::object(&json!({
            "hash": found.hash,
            "revision": found.revision,
            "totalKey": found.total_keys,
            "totalSize": found.total_bytes,
        }));
    } else {
        // As etcdutl prints it.
        output::line(format!(
            "{:x}, {}, {}, {}",
            found.hash, found.revision, found.total_keys, found.total_bytes
        ));
    }
    if !found.foreign_passwords.is_empty() {
        eprintln!(
            "quorate: etcd does not know the hashes of these users' passwords, which have to be set anew there: {}",
            found.foreign_passwords.join(", ")
        );
    }
    Ok(())
}

impl Run for Save {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let failed =
            |error: std::io::Error| Error::Input(format!("{}: {error}", self.file.display()));
        let mut pieces = connection
            .call(|clients, _| async move {
                // It may take as long as it does: the timeout is for the answer to begin.
                clients.maintenance().snapshot(Request::new(SnapshotRequest {})).await
            })
            .await?;
        let mut file = SnapshotFile::create(&self.file).map_err(failed)?;
        let mut version = String::new();
        while let Some(piece) = pieces.message().await.map_err(Error::Refused)? {
            file.write(&piece.blob).map_err(failed)?;
            version = piece.version;
        }
        let bytes = file.finish().map_err(Error::Unreachable)?;
        let name = self.file.display();
        if format == Format::Json {
            let name = name.to_string();
            output::object(&json!({ "file": name, "bytes": bytes, "version": version }));
        } else {
            output::line(format!("Snapshot saved at {name}"));
            output::line(format!("{bytes} bytes, version {version}"));
        }
        Ok(())
    }
}
