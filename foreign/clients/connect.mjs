// How the programs for Node reach the members: the addresses are the arguments, the rest is in variables.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

// The package lies where it was installed, and not beside this file.
export const { Etcd3, EtcdLeaseInvalidError } = createRequire(`${process.env.CONFORMANCE_MODULES}/`)("etcd3");

const PATIENCE_MS = 60_000;
const { CONFORMANCE_CA: ca, CONFORMANCE_USER: username, CONFORMANCE_PASSWORD: password } = process.env;

// Whether the program logs in.
export const logsIn = Boolean(username);

export function connect(as = username && { username, password }) {
  return new Etcd3({
    hosts: process.argv.slice(2).map((host) => `${ca ? "https" : "http"}://${host}`),
    ...(ca && { credentials: { rootCertificate: readFileSync(ca) } }),
    ...(as && { auth: as }),
  });
}

export async function waitFor(condition) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await condition().catch(() => false))) {
    if (Date.now() > end) throw new Error("nothing came of waiting");
    await sleep(50);
  }
}
