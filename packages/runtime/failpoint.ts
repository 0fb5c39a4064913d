/**
 * Named lines at which a test makes a process die or wait: `LONGSHORE_FAILPOINT=afterCreate:kill,beforeAck:kill:3`. If no code
 * has the name, or the action is unknown, the process does not start: a kill test whose kill never comes proves nothing.
 *
 *   name:kill        SIGKILL to this process the first time it passes        name:kill:3      the third time
 *   name:sleep:500   waits 500 ms each time                                  name:sleep:500:3 the third time only
 */
import { systemClock } from "./clock.ts";

export type Failpoint<N extends string = string> = (name: N) => void | Promise<void>;

export class FailpointProblem extends Error {
  override readonly name = "FailpointProblem";
}

/** For code that runs without failpoints. */
export const noFailpoint: Failpoint = () => {};

interface Planned {
  readonly act: () => void | Promise<void>;
  /** The pass at which to act, or every pass. */
  readonly at: number | "every";
  passes: number;
}

export function failpoints<const N extends string>(
  spec: string | undefined,
  names: readonly N[],
  clock = systemClock,
): Failpoint<N> {
  const plans = new Map<string, Planned>();
  for (const part of (spec ?? "").split(",").filter((it) => it !== "")) {
    const [name = "", ...action] = part.split(":");
    if (!names.some((it) => it === name))
      throw new FailpointProblem(`failpoint "${part}": no code has the name "${name}"; there are ${names.join(", ")}`);
    plans.set(name, planned(part, action, clock));
  }
  if (plans.size === 0) return noFailpoint;

  return (name) => {
    const plan = plans.get(name);
    if (!plan) return;
    plan.passes++;
    if (plan.at === "every" || plan.at === plan.passes) return plan.act();
  };
}

function planned(part: string, [action, ...numbers]: readonly string[], clock: typeof systemClock): Planned {
  const counts = numbers.map((it) => (/^[1-9]\d{0,8}$/.test(it) ? Number(it) : Number.NaN));
  const [first, second] = counts;
  const sound = !counts.some(Number.isNaN);
  if (action === "kill" && sound && counts.length <= 1) return { act: kill, at: first ?? 1, passes: 0 };
  if (action === "sleep" && sound && first !== undefined && counts.length <= 2)
    return { act: () => clock.sleep(first), at: second ?? "every", passes: 0 };
  throw new FailpointProblem(`failpoint "${part}": write name:kill, name:kill:PASS, name:sleep:MS or name:sleep:MS:PASS`);
}

/** SIGKILL may reach another thread first, so this thread waits for ever and runs no further line. */
function kill(): void {
  process.kill(process.pid, "SIGKILL");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
