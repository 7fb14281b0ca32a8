//! Alarms, the quota that raises one, and compaction that nobody asks for.

use std::time::Duration;

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::alarm_request::AlarmAction;
use tokio::time::sleep;
use tonic::Code;

use crate::cluster::{Cluster, assert_refused, delete, get, get_all, put, within};
use crate::http::page;

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// The quota of these clusters: some dozens of values.
const QUOTA: &str = "--quota-backend-bytes=100000";

fn value() -> String {
    "v".repeat(1000)
}

fn request(action: AlarmAction, member_id: u64, alarm: pb::AlarmType) -> pb::AlarmRequest {
    pb::AlarmRequest { action: action.into(), member_id, alarm: alarm.into() }
}

/// What `etcdctl alarm list` shows of a member.
async fn alarms(cluster: &Cluster, at: usize) -> Vec<pb::AlarmMember> {
    let list = request(AlarmAction::Get, 0, pb::AlarmType::None);
    within(cluster.maintenance(at).await.alarm(list)).await.expect("a list").into_inner().alarms
}

fn no_space(member_id: u64) -> pb::AlarmMember {
    pb::AlarmMember { member_id, alarm: pb::AlarmType::Nospace.into() }
}

/// Puts keys at a member until one is refused, which must be for want of space. Returns how many were put.
async fn fill(cluster: &Cluster, at: usize) -> usize {
    let mut kv = cluster.kv(at).await;
    for number in 0.. {
        assert!(number < 100, "the quota is never reached");
        let answer = within(kv.put(put(&format!("k{number}"), &value()))).await;
        if answer.is_err() {
            assert_refused(answer, Code::ResourceExhausted, NO_SPACE);
            return number;
        }
    }
    unreachable!("it ends above")
}

