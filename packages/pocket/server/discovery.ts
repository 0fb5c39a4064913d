/** A client's first questions: version, health, the kinds that are served, the client's permissions. */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ApiAnswer, ApiRequest, User } from "../api.ts";
import { fieldsIn, KINDS, RESOURCES, timestamp } from "../objects.ts";
import { splitPath } from "./query.ts";

const ok = (body: unknown, status = 200): ApiAnswer => ({ status, headers: {}, body });
const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "watch"];

export function serveDiscovery(clock: Clock, identity: User, request: ApiRequest): ApiAnswer | undefined {
  const { path } = splitPath(request);
  if (request.method === "POST" && path === REVIEWS) return ok(review(clock, identity, request.body), 201);
  if (request.method !== "GET") return undefined;
  switch (path) {
    case "/healthz":
    case "/livez":
    case "/readyz":
      return ok("ok");
    case "/version":
      return ok({ major: "1", minor: "34", gitVersion: "v1.34.0+pocket", platform: "pocket" });
    case "/api":
      return ok({ kind: "APIVersions", versions: ["v1"] });
    case "/apis":
      return ok({ kind: "APIGroupList", apiVersion: "v1", groups: [batchGroup] });
    case "/apis/batch":
      return ok({ kind: "APIGroup", apiVersion: "v1", ...batchGroup });
    case "/api/v1":
      return ok(resources("", "v1"));
    case "/apis/batch/v1":
      return ok(resources("batch", "batch/v1"));
    default:
      return undefined;
  }
}

const batchVersion = { groupVersion: "batch/v1", version: "v1" };
const batchGroup = { name: "batch", versions: [batchVersion], preferredVersion: batchVersion };

function resources(group: string, groupVersion: string): object {
  const listed = RESOURCES.filter((it) => KINDS[it].group === group).map((name) => ({
    name,
    singularName: KINDS[name].kind.toLowerCase(),
    namespaced: KINDS[name].namespaced,
    kind: KINDS[name].kind,
    verbs: VERBS,
  }));
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources: listed };
}

function review(clock: Clock, { namespaces }: User, body: unknown): object {
  const spec = fieldsIn(fieldsIn(body)["spec"]);
  const about = fieldsIn(spec["resourceAttributes"]);
  const where = about["resource"] === "namespaces" ? (about["name"] ?? about["namespace"]) : about["namespace"];
  const allowed = namespaces === undefined || namespaces.some((it) => it === where);
  return {
    kind: "SelfSubjectAccessReview",
    apiVersion: "authorization.k8s.io/v1",
    metadata: { creationTimestamp: timestamp(clock.now()) },
    spec,
    status: allowed ? { allowed } : { allowed, reason: `bound to ${namespaces?.join(", ") ?? ""} only` },
  };
}
