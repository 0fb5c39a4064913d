import type { LookupAddress } from "node:dns";
import t from "tap";
import { type AskNames, rememberedNames } from "./cluster-addresses.ts";

const here: LookupAddress[] = [{ address: "127.0.0.1", family: 4 }];
const there: LookupAddress[] = [
  { address: "10.0.0.7", family: 4 },
  { address: "fd00::7", family: 6 },
];
const noAnswer = Object.assign(new Error("no answer"), { code: "EAI_AGAIN" });

/** A resolver that answers when the test says so. */
function resolver() {
  const asked: ((error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void)[] = [];
  const ask: AskNames = (_name, _options, answer) => void asked.push(answer);
  return { asked, ask };
}

type Names = ReturnType<typeof rememberedNames>;
const find = (names: Names, family = 0): Promise<string> =>
  new Promise((resolve) =>
    names("cluster.test", { all: true, family }, (error, addresses) =>
      resolve(error?.code ?? (Array.isArray(addresses) ? addresses.map((it) => it.address).join(" ") : addresses)),
    ),
  );

t.test("asks once for many connections, and answers each in its family", async (t) => {
  const { asked, ask } = resolver();
  const names = rememberedNames({ ask });
  const all = [find(names), find(names, 4), find(names, 6)];
  t.equal(asked.length, 1);
  asked[0]?.(null, there);
  t.same(await Promise.all(all), ["10.0.0.7 fd00::7", "10.0.0.7", "fd00::7"]);
});

t.test("says that a name is not found if it never was", async (t) => {
  const { asked, ask } = resolver();
  const names = rememberedNames({ ask });
  const first = find(names);
  asked[0]?.(noAnswer, []);
  t.equal(await first, "EAI_AGAIN");
  const second = find(names);
  asked[1]?.(null, []);
  t.equal(await second, "ENOTFOUND");
});

t.test("falls back to the last addresses when DNS fails or hangs, and takes new ones when it answers", async (t) => {
  const { asked, ask } = resolver();
  const names = rememberedNames({ ask, patienceMs: 1 });
  const first = find(names);
  asked[0]?.(null, here);
  t.equal(await first, "127.0.0.1");
  const failing = find(names);
  asked[1]?.(noAnswer, []);
  t.equal(await failing, "127.0.0.1");
  t.equal(await find(names), "127.0.0.1", "nobody has answered");
  asked[2]?.(null, there);
  const last = find(names);
  asked[3]?.(null, there);
  t.equal(await last, "10.0.0.7 fd00::7");
});
