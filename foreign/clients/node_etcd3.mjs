// The cases of the Node package etcd3: each prints one line with what came of it, in which nothing is
// that differs by its nature from one cluster to another.

import { EtcdLeaseInvalidError, connect, logsIn, waitFor } from "./connect.mjs";

const client = connect();
const cases = {};

async function attempt(call) {
  try {
    return (await call()) ?? null;
  } catch (error) {
    return { raises: error.constructor.name, text: error.details ?? error.message };
  }
}

// The next events of a watcher, as many.
function events(watcher, count) {
  const seen = [];
  return new Promise((resolve, reject) => {
    const add = (kind) => (kv, previous) => {
      seen.push([kind, kv.key.toString(), kv.value.toString(), kv.version, previous?.value?.toString() ?? null]);
      if (seen.length === count) resolve(seen);
    };
    watcher.on("put", add("put")).on("delete", add("delete")).on("error", reject);
  });
}

cases.put_and_get = async () => {
  await client.put("js/a").value("1");
  await client.put("js/a").value("2");
  const told = await client.get("js/a").exec();
  const { key, value, version, lease } = told.kvs[0];
  return [key.toString(), value.toString(), version, lease, told.count, told.more];
};

cases.forms_of_a_value = async () => {
  await client.put("js/n").value(41);
  await client.put("js/j").value(JSON.stringify({ a: [1] }));
  return [
    await client.get("js/n").number(),
    await client.get("js/j").json(),
    (await client.get("js/n").buffer()).toString("hex"),
    await client.get("js/n").exists(),
    await client.get("js/none").exists(),
    await client.get("js/none").string(),
  ];
};

cases.a_previous_value = async () => (await client.put("js/a").value("3").getPrevious()).value.toString();

cases.touch = async () => {
  await client.put("js/a").touch();
  return client.get("js/a").string();
};

cases.touch_of_nothing = () => client.put("js/none").touch().then(() => "touched");

cases.an_empty_key = () => client.put("").value("x").exec();

cases.a_request_that_is_too_large = () => client.put("js/large").value("x".repeat(2 << 20)).exec();

cases.many = async () => {
  for (const number of [3, 1, 2]) await client.put(`js/p/${number}`).value(number);
  const all = () => client.getAll().prefix("js/p/");
  return [
    await all().strings(),
    await all().numbers(),
    await all().keys(),
    await all().count(),
    await all().limit(2).sort("Value", "Descend").keys(),
    await all().sort("Mod", "Ascend").keys(),
    await client.getAll().inRange({ start: "js/p/1", end: "js/p/3" }).keys(),
  ];
};

cases.an_old_revision = async () => {
  const { mod_revision: revision } = (await client.get("js/p/1").exec()).kvs[0];
  await client.put("js/p/1").value("later");
  const all = () => client.getAll().prefix("js/p/");
  return [
    await client.get("js/p/1").revision(revision).string(),
    await all().minModRevision(Number(revision) + 1).keys(),
    await all().maxModRevision(revision).keys(),
    await all().minCreateRevision(Number(revision) + 1).keys(),
    await all().maxCreateRevision(Number(revision) - 1).keys(),
    await attempt(() => client.get("js/p/1").revision(1e9).string()),
  ];
};

cases.serializable = async () => {
  await waitFor(async () => (await client.get("js/p/2").serializable(true).string()) === "2");
  return "2";
};

cases.deletes = async () => [
  (await client.delete().key("js/p/1").getPrevious()).map((kv) => kv.value.toString()),
  (await client.delete().key("js/p/1").exec()).deleted,
  (await client.delete().inRange({ start: "js/p/2", end: "js/p/3" }).exec()).deleted,
  (await client.delete().prefix("js/p/").exec()).deleted,
];

cases.transactions = async () => {
  const run = async (version) => {
    const told = await client
      .if("js/t", "Version", "==", version)
      .and("js/none", "Create", "==", 0)
      .then(client.put("js/t").value("1"), client.get("js/t"), client.delete().key("js/none"))
      .else(client.get("js/t"))
      .commit();
    return [told.succeeded, told.responses.map((of) => of.response)];
  };
  const comparisons = [];
  for (const [column, operator, value] of [
    ["Value", "==", "1"], ["Value", "!=", "1"], ["Value", ">", "0"], ["Version", "<", 9], ["Lease", "==", 0],
    ["Mod", ">", 1], ["Create", "<", 1],
  ]) {
    comparisons.push((await client.if("js/t", column, operator, value).then().else().commit()).succeeded);
  }
  return [await run(0), await run(0), comparisons];
};

cases.a_transaction_that_puts_a_key_twice = () =>
  client.if("js/t", "Version", ">", 0).then(client.put("js/t").value(1), client.put("js/t").value(2)).commit();

cases.software_transactions = async () => {
  await client.put("js/s").value(0);
  const add = () => client.stm({ retries: 100 }).transact(async (tx) => {
    await tx.put("js/s").value((await tx.get("js/s").number()) + 1);
  });
  await Promise.all([add(), add(), add(), add()]);
  return client.get("js/s").number();
};

cases.namespaces = async () => {
  const inside = client.namespace("js/ns/");
  await inside.put("a").value("1");
  return [await client.get("js/ns/a").string(), await inside.getAll().strings()];
};

