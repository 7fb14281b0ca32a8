"""The cases of the Python package etcd3."""

import io
import threading

import etcd3

from cases import CA, HOST, PASSWORD, PORT, USER, attempt, case, run, wait_for

client = None


def connect():
    global client
    client = etcd3.client(
        host=HOST, port=int(PORT), ca_cert=CA, user=USER, password=PASSWORD, timeout=20
    )
    return client.status().leader is not None and client.put("py/ready", "1")


def values(found):
    return [(meta.key, value, meta.version) for value, meta in found]


@case
def put_and_get():
    client.put("py/a", "1")
    client.put("py/a", "2")
    value, meta = client.get("py/a")
    return value, meta.key, meta.version, meta.mod_revision - meta.create_revision, meta.lease_id


@case
def put_gives_the_previous_one():
    return client.put("py/a", "3", prev_kv=True).prev_kv.value


@case
def get_of_nothing():
    return client.get("py/none")


@case
def a_key_and_value_of_any_bytes():
    client.put(b"py/\x00\xff", b"\xfe\x00")
    return client.get(b"py/\x00\xff")[0]


@case
def an_empty_key():
    return client.put("", "x")


@case
def a_value_of_a_mebibyte():
    client.put("py/large", "x" * (1 << 20))
    return len(client.get("py/large")[0])


@case
def a_request_that_is_too_large():
    return client.put("py/larger", "x" * (2 << 20))


@case
def prefixes_and_their_order():
    for number in (3, 1, 2):
        client.put(f"py/p/{number}", str(number))
    return (
        values(client.get_prefix("py/p/")),
        values(client.get_prefix("py/p/", sort_order="descend", sort_target="value")),
        values(client.get_prefix("py/p/", sort_order="ascend", sort_target="mod")),
        [meta.key for _, meta in client.get_prefix("py/p/", keys_only=True)],
    )


@case
def ranges():
    return values(client.get_range("py/p/1", "py/p/3"))


@case
def responses():
    found = client.get_prefix_response("py/p/", sort_order="ascend")
    one = client.get_response("py/p/1", serializable=True)
    return found.count, found.more, [kv.key for kv in found.kvs], one.count


@case
def all_keys():
    return [meta.key for _, meta in client.get_all() if meta.key.startswith(b"py/p/")]


@case
def delete():
    return (
        client.delete("py/p/1"),
        client.delete("py/p/1"),
        client.delete("py/p/2", prev_kv=True, return_response=True).prev_kvs[0].value,
        client.delete_prefix("py/p/").deleted,
    )


@case
def put_if_not_exists_and_replace():
    return (
        client.put_if_not_exists("py/once", "1"),
        client.put_if_not_exists("py/once", "2"),
        client.replace("py/once", "0", "3"),
        client.replace("py/once", "1", "3"),
        client.get("py/once")[0],
    )


@case
def transactions():
    on = client.transactions
    done, answers = client.transaction(
        compare=[on.value("py/once") == "3", on.version("py/once") > 1, on.create("py/none") == 0],
        success=[on.put("py/t", "1"), on.get("py/t"), on.delete("py/once")],
        failure=[on.get("py/once")],
    )
    failed, others = client.transaction(
        compare=[on.mod("py/t") < 1], success=[on.put("py/t", "9")], failure=[on.get("py/t")]
    )
    return done, [values(answers[1])], failed, values(others[0])


@case
def a_transaction_that_puts_a_key_twice():
    on = client.transactions
    return client.transaction([], [on.put("py/t", "1"), on.put("py/t", "2")], [])


@case
def a_transaction_of_too_many_operations():
    on = client.transactions
    return client.transaction([], [on.put(f"py/t/{number}", "1") for number in range(129)], [])


@case
def a_lease_and_its_keys():
    lease = client.lease(600, lease_id=77_001)
    client.put("py/l", "1", lease=lease)
    told = client.get_lease_info(lease.id)
    before = (lease.granted_ttl, list(told.keys), 590 < told.TTL <= 600, lease.remaining_ttl > 590)
    renewed = [answer.TTL for answer in lease.refresh()]
    lease.revoke()
    return before, renewed, client.get("py/l")[0], client.get_lease_info(77_001).TTL


