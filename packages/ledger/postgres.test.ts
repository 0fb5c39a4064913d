// runs with integration
import t from "tap";
import { postgres } from "../../test/harness/postgres.ts";
import { ledgerConformance } from "./conformance.ts";
import { opened } from "./conformance-postgres.ts";

const server = await postgres({ unsafe: true });
t.teardown(() => server[Symbol.asyncDispose]());

await ledgerConformance(t, { name: "Postgres", open: async () => opened(await server.database()) });