/// Waits until a member has this many alarms.
async fn wait_for_alarms(cluster: &Cluster, at: usize, count: usize) -> Vec<pb::AlarmMember> {
    within(async {
        loop {
            let raised = alarms(cluster, at).await;
            if raised.len() == count {
                return raised;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Deletes all and compacts it away, at a member. Returns when the space is back there.
async fn make_room(cluster: &Cluster, at: usize) {
    let mut kv = cluster.kv(at).await;
    let everything =
        pb::DeleteRangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    let deleted = within(kv.delete_range(everything)).await.expect("deleted").into_inner();
    assert!(deleted.deleted > 10, "{deleted:?}");
    let revision = deleted.header.expect("a header").revision;
    let compact = pb::CompactionRequest { revision, physical: true };
    within(kv.compact(compact)).await.expect("compacted");
}

#[tokio::test]
async fn a_full_store_refuses_growth_and_goes_on_when_space_is_back() {
    let cluster = Cluster::start_with(3, &[QUOTA]).await;
    let (_, follower) = cluster.roles().await;
    let at = follower.expect("there are three");
    let filled = fill(&cluster, at).await;
    assert!(filled > 50, "{filled}");
    // Whose store it is says so, and all others go by it.
    let own = no_space(cluster.member_id(at));
    assert_eq!(wait_for_alarms(&cluster, at, 1).await, std::slice::from_ref(&own));
    for member in 0..3 {
        cluster.catch_up(member, at).await;
        // One that finds its own store full in the meantime says so, too.
        assert!(alarms(&cluster, member).await.contains(&own));
        let mut kv = cluster.kv(member).await;
        let refused = within(kv.put(put("k", "v"))).await;
        assert_refused(refused, Code::ResourceExhausted, NO_SPACE);
        let grant = pb::LeaseGrantRequest { ttl: 10, id: 0 };
        let refused = within(cluster.lease(member).await.lease_grant(grant)).await;
        assert_refused(refused, Code::ResourceExhausted, NO_SPACE);
        within(kv.range(get_all(b'k'))).await.expect("reads go on");
        within(kv.delete_range(delete(&format!("k{member}")))).await.expect("deleted");

        let status = cluster.status(member).await;
        let text = format!("memberID:{} alarm:NOSPACE ", cluster.member_id(at));
        assert!(status.errors.contains(&text), "{:?}", status.errors);
        assert_eq!(status.db_size_quota, 100_000);
        let sick = (503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}".to_owned());
        assert_eq!(page(&cluster, member, "/health").await, sick);
        assert_eq!(page(&cluster, member, "/health?exclude=NOSPACE").await.0, 200);
        assert_eq!(page(&cluster, member, "/readyz").await.0, 200, "it is of use");
        let (_, metrics) = page(&cluster, member, "/metrics").await;
        assert!(metrics.contains("\nquorate_quota_nearly_reached 1\n"), "{metrics}");
        assert!(metrics.contains("alarm_type=\"NOSPACE\"} 1\n"), "{metrics}");
    }
    make_room(&cluster, at).await;
    for member in 0..3 {
        wait_for_alarms(&cluster, member, 0).await;
        cluster.catch_up(member, 0).await;
        let status = cluster.status(member).await;
        assert_eq!(status.errors, Vec::<String>::new());
        assert!(status.db_size_in_use < 80_000, "{status:?}");
        within(cluster.kv(member).await.put(put("k", &value()))).await.expect("there is room");
        assert_eq!(page(&cluster, member, "/health").await.0, 200);
    }
}

#[tokio::test]
async fn a_request_without_room_for_it_is_refused_and_others_are_not() {
    let cluster = Cluster::start_with(1, &[QUOTA]).await;
    let mut kv = cluster.kv(0).await;
    let refused = within(kv.put(put("large", &"v".repeat(100_000)))).await;
    assert_refused(refused, Code::ResourceExhausted, NO_SPACE);
    // Long enough for somebody who looks twice a second.
    for _ in 0..4 {
        sleep(Duration::from_millis(250)).await;
        within(kv.put(put("small", "v"))).await.expect("there is room");
    }
    assert_eq!(alarms(&cluster, 0).await, []);
}

#[tokio::test]
async fn an_alarm_outlives_its_members_and_goes_by_the_quota_of_the_day() {
    let mut cluster = Cluster::start_with(1, &[QUOTA]).await;
    fill(&cluster, 0).await;
    wait_for_alarms(&cluster, 0, 1).await;
    cluster.stop(0).await;
    cluster.restart(0).await;
    assert_eq!(alarms(&cluster, 0).await, [no_space(cluster.member_id(0))]);
    cluster.stop(0).await;
    cluster.set_flags(&["--quota-backend-bytes=1000000"]);
    cluster.restart(0).await;
    wait_for_alarms(&cluster, 0, 0).await;
    within(cluster.kv(0).await.put(put("k", "v"))).await.expect("there is room");
}

#[tokio::test]
async fn alarms_are_raised_and_taken_back_by_hand() {
    let cluster = Cluster::start(3).await;
    let mut maintenance = cluster.maintenance(0).await;
    let mut alarm = async |action, member, kind| {
        let answer = within(maintenance.alarm(request(action, member, kind))).await;
        let answer = answer.expect("answered").into_inner();
        assert_eq!(answer.header.expect("a header").revision, 1);
        answer.alarms
    };
    use AlarmAction::{Activate, Deactivate, Get};
    use pb::AlarmType::{Corrupt, None as NoAlarm, Nospace};

    assert_eq!(alarm(Activate, 7, NoAlarm).await, []);
    assert_eq!(alarm(Deactivate, 7, Nospace).await, []);
    assert_eq!(alarm(Activate, 7, Nospace).await, [no_space(7)]);
    assert_eq!(alarm(Activate, 7, Nospace).await, [no_space(7)]);
    let corrupt = pb::AlarmMember { member_id: 8, alarm: Corrupt.into() };
    assert_eq!(alarm(Activate, 8, Corrupt).await, std::slice::from_ref(&corrupt));
    assert_eq!(alarm(Get, 99, NoAlarm).await, [no_space(7), corrupt]);
    assert_eq!(alarm(Get, 0, Corrupt).await, std::slice::from_ref(&corrupt));

    let mut kv = cluster.kv(1).await;
    let corrupted = "etcdserver: corrupt cluster";
    assert_refused(within(kv.put(put("a", "1"))).await, Code::DataLoss, corrupted);
    assert_refused(within(kv.delete_range(delete("a"))).await, Code::DataLoss, corrupted);
    within(kv.range(get("a"))).await.expect("etcd reads, too");
    let (status, lines) = page(&cluster, 1, "/readyz").await;
    assert_eq!(status, 503, "{lines}");
    assert!(lines.contains("[-]data_corruption failed: alarm activated: CORRUPT\n"), "{lines}");

    assert_eq!(alarm(Deactivate, 8, Corrupt).await, [corrupt]);
    assert_refused(within(kv.put(put("a", "1"))).await, Code::ResourceExhausted, NO_SPACE);
    // Nobody but who raised it takes it back, however empty the store is.
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(alarm(Deactivate, 7, Nospace).await, [no_space(7)]);
    assert_eq!(alarm(Get, 0, NoAlarm).await, []);
    within(kv.put(put("a", "1"))).await.expect("no alarm is raised");

    let unknown = pb::AlarmRequest { action: 9, ..Default::default() };
    let refused = within(cluster.maintenance(0).await.alarm(unknown)).await;
    let text = "quorate: there is no such action or alarm";
    assert_refused(refused, Code::InvalidArgument, text);
}

#[tokio::test]
async fn history_is_compacted_by_time() {
    let flags = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=1s"];
    let cluster = Cluster::start_with(3, &flags).await;
    let mut kv = cluster.kv(0).await;
    for number in 0..3 {
        within(kv.put(put("a", &number.to_string()))).await.expect("put");
    }
    // All members go by what the leader proposed.
    for at in 0..3 {
        let mut kv = cluster.kv(at).await;
        within(async {
            let old = pb::RangeRequest { revision: 3, ..get("a") };
            while kv.range(old.clone()).await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let newest = within(kv.range(get("a"))).await.expect("the newest stays").into_inner();
        assert_eq!(newest.kvs[0].value, "2");
    }
}
