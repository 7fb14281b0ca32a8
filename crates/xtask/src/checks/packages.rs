//! Real input: the machine's own package database, one key for each field of each record of
//! `/var/lib/dpkg/status`, written while a watch follows, while the leader is killed twice, read back
//! by prefix, compacted, and compared with the source.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, io};

use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    CompactionRequest, RangeRequest, WatchCreateRequest, WatchRequest,
};
use tokio_stream::StreamExt as _;
use tonic::transport::Endpoint;

use crate::checks::client::end_of_prefix;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{clients, leader, wait_for_leader};

/// Where Debian keeps it.
const STATUS: &str = "/var/lib/dpkg/status";

/// Runs the check on a cluster of three.
pub(crate) fn run() -> io::Result<()> {
    let text = fs::read_to_string(STATUS)
        .map_err(|error| io::Error::new(error.kind(), format!("{STATUS}: {error}")))?;
    let fields = parse(&text);
    let cluster = Cluster::start(Program::subject()?, 3, &["--log-level", "warn"])?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(check(cluster, &fields))
}

/// `pkg/NAME/FIELD` to the text of the field, continuation lines included.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for record in text.split("\n\n") {
        let mut package = String::new();
        let mut key = String::new();
        for line in record.lines() {
            if line.starts_with(' ') {
                let value: &mut String = fields.entry(key.clone()).or_default();
                value.push('\n');
                value.push_str(line);
            } else if let Some((field, value)) = line.split_once(':') {
                if field == "Package" {
                    value.trim().clone_into(&mut package);
                }
                key = format!("pkg/{package}/{field}");
                fields.insert(key.clone(), value.trim().to_owned());
            }
        }
    }
    fields
}

async fn check(mut cluster: Cluster, fields: &BTreeMap<String, String>) -> io::Result<()> {
    wait_for_leader(&cluster).await?;
    // The watch hangs on a member that is not killed: the first leader and its successor are.
    let first = leader(&cluster).await.ok_or_else(|| io::Error::other("nobody leads"))?;
    let watcher = tokio::spawn(watch(cluster.endpoint((first + 1) % 3), fields.len()));
    let entries: Vec<(&String, &String)> = fields.iter().collect();
    let mut killed = Vec::new();
    let third = entries.len().div_ceil(3);
    for (part, entries) in entries.chunks(third).enumerate() {
        if part > 0 {
            // The leader, unless the watch hangs on it: then leadership moves by its own means.
            let leader = leader(&cluster).await.unwrap_or(first);
            cluster.kill(leader)?;
            killed.push(leader);
        }
        write(&cluster, entries).await?;
        for member in 0..cluster.len() {
            if !cluster.runs(member) {
                cluster.restart(member)?;
            }
        }
        wait_for_leader(&cluster).await?;
    }
    let revision = compare(&cluster, fields, 0).await?;
    compact(&cluster, revision).await?;
    compare(&cluster, fields, revision).await?;
    let seen = match tokio::time::timeout(Duration::from_secs(60), watcher).await {
        Ok(seen) => seen.map_err(io::Error::other)?,
        Err(_) => Err(io::Error::other("the watch did not see every key")),
    };
    // A watch ends with its member; one that lived must have seen everything.
    let watched = match seen {
        Ok(seen) => {
            if &seen != fields {
                return Err(io::Error::other("the watch saw other values than were written"));
            }
            "a watch saw each"
        }
        Err(_) if killed.contains(&((first + 1) % 3)) => "the watch ended with its member",
        Err(error) => return Err(error),
    };
    println!(
        "packages: {} fields written while leaders {killed:?} were killed; all read back, before and \
         after compaction at {revision}; {watched}",
        fields.len(),
    );
    Ok(())
}

