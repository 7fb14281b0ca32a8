//! A member that is alone, lost something and does not start: what its operator is told, and what becomes
//! of it when he accepts the loss.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quorate_proto::etcdserverpb as pb;
use quorate_server::recover::{self, recover};
use quorate_server::repair::{Ending, Wishes, repair};

use crate::cluster::{Cluster, get, put, within};

const KEYS: usize = 60;
const SECTOR_BYTES: u64 = 512;

fn key(number: usize) -> String {
    format!("key{number:04}")
}

/// A member alone with some keys, as if it were killed: its store has nothing on disk, and its log has all.
async fn killed_member() -> Cluster {
    let mut cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    for number in 0..KEYS {
        within(kv.put(put(&key(number), &"value".repeat(50)))).await.expect("written");
    }
    cluster.stop(0).await;
    fs::remove_dir_all(cluster.data_dir(0).join("store")).expect("removed");
    cluster
}

/// How many of the keys a member has: the first ones, and no others.
async fn count(cluster: &Cluster) -> usize {
    let mut kv = cluster.kv(0).await;
    let mut found = Vec::new();
    for number in 0..KEYS {
        let answer = within(kv.range(get(&key(number)))).await.expect("read").into_inner();
        if let [pair] = answer.kvs.as_slice() {
            assert_eq!(pair.value, "value".repeat(50), "{}: another value", key(number));
            found.push(number);
        }
    }
    assert!(found.iter().copied().eq(0..found.len()), "{found:?} are not the first ones");
    found.len()
}

/// Overwrites a sector of the log, after so many bytes.
fn damage_log(data_dir: &Path, at: u64) {
    let segment = data_dir.join("wal/0000000000000001.wal");
    let file = OpenOptions::new().write(true).open(segment).expect("the first segment");
    file.write_all_at(&[0xa5; SECTOR_BYTES as usize], at / SECTOR_BYTES * SECTOR_BYTES)
        .expect("damaged");
}

/// All files below a directory, with what is in them.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).expect("read"));
        }
    }
    all
}

/// Fails with the names of the files that changed.
#[track_caller]
fn assert_same(now: &BTreeMap<PathBuf, Vec<u8>>, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let all = now.keys().chain(before.keys());
    let changed: BTreeSet<_> = all.filter(|path| now.get(*path) != before.get(*path)).collect();
    assert!(changed.is_empty(), "{changed:?} changed");
}

/// Runs the command; what it says, and how it ends.
fn run(data_dir: &Path, accept: bool) -> (String, Result<Ending, String>) {
    run_with(data_dir, Wishes { accept_data_loss: accept, ..Wishes::default() })
}

