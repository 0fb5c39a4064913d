/**
 * A RabbitMQ of a known version in a Debian tree.
 *
 * The failures this prevents: a package installed on the developer's machine whose service then listens on the default port, and
 * tests that name 3.10 and run against the installed version.
 */
import type { Say } from "../builds/cached.ts";
import { type DebianTree, debianTree } from "../debian/tree.ts";
import type { Version } from "./where.ts";

/** The Debian release that has each version. */
const SUITES: Record<Version, DebianTree["suite"]> = { "3.10": "bookworm", "4.0": "trixie" };

/** Returns the tree's folder. */
export const rabbitmqRoot = async (version: Version, say: Say): Promise<string> =>
  await debianTree(
    {
      name: `rabbitmq-${version}`,
      suite: SUITES[version],
      packages: ["rabbitmq-server"],
      what: `RabbitMQ ${version}`,
      costs: "about half a minute, 250 MB",
      otherwise: "run the tests there once, or where a Docker engine answers",
    },
    say,
  );
