use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_mvcc::{Command, MemberAttributes, PutRequest, RangeRequest, Store};
use quorate_node::{Machine as _, proposal};
use quorate_raft::{Entry, Term};
use quorate_store::{DiskEngine, Options};

use super::*;
use crate::config::Config;
use crate::identity::STORE;
use crate::log::{Level, Log};
use crate::server::{Listeners, Server};

/// How many writes the survivor's log has. Each is a revision, from 2 on.
const WRITES: u64 = 8;
/// Up to where its store has them.
const APPLIED: u64 = 5;
/// The revision with all of them.
const REVISION: i64 = 1 + WRITES as i64;

fn put(number: u64) -> Command {
    let key = Bytes::from(format!("key{number}"));
    Command::Put(PutRequest { key, value: Bytes::from("value"), ..PutRequest::default() })
}

/// What stands in the log.
fn entry(index: u64, command: &Command) -> Entry {
    let id = proposal::ProposalId { origin: NodeId(7), incarnation: 1, number: index };
    let bytes = proposal::encode(id, &command.encode());
    Entry { id: EntryId::new(1 + index / 4, index), payload: Payload::Command(bytes) }
}

fn log_of(kept: Vec<Entry>) -> Repair {
    let mut log = Repair::anew(EntryId::ZERO);
    log.kept = kept;
    log.term = Term(4);
    log
}

/// One of three members, whose log is ahead of its store.
fn survivor() -> tempfile::TempDir {
    survivor_of("m0=http://127.0.0.1:1,m1=http://127.0.0.1:2,m2=http://127.0.0.1:3", Vec::new())
}

/// One of these members, whose log has these entries after its writes.
fn survivor_of(cluster: &str, more: Vec<Entry>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path();
    let config = config(data_dir, &[&format!("--initial-cluster={cluster}")]);
    let log = Log::new(config.log_level, std::io::sink());
    Identity::load_or_create(&config, &log).expect("a new member");
    Identity::note_founded(data_dir).expect("noted");
    let mut entries: Vec<Entry> = (1..=WRITES).map(|number| entry(number, &put(number))).collect();
    let engine = DiskEngine::open(&data_dir.join(STORE), Options::default()).expect("a new store");
    let mut store = Store::open(Box::new(engine)).expect("an empty store");
    for number in 1..=APPLIED {
        let id = entries[number as usize - 1].id;
        store.apply(id, &put(number).encode()).expect("applied").result.expect("it is valid");
        store.commit(id).expect("committed");
    }
    store.flush().expect("durable");
    entries.extend(more);
    log_of(entries).write(&data_dir.join(LOG)).expect("written");
    directory
}

fn config(data_dir: &Path, more: &[&str]) -> Config {
    let mut flags = vec![
        "--name=m0".to_owned(),
        format!("--data-dir={}", data_dir.display()),
        "--initial-advertise-peer-urls=http://127.0.0.1:1".to_owned(),
    ];
    flags.extend(more.iter().map(ToString::to_string));
    Config::parse(flags, []).expect("good flags")
}

fn wishes(accept_data_loss: bool) -> Wishes {
    Wishes { name: None, peer_urls: None, bump: BUMP_DEFAULT, accept_data_loss }
}

/// Runs the command; what it says, and how it ends.
fn run(data_dir: &Path, wishes: &Wishes) -> (String, Result<Ending, String>) {
    let mut said = String::new();
    let ending = recover(data_dir, wishes, &mut |text| {
        said.push_str(text);
        said.push('\n');
    });
    (said, ending)
}

/// All files below a directory, with what is in them, by their path in it. A segment of the log is larger, and
/// empty behind what is written here.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = PathBuf::from(path.file_name().expect("a name"));
        if path.is_dir() {
            all.extend(content(&path).into_iter().map(|(below, bytes)| (name.join(below), bytes)));
            all.insert(name, Vec::new());
        } else {
            let file = fs::File::open(&path).expect("opened");
            let mut bytes = file.metadata().expect("known").len().to_le_bytes().to_vec();
            file.take(1 << 16).read_to_end(&mut bytes).expect("read");
            all.insert(name, bytes);
        }
    }
    all
}

/// A copy of a directory. Files that nobody writes twice are the same ones in it.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_all(&path, &to);
        } else if path.to_string_lossy().to_lowercase().ends_with("lock") {
            fs::write(&to, "").expect("written");
        } else {
            fs::hard_link(&path, &to).expect("linked");
        }
    }
}

