/** Requests are counted as a real API server's audit log has them. */
import { appendFile, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { openAuditLog } from "./requests.ts";

const line = (stage: string, verb: string, username: string, objectRef: object): string =>
  `${JSON.stringify({ stage, verb, user: { username }, objectRef })}\n`;

t.test("each request of ours counts once, and a half-written line is left for the next look", async (t) => {
  const file = path.join(t.testdir(), "audit.log");
  const log = { resource: "pods", subresource: "log" };
  const jobs = { resource: "jobs" };
  const last = line("ResponseComplete", "create", "ours", jobs);
  await writeFile(
    file,
    line("ResponseStarted", "get", "ours", log) +
      line("ResponseComplete", "get", "ours", log) +
      line("ResponseComplete", "create", "theirs", jobs) +
      last +
      last.slice(0, 20),
  );
  const requests = openAuditLog(file, (user) => user === "ours");
  t.same(await requests.taken(), { "get log": 1, "create jobs": 1 });
  await appendFile(file, last.slice(20));
  t.same(await requests.taken(), { "create jobs": 1 });
});