cases.leases = async () => {
  const lease = client.lease(600);
  await lease.put("js/l").value("1");
  const renewed = await lease.keepaliveOnce();
  const before = [renewed.TTL, lease.revoked(), await client.get("js/l").string()];
  const id = await lease.grant();
  const told = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  const listed = (await client.leaseClient.leaseLeases()).leases.some((of) => of.ID === id);
  await lease.revoke();
  return [before, told.grantedTTL, told.keys.map(String), listed, await client.get("js/l").string(), lease.revoked()];
};

cases.a_lease_that_is_lost = async () => {
  const lease = client.lease(60);
  const id = await lease.grant();
  const lost = new Promise((resolve) => lease.on("lost", (error) => resolve(error instanceof EtcdLeaseInvalidError)));
  await client.leaseClient.leaseRevoke({ ID: id });
  await lease.keepaliveOnce().catch(() => undefined);
  return [await lost, await attempt(() => client.put("js/l").lease(id).value("1").exec())];
};

cases.locks = async () => {
  const lock = client.lock("js/lock").ttl(60);
  await lock.acquire();
  const other = await attempt(() => client.lock("js/lock").acquire());
  await lock.release();
  const after = client.lock("js/lock").ttl(60);
  await after.acquire();
  await after.release();
  return [other.raises, await client.lock("js/lock").do(() => "done")];
};

cases.elections = async () => {
  const election = client.election("js/election", 60);
  const campaign = election.campaign("first");
  await campaign.wait();
  const leader = await election.leader();
  await campaign.proclaim("again");
  const observer = await election.observe();
  const seen = observer.leader();
  await campaign.resign();
  await observer.cancel();
  return [leader, seen, await attempt(() => election.leader())];
};

cases.watches = async () => {
  const watcher = await client.watch().prefix("js/w/").withPreviousKV().create();
  const three = events(watcher, 3);
  await client.put("js/w/1").value("a");
  await client.put("js/w/1").value("b");
  await client.delete().key("js/w/1");
  const seen = await three;
  await watcher.cancel();
  return seen;
};

cases.watches_of_the_past = async () => {
  const { revision: first } = (await client.put("js/v").value("a").exec()).header;
  await client.put("js/v").value("b");
  await client.delete().key("js/v");
  const all = await client.watch().key("js/v").startRevision(first).create();
  const seen = await events(all, 3);
  await all.cancel();
  const only = await client.watch().key("js/v").startRevision(first).only("delete").create();
  const deletion = await events(only, 1);
  await only.cancel();
  return [seen, deletion];
};

cases.compaction = async () => {
  const { revision: old } = (await client.put("js/c").value("a").exec()).header;
  const { revision } = (await client.put("js/c").value("b").exec()).header;
  await client.kv.compact({ revision, physical: true });
  return [
    await attempt(() => client.kv.compact({ revision: old })),
    await attempt(() => client.kv.compact({ revision: 1e12 })),
    await attempt(() => client.get("js/c").revision(old).string()),
  ];
};

cases.roles_and_users = async () => {
  const role = await client.role("js-role").create();
  const again = await attempt(() => client.role("js-role").create());
  await role.grant({ permission: "Readwrite", range: client.range({ prefix: "js/" }) });
  await role.grant({ permission: "Read", range: client.range("js-one") });
  const rights = (await role.permissions()).map((of) => [of.permission, of.range.start.toString(), of.range.end.toString()]);
  await role.revoke({ permission: "Read", range: client.range("js-one") });
  const user = await client.user("js-user").create("js-password");
  await user.addRole(role);
  const names = async () => [
    (await client.getRoles()).map((of) => of.name),
    (await client.getUsers()).map((of) => of.name),
    (await user.roles()).map((of) => of.name),
    (await role.permissions()).length,
  ];
  const there = await names();
  await user.setPassword("another");
  let as = null;
  if (logsIn) {
    const other = connect({ username: "js-user", password: "another" });
    const bad = connect({ username: "js-user", password: "js-password" });
    as = [
      await attempt(() => other.put("js/u").value("1").then(() => "put")),
      await attempt(() => other.put("other").value("1").exec()),
      await attempt(() => other.getAll().all().keys()),
      await attempt(() => other.getUsers()),
      await attempt(() => bad.get("js/u").string()),
    ];
    other.close();
    bad.close();
  }
  await user.removeRole(role);
  await user.delete();
  await role.delete();
  return [again, rights, there, as, await attempt(() => client.user("js-user").roles()), await attempt(() => role.delete())];
};

cases.the_cluster = async () => {
  const { members } = await client.cluster.memberList({});
  return members.map((of) => [of.name, of.peerURLs.length, of.clientURLs.length]).sort();
};

cases.maintenance = async () => [
  (await client.maintenance.alarm({ action: "Get", memberID: 0, alarm: "Nospace" })).alarms,
  Number((await client.maintenance.status()).dbSize) > 0,
  typeof (await client.maintenance.hash()).hash,
  await attempt(() => client.maintenance.defragment().then(() => "done")),
];

cases.a_snapshot = async () => {
  const stream = await client.maintenance.snapshot();
  let bytes = 0;
  await new Promise((resolve, reject) => {
    stream.on("data", (piece) => (bytes += piece.blob.length)).on("end", resolve).on("error", reject);
  });
  return bytes % 4096;
};

cases.closing = async () => {
  client.close();
  return (await attempt(() => client.get("js/a").string())).raises;
};

await waitFor(() => client.put("js/ready").value("1").then(() => true));
for (const [name, body] of Object.entries(cases)) {
  console.log(JSON.stringify([name, await attempt(body)], (_, of) => (of?.type === "Buffer" ? String(Buffer.from(of)) : of)));
}
process.exit(0);
