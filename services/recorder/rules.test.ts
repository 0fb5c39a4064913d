/** Rules: which events they are about, and which request they make. */
import { GroupName, Installation, RunId, TenantName } from "@longshore/contract/ids.ts";
import type { OutboxEvent } from "@longshore/ledger/port.ts";
import t from "tap";
import { eventOf, expressionProblems, type Made, matching, requestOf, type Rule, urlProblem } from "./rules.ts";

const INSTALLATION = Installation.parse("prod");
const EVENT: OutboxEvent = {
  key: "1", run: RunId.parse("bespin/jobs/7/workflow"), tenant: TenantName.parse("default"), sequence: 4, generation: 1, epoch: 1, group: GroupName.parse("prod-a"), type: "run.step.succeeded", traceparent: undefined, correlationId: undefined,
  data: { run: "bespin/jobs/7/workflow", step: "record-output", attempt: 1, outputs: { project: "a/b c?d=é", n: 3, none: null, empty: "", dots: "..", list: [1, "${{ event.run }}"] } },
  atMs: Date.UTC(2030, 0, 1),
}; // biome-ignore format: a row

const ALL: Rule = { on: ["run.*"], match: {}, method: "PUT", url: "https://bespin.example/jobs/", headers: {} };
const of = eventOf(EVENT, INSTALLATION);

interface Matching {
  readonly name: string;
  readonly on?: readonly string[];
  readonly match?: Rule["match"];
  readonly want: Readonly<Record<string, string>> | undefined;
}

// biome-ignore format: a table is read down its columns
const MATCHING: readonly Matching[] = [
  { name: "every event of a run", on: ["run.*"], want: {} },
  { name: "the event by its type", on: ["run.failed", "run.step.succeeded"], want: {} },
  { name: "another type", on: ["run.succeeded"], want: undefined },
  { name: "a type that only begins alike", on: ["run.step"], want: undefined },
  { name: "a value of the data", match: { "data.step": "record-output" }, want: {} },
  { name: "another value", match: { "data.step": "save-output" }, want: undefined },
  { name: "one of several", match: { "data.step": ["save-output", "record-output"] }, want: {} },
  { name: "a number", match: { "data.attempt": 1 }, want: {} },
  { name: "a number is no text", match: { "data.attempt": "1" }, want: undefined },
  { name: "a value that is not there", match: { "data.nosuch": "x" }, want: undefined },
  { name: "null: a value that is not there", match: { "data.nosuch.tail": null }, want: {} },
  { name: "null: a value that is null", match: { "data.outputs.none": null }, want: {} },
  { name: "null is no empty text", match: { "data.outputs.empty": null }, want: undefined },
  { name: "a piece of the run's id", match: { run: "bespin/jobs/{job}/*" }, want: { job: "7" } },
  { name: "a piece ends at a slash", match: { run: "bespin/{job}" }, want: undefined },
  { name: "a dot is a dot", match: { run: "bespin.jobs.7.workflow" }, want: undefined },
  { name: "pieces of two values", match: { run: "{app}/*", "data.step": "{verb}-output" }, want: { app: "bespin", verb: "record" } },
  { name: "all of them have to fit", match: { run: "bespin/*", group: "prod-b" }, want: undefined },
];
for (const { name, on = ["run.*"], match = {}, want } of MATCHING)
  t.test(`fits: ${name}`, async (t) => t.same(matching({ on, match }, of), want));

const made = (rule: Partial<Rule>, match: Readonly<Record<string, string>> = {}): Made =>
  requestOf({ ...ALL, ...rule }, EVENT, { event: of, match }, INSTALLATION);
const urlOf = (url: string, match = {}): string => {
  const it = made({ url }, match);
  return it.kind === "made" ? it.request.url : it.why.sentence;
};

t.test("values in a URL are percent-encoded, each as one piece", async (t) => {
  t.equal(urlOf("https://a.example/jobs/${{ match.job }}/", { job: "7" }), "https://a.example/jobs/7/");
  t.equal(
    urlOf("https://a.example/p/${{ event.data.outputs.project }}?n=${{ event.data.outputs.n }}"),
    "https://a.example/p/a%2Fb%20c%3Fd%3D%C3%A9?n=3",
  );
  t.equal(urlOf("https://a.example/${{ event.run }}/x"), "https://a.example/bespin%2Fjobs%2F7%2Fworkflow/x");
});

