/**
 * Mistakes of people and programs in `run.requested`, and the place that each refusal must name. Two judges must refuse them:
 * the zod schemas that read messages, and the JSON Schemas that are published for everybody else.
 */

export interface BadRequest {
  readonly name: string;
  readonly data: unknown;
  /** Pointer and code of each problem, in order. */
  readonly want: readonly (readonly [path: string, code: string])[];
  /** True if JSON Schema cannot express the rule. */
  readonly beyondSchema?: true;
}

/** Stands in or beside each wrong value: no sentence of a refusal may repeat this text. */
export const CANARY = "hunter2-canary";

const simple = { run: "orders/8812", image: "registry.example/export:1", env: { PASSWORD: CANARY } };
const but = (changes: object) => ({ ...simple, ...changes });
const step = { name: "load", image: "registry.example/load:1" };
const pipeline = (...steps: readonly object[]) => ({ run: "orders/8812", steps });
const volume = { name: "data", size: "1Gi" };
const mount = { volume: "data", path: "/data" };
const many = <T>(count: number, make: (at: number) => T): readonly T[] => Array.from({ length: count }, (_, at) => make(at));
const table = (count: number) => Object.fromEntries(many(count, (at) => [`k${at}`, "v"]));
const unknown = (name: string): BadRequest => ({
  name: `has no field ${name}`,
  data: but({ [name]: CANARY }),
  want: [[`/data/${name}`, "UnknownField"]],
});

