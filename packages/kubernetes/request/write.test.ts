import t from "tap";
import { type Play, scripted, status } from "../testing/scripted.ts";
import { virtualClock } from "../testing/virtual-clock.ts";
import { openWrites, type Writes } from "./write.ts";

const never = new AbortController().signal;
const HOLD = "longshore.dev/unrecorded";
const metadata = { name: "a-main-1", uid: "u1", resourceVersion: "7", finalizers: [HOLD] };
const gone = status(404, "NotFound", { details: { name: "a-main-1", kind: "jobs", group: "batch" } });

interface Case {
  readonly name: string;
  readonly play: Play;
  readonly call: (writes: Writes) => Promise<unknown>;
  readonly want: object;
}

const create = (writes: Writes) => writes.createJob({ kind: "Job" }, never);
const remove = (writes: Writes) => writes.deleteJob("a-main-1", "u1", { propagation: "Foreground" }, never);
const release = (writes: Writes) => writes.releaseJob("a-main-1", "u1", HOLD, { ttlSeconds: 60 }, never);

const cases: readonly Case[] = [
  {
    name: "a create that was answered 201 gives the UID and the finalizers that are really there",
    play: { answer: 201, body: { kind: "PartialObjectMetadata", metadata }, headers: { warning: "299 - pods will be refused" } },
    call: create,
    want: { kind: "created", uid: "u1", resourceVersion: "7", finalizers: [HOLD] },
  },
  {
    name: "a webhook that stripped our hold shows in the answer",
    play: { answer: 201, body: { metadata: { ...metadata, finalizers: undefined } } },
    call: create,
    want: { kind: "created", finalizers: [] },
  },
  {
    name: "a 201 without an object may still have created it",
    play: { answer: 201, body: "" },
    call: create,
    want: { kind: "unanswered" },
  },
  {
    name: "a name that is taken is told as it was answered",
    play: { answer: 409, body: status(409, "AlreadyExists") },
    call: create,
    want: { kind: "answered", status: 409, body: { reason: "AlreadyExists" } },
  },
  {
    name: "a 429 tells how long to wait",
    play: { answer: 429, body: "", headers: { "retry-after": "3" } },
    call: create,
    want: { kind: "answered", status: 429, retryAfterMs: 3000 },
  },
  {
    name: "a wait of a year is not believed",
    play: { answer: 429, body: "", headers: { "retry-after": "31536000" } },
    call: create,
    want: { kind: "answered", retryAfterMs: 120_000 },
  },
  {
    name: "a create that nothing answered is unanswered",
    play: { fails: "unanswered" },
    call: create,
    want: { kind: "unanswered" },
  },
  { name: "a create that never left is unsent", play: { fails: "unsent" }, call: create, want: { kind: "unsent" } },
  { name: "a create that hangs is given up as unanswered", play: { hangs: true }, call: create, want: { kind: "unanswered" } },
  {
    name: "a deletion that began is done",
    play: { answer: 200, body: { metadata: { ...metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } } },
    call: remove,
    want: { kind: "done", object: { deleting: true } },
  },
  {
    name: "a deletion answered with a Status is done too",
    play: { answer: 200, body: { kind: "Status", status: "Success" } },
    call: remove,
    want: { kind: "done", object: undefined },
  },
  {
    name: "a Job that the API server does not know is missing",
    play: { answer: 404, body: gone },
    call: remove,
    want: { kind: "missing" },
  },
  {
    name: "a load balancer's 404 says nothing about the Job",
    play: { answer: 404, body: "default backend - 404" },
    call: remove,
    want: { kind: "answered", status: 404 },
  },
  {
    name: "a 404 about another name says nothing about the Job",
    play: { answer: 404, body: status(404, "NotFound", { details: { name: "batch", kind: "namespaces" } }) },
    call: remove,
    want: { kind: "answered", status: 404 },
  },
  {
    name: "a deletion does not touch another Job of the same name",
    play: {
      answer: 409,
      body: { ...status(409, "Conflict"), message: "Precondition failed: UID in precondition: u1, UID in object meta: u2" },
    },
    call: remove,
    want: { kind: "foreign" },
  },
  {
    name: "another conflict is not taken for another Job",
    play: { answer: 409, body: { ...status(409, "Conflict"), message: "the object has been modified" } },
    call: release,
    want: { kind: "answered", status: 409 },
  },
  {
    name: "a release does not touch another Job of the same name",
    play: {
      answer: 422,
      body: status(422, "Invalid", { details: { causes: [{ reason: "FieldValueInvalid", field: "metadata.uid" }] } }),
    },
    call: release,
    want: { kind: "foreign" },
  },
  {
    name: "another invalid field is not taken for another Job",
    play: {
      answer: 422,
      body: status(422, "Invalid", {
        details: { causes: [{ reason: "FieldValueInvalid", field: "spec.ttlSecondsAfterFinished" }] },
      }),
    },
    call: release,
    want: { kind: "answered", status: 422 },
  },
  {
    name: "a released Job is done",
    play: { answer: 200, body: { metadata: { ...metadata, finalizers: [] } } },
    call: release,
    want: { kind: "done", object: { finalizers: [] } },
  },
];

