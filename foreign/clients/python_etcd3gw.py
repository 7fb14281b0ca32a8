"""The cases of the Python package etcd3gw, which speaks JSON."""

import threading

import etcd3gw
from etcd3gw import exceptions

from cases import CA, HOST, PORT, USER, attempt, case, run, wait_for

client = etcd3gw.client(
    host=HOST,
    port=int(PORT),
    protocol="https" if CA else "http",
    ca_cert=CA,
    timeout=20,
    api_path="/v3/",
)


def text_of(error):
    return getattr(error, "detail_text", None) or str(error)


def is_there():
    try:
        return client.status()["leader"] and client.put("gw/ready", "1")
    except exceptions.Etcd3Exception as error:
        # It can't log in, and what it is told is a case.
        return USER and "user" in text_of(error)


@case
def put_and_get():
    client.put("gw/a", "1")
    return client.put("gw/a", "2"), client.get("gw/a"), client.get("gw/none")


@case
def metadata():
    ((value, meta),) = client.get("gw/a", metadata=True)
    return value, meta["key"], meta["version"], sorted(meta)


@case
def bytes_of_any_kind():
    client.put("gw/bytes", b"\x00\xff\xfe")
    return client.get("gw/bytes")


@case
def prefixes_and_their_order():
    for number in ("3", "1", "2"):
        client.put(f"gw/p/{number}", number)
    found = client.get_prefix("gw/p/", sort_order="descend", sort_target="value")
    return [value for value, _ in found], [value for value, _ in client.get_prefix("gw/p/")]


@case
def ranges_and_all():
    everything = client.get_all(sort_order="ascend", sort_target="key")
    return (
        client.get("gw/p/1", range_end="gw/p/3"),
        [meta["key"] for _, meta in everything if meta["key"].startswith(b"gw/p/")],
    )


@case
def create_and_replace():
    return (
        client.create("gw/once", "1"),
        client.create("gw/once", "2"),
        client.replace("gw/once", "0", "3"),
        client.replace("gw/once", "1", "3"),
        client.get("gw/once"),
    )


@case
def delete():
    return client.delete("gw/p/1"), client.delete("gw/p/1"), client.delete_prefix("gw/p/")


def encoded(text):
    import base64

    return base64.b64encode(text.encode()).decode()


@case
def a_transaction():
    answer = client.transaction(
        {
            "compare": [{"key": encoded("gw/once"), "result": "EQUAL", "target": "VALUE", "value": encoded("3")}],
            "success": [{"request_put": {"key": encoded("gw/t"), "value": encoded("1")}}],
            "failure": [{"request_range": {"key": encoded("gw/t")}}],
        }
    )
    return answer["succeeded"], [sorted(of) for of in answer["responses"]]


@case
def a_lease():
    lease = client.lease(600)
    client.put("gw/l", "1", lease=lease)
    before = 590 < lease.ttl() <= 600, lease.keys(), lease.refresh()
    return before, lease.revoke(), client.get("gw/l")


@case
def a_lease_that_runs_out():
    client.put("gw/short", "1", lease=client.lease(2))
    wait_for(lambda: client.get("gw/short") == [])
    return "gone"


@case
def a_lock():
    lock = client.lock("gw-lock", ttl=60)
    other = client.lock("gw-lock", ttl=60)
    taken = lock.acquire(), lock.is_acquired(), other.acquire()
    return taken, lock.refresh(), lock.release(), lock.is_acquired()


@case
def a_watch():
    events, cancel = client.watch_prefix("gw/w/")

    def write():
        client.put("gw/w/1", "a")
        client.put("gw/w/1", "b")
        client.delete("gw/w/1")

    # The stream is known to be there once something came by it.
    timer = threading.Timer(1, write)
    timer.start()
    seen = [next(events) for _ in range(3)]
    timer.join()
    cancel()
    return [
        (event.get("type"), event["kv"]["key"], event["kv"].get("value"), event["kv"].get("version"))
        for event in seen
    ]


@case
def watch_once():
    threading.Timer(1, lambda: client.put("gw/o", "1")).start()
    return client.watch_once("gw/o", timeout=20)["kv"]["value"], attempt(lambda: client.watch_once("gw/none", timeout=1))


@case
def members():
    found = client.members()
    return sorted(member["name"] for member in found), sorted(found[0])


@case
def status():
    told = client.status()
    # Later versions of etcd tell more.
    known = {"dbSize", "dbSizeInUse", "header", "leader", "raftAppliedIndex", "raftIndex", "raftTerm", "version"}
    return sorted(known & set(told)), told["version"][:1]


@case
def an_empty_key():
    return client.put("", "x")


@case
def a_key_that_is_no_base64():
    return client.post(client.get_url("/kv/put"), json={"key": "?", "value": ""})


@case
def a_path_that_there_is_not():
    return client.post(client.get_url("/kv/nothing"), json={})


wait_for(is_there)
run()
