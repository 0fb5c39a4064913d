/**
 * `npm run bench -- NAME`: measures on this machine, with real parts. Progress and figures go to stderr; the last line, on
 * stdout, is one line of JSON that holds them all. Nothing here passes or fails by a time.
 */
import { parseArgs } from "node:util";
import { spine } from "./spine.ts";

const USAGE = `usage: npm run bench -- spine [--runs 1000] [--one-by-one 200] [--broker rabbitmq|postgres] [--profile DIR]

  spine   runs through broker, launcher, pocket (instant pods) and watcher, to their terminal events: runs per second,
          CPU per run of each part, latencies, requests to the cluster's API and transactions of the ledger

  --runs N       how many runs are published at once (1000)
  --one-by-one N how many after that, each when the one before has ended (200)
  --broker KIND  rabbitmq (4.0, the default) or postgres (the one that is kept in the ledger's database)
  --profile DIR  CPU profiles of launcher and watcher into this folder, for a browser's or an editor's viewer
`;
const RUNS_MOST = 100_000;

const say = (sentence: string): void => void process.stderr.write(`${sentence}\n`);

async function main(words: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      runs: { type: "string", default: "1000" },
      "one-by-one": { type: "string", default: "200" },
      broker: { type: "string", default: "rabbitmq" },
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { broker, profile } = values;
  const runs = count(values.runs);
  const oneByOne = count(values["one-by-one"]);
  const known = broker === "rabbitmq" || broker === "postgres";
  if (positionals.join(" ") !== "spine" || !known || runs === undefined || oneByOne === undefined) {
    say(USAGE);
    return 2;
  }
  const figures = await spine({ runs, oneByOne, broker, profile, say });
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  return 0;
}

function count(text: string): number | undefined {
  const value = Number(text);
  return Number.isInteger(value) && value >= 1 && value <= RUNS_MOST ? value : undefined;
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    say(`the bench could not be run: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