// biome-ignore format: a table is read down its columns
export const BAD_REQUESTS: readonly BadRequest[] = [
  { name: "is no object", data: CANARY, want: [["/data", "WrongType"]] },
  { name: "is a list", data: [simple], want: [["/data", "WrongType"]] },
  { name: "is null", data: null, want: [["/data", "WrongType"]] },
  { name: "says nothing", data: {}, want: [["/data/image", "Missing"], ["/data/run", "Missing"]] },

  { name: "has no run id", data: { image: "x" }, want: [["/data/run", "Missing"]] },
  { name: "has an empty run id", data: but({ run: "" }), want: [["/data/run", "OutOfRange"], ["/data/run", "Invalid"]] },
  { name: "has a run id of 300 characters", data: but({ run: "r".repeat(300) }), want: [["/data/run", "OutOfRange"]] },
  { name: "has a run id with a space", data: but({ run: "a b" }), want: [["/data/run", "Invalid"]] },
  { name: "has a run id with a NUL", data: but({ run: "a\0b" }), want: [["/data/run", "UnusableCharacter"]] },
  { name: "has a run id that only looks like another (Cyrillic о)", data: but({ run: "оrders" }), want: [["/data/run", "Invalid"]] },
  { name: "has a run id with an invisible character", data: but({ run: "orders\u200b" }), want: [["/data/run", "Invalid"]] },
  { name: "has a number as its run id", data: but({ run: 8812 }), want: [["/data/run", "WrongType"]] },

  { name: "has no image", data: { run: "r" }, want: [["/data/image", "Missing"]] },
  { name: "has an empty image", data: but({ image: "" }), want: [["/data/image", "OutOfRange"]] },
  { name: "has an image with a space", data: but({ image: "a b" }), want: [["/data/image", "Invalid"]] },
  { name: "has an image of 600 characters", data: but({ image: "i".repeat(600) }), want: [["/data/image", "OutOfRange"]] },
  { name: "writes its args as one text", data: but({ args: "--fast" }), want: [["/data/args", "WrongType"]] },
  { name: "has a number among its args", data: but({ args: ["-n", 3] }), want: [["/data/args/1", "WrongType"]] },
  { name: "has a NUL in its command", data: but({ command: ["a\0"] }), want: [["/data/command/0", "UnusableCharacter"]] },
  { name: "has 2,000 args", data: but({ args: many(2000, () => "x") }), want: [["/data/args", "OutOfRange"]] },
  { name: "has a relative working directory", data: but({ workingDir: "tmp" }), want: [["/data/workingDir", "Invalid"]] },
  { name: "has an output without a name", data: but({ outputs: [""] }), want: [["/data/outputs/0", "OutOfRange"]] },

  { name: "has a number in env", data: but({ env: { PORT: 8080 } }), want: [["/data/env/PORT", "WrongType"]] },
  { name: "has a list in env", data: but({ env: { A: [CANARY] } }), want: [["/data/env/A", "WrongType"]] },
  { name: "has a name in env that starts with a digit", data: but({ env: { "1A": CANARY } }), want: [["/data/env/1A", "Invalid"]] },
  { name: "has a name in env with '='", data: but({ env: { "A=B": CANARY } }), want: [["/data/env/A=B", "Invalid"]] },
  { name: "has a name in env with '/' and '~'", data: but({ env: { "a/b~c": CANARY } }), want: [["/data/env/a~1b~0c", "Invalid"]] },
  { name: "asks env for a field there is not", data: but({ env: { A: { field: CANARY } } }), want: [["/data/env/A/field", "Invalid"]] },
  { name: "asks env for a Secret without saying which key", data: but({ env: { A: { secret: "db" } } }), want: [["/data/env/A/key", "Missing"]] },
  { name: "names a Secret with a path", data: but({ secrets: [{ name: "../db", mount: "/a" }] }), want: [["/data/secrets/0/name", "Invalid"]] },
  { name: "mounts a Secret at a relative folder", data: but({ secrets: [{ name: "db", mount: "a" }] }), want: [["/data/secrets/0/mount", "Invalid"]] },
  { name: "mounts two Secrets at one folder", data: but({ secrets: [{ name: "a", mount: "/a" }, { name: "b", mount: "/a" }] }), beyondSchema: true,
    want: [["/data/secrets/1/mount", "Inconsistent"]] },
  { name: "writes its account as a text", data: but({ serviceAccount: "worker" }), want: [["/data/serviceAccount", "WrongType"]] },
  { name: "asks env for a Secret as Kubernetes does", data: but({ env: { A: { secretKeyRef: CANARY } } }),
    want: [["/data/env/A/field", "Missing"], ["/data/env/A/secretKeyRef", "UnknownField"]] },
  { name: "has 10,000 entries in env", data: but({ env: table(10_000) }), want: [["/data/env", "OutOfRange"]] },
  { name: "has a value in env of 40,000 characters", data: but({ env: { A: "x".repeat(40_000) } }), want: [["/data/env/A", "OutOfRange"]] },
  { name: "writes env as a list", data: but({ env: [{ name: "A", value: CANARY }] }), want: [["/data/env", "WrongType"]] },

  { name: "has a negative quantity", data: but({ resources: { limits: { cpu: "-1" } } }), want: [["/data/resources/limits/cpu", "Invalid"]] },
  { name: "has a quantity without a number", data: but({ resources: { limits: { memory: "Gi" } } }), want: [["/data/resources/limits/memory", "Invalid"]] },
  { name: "has a quantity with an unknown suffix", data: but({ resources: { requests: { memory: "1GB" } } }), want: [["/data/resources/requests/memory", "Invalid"]] },
  { name: "has a quantity with a comma", data: but({ resources: { limits: { cpu: "1,5" } } }), want: [["/data/resources/limits/cpu", "Invalid"]] },
  { name: "has a quantity as a number", data: but({ resources: { limits: { cpu: 2 } } }), want: [["/data/resources/limits/cpu", "WrongType"]] },
  { name: "has a quantity beyond 2^63", data: but({ resources: { limits: { memory: "99Ei" } } }), want: [["/data/resources/limits/memory", "Invalid"]], beyondSchema: true },
  { name: "asks for a resource we do not know", data: but({ resources: { limits: { "nvidia.com/gpu": "1" } } }), want: [["/data/resources/limits/nvidia.com~1gpu", "UnknownField"]] },
  { name: "requests more than its limit", data: but({ resources: { limits: { memory: "1Gi" }, requests: { memory: "2Gi" } } }),
    want: [["/data/resources/requests/memory", "Inconsistent"]], beyondSchema: true },

  { name: "has an empty label name", data: but({ labels: { "": "x" } }), want: [["/data/labels/", "Invalid"]] },
  { name: "has a label name of 64 characters", data: but({ labels: { ["n".repeat(64)]: "x" } }), want: [[`/data/labels/${"n".repeat(64)}`, "Invalid"]] },
  { name: "has a label prefix in capitals", data: but({ labels: { "Example.org/a": "x" } }), want: [["/data/labels/Example.org~1a", "Invalid"]] },
  { name: "has two '/' in a label name", data: but({ labels: { "a/b/c": "x" } }), want: [["/data/labels/a~1b~1c", "Invalid"]] },
  { name: "has a label value with a space", data: but({ labels: { team: "two words" } }), want: [["/data/labels/team", "Invalid"]] },
  { name: "has a label value of 64 characters", data: but({ labels: { team: "v".repeat(64) } }), want: [["/data/labels/team", "Invalid"]] },
  { name: "uses our label prefix", data: but({ labels: { "longshore.dev/run": "x" } }), want: [["/data/labels/longshore.dev~1run", "Invalid"]] },
  { name: "uses a label prefix of Kubernetes", data: but({ labels: { "batch.kubernetes.io/job-name": "x" } }), want: [["/data/labels/batch.kubernetes.io~1job-name", "Invalid"]] },
  { name: "uses a label that Kubernetes writes itself", data: but({ labels: { "job-name": "x", "controller-uid": "x" } }), want: [["/data/labels/job-name", "Invalid"], ["/data/labels/controller-uid", "Invalid"]] },
  { name: "uses an annotation prefix of Kubernetes", data: but({ annotations: { "sub.k8s.io/x": "x" } }), want: [["/data/annotations/sub.k8s.io~1x", "Invalid"]] },
  { name: "has an annotation of 5,000 characters", data: but({ annotations: { a: "x".repeat(5000) } }), want: [["/data/annotations/a", "OutOfRange"]] },
  { name: "has 51 labels", data: but({ labels: table(51) }), want: [["/data/labels", "OutOfRange"]] },

  { name: "has a priority of 2^31", data: but({ priority: 2 ** 31 }), want: [["/data/priority", "OutOfRange"]] },
  { name: "has a priority with a fraction", data: but({ priority: 1.5 }), want: [["/data/priority", "WrongType"]] },
  { name: "has a priority as a text", data: but({ priority: "1" }), want: [["/data/priority", "WrongType"]] },
  { name: "retries 2^31 times", data: but({ retries: { max: 2 ** 31 } }), want: [["/data/retries/max", "OutOfRange"]] },
  { name: "retries -1 times", data: but({ retries: { max: -1 } }), want: [["/data/retries/max", "OutOfRange"]] },
  { name: "retries on a cause there is not", data: but({ retries: { on: ["bad-luck"] } }), want: [["/data/retries/on/0", "Invalid"]] },
  { name: "has a deadline without a unit", data: but({ deadline: "900" }), want: [["/data/deadline", "Invalid"]] },
  { name: "has a deadline as a number", data: but({ deadline: 900 }), want: [["/data/deadline", "WrongType"]] },
  { name: "has a negative deadline", data: but({ deadline: "-5m" }), want: [["/data/deadline", "Invalid"]] },
  { name: "waits for more than a year", data: but({ waitFor: "367d" }), want: [["/data/waitFor", "Invalid"]], beyondSchema: true },
  { name: "starts in the year 9999", data: but({ notBefore: "9999-01-01T00:00:00Z" }), want: [["/data/notBefore", "OutOfRange"]], beyondSchema: true },
  { name: "starts at a word that is no date", data: but({ notBefore: "tomorrow" }), want: [["/data/notBefore", "Invalid"]] },
  { name: "starts on a day there is not", data: but({ notBefore: "2030-02-30T00:00:00Z" }), want: [["/data/notBefore", "Invalid"]] },
  { name: "starts at a time without a zone", data: but({ notBefore: "2030-01-31T12:00:00" }), want: [["/data/notBefore", "Invalid"]] },
  { name: "prefers no group", data: but({ groups: [] }), want: [["/data/groups", "OutOfRange"]] },
  { name: "names a group with a dot", data: but({ groups: ["prod.a"] }), want: [["/data/groups/0", "Invalid"]] },
  { name: "has an actor without a name", data: but({ actor: { id: "7" } }), want: [["/data/actor/name", "Missing"]] },

  { name: "has no steps", data: pipeline(), want: [["/data/steps", "OutOfRange"]] },
  { name: "has 101 steps", data: pipeline(...many(101, (at) => ({ ...step, name: `s${at}` }))), want: [["/data/steps", "OutOfRange"]] },
  { name: "has a step without an image", data: pipeline({ name: "load" }), want: [["/data/steps/0/image", "Missing"]] },
  { name: "has a step's name in capitals", data: pipeline({ ...step, name: "Load" }), want: [["/data/steps/0/name", "Invalid"]] },
  { name: "has a step's name of 31 characters", data: pipeline({ ...step, name: "s".repeat(31) }), want: [["/data/steps/0/name", "Invalid"]] },
  { name: "has two steps of one name", data: pipeline(step, step), want: [["/data/steps/1/name", "Inconsistent"]], beyondSchema: true },
  { name: "needs a step there is not", data: pipeline({ ...step, needs: ["stage"] }), want: [["/data/steps/0/needs/0", "Inconsistent"]], beyondSchema: true },
  { name: "has steps that wait for each other", data: pipeline({ ...step, needs: ["b"] }, { ...step, name: "b", needs: ["load"] }), want: [["/data/steps", "Inconsistent"]], beyondSchema: true },
  { name: "has a step that waits for itself", data: pipeline({ ...step, needs: ["load"] }), want: [["/data/steps", "Inconsistent"]], beyondSchema: true },
  { name: "has a step that requests more than its limit", data: pipeline(step, { ...step, name: "b", resources: { limits: { cpu: "500m" }, requests: { cpu: "1" } } }),
    want: [["/data/steps/1/resources/requests/cpu", "Inconsistent"]], beyondSchema: true },
  { name: "has a step with a wait of its own", data: pipeline({ ...step, waitFor: "5m" }), want: [["/data/steps/0/waitFor", "UnknownField"]] },
  { name: "has an image beside its steps", data: { ...pipeline(step), image: "x" }, want: [["/data/image", "UnknownField"]] },

  { name: "has a volume's name that is no label", data: but({ volumes: [{ ...volume, name: "Data" }] }), want: [["/data/volumes/0/name", "Invalid"]] },
  { name: "has a volume without a size", data: but({ volumes: [{ name: "data" }] }), want: [["/data/volumes/0/size", "Missing"]] },
  { name: "has a volume of no size", data: but({ volumes: [{ ...volume, size: "0" }] }), want: [["/data/volumes/0/size", "Invalid"]], beyondSchema: true },
  { name: "has two volumes of one name", data: but({ volumes: [volume, volume] }), want: [["/data/volumes/1/name", "Inconsistent"]], beyondSchema: true },
  { name: "mounts a volume there is not", data: but({ mounts: [mount] }), want: [["/data/mounts/0/volume", "Inconsistent"]], beyondSchema: true },
  { name: "mounts a volume twice", data: but({ volumes: [volume], mounts: [mount, { ...mount, path: "/other" }] }), want: [["/data/mounts/1/volume", "Inconsistent"]], beyondSchema: true },
  { name: "mounts two volumes at one path", data: but({ volumes: [volume, { ...volume, name: "more" }], mounts: [mount, { ...mount, volume: "more", path: "/data/" }] }),
    want: [["/data/mounts/1/path", "Inconsistent"]], beyondSchema: true },
  { name: "mounts a volume at a relative path", data: but({ volumes: [volume], mounts: [{ ...mount, path: "data" }] }), want: [["/data/mounts/0/path", "Invalid"]] },
  { name: "has a size in GiB that is a text", data: but({ volumes: [{ name: "data", size: { gib: "5" } }] }), want: [["/data/volumes/0/size/gib", "WrongType"]] },
  { name: "has a size of a fraction of GiB", data: but({ volumes: [{ name: "data", size: { gib: 1.5 } }] }), want: [["/data/volumes/0/size/gib", "WrongType"]] },
  { name: "brings in a size in GiB that is a text", data: but({ volumes: [{ name: "data", size: { gib: "${{ parameters.a }}" } }], parameters: { a: "5" } }), want: [["/data/volumes/0/size/gib", "Inconsistent"]], beyondSchema: true },
  { name: "brings in a volume of no size", data: but({ volumes: [{ name: "data", size: "${{ parameters.a }}Gi" }], parameters: { a: 0 } }), want: [["/data/volumes/0/size", "Invalid"]], beyondSchema: true },
  { name: "brings in a storage class with a space", data: but({ volumes: [{ ...volume, class: "${{ parameters.a }}" }], parameters: { a: "very fast" } }), want: [["/data/volumes/0/class", "Invalid"]], beyondSchema: true },
  { name: "has an expression for a claim's name", data: but({ volumes: [{ name: "data", claim: "${{ parameters.a }}" }], parameters: { a: "data" } }), want: [["/data/volumes/0/claim", "Invalid"]] },
  { name: "uses an output in a volume's size", data: { ...pipeline({ ...step, outputs: ["a"] }), volumes: [{ name: "data", size: { gib: "${{ steps.load.outputs.a }}" } }] }, want: [["/data/volumes/0/size/gib", "Inconsistent"]], beyondSchema: true },
  { name: "mounts a volume over scratch space", data: but({ volumes: [volume], mounts: [mount], scratch: [{ path: "/data", size: "1Gi" }] }), want: [["/data/mounts/0/path", "Inconsistent"]], beyondSchema: true },
  { name: "has two steps at once on a volume of one pod", data: { ...pipeline({ ...step, mounts: [mount] }, { ...step, name: "b", mounts: [mount] }), volumes: [{ ...volume, access: "ReadWriteOncePod" }] },
    want: [["/data/volumes/0/access", "Inconsistent"]], beyondSchema: true },
  { name: "uses a parameter there is not", data: but({ args: ["${{ parameters.nope }}"], parameters: { yes: 1 } }), want: [["/data/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "uses a parameter's field there is not", data: but({ args: ["${{ parameters.a.b }}"], parameters: { a: { c: 1 } } }), want: [["/data/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "has an operator in an expression", data: but({ image: "${{ parameters.a || 1 }}", parameters: { a: "x" } }), want: [["/data/image", "Inconsistent"]], beyondSchema: true },
  { name: "asks for what no expression knows", data: but({ env: { A: "${{ secrets.a }}" } }), want: [["/data/env/A", "Inconsistent"]], beyondSchema: true },
  { name: "lets a value choose a variable", data: but({ args: ["$(DB_${{ parameters.a }})"], parameters: { a: "PASSWORD" } }), want: [["/data/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "uses outputs in a short form", data: but({ args: ["${{ steps.main.outputs.a }}"], outputs: ["a"] }), want: [["/data/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "brings in an image with a space", data: but({ image: "${{ parameters.a }}", parameters: { a: `x ${CANARY}` } }), want: [["/data/image", "Invalid"]], beyondSchema: true },
  { name: "brings in an image that is null", data: but({ image: "${{ parameters.a }}", parameters: { a: null } }), want: [["/data/image", "Missing"]], beyondSchema: true },
  { name: "brings in a list where a text belongs", data: but({ args: ["${{ parameters.a }}"], parameters: { a: [CANARY] } }), want: [["/data/args/0", "WrongType"]], beyondSchema: true },
  { name: "brings in a text where a list belongs", data: but({ args: "${{ parameters.a }}", parameters: { a: CANARY } }), want: [["/data/args", "WrongType"]], beyondSchema: true },
  { name: "brings in a list inside a text", data: but({ args: ["x ${{ parameters.a }}"], parameters: { a: [CANARY] } }), want: [["/data/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "brings in a field of the pod", data: but({ env: { A: "${{ parameters.a }}" }, parameters: { a: { field: "metadata.uid" } } }), want: [["/data/env/A", "Inconsistent"]], beyondSchema: true },
  { name: "brings in a whole env with a field of the pod", data: but({ env: "${{ parameters.a }}", parameters: { a: { A: { field: "metadata.uid" } } } }), want: [["/data/env/A", "Inconsistent"]], beyondSchema: true },
  { name: "brings in a Secret", data: but({ env: { A: "${{ parameters.a }}" }, parameters: { a: { secret: "db", key: CANARY } } }), want: [["/data/env/A", "Inconsistent"]], beyondSchema: true },
  { name: "has an expression for a Secret's name", data: but({ env: { A: { secret: "${{ parameters.a }}", key: "a" } }, parameters: { a: "db" } }), want: [["/data/env/A/secret", "Invalid"]] },
  { name: "mounts scratch space over a Secret", data: but({ secrets: [{ name: "db", mount: "/a" }], scratch: [{ path: "/a", size: "1Gi" }] }), want: [["/data/scratch/0/path", "Inconsistent"]], beyondSchema: true },
  { name: "brings in an amount that is none", data: but({ resources: { limits: { cpu: "${{ parameters.a }}" } }, parameters: { a: "-1" } }), want: [["/data/resources/limits/cpu", "Invalid"]], beyondSchema: true },
  { name: "brings in a request above its limit", data: but({ resources: { limits: { cpu: "1" }, requests: { cpu: "${{ parameters.a }}" } }, parameters: { a: 2 } }), want: [["/data/resources/requests/cpu", "Inconsistent"]], beyondSchema: true },
  { name: "brings in a label with a space", data: but({ labels: { team: "${{ parameters.a }}" }, parameters: { a: "a b" } }), want: [["/data/labels/team", "Invalid"]], beyondSchema: true },
  { name: "grows beyond all bounds by a parameter", data: but({ args: many(900, () => "${{ parameters.a }}"), parameters: { a: "x".repeat(1000) } }), want: [["/data/args/261", "Inconsistent"]], beyondSchema: true },
  { name: "has an expression in a step's name", data: pipeline({ ...step, name: "${{ parameters.a }}" }), want: [["/data/steps/0/name", "Invalid"]] },
  { name: "has an expression in a group's name", data: but({ groups: ["${{ parameters.a }}"] }), want: [["/data/groups/0", "Invalid"]] },
  { name: "uses an output of a step that does not come before", data: pipeline({ ...step, outputs: ["a"] }, { ...step, name: "b", args: ["${{ steps.load.outputs.a }}"] }), want: [["/data/steps/1/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "uses an output that is not declared", data: pipeline({ ...step, outputs: ["a"] }, { ...step, name: "b", needs: ["load"], args: ["${{ steps.load.outputs.b }}"] }), want: [["/data/steps/1/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "uses something else of a step", data: pipeline(step, { ...step, name: "b", needs: ["load"], args: ["${{ steps.load.log }}"] }), want: [["/data/steps/1/args/0", "Inconsistent"]], beyondSchema: true },
  { name: "uses an output in a label", data: pipeline({ ...step, outputs: ["a"] }, { ...step, name: "b", needs: ["load"], labels: { l: "${{ steps.load.outputs.a }}" } }), want: [["/data/steps/1/labels/l", "Inconsistent"]], beyondSchema: true },
  { name: "uses an output in a path", data: pipeline({ ...step, outputs: ["a"] }, { ...step, name: "b", needs: ["load"], workingDir: "/${{ steps.load.outputs.a }}" }), want: [["/data/steps/1/workingDir", "Inconsistent"]], beyondSchema: true },
  { name: "has a parameter in the run's outputs", data: { ...pipeline(step), parameters: { a: 1 }, outputs: { a: "${{ parameters.a }}" } }, want: [["/data/outputs/a", "Inconsistent"]], beyondSchema: true },
  { name: "tells an output of the run that no step has", data: { ...pipeline(step), outputs: { a: "${{ steps.load.outputs.a }}" } }, want: [["/data/outputs/a", "Inconsistent"]], beyondSchema: true },
  { name: "has a text as if", data: pipeline({ ...step, if: "yes" }), want: [["/data/steps/0/if", "WrongType"]] },
  { name: "has an if that is neither true nor false", data: { ...pipeline({ ...step, if: "${{ parameters.a }}" }), parameters: { a: "true" } }, want: [["/data/steps/0/if", "WrongType"]], beyondSchema: true },
  { name: "has an init container with the step's own name", data: but({ init: [{ name: "main", image: "x" }] }), want: [["/data/init/0/name", "Invalid"]], beyondSchema: true },
  { name: "has two init containers of one name", data: but({ init: [{ name: "a", image: "x" }, { name: "a", image: "x" }] }), want: [["/data/init/1/name", "Inconsistent"]], beyondSchema: true },
  { name: "has an init container without an image", data: but({ init: [{ name: "a" }] }), want: [["/data/init/0/image", "Missing"]] },
  { name: "has an init container with outputs", data: but({ init: [{ name: "a", image: "x", outputs: ["a"] }] }), want: [["/data/init/0/outputs", "UnknownField"]] },
  { name: "has scratch space without a size", data: but({ scratch: [{ path: "/a" }] }), want: [["/data/scratch/0/size", "Missing"]] },
  { name: "has scratch space in place of everything", data: but({ scratch: [{ path: "/", size: "1Gi" }] }), want: [["/data/scratch/0/path", "Invalid"]] },
  { name: "has scratch space that climbs out", data: but({ scratch: [{ path: "/a/../etc", size: "1Gi" }] }), want: [["/data/scratch/0/path", "Invalid"]] },
  { name: "has two scratch spaces in one place", data: but({ scratch: [{ path: "/a", size: "1Gi" }, { path: "/a", size: "1Gi" }] }), want: [["/data/scratch/1/path", "Inconsistent"]], beyondSchema: true },
  { name: "has annotations that leave no room for those of its program", data: but({ annotations: Object.fromEntries(many(45, (at) => [`a${at}`, "x".repeat(4_050)])), outputs: { annotations: ["id"] } }),
    want: [["/data/annotations", "Inconsistent"]], beyondSchema: true },
  { name: "declares an output twice", data: but({ outputs: { message: ["a"], annotations: ["a"] } }), want: [["/data/outputs/annotations/0", "Inconsistent"]], beyondSchema: true },
  { name: "declares 17 annotation outputs", data: but({ outputs: { annotations: many(17, (at) => `k${at}`) } }), want: [["/data/outputs/annotations", "OutOfRange"]] },
  { name: "declares an annotation of ours as an output", data: but({ outputs: { annotations: ["longshore.dev/proof"] } }), want: [["/data/outputs/annotations/0", "Invalid"]] },

  { name: "is over 256 KiB", data: but({ args: many(10, () => "x".repeat(30_000)) }), want: [["/data", "TooLarge"]], beyondSchema: true },
  { name: "has everything wrong at once", data: { run: "", imag: "x", env: { "1": CANARY, A: 1 }, retries: { max: 99 }, deadine: "5m" },
    want: [["/data/image", "Missing"], ["/data/env/1", "Invalid"], ["/data/env/A", "WrongType"], ["/data/retries/max", "OutOfRange"], ["/data/run", "OutOfRange"],
      ["/data/run", "Invalid"], ["/data/imag", "UnknownField"], ["/data/deadine", "UnknownField"]] },

  ...["restartPolicy", "manualSelector", "managedBy", "ownerReferences", "finalizers", "generateName", "namespace", "parallelism", "privileged", "hostPath",
    "hostNetwork", "hostPID", "hostIPC", "ports", "securityContext", "serviceAccountName", "automountServiceAccountToken", "nodeName", "priorityClassName",
    "initContainers", "pod", "constructor", "deadine"].map(unknown),
];