/// The new member is whole: one voter with new ids, all writes, no history, and nothing of the old one.
fn check_recovered(data_dir: &Path, old: &Identity, bump: i64, what: &str) -> Identity {
    let identity = Identity::load(data_dir).expect(what).expect("there is a member");
    let [member] = &identity.members[..] else { panic!("{what}: {identity:?}") };
    assert!(!identity.founding && identity.rejoining.is_none(), "{what}");
    assert_eq!((member.id, &member.name), (identity.member_id, &"m0".to_owned()), "{what}");
    assert_ne!(identity.cluster_id, old.cluster_id, "{what}");
    let mut ids: Vec<u64> = old.members.iter().map(|member| member.id).collect();
    ids.extend([identity.member_id, identity.cluster_id, old.cluster_id]);
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{what}: an id is used again");

    let engine = DiskEngine::open(&data_dir.join(STORE), Options::default()).expect(what);
    let store = Store::open(Box::new(engine)).expect(what);
    let mut log = IdleLog::hold(&data_dir.join(LOG)).expect(what);
    let log = log.examine(store.applied(), true).expect(what);
    assert_eq!(
        (log.verdict, log.base, log.end()),
        (Verdict::Whole, store.applied(), store.applied())
    );
    let membership = store.membership().expect("it has one");
    let membership = Membership::decode(&membership).expect(what);
    let own = NodeId(identity.member_id);
    assert_eq!((&membership.voters, membership.members()), (&[own].into(), [own].into()), "{what}");
    let about = membership.about.get(&own).expect("others have to find it");
    assert!(about.starts_with(b"http://127.0.0."), "{about:?}");
    let state = store.read_state();
    assert_eq!((state.revision(), state.compacted()), (REVISION + bump, REVISION + bump), "{what}");
    let all = RangeRequest::new(quorate_mvcc::KeyRange::From(Bytes::new()));
    let keys = state.range(&all).expect("read").kvs.into_iter().map(|kv| kv.key);
    assert!(keys.eq((1..=WRITES).map(|number| format!("key{number}"))), "{what}");
    assert!(state.members().expect("read").is_empty(), "{what}");
    identity
}

