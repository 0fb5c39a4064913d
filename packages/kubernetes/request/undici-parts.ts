/**
 * The three parts of undici that our requests use, each from its own file.
 *
 * The failure this prevents: a slower start of each program and each command. undici's index also loads its fetch, WebSocket,
 * caches and mocks, which costs a tenth of a second and which nothing of ours uses.
 */
import { createRequire } from "node:module";
import type undici from "undici";
import type { Dispatcher } from "undici";

const part = createRequire(import.meta.url);

export const Pool = part("undici/lib/dispatcher/pool.js") as typeof undici.Pool;
export type Pool = InstanceType<typeof Pool>;
export const buildConnector = part("undici/lib/core/connect.js") as typeof undici.buildConnector;
type Request = (this: Dispatcher, options: Dispatcher.RequestOptions) => Promise<Dispatcher.ResponseData>;
const method = part("undici/lib/api/api-request.js") as Request;

/** undici's index makes this a method of every dispatcher. */
export const request = (dispatcher: Dispatcher, options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> =>
  method.call(dispatcher, options);
