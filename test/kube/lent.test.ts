/**
 * Servers that the test files of a run share: each file has its own part of one, a file that is killed leaves nothing in it, and
 * the servers end with the run, even if the run is killed.
 */
// needs kubernetes, rabbitmq, nats
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { connect } from "amqplib";
import t from "tap";
import { adminOf, found, heldJob, jobPath, only } from "../harness/kubernetes/admin.ts";
import { kubernetes } from "../harness/kubernetes/kubernetes.ts";
import { borrow, hasLender, LENDER } from "../harness/lending/borrow.ts";
import { greeting } from "../harness/nats/server.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";

t.setTimeout(0); // each wait of the harness has its own bound
const TEST = resolve(import.meta.dirname, "..");

/** Starts a program that prints one line; resolves to the line. */
async function started(code: string): Promise<{ readonly child: ChildProcess; readonly line: string }> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(() => child.kill("SIGKILL"));
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return { child, line };
}

const lending = (start: string): string => `
  import { openLender } from "${TEST}/runner/lender.ts";
  import { startLent } from "${TEST}/harness/lending/servers.ts";
  import { nats } from "${TEST}/harness/nats/server.ts";
  const startNats = async () => {
    const server = await nats();
    return Object.assign(server, { lend: async () => server.port, takeBack: async () => undefined });
  };
  const { address } = await openLender([{ borrows: ["kubernetes none", "rabbitmq 4.0", "nats"] }], ${start});
  console.log(address);`;

/** In a run of many files, this one borrows what the others borrow. */
if (!hasLender()) process.env[LENDER] = (await started(lending("startLent"))).line;

await t.test("two files get one cluster, and each of them has its own namespaces in it", async (t) => {
  await using one = await kubernetes({ nodes: "none", shared: true });
  await using other = await kubernetes({ nodes: "none", shared: true });
  t.equal(only(one.clusters).url, only(other.clusters).url);
  t.not(await only(one.clusters).namespace(), await only(other.clusters).namespace());
});

await t.test("a file that is killed leaves no namespace with Jobs in it, and nobody else loses one", async (t) => {
  await using ours = await kubernetes({ nodes: "none", shared: true });
  const cluster = only(ours.clusters);
  const admin = adminOf(cluster.admin);
  const kept = await cluster.namespace();
  const { child, line: theirs } = await started(`
    import { kubernetes } from "${TEST}/harness/kubernetes/kubernetes.ts";
    const { clusters } = await kubernetes({ nodes: "none", shared: true });
    console.log(await clusters[0].namespace());
    setInterval(() => {}, 1_000);`);
  await admin.must("POST", jobPath(theirs), heldJob("left", theirs));
  child.kill("SIGKILL");
  const phase = async (name: string): Promise<unknown> => {
    const { status, body } = await admin.ask({ method: "GET", path: `/api/v1/namespaces/${name}` });
    return status === 404 ? "gone" : (body as { readonly status: { readonly phase: string } }).status.phase;
  };
  await found("the end of its namespace", async () => /gone|Terminating/.test(String(await phase(theirs))));
  t.equal(await phase(kept), "Active");
});

await t.test("two files get one RabbitMQ, and neither can enter the other's virtual host", async (t) => {
  await using one = await rabbitmq({ version: "4.0", shared: true });
  await using other = await rabbitmq({ version: "4.0", shared: true });
  t.equal(one.port, other.port);
  for (const { url } of [one, other]) {
    const connection = await connect(url);
    const channel = await connection.createChannel();
    const queue = await channel.assertQueue("the same name");
    t.equal(queue.messageCount, 0);
    await channel.close();
    await connection.close();
  }
  const intruder = `${one.url.slice(0, one.url.lastIndexOf("/"))}${new URL(other.url).pathname}`;
  await t.rejects(connect(intruder), /ConnectionClose/, "the server closes the connection");
});

await t.test("when the run is killed, the servers that it lent end", async (t) => {
  const { child, line } = await started(lending("startNats"));
  process.env[LENDER] = line;
  const { given: port } = await borrow<number>("nats");
  t.ok((await greeting(port)).version);
  child.kill("SIGKILL");
  const answers = (): Promise<boolean> =>
    greeting(port).then(
      () => true,
      () => false,
    );
  await found("the end of the server", async () => !(await answers()));
});
