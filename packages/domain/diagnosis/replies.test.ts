/** Answers to a create, from API servers and from the proxies before them. */
import type { Code } from "@longshore/contract/messages/diagnosis.ts";
import fc from "fast-check";
import t from "tap";
import { classifyCreate, classifyReply, type CreateReply, diagnoseReply } from "./replies.ts";
import { saysWhatToDo } from "./testing/action.ts";

const status = (code: number, reason: string, message = "", details: object = {}) => ({
  status: code,
  body: { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message, details },
});
const where = { group: "prod-a", namespace: "batch" };
const quota = (requested: string) =>
  status(
    403,
    "Forbidden",
    `jobs.batch "x" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=${requested}, used: count/jobs.batch=5, limited: count/jobs.batch=5`,
  );

interface Case {
  readonly name: string;
  readonly answer: { readonly status: number; readonly body: unknown; readonly retryAfterMs?: number };
  readonly want: CreateReply["kind"];
  readonly unhealthy?: boolean;
  readonly code?: Code;
  readonly says?: RegExp;
}

// biome-ignore format: rows are read side by side
const cases: readonly Case[] = [
  { name: "a taken name", answer: status(409, "AlreadyExists", 'jobs.batch "x" already exists'), want: "exists" },
  { name: "a name that is taken until a deletion is over", answer: status(409, "AlreadyExists", 'object is being deleted: jobs.batch "x" already exists'), want: "exists" },
  { name: "a conflict inside the quota's own counting", answer: status(409, "Conflict", "Operation cannot be fulfilled on resourcequotas"), want: "deferred", unhealthy: false },
  { name: "a token that is not accepted", answer: status(401, "Unauthorized", "Unauthorized"), want: "deferred", unhealthy: true, code: "AuthRejected" },
  { name: "a token that a proxy does not accept", answer: { status: 401, body: "<html>" }, want: "deferred", unhealthy: true, code: "AuthRejected" },
  { name: "a missing permission", answer: status(403, "Forbidden", 'jobs.batch is forbidden: User "system:serviceaccount:batch:longshore" cannot create resource "jobs" in API group "batch" in the namespace "batch"'), want: "deferred", unhealthy: true, code: "Forbidden", says: /may not create jobs in the namespace "batch" of group "prod-a"/ },
  { name: "a namespace that goes away", answer: status(403, "Forbidden", 'jobs.batch "x" is forbidden: unable to create new content in namespace batch because it is being terminated', { causes: [{ reason: "NamespaceTerminating" }] }), want: "deferred", unhealthy: true, code: "NamespaceTerminating" },
  { name: "a namespace that is not there", answer: status(404, "NotFound", 'namespaces "batch" not found', { kind: "namespaces", name: "batch" }), want: "deferred", unhealthy: true, code: "NamespaceTerminating", says: /does not exist/ },
  { name: "an address where no API server is", answer: { status: 404, body: "404 page not found" }, want: "deferred", unhealthy: true, code: "EndpointUnreachable", says: /not a Kubernetes API server/ },
  { name: "a proxy that lets nobody in", answer: { status: 403, body: "<html>Forbidden</html>" }, want: "deferred", unhealthy: true, code: "EndpointUnreachable" },
  { name: "a login page", answer: { status: 302, body: "" }, want: "deferred", unhealthy: true, code: "EndpointUnreachable" },
  { name: "a login page that calls itself fine", answer: { status: 200, body: "<html>sign in</html>" }, want: "unknown", code: "EndpointUnreachable" },
  { name: "a proxy's own conflict", answer: { status: 409, body: "conflict" }, want: "deferred", unhealthy: true, code: "EndpointUnreachable" },
  { name: "a quota that is full", answer: quota("1"), want: "deferred", unhealthy: false, code: "QuotaExceeded", says: /1 Job wanted, 5 of 5 in use/ },
  { name: "a quota that will never do", answer: quota("6"), want: "refused", code: "QuotaImpossible" },
  { name: "a webhook", answer: status(403, "Forbidden", 'admission webhook "images.example.com" denied the request: not signed'), want: "refused", code: "AdmissionDenied", says: /"images.example.com" refuses the Job: not signed/ },
  { name: "a webhook that answers 400", answer: status(400, "", 'admission webhook "images.example.com" denied the request: not signed'), want: "refused", code: "AdmissionDenied" },
  { name: "a webhook that explains nothing", answer: status(403, "Forbidden", 'admission webhook "w" denied the request'), want: "refused", code: "AdmissionDenied", says: /gives no reason/ },
  { name: "an admission policy", answer: status(422, "Invalid", "jobs.batch \"x\" is forbidden: ValidatingAdmissionPolicy 'p.example.com' with binding 'b' denied request: no latest tags"), want: "refused", code: "AdmissionDenied", says: /"p.example.com" refuses the Job: no latest tags/ },
  { name: "an invalid Job", answer: status(422, "Invalid", 'Job.batch "x" is invalid', { causes: [{ reason: "FieldValueRequired", field: "spec.template.spec.containers[0].image", message: "Required value" }] }), want: "refused", code: "RequestInvalid", says: /containers\[0\]\.image: Required value/ },
  { name: "a Job that is too large", answer: status(413, "RequestEntityTooLarge", "limit is 3145728"), want: "refused", code: "RequestInvalid" },
  { name: "too many requests", answer: { ...status(429, "TooManyRequests"), retryAfterMs: 2000 }, want: "deferred", unhealthy: false },
  { name: "too many requests for a proxy", answer: { status: 429, body: "slow down" }, want: "deferred", unhealthy: false },
  { name: "a fault of the API server", answer: status(500, "InternalError", "etcdserver: request timed out"), want: "unknown", code: "EndpointUnreachable" },
  { name: "a webhook that cannot be reached", answer: status(500, "InternalError", 'Internal error occurred: failed calling webhook "w"'), want: "deferred", unhealthy: true, says: /its webhook "w" before it takes a Job, and that is out of order/ },
  { name: "a proxy that says the words of a webhook's failure", answer: { status: 500, body: 'failed calling webhook "w"' }, want: "unknown" },
  { name: "a proxy that gave up", answer: { status: 504, body: "upstream timed out" }, want: "unknown" },
  { name: "an API server that is starting", answer: { status: 503, body: undefined }, want: "unknown" },
  { name: "a request that took too long", answer: status(408, "Timeout"), want: "unknown" },
];