@case
def leases_that_can_not_be():
    client.lease(60, lease_id=77_002)
    return (
        attempt(lambda: client.lease(60, lease_id=77_002).id),
        attempt(lambda: client.revoke_lease(77_003)),
        attempt(lambda: client.put("py/l", "1", lease=77_003)),
        attempt(lambda: client.lease(9_000_000_001).id),
    )


@case
def a_lease_that_runs_out():
    client.put("py/short", "1", lease=client.lease(2))
    wait_for(lambda: client.get("py/short")[0] is None)
    return "gone"


@case
def a_lock():
    lock = client.lock("py/lock", ttl=60)
    taken = lock.acquire(timeout=10), lock.is_acquired()
    other = client.lock("py/lock", ttl=60).acquire(timeout=1)
    return taken, other, lock.release(), lock.is_acquired()


@case
def a_watch():
    events, cancel = client.watch_prefix("py/w/")
    client.put("py/w/1", "a")
    client.put("py/w/1", "b")
    client.delete("py/w/1")
    seen = [next(events) for _ in range(3)]
    cancel()
    return [(type(event).__name__, event.key, event.value, event.version) for event in seen]


@case
def a_watch_of_the_past_with_previous_values():
    _, meta = client.get("py/a")
    for value in ("4", "5"):
        client.put("py/a", value)
    client.delete("py/a")
    events, cancel = client.watch("py/a", start_revision=meta.mod_revision + 1, prev_kv=True)
    seen = [next(events) for _ in range(3)]
    cancel()
    return [(type(event).__name__, event.value, event.prev_value) for event in seen]


@case
def a_watch_response_holds_a_whole_transaction():
    answers, cancel = client.watch_prefix_response("py/x/")
    on = client.transactions
    client.transaction([], [on.put("py/x/1", "1"), on.put("py/x/2", "2")], [])
    events = next(answers).events
    cancel()
    return [(event.key, event.value) for event in events]


@case
def watch_once_and_a_callback():
    timer = threading.Timer(0.3, lambda: client.put("py/o", "1"))
    timer.start()
    event = client.watch_once("py/o", timeout=20)
    got, seen = threading.Event(), []

    def heard(answer):
        seen.extend(answer.events)
        got.set()

    watch = client.add_watch_callback("py/o", heard)
    client.put("py/o", "2")
    heard_it = got.wait(20)
    client.cancel_watch(watch)
    return event.value, heard_it, [of.value for of in seen]


@case
def compaction():
    client.put("py/c", "1")
    old = client.get("py/c")[1].mod_revision
    client.put("py/c", "2")
    client.compact(client.get("py/c")[1].mod_revision, physical=True)
    events, cancel = client.watch("py/c", start_revision=old)
    watched = attempt(lambda: next(events))
    cancel()
    watched.pop("text", None)
    return attempt(lambda: client.compact(old)), attempt(lambda: client.compact(1 << 40)), watched


@case
def members():
    found = list(client.members)
    return sorted(member.name for member in found), [len(member.peer_urls) for member in found]


@case
def alarms():
    mine = client.create_alarm()
    listed = [alarm.alarm_type for alarm in client.list_alarms()]
    refused = attempt(lambda: client.put("py/alarm", "1"))
    gone = [alarm.alarm_type for alarm in client.disarm_alarm()]
    return (
        [alarm.alarm_type for alarm in mine],
        listed,
        refused,
        gone,
        [alarm.alarm_type for alarm in client.list_alarms()],
    )


@case
def status():
    told = client.status()
    return told.leader.name in ("m1", "m2", "m3"), told.db_size > 0, told.raft_index > 0


@case
def hash():
    return type(client.hash()).__name__


@case
def a_snapshot():
    file = io.BytesIO()
    client.snapshot(file)
    # The length of a page and a checksum at the end.
    return len(file.getvalue()) % 4096


@case
def defragmentation():
    return client.defragment()


@case
def closing():
    client.close()
    return attempt(lambda: client.get("py/a"))["raises"]


wait_for(connect)
run()
