/**
 * The servers that are lent, and what each borrower gets.
 *
 * The failure this prevents: a test file that sees or disturbs what another one does. In a cluster, a borrower makes namespaces
 * with names that nobody else can guess; a RabbitMQ gives each borrower a virtual host and a user who may enter no other one.
 */
import { randomBytes } from "node:crypto";
import type { ApiRequest } from "@longshore/kubernetes/transport.ts";
import { adminOf } from "../kubernetes/admin.ts";
import { BORROWER, kubernetes, type Nodes } from "../kubernetes/kubernetes.ts";
import type { KubernetesVersion } from "../kubernetes/programs.ts";
import { rabbitmq, type RabbitmqPlace } from "../rabbitmq/server.ts";
import type { Version } from "../rabbitmq/where.ts";

export interface LentServer extends AsyncDisposable {
  /** Returns what this borrower must know. */
  lend(borrower: string): Promise<unknown>;
  /** Removes what a borrower has left behind. */
  takeBack(borrower: string): Promise<void>;
}

/** Starts the server of these words: "kubernetes simulated 1.34 0" or "rabbitmq 4.0". */
export async function startLent(what: string): Promise<LentServer> {
  const [kind, flavour, version] = what.split(" ");
  if (kind === "kubernetes") return await lentCluster(flavour as Nodes, version as KubernetesVersion);
  if (kind === "rabbitmq") return await lentRabbitmq(flavour as Version);
  throw new Error(`no server of the tests is called "${what}"`);
}

async function lentCluster(nodes: Nodes, version: KubernetesVersion): Promise<LentServer> {
  const started = await kubernetes({ nodes, version });
  const [cluster] = started.clusters;
  if (cluster === undefined) throw new Error("no cluster was started");
  const { url, ca, caFile, kubeconfig, adminToken, auditLog, folder, kubectlProgram, admin } = cluster;
  const hand = adminOf(admin);
  return {
    lend: () => Promise.resolve({ url, ca, caFile, kubeconfig, adminToken, auditLog, folder, kubectlProgram }),
    takeBack: async (borrower) => {
      const left = await hand.items(`/api/v1/namespaces?labelSelector=${encodeURIComponent(`${BORROWER}=${borrower}`)}`);
      const removal = ({ name }: { readonly name: string }): ApiRequest => ({
        method: "DELETE",
        path: `/api/v1/namespaces/${name}`,
      });
      await Promise.all(left.map(({ metadata }) => hand.ask(removal(metadata))));
    },
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

/** Each call of rabbitmqctl starts an Erlang of its own, which costs a quarter of a server's start: this many come from one. */
const HOSTS_AT_ONCE = 16;

async function lentRabbitmq(version: Version): Promise<LentServer> {
  const server = await rabbitmq({ version });
  const free: RabbitmqPlace[] = [];
  let making = Promise.resolve();
  const make = async (): Promise<void> => {
    if (free.length > 0) return;
    const names = Array.from({ length: HOSTS_AT_ONCE }, () => ({ host: name(), user: name(), password: name() }));
    await server.ctl("eval", erlangFor(names));
    const { host, port } = server;
    for (const { host: vhost, user, password } of names)
      free.push({ version, host, port, user, password, url: `amqp://${user}:${password}@${host}:${port}/${vhost}` });
  };
  return {
    lend: async () => {
      making = making.then(make, make); // also after a failure, which its own borrower was told
      await making;
      return free.shift();
    },
    takeBack: () => Promise.resolve(), // a borrower's connections end with it, and nobody else can enter its virtual host
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const name = (): string => randomBytes(12).toString("hex");

function erlangFor(names: readonly { readonly host: string; readonly user: string; readonly password: string }[]): string {
  const tuples = names.map(({ host, user, password }) => `{<<"${host}">>,<<"${user}">>,<<"${password}">>}`).join(",");
  const all = `<<".*">>, <<".*">>, <<".*">>, <<"tests">>`;
  return `[begin rabbit_vhost:add(H, <<"tests">>), rabbit_auth_backend_internal:add_user(U, P, <<"tests">>),
    rabbit_auth_backend_internal:set_permissions(U, H, ${all}) end || {H, U, P} <- [${tuples}]], ok.`;
}
