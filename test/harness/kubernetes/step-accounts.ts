/**
 * Service accounts of steps' programs, with the optional Roles that `longshore rbac --steps` prints.
 *
 * The failure this prevents: a program that may do in a test what an operator would not have allowed it.
 */
import { rbac } from "@longshore/cli/commands/rbac.ts";
import type { TestCluster } from "./test-cluster.ts";

/** Each account's Role, by the last word of its name. */
const STEP_ACCOUNTS = { annotator: "annotate", spawner: "spawn" } as const;
type Account = keyof typeof STEP_ACCOUNTS;

export async function makeStepAccounts(
  cluster: TestCluster,
  namespace: string,
  accounts: readonly Account[] = ["annotator", "spawner"],
): Promise<void> {
  const must = async (args: readonly string[], input?: string): Promise<void> => {
    const { code, stderr } = await cluster.kubectl(["-n", namespace, ...args], input);
    if (code !== 0 || /warning/i.test(stderr)) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
  };
  let printed = "";
  const signal = new AbortController().signal;
  await rbac.run(["--namespace", namespace, "--steps"], { out: (text) => void (printed += text), env: {}, cwd: "", signal });
  await must(["apply", "--server-side", "-f", "-"], printed);
  for (const account of accounts) {
    const role = `longshore-step-${STEP_ACCOUNTS[account]}`;
    await must(["create", "serviceaccount", account]);
    await must(["create", "rolebinding", account, "--role", role, "--serviceaccount", `${namespace}:${account}`]);
  }
}
