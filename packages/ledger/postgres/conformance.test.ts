// runs with integration
import t from "tap";
import { postgres } from "../../../test/harness/servers/postgres.ts";
import { ledgerConformance } from "../testing/conformance.ts";
import { opened } from "../testing/conformance-postgres.ts";

const server = await postgres({ unsafe: true });
t.teardown(() => server[Symbol.asyncDispose]());

await ledgerConformance(t, { name: "Postgres", open: async () => opened(await server.database()) });