fn run_with(data_dir: &Path, wishes: Wishes) -> (String, Result<Ending, String>) {
    let mut said = String::new();
    let ending = repair(data_dir, wishes, &mut |text| {
        said.push_str(text);
        said.push('\n');
    });
    (said, ending)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_before_the_damage_is_served_again() {
    let mut cluster = killed_member().await;
    let data_dir = cluster.data_dir(0).to_owned();
    damage_log(&data_dir, 12_000);
    let wal = content(&data_dir.join("wal"));
    let refused = cluster.try_restart(0).expect_err("something is lost");
    assert_same(&content(&data_dir.join("wal")), &wal);
    let before = content(&data_dir);
    let command = format!("`quorate repair --data-dir {}` tells what", data_dir.display());
    assert!(refused.contains("damaged at offset") && refused.contains(&command), "{refused}");

    let (said, ending) = run(&data_dir, false);
    assert_eq!(ending, Ok(Ending::Found), "{said}");
    assert_same(&content(&data_dir), &before);
    let told = |what: &str| said.contains(what);
    assert!(told("damaged at offset") && told("Lost: entr") && told("given up"), "{said}");
    assert!(told("--accept-data-loss") && told("wal.damaged-1"), "{said}");
    // Revision 1 is that of an empty store.
    let revision = said.split("goes on from entry").nth(1).expect("it tells where");
    let revision = revision.split("revision ").nth(1).expect("it tells the revision");
    let revision: usize = revision.split(',').next().expect("a number").parse().expect("a number");

    let (said, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Repaired), "{said}");
    assert!(said.contains(&format!("revision {revision}, in term")), "{said}");
    for (path, bytes) in &before {
        let aside = data_dir.join("wal.damaged-1");
        let path = match path.strip_prefix(data_dir.join("wal")) {
            Ok(name) => aside.join(name),
            Err(_) => path.clone(),
        };
        assert!(fs::read(&path).is_ok_and(|now| now == *bytes), "{} changed", path.display());
    }
    let (said, ending) = run(&data_dir, true);
    assert_eq!((said.trim(), ending), ("Nothing is damaged.", Ok(Ending::Sound)));

    cluster.restart(0).await;
    let found = count(&cluster).await;
    assert!(0 < found && found < KEYS, "{found} keys are left");
    assert_eq!(found + 1, revision, "it told the revision");
    let mut kv = cluster.kv(0).await;
    let answer = within(kv.put(put("more", "1"))).await.expect("it goes on").into_inner();
    assert_eq!(answer.header.expect("a header").revision, revision as i64 + 1);
    cluster.stop(0).await;
    cluster.restart(0).await;
    assert_eq!(count(&cluster).await, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_cut_off_anywhere_can_be_given_again() {
    let mut cluster = killed_member().await;
    let data_dir = cluster.data_dir(0).to_owned();
    damage_log(&data_dir, 12_000);
    fs::create_dir(data_dir.join("store")).expect("created");
    fs::write(data_dir.join("store/generation"), "garbage").expect("written");
    let (_, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Repaired));
    assert!(data_dir.join("store.damaged-1/generation").exists());
    let after = |name: &str| content(&data_dir.join(name));
    let (new, old) = (after("wal"), after("wal.damaged-1"));
    assert!(new.keys().count() > 0 && old.keys().count() > 0);
    let whole = |data_dir: &Path, name: &str| content(&data_dir.join(name)).into_values().collect();
    let mv = |from: &str, to: &str| {
        fs::rename(data_dir.join(from), data_dir.join(to)).expect("moved");
    };
    // As it would be after a crash before the last step, …
    mv("wal", "wal.repaired");
    let refused = cluster.try_restart(0).expect_err("the log is missing");
    assert!(refused.contains("quorate repair"), "{refused}");
    let (said, ending) = run(&data_dir, false);
    assert_eq!(ending, Ok(Ending::Found), "{said}");
    assert!(said.contains("cut off"), "{said}");
    // … before the old log was put aside, …
    for name in ["wal", "wal.damaged-2", "store"] {
        let _ = fs::remove_dir_all(data_dir.join(name));
    }
    mv("wal.damaged-1", "wal");
    let refused = cluster.try_restart(0).expect_err("the log is damaged");
    assert!(refused.contains("quorate repair"), "{refused}");
    let _ = fs::remove_dir_all(data_dir.join("store"));
    let (said, ending) = run(&data_dir, false);
    assert_eq!(ending, Ok(Ending::Found), "{said}");
    // … before the store was, and with a new log that is not complete.
    mv("store.damaged-1", "store");
    mv("wal.repaired", "wal.repaired.tmp");
    let refused = cluster.try_restart(0).expect_err("the store is damaged");
    assert!(refused.contains("quorate repair"), "{refused}");
    let (said, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Repaired), "{said}");
    let kept: Vec<Vec<u8>> = whole(&data_dir, "wal.damaged-1");
    assert!(old.into_values().eq(kept), "the old log is as it was found");
    assert!(!data_dir.join("wal.repaired.tmp").exists() && !data_dir.join("repair.tmp").exists());
    cluster.restart(0).await;
    let found = count(&cluster).await;
    assert!(0 < found && found < KEYS, "{found} keys are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_comes_back_from_a_log_that_has_everything() {
    let mut cluster = killed_member().await;
    let data_dir = cluster.data_dir(0).to_owned();
    fs::create_dir(data_dir.join("store")).expect("created");
    fs::write(data_dir.join("store/generation"), b"not this").expect("written");
    let wal = content(&data_dir.join("wal"));
    cluster.try_restart(0).expect_err("the store is lost");
    let (said, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Repaired), "{said}");
    assert!(said.contains("Nothing that was acknowledged is lost."), "{said}");
    assert!(content(&data_dir.join("wal")) == wal, "the log is whole and stays");
    assert!(data_dir.join("store.damaged-1/generation").exists());
    cluster.restart(0).await;
    assert_eq!(count(&cluster).await, KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_leaves_the_store() {
    let mut cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    for number in 0..KEYS {
        within(kv.put(put(&key(number), &"value".repeat(50)))).await.expect("written");
    }
    cluster.stop(0).await;
    let data_dir = cluster.data_dir(0).to_owned();
    fs::remove_dir_all(data_dir.join("wal")).expect("removed");
    let refused = cluster.try_restart(0).expect_err("the log is gone");
    assert!(refused.contains("quorate repair"), "{refused}");
    let (said, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Repaired), "{said}");
    assert!(said.contains("Nobody knows whether the log had more"), "{said}");
    cluster.restart(0).await;
    assert_eq!(count(&cluster).await, KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_log_is_a_lost_one() {
    let mut cluster = killed_member().await;
    let data_dir = cluster.data_dir(0).to_owned();
    fs::write(data_dir.join("wal/0000000000000001.wal"), vec![0; 1 << 16]).expect("overwritten");
    fs::remove_file(data_dir.join("wal/MARK")).expect("removed");
    let log = content(&data_dir.join("wal"));
    let refused = cluster.try_restart(0).expect_err("it has written a log");
    assert!(refused.contains("the log is lost") && refused.contains("quorate repair"), "{refused}");
    assert_same(&content(&data_dir.join("wal")), &log);
    let before = content(&data_dir);
    let (said, ending) = run(&data_dir, true);
    assert!(ending.expect_err("nothing is left").contains("bring back a copy"), "{said}");
    assert_same(&content(&data_dir), &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_repair_left_is_not_read_again_when_the_member_has_gone_on() {
    let mut cluster = killed_member().await;
    let data_dir = cluster.data_dir(0).to_owned();
    let (first, left) = (data_dir.join("wal/0000000000000001.wal"), data_dir.join("wal.repaired"));
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to).expect("created");
        for file in content(from).into_keys() {
            fs::copy(&file, to.join(file.file_name().expect("a file"))).expect("copied");
        }
    };
    copy(&data_dir.join("wal"), &left);
    for name in ["wal.repaired.tmp", "repair.tmp"] {
        fs::create_dir(data_dir.join(name)).expect("created");
    }
    cluster.restart(0).await;
    for name in ["wal.repaired", "wal.repaired.tmp", "repair.tmp"] {
        assert!(!data_dir.join(name).exists(), "{name} pins what is no longer needed");
    }
    assert!(data_dir.join("wal.damaged-1").exists(), "no log is deleted");
    cluster.stop(0).await;

    // The store is ahead of it now.
    fs::rename(data_dir.join("wal"), &left).expect("moved");
    fs::create_dir(data_dir.join("wal")).expect("created");
    let begins_before_the_store = content(&left);
    let (said, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Repaired), "{said}");
    assert!(said.contains("It is not used: the store does not end where it begins"), "{said}");
    let kept: Vec<_> = content(&data_dir.join("wal.damaged-2")).into_values().collect();
    assert!(begins_before_the_store.into_values().eq(kept), "what nobody read is kept");
    cluster.restart(0).await;
    assert_eq!(count(&cluster).await, KEYS);
    assert!(first.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_left_by_a_repair_and_is_damaged_is_kept_until_there_is_a_new_one() {
    let mut cluster = killed_member().await;
    let data_dir = cluster.data_dir(0).to_owned();
    damage_log(&data_dir, 12_000);
    fs::rename(data_dir.join("wal"), data_dir.join("wal.repaired")).expect("moved");
    let before = content(&data_dir.join("wal.repaired"));
    // A file where the new log is to be written.
    fs::write(data_dir.join("wal.repaired.tmp"), "in the way").expect("written");
    let (said, ending) = run(&data_dir, true);
    ending.expect_err("it can't be written");
    assert_same(&content(&data_dir.join("wal.repaired")), &before);
    fs::remove_file(data_dir.join("wal.repaired.tmp")).expect("removed");
    let (again, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Repaired), "{said}{again}");
    assert!(again.contains("Every write after it is gone"), "{again}");
    let kept: Vec<_> = content(&data_dir.join("wal.damaged-1")).into_values().collect();
    assert!(before.into_values().eq(kept), "it is put aside as it was found");
    cluster.restart(0).await;
    let found = count(&cluster).await;
    assert!(0 < found && found < KEYS, "{found} keys are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_repaired_is_refused_and_left_as_it_is() {
    let mut alone = Cluster::start(1).await;
    let data_dir = alone.data_dir(0).to_owned();
    let (_, ending) = run(&data_dir, true);
    assert!(ending.expect_err("it runs").contains("in use"));
    let mut kv = alone.kv(0).await;
    within(kv.put(put("key", "value"))).await.expect("written");
    alone.stop(0).await;
    let before = content(&data_dir);
    let (said, ending) = run(&data_dir, true);
    assert_eq!((said.trim(), ending), ("Nothing is damaged.", Ok(Ending::Sound)));
    assert_same(&content(&data_dir), &before);

    // The store is lost, and so is the first entry.
    fs::write(data_dir.join("store/generation"), b"not this").expect("written");
    for segment in content(&data_dir.join("wal")).into_keys() {
        if segment.extension().is_some_and(|extension| extension == "wal") {
            fs::write(segment, vec![0xa5; 4096]).expect("written");
        }
    }
    let before = content(&data_dir);
    let (said, ending) = run(&data_dir, true);
    let why = ending.expect_err("nothing is left");
    assert!(why.contains("bring back a copy of the whole data directory"), "{said}{why}");
    assert_same(&content(&data_dir), &before);

    for gone in ["wal", "store"] {
        fs::remove_dir_all(data_dir.join(gone)).expect("removed");
    }
    let refused = alone.try_restart(0).expect_err("it was a member once");
    assert!(
        refused.contains("there is no log in") && refused.contains("quorate repair"),
        "{refused}"
    );
    let (_, ending) = run(&data_dir, true);
    assert!(ending.expect_err("nothing is left").contains("bring back a copy"));

    let mut three = Cluster::start(3).await;
    three.stop(2).await;
    let (_, ending) = run(three.data_dir(2), true);
    let why = ending.expect_err("the others have it");
    assert!(why.contains("this member is one of 3: start it"), "{why}");
    let (_, ending) = run(&data_dir.join("nothing-here"), true);
    assert!(ending.expect_err("no such member").contains("there is no member in"));
    let mut kv: pb::kv_client::KvClient<_> = three.kv(0).await;
    within(kv.put(put("key", "value"))).await.expect("two of three go on");
    for gone in ["wal", "store"] {
        fs::remove_dir_all(three.data_dir(2).join(gone)).expect("removed");
    }
    let refused = three.try_restart(2).expect_err("it has all its votes to give again");
    assert!(refused.ends_with("with --initial-cluster-state=existing"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_last_member_of_a_cluster_what_is_sound_becomes_a_new_one() {
    let mut cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(0).await;
    for number in 0..KEYS {
        within(kv.put(put(&key(number), &"value".repeat(50)))).await.expect("written");
    }
    cluster.catch_up(0, 1).await;
    cluster.catch_up(0, 2).await;
    for at in 0..3 {
        cluster.abandon(at).await;
    }
    let data_dir = cluster.data_dir(0).to_owned();
    damage_log(&data_dir, 12_000);
    fs::remove_dir_all(data_dir.join("store")).expect("removed");

    let before = content(&data_dir);
    let wishes = recover::Wishes {
        name: None,
        peer_urls: None,
        bump: recover::BUMP_DEFAULT,
        accept_data_loss: true,
    };
    let why = recover(&data_dir, &wishes, &mut |_| {}).expect_err("it is damaged");
    assert!(why.contains("--last-of-its-cluster` tells what can be saved"), "{why}");
    let (_, ending) = run(&data_dir, true);
    assert!(ending.expect_err("nobody has said so").contains("lost for ever"));
    let mut last = Wishes { last_of_its_cluster: true, ..Wishes::default() };
    let (said, ending) = run_with(&data_dir, last);
    assert_eq!(ending, Ok(Ending::Found), "{said}");
    assert!(said.contains("--last-of-its-cluster --accept-data-loss"), "{said}");
    assert_same(&content(&data_dir), &before);

    last.accept_data_loss = true;
    let (said, ending) = run_with(&data_dir, last);
    assert_eq!(ending, Ok(Ending::Repaired), "{said}");
    assert!(said.contains("no vote any more") && said.contains("quorate recover"), "{said}");
    let identity = fs::read_to_string(data_dir.join("identity")).expect("it is there");
    assert!(identity.contains("\nrejoining "), "{identity}");
    let mut said = String::new();
    let ending = recover(&data_dir, &wishes, &mut |text| said.push_str(text));
    assert_eq!(ending, Ok(recover::Ending::Recovered), "{said}");
    assert!(said.contains("had no vote when it ended"), "{said}");
    cluster.restart(0).await;
    let found = count(&cluster).await;
    assert!(0 < found && found < KEYS, "{found} keys are left");
}