for (const { name, answer, want, unhealthy, code, says } of cases)
  t.test(`a create meets ${name}: ${want}${unhealthy ? ", and the group is unhealthy" : ""}`, async (t) => {
    const reply = classifyCreate(answer, where);
    t.equal(reply.kind, want);
    if (reply.kind === "deferred") t.equal(reply.unhealthy, unhealthy);
    if (reply.kind === "exists") return;
    if (code) t.equal(reply.diagnosis.code, code);
    if (says) t.match(reply.diagnosis.sentence, says);
    t.ok(saysWhatToDo(reply.diagnosis.hint), `the hint says what to do: ${reply.diagnosis.hint}`);
  });

t.test("a wait that the server asks for is handed on", async (t) => {
  t.match(classifyCreate({ ...status(429, "TooManyRequests"), retryAfterMs: 2000 }), { retryAfterMs: 2000 });
});

t.test("without knowing the group it still makes a sentence", async (t) => {
  t.equal(diagnoseReply(status(401, "Unauthorized")).sentence, "The cluster of this group does not accept Longshore's token.");
});

t.test(
  "whatever comes back, it is sorted; no 5xx is ever a refusal, and nothing but a 409 says that the name is taken",
  async (t) => {
    const body = fc.oneof(
      fc.anything(),
      fc.record({
        kind: fc.constantFrom("Status", "x"),
        apiVersion: fc.constant("v1"),
        reason: fc.string(),
        message: fc.string(),
        details: fc.anything(),
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 599 }), body, (code, body) => {
        const answer = { status: code, body };
        const reply = classifyCreate(answer, where);
        classifyReply(answer, where);
        return (code < 500 || reply.kind === "unknown") && (reply.kind !== "exists" || code === 409);
      }),
      { numRuns: 500 },
    );
    t.pass();
  },
);
