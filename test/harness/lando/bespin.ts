/**
 * A stand-in of Bespin's API, with the few addresses that Lando used: it knows jobs, and writes down every change that it is told.
 *
 * The failure this prevents: rules and a bridge that fit our own idea of that API. Each answer has the fields that Lando read.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export const BESPIN_TOKEN = "only-for-bespin";
export const GIB = 2 ** 30;

export const STEP_TYPES = ["stage_data", "run_workflow", "organize_output", "save_output", "record_output_project"] as const;
export type StepType = (typeof STEP_TYPES)[number];

export interface JobOptions {
  readonly id: number;
  readonly image: string;
  readonly commands: Readonly<Record<string, readonly string[]>>;
  readonly workflow?: "zipped" | "packed" | "tar";
  readonly username?: string;
}

interface Job {
  readonly options: JobOptions;
  state: string;
  step: string;
}

/** A change that was asked for: "state R", "step V", "project 1042 …", "error R …". */
export interface Told {
  readonly job: number;
  readonly words: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Bespin extends AsyncDisposable {
  /** Ends without a slash. */
  readonly url: string;
  readonly told: readonly Told[];
  add(job: JobOptions): void;
  /** As if the API had been told so before. */
  set(job: number, now: { readonly state: string; readonly step: string }): void;
  /** The changes of a job, in the order in which they came. */
  wordsOf(job: number): readonly string[];
  stateOf(job: number): string;
  /** Called for each change before it is answered. */
  between: (told: Told) => Promise<void>;
  /** While it is set, each request gets this status and changes nothing. */
  fails: number | undefined;
}

export const projectOf = (job: number): number => 1_000 + job;

export async function standInBespin(): Promise<Bespin> {
  const jobs = new Map<number, Job>();
  const told: Told[] = [];
  const server = createServer((request, response) => {
    void textOf(request).then(async (text) => {
      const answer = (status: number, body: unknown = {}): void =>
        void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      if (request.headers.authorization !== `Token ${BESPIN_TOKEN}`) return answer(401);
      if (bespin.fails !== undefined) return answer(bespin.fails);
      if (request.method === "GET") {
        const found = read(request.url ?? "", jobs);
        return found === undefined ? answer(404) : answer(200, found);
      }
      const body = JSON.parse(text) as Told["body"];
      const change = changeOf(`${request.method} ${request.url}`, body, jobs);
      if (change === undefined) return answer(404);
      told.push(change);
      await bespin.between(change);
      answer(200, body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bespin: Bespin = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`,
    told,
    add: (options) => void jobs.set(options.id, { options, state: "A", step: "" }),
    set: (id, now) => void Object.assign(jobs.get(id) ?? {}, now),
    wordsOf: (job) => told.filter((it) => it.job === job).map(({ words }) => words),
    stateOf: (job) => jobs.get(job)?.state ?? "",
    between: async () => undefined,
    fails: undefined,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
  return bespin;
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

function changeOf(asked: string, body: Told["body"], jobs: Map<number, Job>): Told | undefined {
  const [, what = "", id] =
    /^(PUT \/api\/admin\/jobs|PUT \/api\/admin\/job-dds-output-projects|POST \/api\/admin\/job-errors)\/(?:(\d+)\/)?$/.exec(
      asked,
    ) ?? [];
  switch (what) {
    case "PUT /api/admin/jobs": {
      const job = jobs.get(Number(id));
      if (job === undefined) return undefined;
      for (const field of ["state", "step"] as const) if (field in body) job[field] = String(body[field]);
      const words = Object.entries(body).map(([field, value]) => `${field} ${value === "" ? "''" : String(value)}`);
      return { job: Number(id), words: words.join(", "), body };
    }
    case "PUT /api/admin/job-dds-output-projects":
      return { job: Number(body["job"]), words: `project ${id}`, body };
    case "POST /api/admin/job-errors":
      return { job: Number(body["job"]), words: `error ${String(body["job_step"])}`, body };
    default:
      return undefined;
  }
}

function read(url: string, jobs: Map<number, Job>): unknown {
  const [, what = "", id] = /^\/api\/admin\/([a-z-]+)\/(\d+)\/?$/.exec(url) ?? [];
  const job = jobs.get(Number(id));
  switch (what) {
    case "jobs":
      return job && detailsOf(job);
    case "job-file-stage-groups":
      return {
        dds_files: [{ file_id: "dds-1", destination_path: "reads.fastq", dds_user_credentials: 1, size: 3 * GIB }],
        url_files: [{ url: "https://data.example/genome.fa", destination_path: "genome.fa", size: GIB / 2 }],
      };
    case "share-groups":
      return { users: [{ dds_id: "user-1" }, { dds_id: "user-2" }] };
    case "workflow-methods-documents":
      return { content: "# Methods" };
    default:
      return undefined;
  }
}

function detailsOf({
  options: { id, image, commands, workflow = "zipped", username = "Ada_L@example.org" },
  state,
  step,
}: Job): object {
  return {
    id,
    user: { id: 7, username },
    created: "2026-01-31T12:00:00Z",
    name: `job ${id}`,
    state,
    step,
    job_order: '{"threads": 2, "cost": "$(PRICE)"}',
    job_flavor: { name: "m1", cpus: 2, memory: "4Gi" },
    vm_instance_name: "",
    vm_volume_name: "",
    vm_volume_mounts: "{}",
    stage_group: id,
    share_group: 5,
    volume_size: 20,
    output_project: { id: projectOf(id), dds_user_credentials: 1 },
    workflow_version: {
      url: "https://workflows.example/exome.zip",
      type: workflow,
      name: "exome",
      version: 3,
      workflow_path: workflow === "zipped" ? "exome/main.cwl" : "#main",
      methods_document: 9,
    },
    job_settings: {
      job_runtime_openstack: null,
      job_runtime_k8s: {
        steps: STEP_TYPES.map((type) => ({
          step_type: type,
          image_name: image,
          base_command: commands[type],
          flavor: { name: "small", cpus: 1, memory: "64Mi" },
        })),
      },
    },
  };
}
