/** Who may ask a route, and who asked it. */
import type { Person } from "@longshore/ledger/pages.ts";
import type { FastifyRequest } from "fastify";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Who may ask: anybody, or somebody who is signed in. */
    readonly for?: "anybody" | "signed-in";
  }
  interface FastifyRequest {
    person: Person | undefined;
  }
}

export const personOf = ({ person }: Pick<FastifyRequest, "person">): Person => {
  if (person === undefined) throw new TypeError("a route for people who are signed in was asked by somebody else");
  return person;
};
