/** Signatures by Standard Webhooks: with its own published example, and while a key is changed. */
import { Webhook } from "standardwebhooks";
import t from "tap";
import { signed, signingKeysProblem, webhookId } from "./sign.ts";

const key = (byte: number): string => `whsec_${Buffer.alloc(32, byte).toString("base64")}`;

t.test("signs as the example of Standard Webhooks is signed", async (t) => {
  const body = '{"test": 2432232314}';
  const headers = signed(
    { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", body, nowMs: 1_614_265_330_000 },
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
  );
  t.same(headers, {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  });
});

t.test("while a key is changed, a receiver with either key is content, and one with another is not", async (t) => {
  const body = JSON.stringify({ text: "grüße" });
  const headers = signed({ id: "msg_1", body, nowMs: Date.now() }, `${key(1)}\n${key(2)}\n`);
  for (const it of [key(1), key(2)]) t.same(new Webhook(it).verify(body, headers), { text: "grüße" });
  t.throws(() => new Webhook(key(3)).verify(body, headers));
  t.throws(() => new Webhook(key(1)).verify(`${body} `, headers));
});

t.test("without a key there is no signature, but an id", async (t) => {
  t.same(signed({ id: "msg_1", body: "", nowMs: 1_999 }, undefined), { "webhook-id": "msg_1", "webhook-timestamp": "1" });
});

t.test("an id is the same for the same request, another for each other one, and has no dot", async (t) => {
  const ids = [
    webhookId("a", "prod/x.y/1", 0),
    webhookId("b", "prod/x.y/1", 0),
    webhookId("a", "prod/x.y/2", 0),
    webhookId("a", "prod/x.y/1", 1),
  ];
  t.equal(new Set(ids).size, 4);
  t.equal(webhookId("a", "prod/x.y/1", 0), ids[0]);
  for (const id of ids) t.match(id, /^msg_[0-9a-f]{32}$/);
});

const files = [
  { name: "one key", text: `${key(1)}\n`, says: undefined },
  { name: "two keys", text: `${key(1)}\n\n${key(2)}`, says: undefined },
  { name: "a key without its prefix", text: Buffer.alloc(24, 1).toString("base64"), says: undefined },
  { name: "three keys", text: [1, 2, 3].map(key).join("\n"), says: /3 lines/ },
  { name: "a short key", text: `whsec_${Buffer.alloc(16).toString("base64")}`, says: /it holds no key/ },
  { name: "a second key that is none", text: `${key(1)}\nsecret`, says: /key number 2/ },
] as const; // biome-ignore format: a table
for (const { name, text, says } of files)
  t.test(`a file with ${name}`, async (t) => {
    const problem = signingKeysProblem(text);
    if (says === undefined) t.equal(problem, undefined);
    else t.match(problem, says);
    t.notMatch(problem ?? "", text);
  });