// biome-ignore format: a table is read down its columns
const UNMADE = [
  { name: "an empty value in the path", url: "https://a.example/jobs/${{ event.data.outputs.empty }}", says: /is empty/ },
  { name: "null in the path", url: "https://a.example/jobs/${{ event.data.outputs.none }}", says: /no text/ },
  { name: "a list in the path", url: "https://a.example/${{ event.data.outputs.list }}", says: /no text/ },
  { name: "a missing value", url: "https://a.example/${{ event.data.outputs.nosuch }}", says: /event\.data\.outputs\.nosuch/ },
  { name: "a value that steps out of its folder", url: "https://a.example/jobs/${{ event.data.outputs.dots }}/x", says: /step \. or \.\./ },
];
for (const { name, url, says } of UNMADE)
  t.test(`makes no request with ${name}`, async (t) =>
    t.match(made({ url }), { kind: "unmade", why: { code: "TemplateFailed", sentence: says } }),
  );

t.test("without a body of the rule, the event is told as it is at the broker", async (t) => {
  const it = made({ headers: { "x-run": "run ${{ event.run }}" } });
  if (it.kind === "unmade") throw new Error(it.why.sentence);
  t.match(it.request.headers, { "content-type": "application/cloudevents+json", "x-run": "run bespin/jobs/7/workflow" });
  t.match(JSON.parse(it.request.body), {
    specversion: "1.0",
    id: "prod/bespin/jobs/7/workflow/0000000004",
    type: "dev.longshore.run.step.succeeded",
    sequence: "0000000004",
    group: "prod-a",
    data: EVENT.data,
    time: "2030-01-01T00:00:00.000Z",
  });
});

t.test("a body keeps the types of its values, and a value is not read again", async (t) => {
  const it = made({
    body: {
      n: "${{ event.data.outputs.n }}",
      list: "${{ event.data.outputs.list }}",
      text: "run ${{ event.run }}",
      plain: ["$${{"],
    },
  });
  if (it.kind === "unmade") throw new Error(it.why.sentence);
  t.same(JSON.parse(it.request.body), {
    n: 3,
    list: [1, "${{ event.run }}"],
    text: "run bespin/jobs/7/workflow",
    plain: ["${{"],
  });
  t.equal(it.request.headers["content-type"], "application/json");
});

t.test("a header that could hold a line of its own is not sent", async (t) => {
  const event = { ...EVENT, data: { step: "a\r\nx: y" } };
  const scope = { event: eventOf(event, INSTALLATION), match: {} };
  t.match(requestOf({ ...ALL, headers: { "x-step": "${{ event.data.step }}" } }, event, scope, INSTALLATION), {
    kind: "unmade",
    why: { sentence: /x-step/ },
  });
});

// biome-ignore format: a table is read down its columns
const URLS = [
  { url: "https://a.example/${{ event.run }}", says: undefined },
  { url: "http://a.example:8080/?run=${{ event.run }}", says: undefined },
  { url: "https://${{ event.run }}/", says: /expression in its host/ },
  { url: "https://a.example${{ event.run }}/", says: /expression in its host/ },
  { url: "https://a:b@a.example/", says: /no address/ },
  { url: "ftp://a.example/", says: /no address/ },
  { url: "/jobs", says: /no address/ },
  { url: "https://a.example", says: /no path/ },
  { url: "https://a.example/#x", says: /#/ },
];
for (const { url, says } of URLS)
  t.test(`the URL ${url}`, async (t) =>
    says === undefined ? t.equal(urlProblem(url), undefined) : t.match(urlProblem(url), says),
  );

t.test("an expression that can name nothing is told", async (t) => {
  const problems = (rule: Partial<Rule>) => expressionProblems({ ...ALL, ...rule });
  t.same(problems({ url: "https://a.example/${{ match.job }}", match: { run: "x/{job}" }, body: ["${{ event.data.x }}"] }), []);
  t.match(problems({ url: "https://a.example/${{ match.job }}" }), [/cuts out "job"/]);
  t.match(problems({ body: { a: "${{ event.nosuch }}" } }), [/There is no event\.nosuch/]);
  t.match(problems({ headers: { a: "${{ parameters.x }}" } }), [/begins with event or match/]);
  t.match(problems({ body: "${{ 1 + 1 }}" }), [/one path/]);
});
