/** How each answer to a create changes the attempt, and its news about the group. */
import { Uid } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { afterCreate, type CreateAnswer } from "./input.ts";
import { group, MINUTE, NOW, SECOND } from "./testing/examples.ts";

const status = (reason: string, message: string, more: object = {}) => ({
  kind: "Status",
  apiVersion: "v1",
  reason,
  message,
  ...more,
});
const answered = (code: number, body: object, retryAfterMs?: number): CreateAnswer => ({
  kind: "answered", status: code, body, retryAfterMs,
}); // biome-ignore format: one value
const quotaFull =
  'jobs.batch "x" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5';
const refused = new Failure(
  "retry",
  "unsent",
  "Nothing listens there.",
  Object.assign(new Error("no"), { code: "ECONNREFUSED" }),
);

interface Case {
  readonly name: string;
  readonly answer: CreateAnswer;
  readonly want: object;
  /** The news about the group; absent if there is none. */
  readonly news?: object;
}

const cases: readonly Case[] = [
  {
    name: "a Job that was created is live, and its group takes writes",
    answer: { kind: "created", uid: Uid.parse("uid"), resourceVersion: "7" },
    want: { kind: "created", claimNo: 3, uid: "uid", rv: "7", adopted: false },
    news: { kind: "writeTaken" },
  },
  {
    name: "no answer leaves the create in doubt, and says nothing of its group",
    answer: { kind: "unanswered" },
    want: { kind: "unanswered", claimNo: 3 },
  },
  { name: "a 500 is no answer", answer: answered(500, {}), want: { kind: "unanswered", claimNo: 3 } },
  {
    name: "what was not sent goes back in line; whether its group is well the probe finds out",
    answer: { kind: "unsent", failure: refused, heldBack: false },
    want: { kind: "deferred", again: true, retryAtMs: NOW + 5 * SECOND, diagnosis: { code: "EndpointUnreachable" } },
  },
  {
    name: "what we held back ourselves is told as throttled, and its group rests",
    answer: { kind: "unsent", failure: new Failure("retry", "unsent", "Its turn did not come."), heldBack: true },
    want: { kind: "deferred", again: true, retryAtMs: NOW + 5 * SECOND, reason: "Throttled" },
    news: { kind: "quiet", forMs: 5 * SECOND, why: "Its turn did not come." },
  },
  {
    name: "a group that asks for a pause gets it, and the attempt may go elsewhere before",
    answer: answered(429, {}, MINUTE),
    want: { kind: "deferred", retryAtMs: NOW + 5 * SECOND, reason: "Throttled" },
    news: { kind: "quiet", forMs: MINUTE },
  },
  {
    name: "a token that is not accepted makes its group unhealthy",
    answer: answered(401, {}),
    want: { kind: "deferred", retryAtMs: NOW + 5 * SECOND, diagnosis: { code: "AuthRejected" } },
    news: { kind: "writeRefused", diagnosis: { code: "AuthRejected" } },
  },
  {
    name: "a namespace that is gone makes its group unhealthy",
    answer: answered(404, status("NotFound", 'namespaces "jobs" not found', { details: { kind: "namespaces" } })),
    want: { kind: "deferred", diagnosis: { code: "NamespaceTerminating" } },
    news: { kind: "writeRefused" },
  },
  {
    name: "a full quota is full for everybody",
    answer: answered(403, status("Forbidden", quotaFull)),
    want: { kind: "deferred", retryAtMs: NOW + 5 * SECOND, diagnosis: { code: "QuotaExceeded" } },
    news: { kind: "noRoom", untilMs: NOW + 5 * SECOND },
  },
  {
    name: "a Job that is refused for what is in it says nothing of its group",
    answer: answered(422, status("Invalid", "it is wrong")),
    want: { kind: "refused", claimNo: 3, diagnosis: { code: "RequestInvalid" } },
  },
];

const creating = { claimNo: 3, group, namespace: "jobs", nowMs: NOW, placeAgainMs: 5 * SECOND };

for (const { name, answer, want, news } of cases)
  t.test(name, async (t) => {
    const after = afterCreate(answer, creating);
    t.match(after, { kind: "input", input: want });
    t.match("news" in after ? after.news : undefined, news);
  });

t.test("a name that is taken needs a look", async (t) => {
  t.same(afterCreate(answered(409, status("AlreadyExists", "it exists")), creating), { kind: "look" });
});
