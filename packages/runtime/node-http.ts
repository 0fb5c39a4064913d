/**
 * The parts of node:http that we use.
 *
 * The failure this prevents: a slower start of each program and each command. An import of node:http also loads fetch and
 * WebSocket, which costs a tenth of a start; this does not.
 */
export const { Agent, createServer, request } = process.getBuiltinModule("node:http");
