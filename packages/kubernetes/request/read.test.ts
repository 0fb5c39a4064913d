import t from "tap";
import { logLines, openReads, type Reads, tailLog } from "./read.ts";
import { silence, TOO_LONG } from "./silence.ts";
import { object, page, type Play, scripted, status } from "../testing/scripted.ts";
import { virtualClock } from "../testing/virtual-clock.ts";

const never = new AbortController().signal;
const notFound = (name: string) => status(404, "NotFound", { details: { name } });

function reads(plays: readonly Play[]) {
  const transport = scripted(plays);
  return { transport, reads: openReads({ transport, clock: virtualClock(), namespace: "batch" }) };
}

const REMOVED = `unable to retrieve container logs for containerd://${"0a".repeat(32)}\n`;

interface Case {
  readonly name: string;
  readonly plays: readonly Play[];
  readonly call: (reads: Reads) => Promise<unknown>;
  readonly want: object;
}

const cases: readonly Case[] = [
  {
    name: "finds a Job",
    plays: [{ answer: 200, body: object("a", "3") }],
    call: (it) => it.getJob("a", never),
    want: { kind: "found", object: { name: "a", uid: "uid-a", resourceVersion: "3" } },
  },
  {
    name: "a Job is missing if the API server says so",
    plays: [{ answer: 404, body: notFound("a") }],
    call: (it) => it.getJob("a", never),
    want: { kind: "missing" },
  },
  {
    name: "a Job is not missing because its namespace is",
    plays: [{ answer: 404, body: notFound("batch") }],
    call: (it) => it.getJob("a", never),
    want: { kind: "answered", status: 404 },
  },
  {
    name: "a Job is not missing because a proxy knows no such page",
    plays: [{ answer: 404, body: "<html>" }],
    call: (it) => it.getJob("a", never),
    want: { kind: "answered", status: 404 },
  },
  {
    name: "another object than the one asked for is not found",
    plays: [{ answer: 200, body: object("b", "3") }],
    call: (it) => it.getJob("a", never),
    want: { kind: "answered", status: 200 },
  },
  {
    name: "a page of a portal is not a Job",
    plays: [{ answer: 200, body: "<html>" }],
    call: (it) => it.getJob("a", never),
    want: { kind: "answered", status: 200 },
  },
  {
    name: "silence is not an answer",
    plays: [{ hangs: true }],
    call: (it) => it.getJob("a", never),
    want: { kind: "unanswered" },
  },
  {
    name: "reads the namespace for its UID",
    plays: [{ answer: 200, body: object("batch", "1") }],
    call: (it) => it.getNamespace(never),
    want: { kind: "found", object: { uid: "uid-batch" } },
  },
  {
    name: "lists a Job's pods over all pages",
    plays: [
      { answer: 200, body: page(["p1"], "5", "t") },
      { answer: 200, body: page(["p2"], "5") },
    ],
    call: (it) => it.podsOf("u1", never),
    want: { kind: "listed", items: [object("p1", "5"), object("p2", "5")] },
  },
  {
    name: "a listing that began anew holds nothing of the first try",
    plays: [
      { answer: 200, body: page(["old"], "5", "t") },
      { answer: 410, body: status(410, "Expired") },
      { answer: 200, body: page(["p2"], "9") },
    ],
    call: (it) => it.podsOf("u1", never),
    want: { kind: "listed", items: [object("p2", "9")] },
  },
  {
    name: "half a listing is no listing",
    plays: [{ answer: 200, body: page(["p1"], "5", "t") }, { fails: "unanswered" }],
    call: (it) => it.podsOf("u1", never),
    want: { kind: "unanswered" },
  },
  {
    name: "a refused listing is told as it was answered",
    plays: [{ answer: 403, body: status(403, "Forbidden") }],
    call: (it) => it.eventsOf("u1", never),
    want: { kind: "answered", status: 403 },
  },
  {
    name: "an error page is not an empty listing",
    plays: [{ answer: 200, body: { items: [] } }],
    call: (it) => it.podsOf("u1", never),
    want: { kind: "answered", status: 200 },
  },
  {
    name: "an empty listing may say null",
    plays: [{ answer: 200, body: { kind: "PodList", metadata: { resourceVersion: "5" }, items: null } }],
    call: (it) => it.podsOf("u1", never),
    want: { kind: "listed", items: [] },
  },
];

