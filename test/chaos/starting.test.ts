/** Launcher and watcher are started before their servers, or with a password that is wrong. (Fault 56 in GUARANTEES.md.) */
// runs at most 8 min
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import t from "tap";
import { type TcpProxy, tcpProxy } from "../harness/faults/proxy.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

async function refusing(url: string, proxies: AsyncDisposableStack): Promise<TcpProxy> {
  const { hostname, port } = new URL(url);
  const proxy = proxies.use(await tcpProxy(hostname, Number(port)));
  proxy.refuse(true);
  return proxy;
}

await t.test("servers that come later are waited for: healthy, not ready, and it is said for whom", async (t) => {
  await using proxies = new AsyncDisposableStack();
  const proxy: Partial<Record<"broker" | "ledger", TcpProxy>> = {};
  const through = (name: "broker" | "ledger") => async (url: string) => {
    const it = await refusing(url, proxies);
    proxy[name] = it;
    return it.url(url);
  };
  await using system = await openSystem({ instant: true, through: { broker: through("broker"), ledger: through("ledger") } });
  const ports = { launcher: await freePort(), watcher: await freePort() };
  const started = (name: "launcher" | "watcher") =>
    system[name]({ LONGSHORE_HTTP_LISTEN: `127.0.0.1:${ports[name]}` }, { eager: true });
  const launcher = await started("launcher");
  const watcher = await started("watcher");
  const asked = async (
    name: "launcher" | "watcher",
    path: string,
  ): Promise<{ readonly status: number; readonly text: string }> => {
    const answer = await fetch(`http://127.0.0.1:${ports[name]}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  const says = (name: "launcher" | "watcher", words: RegExp): Promise<void> =>
    system.until(`${name} says ${words}`, async () =>
      words.test(await asked(name, "/readyz").then(({ text }) => text, String))); // biome-ignore format: one question

  await says("launcher", /not ready +ledger +not reached yet/);
  await says("watcher", /not ready +broker +not reached yet/);
  for (const name of ["launcher", "watcher"] as const) {
    t.equal((await asked(name, "/healthz")).status, 200, `the ${name} is healthy`);
    t.equal((await asked(name, "/readyz")).status, 503, `the ${name} is not ready`);
  }
  proxy.ledger?.refuse(false);
  await says("launcher", /not ready +broker +not reached yet/);
  proxy.broker?.refuse(false);
  await system.command("run.requested", { run: "late/1", image: "demo/quick:1", command: ["sh", "-c", "true"] });
  await system.heard("run.succeeded", "late/1");
  for (const name of ["launcher", "watcher"] as const)
    t.equal((await asked(name, "/readyz")).status, 200, `the ${name} is ready`);
  t.same(await system.faults(["late/1"]), []);
  t.ok(
    launcher.said.some((line) => line.includes("waiting for a server")),
    "its log says so, too",
  );
  await Promise.all([launcher.stop(), watcher.stop()]);
});

await t.test("a program that is stopped while it waits ends in order", async (t) => {
  await using proxies = new AsyncDisposableStack();
  const away = async (url: string) => (await refusing(url, proxies)).url(url);
  await using system = await openSystem({ instant: true, through: { broker: away, ledger: away } });
  for (const name of ["launcher", "watcher"] as const) {
    const child = await system[name]({}, { eager: true });
    await system.until("it waits", async () => child.said.some((line) => line.includes("waiting for a server")));
    child.signal("SIGTERM");
    t.equal(await child.ended, 0, name);
  }
});

await t.test("a server that refuses is not waited for: the program ends with the sentence", async (t) => {
  const wrong = async (url: string): Promise<string> => {
    const it = new URL(url);
    it.username = "nobody-knows-me";
    it.password = "wrong";
    return it.href;
  };
  await using system = await openSystem({ instant: true, through: { broker: wrong, ledger: wrong } });
  for (const name of ["launcher", "watcher"] as const) {
    const child = await system[name]({}, { eager: true });
    t.equal(await Promise.race([child.ended, clock.sleep(30_000).then(() => "still there")]), 1, name);
    t.match(child.said.join("\n"), /nobody-knows-me/, "it says which user is refused");
  }
});