for (const { name, play, call, want } of cases) {
  t.test(name, async (t) => {
    t.match(await call(openWrites({ transport: scripted([play]), clock: virtualClock(), namespace: "batch" })), want);
  });
}

t.test("says exactly this to the API server", async (t) => {
  const transport = scripted(Array.from({ length: 6 }, (): Play => ({ answer: 200, body: { metadata } })));
  const writes = openWrites({ transport, clock: virtualClock(), namespace: "batch" });
  await writes.createJob({ kind: "Job" }, never);
  await writes.deleteJob("a", "u1", { propagation: "Foreground", graceSeconds: 5 }, never);
  await writes.deletePod("p", "u2", { graceSeconds: 0 }, never);
  await writes.releaseJob("a", "u1", HOLD, { ttlSeconds: 3600 }, never);
  await writes.releaseJob("a", "u1", HOLD, {}, never);
  await writes.holdAgain("a", "u1", HOLD, never);
  const accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
  const contentType = "application/strategic-merge-patch+json";
  const jobs = "/apis/batch/v1/namespaces/batch/jobs";
  const options = { apiVersion: "v1", kind: "DeleteOptions" };
  t.same(transport.requests, [
    { purpose: "create", method: "POST", path: `${jobs}?timeout=10s&fieldManager=longshore`, accept, body: { kind: "Job" } },
    {
      purpose: "delete",
      method: "DELETE",
      path: `${jobs}/a`,
      accept,
      body: { ...options, preconditions: { uid: "u1" }, propagationPolicy: "Foreground", gracePeriodSeconds: 5 },
    },
    {
      purpose: "delete",
      method: "DELETE",
      path: "/api/v1/namespaces/batch/pods/p",
      accept,
      body: { ...options, preconditions: { uid: "u2" }, gracePeriodSeconds: 0 },
    },
    {
      purpose: "release",
      method: "PATCH",
      path: `${jobs}/a?fieldManager=longshore`,
      accept,
      contentType,
      body: { metadata: { uid: "u1", "$deleteFromPrimitiveList/finalizers": [HOLD] }, spec: { ttlSecondsAfterFinished: 3600 } },
    },
    {
      purpose: "release",
      method: "PATCH",
      path: `${jobs}/a?fieldManager=longshore`,
      accept,
      contentType,
      body: { metadata: { uid: "u1", "$deleteFromPrimitiveList/finalizers": [HOLD] } },
    },
    {
      purpose: "release",
      method: "PATCH",
      path: `${jobs}/a?fieldManager=longshore`,
      accept,
      contentType,
      body: { metadata: { uid: "u1", finalizers: [HOLD] } },
    },
  ]);
});