for (const { name, plays, call, want } of cases) {
  t.test(name, async (t) => {
    t.match(await call(reads(plays).reads), want);
  });
}

t.test("asks for pods by the UID of their Job, for events by the UID of their object, and for no cached answer", async (t) => {
  const { transport, reads: it } = reads([{ hangs: true }, { hangs: true }, { hangs: true }]);
  await Promise.all([it.podsOf("u1", never), it.eventsOf("u1", never), it.getJob("a/b", never)]);
  const [pods, events, job] = transport.requests.map((request) => new URL(request.path, "http://any"));
  t.equal(pods?.searchParams.get("labelSelector"), "batch.kubernetes.io/controller-uid=u1");
  t.equal(events?.searchParams.get("fieldSelector"), "involvedObject.uid=u1");
  t.equal(job?.pathname, "/apis/batch/v1/namespaces/batch/jobs/a%2Fb");
  t.ok([pods, events, job].every((url) => url?.searchParams.has("resourceVersion") === false));
});

t.test("pages as metadata only, and throws the API server's words if a page cannot be had", async (t) => {
  const { transport, reads: it } = reads([
    { answer: 200, body: page(["a"], "5", "t") },
    { answer: 500, body: status(500, "InternalError") },
  ]);
  const seen: string[] = [];
  const read = async () => {
    for await (const one of it.listJobs({ selector: "x=y", pageSize: 1, as: "metadata", signal: never })) seen.push(one.kind);
  };
  await t.rejects(read(), { code: "InternalError", answer: { status: 500 } });
  t.same(seen, ["page"]);
  t.match(transport.requests[0], { path: /limit=1&labelSelector=x%3Dy/, accept: /PartialObjectMetadataList/ });
});

t.test("asks for fewer at a time if a page would be too long", async (t) => {
  const sizes: number[] = [];
  const send = async ({ path }: { readonly path: string }) => {
    const size = Number(new URL(path, "http://any").searchParams.get("limit"));
    sizes.push(size);
    if (size > 40) throw silence("it", true, Object.assign(new Error("too long"), { code: TOO_LONG }));
    return { status: 200, headers: {}, body: page(["a"], "5", sizes.length < 4 ? `t${sizes.length}` : undefined) };
  };
  const it = openReads({ transport: { send }, clock: virtualClock(), namespace: "batch" });
  t.match(await it.podsOf("u1", never), { kind: "listed", items: { length: 3 } });
  t.same(sizes, [50, 12, 12, 12]);
});

t.test("a page has as many objects as fit into 4 MiB, if they weigh what those of the last page did", async (t) => {
  const KIB = 1024;
  const weights = [200, 200, 2, 2, 2_000, 2]; // KiB an object, page by page
  const asked: number[] = [];
  const send = async ({ path }: { readonly path: string }) => {
    const size = Number(new URL(path, "http://any").searchParams.get("limit"));
    const bytes = size * (weights[asked.length] ?? 0) * KIB;
    asked.push(size);
    const names = Array.from({ length: size }, (_, at) => `p${at}`);
    const body = page(names, "5", asked.length < weights.length ? `t${asked.length}` : undefined);
    return { status: 200, headers: {}, body, bytes };
  };
  const it = openReads({ transport: { send }, clock: virtualClock(), namespace: "batch" });
  for await (const one of it.listJobs({ selector: "x=y", signal: never })) t.equal(one.kind, "page");
  t.same(asked, [50, 20, 20, 500, 500, 2]);
});

t.test("gives up a listing whose pages always expire", async (t) => {
  const expiring = Array.from(
    { length: 20 },
    (_, i): Play => (i % 2 === 0 ? { answer: 200, body: page(["a"], "5", "t") } : { answer: 410, body: status(410, "Expired") }),
  );
  t.match(await reads(expiring).reads.podsOf("u1", never), { kind: "unanswered", failure: { code: "Expired" } });
});

