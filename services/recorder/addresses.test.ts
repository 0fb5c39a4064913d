/** Which addresses a sink may have, in all spellings, and that a name is judged by what DNS says at the time. */
import { judgedNames, openJudge } from "./addresses.ts";
import t from "tap";

// biome-ignore format: a table is read down its columns
const CASES = [
  { address: "93.184.215.14", plain: "allowed", opened: "allowed" },
  { address: "2606:4700::1111", plain: "allowed", opened: "allowed" },
  { address: "127.0.0.1", plain: "inner", opened: "inner" },
  { address: "::1", plain: "inner", opened: "inner" },
  { address: "10.2.3.4", plain: "inner", opened: "allowed" },
  { address: "10.3.0.1", plain: "inner", opened: "inner" },
  { address: "172.16.0.1", plain: "inner", opened: "inner" },
  { address: "192.168.1.1", plain: "inner", opened: "inner" },
  { address: "100.100.100.200", plain: "inner", opened: "inner" },
  { address: "fd12::1", plain: "inner", opened: "allowed" },
  { address: "::ffff:10.2.3.4", plain: "inner", opened: "allowed" },
  { address: "::ffff:127.0.0.1", plain: "inner", opened: "inner" },
  { address: "169.254.169.254", plain: "never", opened: "never" },
  { address: "::ffff:169.254.169.254", plain: "never", opened: "never" },
  { address: "::ffff:a9fe:a9fe", plain: "never", opened: "never" },
  { address: "64:ff9b::a9fe:a9fe", plain: "never", opened: "never" },
  { address: "2002:a9fe:a9fe::1", plain: "never", opened: "never" },
  { address: "fe80::1", plain: "never", opened: "never" },
  { address: "fe80::1%eth0", plain: "never", opened: "never" },
  { address: "fd00:ec2::254", plain: "never", opened: "never" },
  { address: "0.0.0.0", plain: "never", opened: "never" },
  { address: "::", plain: "never", opened: "never" },
  { address: "224.0.0.1", plain: "never", opened: "never" },
  { address: "255.255.255.255", plain: "never", opened: "never" },
  { address: "ff02::1", plain: "never", opened: "never" },
  { address: "no address", plain: "never", opened: "never" },
] as const;
const plain = openJudge([]);
const opened = openJudge(["10.2.0.0/16", "fd00::/8", "169.254.0.0/16"]);
for (const it of CASES)
  t.test(`${it.address} is ${it.plain}, and ${it.opened} where the setting opens its network`, async (t) => {
    t.equal(plain(it.address), it.plain);
    t.equal(opened(it.address), it.opened);
  });

type Asking = Parameters<typeof judgedNames>[1];
const dns = (...addresses: string[]) =>
  ((_name: string, _options: object, answer: (error: null, found: object[]) => void) =>
    answer(null, addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })))) as unknown as Asking; // biome-ignore format: one value

const lookedUp = (asking: Asking, all: boolean): Promise<unknown> =>
  new Promise((resolve, reject) =>
    judgedNames(plain, asking)("a.example", { all }, (error, found) => (error ? reject(error) : resolve(found))),
  );

t.test("a name is connected to by its allowed addresses alone", async (t) => {
  t.same(await lookedUp(dns("10.0.0.1", "93.184.215.14"), true), [{ address: "93.184.215.14", family: 4 }]);
  t.equal(await lookedUp(dns("127.0.0.1", "93.184.215.14"), false), "93.184.215.14");
});

t.test(
  "a name that points inwards is refused with its address and the setting, and one that points to metadata without",
  async (t) => {
    await t.rejects(lookedUp(dns("127.0.0.1"), true), {
      code: "AddressRefused",
      message: /a\.example is 127\.0\.0\.1.*addresses\.allow/,
    });
    await t.rejects(lookedUp(dns("169.254.169.254"), false), { code: "AddressRefused", message: /no sink may have/ });
    await t.rejects(lookedUp(dns(), true), { code: "ENOTFOUND" });
  },
);
