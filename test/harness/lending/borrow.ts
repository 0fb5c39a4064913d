/**
 * Borrows a part of a server that the test files of one run share: a cluster in which the file makes namespaces of its own, or
 * a virtual host of a RabbitMQ. A file that is run alone finds no lender, and starts a private server.
 *
 * The failure this prevents: thirty starts of the same servers, each of which costs seconds of a processor.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";

/** The variable that names the lender: "port token". */
export const LENDER = "LONGSHORE_TEST_LENDER";

export interface Loan<T> extends AsyncDisposable {
  readonly given: T;
  /** The name by which the lender knows this loan. */
  readonly borrower: string;
}

export type Answer = { readonly given: unknown; readonly borrower: string } | { readonly refused: string };

export const hasLender = (): boolean => (process.env[LENDER] ?? "") !== "";

/** The loan ends with this process, however it ends: the lender sees that the connection is closed. */
export async function borrow<T>(what: string): Promise<Loan<T>> {
  const [port, token] = (process.env[LENDER] ?? "").split(" ");
  const socket = connect(Number(port), "127.0.0.1");
  const gone = once(socket, "close"); // rejects if there is an error before
  gone.catch(() => undefined);
  socket.write(`${token} ${what}\n`);
  const without = gone.then(() => Promise.reject(new Error(`the lender went away and gave no ${what}`)));
  const [line] = (await Promise.race([once(createInterface({ input: socket }), "line"), without])) as [string];
  const answer = JSON.parse(line) as Answer;
  if ("refused" in answer) throw new Error(`no ${what} could be started for all test files: ${answer.refused}`);
  socket.unref(); // a test that forgets its loan ends all the same
  return {
    given: answer.given as T,
    borrower: answer.borrower,
    [Symbol.asyncDispose]: async () => {
      socket.ref();
      socket.end();
      await gone.catch(() => undefined); // the lender is gone already
    },
  };
}
