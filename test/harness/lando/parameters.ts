/**
 * The parameters of a definition that belong to a job of the stand-in API, by Lando's rules for paths and files.
 *
 * The failure this prevents: a bridge whose parameters are compared with what the bridge itself makes.
 */
import { GIB, type JobOptions, STEP_TYPES } from "./bespin.ts";

export function parametersOf(id: number, { image, commands }: Pick<JobOptions, "image" | "commands">) {
  const jobData = "/bespin/job-data";
  return {
    job: id,
    steps: Object.fromEntries(STEP_TYPES.map((step) => [step, { image, command: commands[step], cpus: 1, memory: "64Mi" }])),
    stage: {
      items: [
        {
          type: "url",
          source: "https://workflows.example/exome.zip",
          dest: `${jobData}/workflow/exome.zip`,
          unzip_to: `${jobData}/workflow`,
        },
        { type: "write", source: '{"threads": 2, "cost": "$(PRICE)"}', dest: `${jobData}/job-order.json` },
        { type: "DukeDS", source: "dds-1", dest: `${jobData}/reads.fastq` },
        { type: "url", source: "https://data.example/genome.fa", dest: `${jobData}/genome.fa` },
      ],
    },
    organize: {
      bespin_job_id: id,
      destination_dir: "/bespin/output-data/results",
      downloaded_workflow_path: `${jobData}/workflow/exome.zip`,
      workflow_to_read: `${jobData}/workflow/exome/main.cwl`,
      workflow_type: "zipped",
      job_order_path: `${jobData}/job-order.json`,
      bespin_workflow_stdout_path: "/bespin/output-data/bespin-workflow-output.json",
      bespin_workflow_stderr_path: "/bespin/output-data/bespin-workflow-output.log",
      methods_template: "# Methods",
      additional_log_files: [`/bespin/output-data/job-${id}-Ada_L-resource-usage.json`],
    },
    save: {
      destination: `Bespin exome v3 job ${id} 2026-01-31`,
      readme_file_path: "results/docs/README.md",
      paths: ["/bespin/output-data/results"],
      share: { dds_user_ids: ["user-1", "user-2"] },
      activity: {
        name: `job ${id} - Bespin Job ${id}`,
        description: `Bespin Job ${id} - Workflow exome v3`,
        started_on: "",
        ended_on: "",
        input_file_versions_json_path: `${jobData}/workflow-input-files-metadata.json`,
        workflow_output_json_path: "/bespin/output-data/bespin-workflow-output.json",
      },
    },
    workflow: `${jobData}/workflow/exome/main.cwl`,
    order: `${jobData}/job-order.json`,
    usage_report: `/bespin/output-data/job-${id}-Ada_L-resource-usage.json`,
    max_ram: "4Gi",
    max_cores: "2",
    stage_gib: Math.ceil((3 * GIB + GIB / 2) / GIB),
    volume_gib: 20,
  };
}
