// Makes the user root and lets rights be checked, as an operator does.

import { connect, waitFor } from "./connect.mjs";

const { CONFORMANCE_ROOT: name, CONFORMANCE_ROOT_PASSWORD: password } = process.env;
const client = connect();
await waitFor(() => client.put("ready").value("1").then(() => true));
const user = await client.user(name).create(password);
await user.addRole(await client.role(name).create());
await client.auth.authEnable();
process.exit(0);