t.test("gives up a listing whose page leads to itself", async (t) => {
  const endless = Array.from({ length: 9 }, (): Play => ({ answer: 200, body: page(["a"], "5", "t") }));
  const { transport, reads: it } = reads(endless);
  t.match(await it.podsOf("u1", never), { kind: "unanswered", failure: { code: "Garbled", message: /does not end/ } });
  t.equal(transport.requests.length, 2);
});

t.test("log tails", async (t) => {
  const tail = async (plays: readonly Play[], more = {}) => {
    const transport = scripted(plays);
    const options = {
      transport,
      clock: virtualClock(),
      namespace: "batch",
      pod: "p",
      container: "main",
      tailMaxBytes: 12,
      readMaxBytes: 100,
      ...more,
    };
    return { tail: await tailLog(options, never), transport };
  };
  await t.test("all of a short log", async (t) => {
    t.same((await tail([{ answer: 200, body: "one\ntwo\nend" }])).tail, { state: "complete", lines: 3, tail: "one\ntwo\nend" });
  });
  await t.test("an empty log is complete", async (t) => {
    t.same((await tail([{ answer: 200, body: "" }])).tail, { state: "complete", lines: 0, tail: "" });
  });
  await t.test("the end of a longer one, with all its lines counted", async (t) => {
    t.same((await tail([{ answer: 200, body: "one\ntwo\nthree\nfour\n" }])).tail, {
      state: "truncated",
      lines: 4,
      tail: "\nthree\nfour\n",
    });
  });
  await t.test("no half character", async (t) => {
    t.same((await tail([{ answer: 200, body: "😀😀😀😀😀" }], { tailMaxBytes: 10 })).tail, {
      state: "truncated",
      lines: 1,
      tail: "😀😀",
    });
  });
  await t.test("the end of one that is too long to read whole", async (t) => {
    const { tail: got, transport } = await tail([
      { answer: 200, body: "x".repeat(100) },
      { answer: 200, body: "the end\n" },
    ]);
    t.same(got, { state: "truncated", lines: 1, tail: "the end\n" });
    t.match(transport.requests[1]?.path, /tailLines=1000/);
  });
  await t.test("no NUL, which the ledger could not keep", async (t) => {
    t.equal((await tail([{ answer: 200, body: "a\u0000b" }])).tail.tail, "a\u2400b");
  });
  for (const [name, play] of Object.entries({
    "the pod is gone": { answer: 404, body: status(404, "NotFound") },
    "the node has removed it": { answer: 200, body: REMOVED },
    "the kubelet is silent": { hangs: true },
    "the API server is down": { fails: "unsent" },
  }) as [string, Play][]) {
    await t.test(`unavailable when ${name}`, async (t) => {
      t.same((await tail([play])).tail, { state: "unavailable", lines: 0, tail: "" });
    });
  }
});

t.test("the lines of a log", async (t) => {
  const printed = async (plays: readonly Play[]): Promise<readonly string[]> => {
    const lines: string[] = [];
    const options = { transport: scripted(plays), clock: virtualClock(), namespace: "batch", pod: "p", container: "main" };
    for await (const line of logLines({ ...options, follows: true }, never)) lines.push(line);
    return lines;
  };
  t.same(await printed([{ lines: ["one", "", "two"], then: "ends" }]), ["one", "", "two"], "empty ones, too");
  const cutOff: Play = { lines: ["one"], then: "breaks" };
  t.same(await printed([cutOff, { answer: 200, body: "end" }]), ["one", "end"], "a program may end within a line");
  await t.rejects(printed([cutOff, { answer: 200, body: "one\n" }]), /connection was cut/, "a broken stream is told");
  await t.rejects(printed([{ lines: [REMOVED.trim()], then: "ends" }]), { code: "NoLog" }, "the kubelet's words are no line");
  const quoted = ["one", REMOVED.trim()];
  t.same(await printed([{ lines: quoted, then: "ends" }]), quoted, "after the first line they are the program's own");
  await t.rejects(printed([{ refuses: 404, body: status(404, "NotFound") }]), /read the log of the pod p/);
});
