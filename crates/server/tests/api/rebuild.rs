//! A member whose store is damaged becomes whole by itself, if there are others.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use quorate_proto::etcdserverpb as pb;

use crate::cluster::{Cluster, get, put, within};

const KEYS: usize = 200;

fn key(number: usize) -> String {
    format!("key{number:04}")
}

/// Writes more than a block of the store holds, many times.
async fn fill(cluster: &Cluster) {
    let mut kv = cluster.kv(0).await;
    for number in 0..KEYS {
        within(kv.put(put(&key(number), &"value".repeat(200)))).await.expect("written");
    }
}

/// What the member itself has, without asking anybody: how many of the keys, or why it can't tell.
async fn count(cluster: &Cluster, at: usize) -> Result<usize, tonic::Status> {
    let mut kv = cluster.kv(at).await;
    let mut found = 0;
    for number in 0..KEYS {
        let request = pb::RangeRequest { serializable: true, ..get(&key(number)) };
        let answer = within(kv.range(request)).await?.into_inner();
        if let [pair] = answer.kvs.as_slice() {
            assert_eq!(pair.value, "value".repeat(200), "{}: another value", key(number));
            found += 1;
        }
    }
    Ok(found)
}

/// Flips a bit in every block of every table.
fn damage(data_dir: &Path) {
    let mut tables = 0;
    for tree in fs::read_dir(data_dir.join("store")).expect("a store") {
        let Ok(files) = fs::read_dir(tree.expect("an entry").path().join("tables")) else {
            continue;
        };
        for file in files {
            let file = file.expect("an entry").path();
            let length = fs::metadata(&file).expect("a file").len();
            let file = OpenOptions::new().read(true).write(true).open(file).expect("opened");
            // Not the end, which is looked at when the store is opened.
            for at in (100..length.saturating_sub(4096)).step_by(500) {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).expect("read");
                file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
            }
            tables += 1;
        }
    }
    assert!(tables > 0, "nothing is on disk yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_under_a_running_member_stops_it_and_it_begins_anew() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster).await;
    cluster.stop(2).await;
    cluster.restart(2).await;
    cluster.catch_up(2, 0).await;
    assert_eq!(count(&cluster, 2).await.expect("whole"), KEYS);
    cluster.stop(2).await;
    cluster.restart(2).await;
    damage(cluster.data_dir(2));
    let unreadable = count(&cluster, 2).await.expect_err("it was damaged before it was read");
    assert_eq!(unreadable.code(), tonic::Code::Internal, "{unreadable}");
    // What was found by a reader ends the member with the next write.
    let mut kv = cluster.kv(0).await;
    within(kv.put(put("key-more", "1"))).await.expect("the others go on");
    let report = within(cluster.fallen(2)).await;
    assert!(report.contains("the store is damaged"), "{report}");
    assert!(cluster.data_dir(2).join("store-lost").exists(), "it is noted");
    cluster.abandon(2).await;
    cluster.restart(2).await;
    cluster.catch_up(2, 0).await;
    assert_eq!(count(&cluster, 2).await.expect("whole again"), KEYS);
    for gone in ["store-lost", "store.lost"] {
        assert!(!cluster.data_dir(2).join(gone).exists(), "{gone} is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_can_t_open_its_store_begins_without_it() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster).await;
    cluster.stop(1).await;
    fs::write(cluster.data_dir(1).join("store/generation"), b"not this").expect("written");
    cluster.restart(1).await;
    cluster.catch_up(1, 0).await;
    assert_eq!(count(&cluster, 1).await.expect("whole again"), KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_which_nothing_is_left_is_not_taken_for_a_new_one() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster).await;
    for segments in [1, 3] {
        cluster.stop(1).await;
        let log = cluster.data_dir(1).join("wal");
        fs::remove_dir_all(&log).expect("removed");
        fs::create_dir(&log).expect("created");
        for number in 1..=segments {
            fs::write(log.join(format!("{number:016x}.wal")), vec![0; 1 << 16]).expect("written");
        }
        fs::remove_dir_all(cluster.data_dir(1).join("store")).expect("removed");
        cluster.stop(2).await;
        cluster.try_restart(1).expect("it begins anew");
        let identity = fs::read_to_string(cluster.data_dir(1).join("identity")).expect("read");
        assert!(identity.contains("rejoining"), "it has no vote: not all others can answer it");
        let aside = fs::read_dir(cluster.data_dir(1).join("wal.lost")).expect("it is put aside");
        let kept = aside.filter(|entry| {
            entry.as_ref().is_ok_and(|e| e.path().extension().is_some_and(|name| name == "wal"))
        });
        assert_eq!(kept.count(), segments, "as it was found");
        cluster.restart(2).await;
        cluster.catch_up(1, 0).await;
        assert_eq!(count(&cluster, 1).await.expect("whole again"), KEYS);
    }
}

/// Changes a byte in the first header of the log, with a checksum that says that it was written like this.
fn rewrite_log(data_dir: &Path, at: usize, byte: u8) {
    let segments = fs::read_dir(data_dir.join("wal")).expect("a log");
    let segments = segments.map(|entry| entry.expect("an entry").path());
    let segment = segments.filter(|path| path.extension().is_some_and(|name| name == "wal")).min();
    let file = OpenOptions::new().read(true).write(true).open(segment.expect("one")).expect("open");
    let mut header = [0; 128];
    file.read_exact_at(&mut header, 0).expect("read");
    header[at] = byte;
    let checksum = crc32fast::hash(&header[..124]);
    header[124..].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&header, 0).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_makes_no_sense_counts_as_lost_unless_another_version_wrote_it() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster).await;
    cluster.stop(1).await;
    rewrite_log(cluster.data_dir(1), 4, 77);
    let refused = cluster.try_restart(1).expect_err("a newer program's log is whole");
    assert!(refused.contains("version 77"), "{refused}");
    assert!(!cluster.data_dir(1).join("wal.lost").exists(), "it was put aside");
    rewrite_log(cluster.data_dir(1), 4, 3);
    rewrite_log(cluster.data_dir(1), 5, 99);
    cluster.try_restart(1).expect("it begins anew");
    cluster.catch_up(1, 0).await;
    assert_eq!(count(&cluster, 1).await.expect("whole again"), KEYS);
}