#[test]
fn without_consent_every_byte_stays() {
    let directory = survivor();
    let before = content(directory.path());
    let (said, ending) = run(directory.path(), &wishes(false));
    assert_eq!(ending, Ok(Ending::Found), "{said}");
    assert_eq!(content(directory.path()), before);
    for part in [
        "Its log ends with entry 8@3; the last term that it knows of is 4.",
        "Certainly committed: all up to entry 5@2, revision 6,",
        "In its log after that: entries 6 to 8 of terms 2 to 3",
        "and lead to revision 9.",
        "Writes that were acknowledged after revision 9 (entry 8@3) may be lost.",
        "Entries 6 to 8 of this log may never have been acknowledged, and WILL be kept",
        "The revision moves from 9 to 1000000009,",
        "in term 5: \"m0\", reached by others at http://127.0.0.1:1.",
        "before-recovery-1",
        "--accept-data-loss",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
    assert_eq!(said.matches("(this one)").count(), 2, "{said}");
}

/// The disk is looked at before each step, as a crash would leave it: from wherever that is, either the old
/// member starts, or nothing does and the command finishes; never something in between.
#[test]
fn cut_off_anywhere_there_is_the_old_member_or_the_command_finishes() {
    cut_off_anywhere(&survivor());
}

/// A log that has everything is as good as a store, and what it says is all in doubt.
#[test]
fn without_a_store_the_log_is_enough_if_it_begins_at_the_beginning() {
    let directory = survivor();
    fs::remove_dir_all(directory.path().join(STORE)).expect("removed");
    let (said, ending) = run(directory.path(), &wishes(false));
    assert_eq!(ending, Ok(Ending::Found), "{said}");
    assert!(said.contains("In its log after that: entries 1 to 8 of terms 1 to 3"), "{said}");
    cut_off_anywhere(&directory);
}

fn cut_off_anywhere(directory: &tempfile::TempDir) {
    let data_dir = directory.path();
    fs::create_dir(data_dir.join("store.lost")).expect("created");
    fs::write(data_dir.join("store.lost/table"), "of an earlier mishap").expect("written");
    let old = Identity::load(data_dir).expect("it is whole").expect("there is one");
    let before = content(data_dir);
    let cuts = tempfile::tempdir().expect("a directory");
    let mut count = 0;
    let cut = |number: usize| cuts.path().join(number.to_string());
    let mut look_on = || {
        copy_all(data_dir, &cut(count));
        count += 1;
    };
    let wishes = wishes(true);
    let ending = recover_watched(data_dir, &wishes, &mut |_| {}, &mut look_on);
    assert_eq!(ending, Ok(Ending::Recovered));
    assert!(count >= 13, "{count} steps");
    let done = check_recovered(data_dir, &old, BUMP_DEFAULT, "not cut off");

    let (mut as_before, mut unfinished) = (0, 0);
    for number in 0..count - 1 {
        let what = format!("cut {number}");
        let data_dir = &cut(number);
        match Identity::load(data_dir) {
            Ok(found) => {
                assert_eq!(found.as_ref(), Some(&old), "{what}");
                let mut now = content(data_dir);
                now.retain(|path, _| !path.starts_with(UNFINISHED));
                assert_eq!(now, before, "{what}: the old member is whole");
                as_before += 1;
            }
            Err(why) => {
                assert!(why.contains("was cut off") && why.contains("finishes it"), "{why}");
                assert_starts_nothing(data_dir);
                let left = content(data_dir);
                let (said, ending) =
                    run(data_dir, &Wishes { accept_data_loss: false, ..wishes.clone() });
                assert_eq!(ending, Ok(Ending::Found), "{what}: {said}");
                assert_eq!(content(data_dir), left, "{what}: nobody has consented");
                unfinished += 1;
            }
        }
        let (said, ending) = run(data_dir, &wishes);
        assert_eq!(ending, Ok(Ending::Recovered), "{what}: {said}");
        let identity = check_recovered(data_dir, &old, BUMP_DEFAULT, &what);
        if number >= 3 {
            assert_eq!(identity, done, "{what}: what was built is what is used");
        }
        let aside = content(&data_dir.join("before-recovery-1"));
        assert_eq!(aside, before, "{what}: the old member is as it was");
        for gone in [UNFINISHED, BEGUN] {
            assert!(!data_dir.join(gone).exists(), "{what}: {gone}");
        }
    }
    assert!(as_before == 3 && unfinished >= 9, "{as_before} {unfinished}");
}

fn assert_starts_nothing(data_dir: &Path) {
    let more = ["--listen-peer-urls=http://127.0.0.1:0", "--listen-client-urls=http://127.0.0.1:0"];
    let config =
        config(data_dir, &[more[0], more[1], "--advertise-client-urls=http://127.0.0.1:4"]);
    let left = content(data_dir);
    let listeners = Listeners::bind(&config).expect("ports");
    let refused = Server::start_on(&config, listeners, Log::to_stderr(Level::Fatal));
    let refused = refused.expect_err("it is in the midst of a recovery").to_string();
    assert!(refused.contains("quorate recover --from-survivor"), "{refused}");
    assert_eq!(content(data_dir), left);
}

#[test]
fn the_last_membership_counts_and_others_are_forgotten() {
    let attributes = |id| MemberAttributes { id, name: format!("n{id}"), client_urls: Vec::new() };
    let told = |index, id| entry(index, &Command::Member(attributes(id)));
    let voters = Membership::of_voters([NodeId(70), NodeId(71)]);
    let learners = [NodeId(72)].into();
    let membership = Membership { learners, ..voters };
    let id = EntryId::new(3, 11);
    let changed = Entry { id, payload: Payload::Membership(membership.into()) };
    let noop = Entry { id: EntryId::new(3, 12), payload: Payload::Noop };
    let more = vec![told(9, 70), told(10, 71), changed, noop];
    let directory = survivor_of("m0=http://127.0.0.1:1,m1=http://127.0.0.1:2", more);
    let old = Identity::load(directory.path()).expect("it is whole").expect("there is one");
    let (said, ending) = run(directory.path(), &wishes(true));
    assert_eq!(ending, Ok(Ending::Recovered), "{said}");
    for part in [
        "Voters of that cluster: 46, 47.",
        "Learners: 48.",
        "This is what entry 11@3 says, which may not be committed.",
        "This member was removed from its cluster, and is far behind",
        "begins at entry 13@5, revision 1000000009.",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
    check_recovered(directory.path(), &old, BUMP_DEFAULT, "members");
}

#[test]
fn what_is_wished_is_done() {
    let directory = survivor();
    let wishes = Wishes {
        name: Some("m0".into()),
        peer_urls: Some("http://127.0.0.2:9,http://127.0.0.2:8".into()),
        bump: 2_000_000,
        accept_data_loss: true,
    };
    let old = Identity::load(directory.path()).expect("it is whole").expect("there is one");
    let (said, ending) = run(directory.path(), &wishes);
    assert_eq!(ending, Ok(Ending::Recovered), "{said}");
    let identity = check_recovered(directory.path(), &old, 2_000_000, "wishes");
    let urls: Vec<_> = identity.members[0].peer_urls.iter().map(Url::as_str).collect();
    assert_eq!(urls, ["http://127.0.0.2:8", "http://127.0.0.2:9"]);
    let (_, ending) = run(directory.path(), &wishes);
    let why = ending.expect_err("it has a majority now");
    assert!(why.starts_with("this member is alone in its cluster"), "{why}");
}

#[test]
fn two_copies_become_two_clusters() {
    let (one, two) = (survivor(), tempfile::tempdir().expect("a directory"));
    copy_all(one.path(), two.path());
    let ids = [one.path(), two.path()].map(|data_dir| {
        assert_eq!(run(data_dir, &wishes(true)).1, Ok(Ending::Recovered));
        let identity = Identity::load(data_dir).expect("it is whole").expect("there is one");
        (identity.cluster_id, identity.member_id)
    });
    assert!(ids[0].0 != ids[1].0 && ids[0].1 != ids[1].1, "{ids:x?}");
}

#[test]
fn what_is_not_to_be_recovered_from_is_refused_and_left_as_it_is() {
    let refused = |directory: &tempfile::TempDir, wishes: &Wishes| {
        let before = content(directory.path());
        let (said, ending) = run(directory.path(), wishes);
        let why = ending.expect_err(&said);
        assert_eq!(content(directory.path()), before, "{why}");
        why
    };
    let accepted = wishes(true);
    let nobody = tempfile::tempdir().expect("a directory");
    assert!(refused(&nobody, &accepted).contains("there is no member in"));
    let alone = survivor_of("m0=http://127.0.0.1:1", Vec::new());
    assert!(refused(&alone, &accepted).contains("needs nobody else: start it"));

    let sound = survivor();
    let with = |change: fn(&mut Wishes)| {
        let mut wishes = wishes(true);
        change(&mut wishes);
        refused(&sound, &wishes)
    };
    assert!(with(|wishes| wishes.bump = 10).contains("is less than 1000000"));
    assert!(with(|wishes| wishes.bump = i64::MAX).contains("moves by 2 to"));
    assert!(with(|wishes| wishes.name = Some("a\nb".into())).contains("not fit for a name"));
    let why = with(|wishes| wishes.peer_urls = Some("nowhere".into()));
    assert!(why.starts_with("--initial-advertise-peer-urls: "), "{why}");
    let held = IdleLog::hold(&sound.path().join(LOG)).expect("it is free");
    assert!(with(|_| ()).contains("in use"));
    drop(held);

    for (name, damage) in [
        (
            "wal/0000000000000001.wal",
            &(|bytes: &mut Vec<u8>| bytes[600..1100].fill(0xa5)) as &dyn Fn(&mut _),
        ),
        ("store/generation", &|bytes: &mut Vec<u8>| bytes[9] ^= 1),
        ("identity", &|bytes: &mut Vec<u8>| bytes[9] ^= 1),
    ] {
        let damaged = survivor();
        let path = damaged.path().join(name);
        let mut bytes = fs::read(&path).expect("read");
        damage(&mut bytes);
        fs::write(&path, bytes).expect("written");
        let why = refused(&damaged, &accepted);
        assert!(why.contains("damaged"), "{name}: {why}");
        if name != "identity" {
            assert!(why.contains("quorate repair --data-dir"), "{name}: {why}");
        }
    }
    let without_log = survivor();
    fs::remove_dir_all(without_log.path().join(LOG)).expect("removed");
    let why = refused(&without_log, &accepted);
    assert!(why.contains("there is no log, though the member has written one"), "{why}");
    let noted = survivor();
    Rebuild::new(noted.path()).note("a bit").expect("noted");
    assert!(refused(&noted, &accepted).contains("the store is lost: a bit"));
}
