//! Drives a cluster with the Rust crate `etcd-client`: every call that this release answers, each
//! with what must come of it. `cargo run -- ENDPOINT…`; the last line says how many calls were right.

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, LeaseGrantOptions,
    LeaseTimeToLiveOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp, WatchOptions,
};

/// Counts what was right and stops at the first thing that is not.
struct Check(usize);

impl Check {
    fn that(&mut self, holds: bool, what: &str) {
        assert!(holds, "wrong: {what}");
        println!("ok: {what}");
        self.0 += 1;
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoints: Vec<String> = std::env::args().skip(1).collect();
    assert!(!endpoints.is_empty(), "usage: quorate-foreign-etcd-client ENDPOINT...");
    let mut client = Client::connect(&endpoints, None).await?;
    let mut check = Check(0);
    let check = &mut check;

    let prefixed = DeleteOptions::new().with_prefix();
    client.delete("foreign/", Some(prefixed.clone())).await?;

    // Keys.
    let put = client.put("foreign/a", "1", None).await?;
    let first = put.header().expect("a header").revision();
    let put = client.put("foreign/a", "2", Some(PutOptions::new().with_prev_key())).await?;
    check.that(put.prev_key().is_some_and(|kv| kv.value() == b"1"), "put returns the previous");
    let get = client.get("foreign/a", None).await?;
    let kv = &get.kvs()[0];
    check.that(kv.value() == b"2" && kv.version() == 2, "get returns the newest version");
    check.that(kv.create_revision() == first && kv.mod_revision() == first + 1, "revisions ascend");
    let old = client.get("foreign/a", Some(GetOptions::new().with_revision(first))).await?;
    check.that(old.kvs()[0].value() == b"1", "get as of a revision");
    for number in 0..10 {
        client.put(format!("foreign/list/{number}"), format!("{}", 9 - number), None).await?;
    }
    let options = GetOptions::new().with_prefix().with_limit(3);
    let page = client.get("foreign/list/", Some(options)).await?;
    let exact = page.kvs().len() == 3 && page.count() == 10 && page.more();
    check.that(exact, "a page knows how many there are in all");
    let options =
        GetOptions::new().with_prefix().with_sort(SortTarget::Value, SortOrder::Ascend);
    let sorted = client.get("foreign/list/", Some(options)).await?;
    check.that(sorted.kvs()[0].key() == b"foreign/list/9", "sorted by value");
    let options = GetOptions::new().with_prefix().with_count_only();
    let counted = client.get("foreign/list/", Some(options)).await?;
    check.that(counted.count() == 10 && counted.kvs().is_empty(), "counted only");
    let options = GetOptions::new().with_prefix().with_serializable();
    let local = client.get("foreign/list/", Some(options)).await?;
    check.that(local.count() <= 10, "a serializable read answers");
    let error = client.get("foreign/a", Some(GetOptions::new().with_revision(i64::MAX))).await;
    check.that(text(error).contains("required revision is a future revision"), "a future revision");
    let error = client.put("", "x", None).await;
    check.that(text(error).contains("etcdserver: key is not provided"), "an empty key");

    // Transactions.
    let txn = Txn::new()
        .when([Compare::value("foreign/a", CompareOp::Equal, "2")])
        .and_then([TxnOp::put("foreign/b", "x", None), TxnOp::get("foreign/b", None)])
        .or_else([TxnOp::get("foreign/a", None)]);
    let response = client.txn(txn.clone()).await?;
    check.that(response.succeeded() && response.op_responses().len() == 2, "a transaction");
    client.put("foreign/a", "3", None).await?;
    let response = client.txn(txn).await?;
    check.that(!response.succeeded() && response.op_responses().len() == 1, "its other branch");
    let twice = [TxnOp::put("foreign/c", "1", None), TxnOp::put("foreign/c", "2", None)];
    let error = client.txn(Txn::new().and_then(twice)).await;
    check.that(text(error).contains("duplicate key given in txn request"), "a key put twice");

    // Watches.
    let options = WatchOptions::new().with_prefix().with_prev_key().with_start_revision(first);
    let mut watch = client.watch("foreign/", Some(options)).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let response = watch.message().await?.expect("the watch goes on");
        seen.extend(response.events().iter().map(|event| {
            let kv = event.kv().expect("an event has a key");
            (event.event_type(), kv.key().to_vec(), kv.mod_revision())
        }));
    }
    check.that(seen[0] == (EventType::Put, b"foreign/a".to_vec(), first), "history comes first");
    check.that(seen.is_sorted_by_key(|(_, _, revision)| *revision), "events are in order");
    watch.cancel(0).await?;
    let mut watch = client.watch("foreign/live", None).await?;
    client.put("foreign/live", "1", None).await?;
    client.delete("foreign/live", None).await?;
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let response = watch.message().await?.expect("the watch goes on");
        kinds.extend(response.events().iter().map(|event| event.event_type()));
    }
    check.that(kinds == [EventType::Put, EventType::Delete], "a live watch");

    // Leases.
    let id = 0x51_0c1e;
    let _ = client.lease_revoke(id).await;
    let lease = client.lease_grant(60, Some(LeaseGrantOptions::new().with_id(id))).await?;
    check.that((lease.id(), lease.ttl()) == (id, 60), "a lease is granted");
    client.put("foreign/leased", "1", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut stream) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    let kept = stream.message().await?.expect("an answer");
    check.that(kept.ttl() == 60, "a lease is kept alive");
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let left = client.lease_time_to_live(id, Some(options)).await?;
    check.that(left.ttl() > 0 && left.keys() == [b"foreign/leased".to_vec()], "its time and keys");
    let leases = client.leases().await?;
    check.that(leases.leases().iter().any(|lease| lease.id() == id), "it is listed");
    client.lease_revoke(id).await?;
    let gone = client.get("foreign/leased", None).await?;
    check.that(gone.kvs().is_empty(), "its keys end with it");
    let short = client.lease_grant(1, None).await?;
    let leased = PutOptions::new().with_lease(short.id());
    client.put("foreign/short", "1", Some(leased)).await?;
    let patience = tokio::time::Instant::now() + Duration::from_secs(30);
    while !client.get("foreign/short", None).await?.kvs().is_empty() {
        assert!(tokio::time::Instant::now() < patience, "wrong: a lease never expires");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    check.that(true, "a lease expires");

    // The cluster.
    let members = client.member_list().await?;
    check.that(members.members().len() == endpoints.len(), "all members are listed");
    let status = client.status().await?;
    check.that(status.leader() != 0 && status.db_size() > 0, "a member tells its status");
    let hash = client.hash_kv(0).await?;
    check.that(hash.hash() != 0, "a member hashes what it holds");

    // Compaction.
    let now = client.get("foreign/a", None).await?.header().expect("a header").revision();
    client.compact(now, None).await?;
    let error = client.get("foreign/a", Some(GetOptions::new().with_revision(first))).await;
    check.that(text(error).contains("required revision has been compacted"), "a compacted revision");
    let error = client.compact(now, None).await;
    check.that(text(error).contains("required revision has been compacted"), "compacting twice");
    let deleted = client.delete("foreign/", Some(prefixed)).await?;
    check.that(deleted.deleted() > 10, "a prefix is deleted");

    println!("etcd-client: {} calls right", check.0);
    Ok(())
}

fn text<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("wrong: an error was due"),
        Err(error) => error.to_string(),
    }
}