/// Puts into the place of a file one that the system opens and can't read: it says of the first page of a
/// process, which is never there, what it says of a bad sector.
#[cfg(target_os = "linux")]
fn make_unreadable(path: &Path) {
    fs::remove_file(path).expect("removed");
    std::os::unix::fs::symlink("/proc/self/mem", path).expect("linked");
    assert_eq!(fs::read(path).expect_err("a bad sector").raw_os_error(), Some(5));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_sector_in_the_store_is_damage_like_any_other() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster).await;
    cluster.stop(1).await;
    make_unreadable(&cluster.data_dir(1).join("store/0000000000000001.tree/current"));
    cluster.restart(1).await;
    cluster.catch_up(1, 0).await;
    assert_eq!(count(&cluster, 1).await.expect("whole again"), KEYS);

    let mut alone = Cluster::start(1).await;
    fill(&alone).await;
    alone.stop(0).await;
    make_unreadable(&alone.data_dir(0).join("store/generation"));
    let refused = alone.try_restart(0).expect_err("nobody else has the state");
    assert!(refused.contains("no other member has what it held; nothing was changed"), "{refused}");
    assert!(refused.contains("it can't be read"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_others_keeps_its_damaged_store_and_says_so() {
    let mut cluster = Cluster::start(1).await;
    fill(&cluster).await;
    cluster.stop(0).await;
    fs::write(cluster.data_dir(0).join("store/generation"), b"not this").expect("written");
    let refused = cluster.try_restart(0).expect_err("nobody else has the state");
    let data_dir = cluster.data_dir(0).display();
    assert!(
        refused.ends_with(&format!(
            "is lost, and no other member has what it held; nothing was changed; `quorate repair \
             --data-dir {data_dir}` tells what can be saved"
        )),
        "{refused}"
    );
    assert!(cluster.data_dir(0).join("store/generation").exists(), "nothing was put aside");
}
