/** Asks the API server, mostly as an administrator. A request that it does not accept ends the bench. */
import type { Transport } from "@longshore/kubernetes/transport.ts";

export const MERGE = "application/merge-patch+json";
const forever = new AbortController().signal;

export async function ask(hand: Transport, request: Parameters<Transport["send"]>[0]): Promise<unknown> {
  const { status, body } = await hand.send(request, forever);
  if (status !== 200 && status !== 201)
    throw new Error(`${request.method} ${request.path} was answered ${status}: ${JSON.stringify(body).slice(0, 500)}`);
  return body;
}
