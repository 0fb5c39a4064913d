/** Asks the API server as an administrator. A request that it does not accept ends the bench. */
import type { Transport } from "@longshore/kubernetes/transport.ts";

export const MERGE = "application/merge-patch+json";
const forever = new AbortController().signal;

export async function ask(admin: Transport, request: Parameters<Transport["send"]>[0]): Promise<void> {
  const { status, body } = await admin.send(request, forever);
  if (status !== 200 && status !== 201)
    throw new Error(`${request.method} ${request.path} was answered ${status}: ${JSON.stringify(body).slice(0, 500)}`);
}