/// Puts all entries, from a few tasks at once. A write whose fate is unknown is repeated: the value is
/// the same.
async fn write(cluster: &Cluster, entries: &[(&String, &String)]) -> io::Result<()> {
    let clients = clients(cluster, Duration::from_secs(3));
    let tasks: Vec<_> = entries
        .chunks(entries.len().div_ceil(32).max(1))
        .enumerate()
        .map(|(number, entries)| {
            let entries: Vec<(String, String)> =
                entries.iter().map(|&(key, value)| (key.clone(), value.clone())).collect();
            let clients = clients.clone();
            tokio::spawn(async move {
                let mut target = number;
                for (key, value) in entries {
                    let mut tries = 0;
                    while let Err(error) =
                        clients[target % clients.len()].put(key.clone(), value.clone()).await
                    {
                        target += 1;
                        tries += 1;
                        if tries > 100 {
                            return Err(io::Error::other(format!("{key}: {error}")));
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Reads everything back from every member, page by page.
async fn compare(
    cluster: &Cluster,
    fields: &BTreeMap<String, String>,
    revision: i64,
) -> io::Result<i64> {
    let mut now = 0;
    for client in clients(cluster, Duration::from_secs(30)) {
        let mut found = BTreeMap::new();
        let mut key = bytes::Bytes::from_static(b"pkg/");
        loop {
            let request = RangeRequest {
                key: key.clone(),
                range_end: end_of_prefix("pkg/"),
                limit: 1_000,
                revision,
                ..RangeRequest::default()
            };
            let page = client.range(request).await.map_err(io::Error::other)?;
            now = page.header.unwrap_or_default().revision;
            let Some(last) = page.kvs.last() else { break };
            key = [&last.key[..], b"\0"].concat().into();
            found.extend(page.kvs.iter().map(|kv| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (text(&kv.key), text(&kv.value))
            }));
            if !page.more {
                break;
            }
        }
        if &found != fields {
            let wrong = fields.iter().find(|(key, value)| found.get(*key) != Some(value));
            return Err(io::Error::other(format!("read back {}, first: {wrong:?}", found.len())));
        }
    }
    Ok(now)
}

async fn compact(cluster: &Cluster, revision: i64) -> io::Result<()> {
    let channel = Endpoint::from_shared(cluster.endpoint(0)).map_err(io::Error::other)?;
    let mut kv = KvClient::new(channel.connect().await.map_err(io::Error::other)?);
    let request = CompactionRequest { revision, physical: true };
    kv.compact(request).await.map(drop).map_err(io::Error::other)
}

/// Follows the prefix until `count` keys were seen.
async fn watch(endpoint: String, count: usize) -> io::Result<BTreeMap<String, String>> {
    let channel = Endpoint::from_shared(endpoint).map_err(io::Error::other)?;
    let channel = channel.connect().await.map_err(io::Error::other)?;
    let create = WatchCreateRequest {
        key: bytes::Bytes::from_static(b"pkg/"),
        range_end: end_of_prefix("pkg/"),
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = tokio_stream::once(request).chain(tokio_stream::pending());
    let mut stream =
        WatchClient::new(channel).watch(requests).await.map_err(io::Error::other)?.into_inner();
    let mut seen = BTreeMap::new();
    let mut last = 0;
    while seen.len() < count {
        let response = stream.message().await.map_err(io::Error::other)?;
        let response = response.ok_or_else(|| io::Error::other("the watch ended"))?;
        for kv in response.events.iter().filter_map(|event| event.kv.as_ref()) {
            if kv.mod_revision < last {
                return Err(io::Error::other("the watch went back in time"));
            }
            last = kv.mod_revision;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            seen.insert(text(&kv.key), text(&kv.value));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_their_continuations_are_kept() {
        let fields = parse("Package: a\nDescription: x\n more\n\nPackage: b\nVersion: 1\n");
        assert_eq!(fields["pkg/a/Description"], "x\n more");
        assert_eq!(fields["pkg/b/Version"], "1");
        assert_eq!(fields.len(), 4);
    }
}
