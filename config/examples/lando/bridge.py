"""Turns Bespin's messages into Longshore's commands.

A message is JSON, {"command": "start" | "restart" | "cancel", "job": 42}, in the queue BESPIN_QUEUE. The bridge asks Bespin's API
for the job and publishes the command. It acknowledges a message only when the broker has confirmed the command, so a message may
be handled twice: the run's id is made of the job's, so a second start is the same run. Nothing in a message is executed.

Variables: AMQP_URL, BESPIN_URL (https://bespin.example/api), BESPIN_TOKEN_FILE; BESPIN_QUEUE (bespin), LANDO_DEFINITION (lando).
"""
import json, logging, math, os, posixpath, signal, sys, time, urllib.error, urllib.request, uuid

import pika, pika.exceptions

QUEUE = os.environ.get("BESPIN_QUEUE", "bespin")
ANSWERS = f"{QUEUE}.answers"  # Longshore's: refusals and duplicates
DEFINITION = os.environ.get("LANDO_DEFINITION", "lando")
PAUSE_S = 5
STEPS_TO_RESTART_AT = ("S", "R", "o", "O", "P")
GIB = 1024**3
JOB_DATA, OUTPUT_DATA = "/bespin/job-data", "/bespin/output-data"
WORKFLOW, RESULTS = f"{JOB_DATA}/workflow", f"{OUTPUT_DATA}/results"
log = logging.getLogger("bridge")


class Wrong(Exception):
    """A message, or a job, of which nothing can be made: sending it again would not help."""


def api(method, path, body=None):
    with open(os.environ["BESPIN_TOKEN_FILE"]) as file:
        headers = {"Authorization": f"Token {file.read().strip()}", "Content-Type": "application/json"}
    url = f"{os.environ['BESPIN_URL'].rstrip('/')}/admin/{path}"
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def settings_of(step):
    flavor = step["flavor"]
    told = {"image": step["image_name"], "cpus": flavor["cpus"], "memory": flavor["memory"]}
    return {**told, "command": step["base_command"]} if step["base_command"] else told


def parameters_of(job):
    """What the definition takes, from what the API says of the job. The same job gives the same parameters."""
    version, files = job["workflow_version"], api("GET", f"job-file-stage-groups/{job['stage_group']}")
    share = api("GET", f"share-groups/{job['share_group']}")
    methods = version["methods_document"] and api("GET", f"workflow-methods-documents/{version['methods_document']}")
    archive = f"{WORKFLOW}/{posixpath.basename(version['url'])}"
    download = {"type": "url", "source": version["url"], "dest": archive}
    if version["type"] == "zipped":
        download["unzip_to"] = WORKFLOW
        workflow = read = f"{WORKFLOW}/{version['workflow_path']}"
    elif version["type"] == "packed":
        workflow, read = f"{archive}{version['workflow_path']}", archive
    else:
        raise Wrong(f"its workflow is of the unknown type {version['type']}")
    owner, title = job["user"]["username"].split("@")[0], f"{version['name']} v{version['version']}"
    order, metadata = f"{JOB_DATA}/job-order.json", f"{JOB_DATA}/workflow-input-files-metadata.json"
    stdout, report = f"{OUTPUT_DATA}/bespin-workflow-output.json", f"{OUTPUT_DATA}/job-{job['id']}-{owner}-resource-usage.json"
    inputs = [("DukeDS", it["file_id"], it) for it in files["dds_files"]] + [("url", it["url"], it) for it in files["url_files"]]
    staged = [{"type": kind, "source": source, "dest": f"{JOB_DATA}/{it['destination_path']}"} for kind, source, it in inputs]
    return {
        "job": job["id"],
        "steps": {it["step_type"]: settings_of(it) for it in job["job_settings"]["job_runtime_k8s"]["steps"]},
        "stage": {"items": [download, {"type": "write", "source": job["job_order"], "dest": order}, *staged]},
        "organize": {
            "bespin_job_id": job["id"],
            "destination_dir": RESULTS,
            "downloaded_workflow_path": archive,
            "workflow_to_read": read,
            "workflow_type": version["type"],
            "job_order_path": order,
            "bespin_workflow_stdout_path": stdout,
            "bespin_workflow_stderr_path": f"{OUTPUT_DATA}/bespin-workflow-output.log",
            "methods_template": methods["content"] if methods else None,
            "additional_log_files": [report],
        },
        "save": {
            "destination": f"Bespin {title} {job['name']} {job['created'][:10]}",
            "readme_file_path": "results/docs/README.md",
            "paths": [RESULTS],
            "share": {"dds_user_ids": [it["dds_id"] for it in share["users"]]},
            "activity": {
                "name": f"{job['name']} - Bespin Job {job['id']}",
                "description": f"Bespin Job {job['id']} - Workflow {title}",
                "started_on": "",
                "ended_on": "",
                "input_file_versions_json_path": metadata,
                "workflow_output_json_path": stdout,
            },
        },
        "workflow": workflow,
        "order": order,
        "usage_report": report,
        "max_ram": str(job["job_flavor"]["memory"]),
        "max_cores": str(job["job_flavor"]["cpus"]),
        "stage_gib": max(1, math.ceil(sum(it["size"] for _, _, it in inputs) / GIB)),
        "volume_gib": job["volume_size"],
    }


def fail(number, step, why):
    """What Bespin hears of a job that never became a run. Of runs, the recorder tells."""
    api("PUT", f"jobs/{number}/", {"state": "E"})
    api("POST", "job-errors/", {"job": number, "job_step": step, "content": why})


def publish(channel, key, kind, data):
    """Returns once the broker has it. `key`: of a repeated command the same, so that it has one effect."""
    event = {"specversion": "1.0", "id": key, "source": "/bespin", "type": f"dev.longshore.{kind}", "data": data}
    properties = pika.BasicProperties(content_type="application/cloudevents+json", delivery_mode=2, reply_to=ANSWERS)
    channel.basic_publish("longshore.commands", kind, json.dumps(event), properties, mandatory=True)
    log.info("%s of %s", kind, data["run"])


def run_of(job):
    return f"bespin/{job['id']}/{job['output_project']['id']}"


def start(channel, job, key):
    publish(channel, key, "run.requested", {"run": run_of(job), "definition": DEFINITION, "parameters": parameters_of(job)})


def restart(channel, job, key):
    """At the step that failed. A cancelled job has no files any more, and a job without a step has not begun."""
    at = "failed" if job["state"] != "C" and job["step"] in STEPS_TO_RESTART_AT else "start"
    restart_at(channel, job, key, at)


def restart_at(channel, job, key, at):
    publish(channel, key, "run.restart", {"run": run_of(job), "from": at, "with": {"parameters": parameters_of(job)}})


def cancel(channel, job, key):
    publish(channel, key, "run.cancel", {"run": run_of(job)})


COMMANDS = {"start": start, "restart": restart, "cancel": cancel}


def commanded(channel, properties, message):
    name, number = message["command"], message["job"]
    if name not in COMMANDS or type(number) is not int:
        raise Wrong("a message is a command (start, restart or cancel) and the number of a job")
    job = api("GET", f"jobs/{number}/")
    try:
        COMMANDS[name](channel, job, f"{name}/{properties.message_id or uuid.uuid4()}")
    except (Wrong, KeyError, TypeError) as error:
        log.error("job %s: %r", number, error)
        if job["state"] != "R":  # a run that is healthy has its own story
            fail(number, job["step"], f"Longshore cannot run this job: {error!r}")


def answered(channel, _properties, event):
    """A refusal. A duplicate, or a command that came too late, is no fault of the job's."""
    data = event["data"]
    name, run = data["command"].split("/")[0], data.get("run", "").split("/")
    if event["type"] != "dev.longshore.command.refused" or len(run) != 3:
        return
    codes = {it["code"] for it in data["problems"]}
    log.warning("%s of job %s was refused: %s", name, run[1], data["problems"])
    job = api("GET", f"jobs/{run[1]}/")
    if name == "restart" and "RunUnknown" in codes:  # it ran under Lando
        start(channel, job, f"start/{data['command']}")
    elif name == "restart" and "VolumesGone" in codes:
        restart_at(channel, job, f"again/{data['command']}", "start")
    elif name != "cancel" and not codes & {"IdempotencyConflict", "NotEnded", "AlreadyEnded"}:
        fail(job["id"], job["step"], "\n".join(f"{it['path']}: {it['message']}" for it in data["problems"]))


def settled(work):
    """Acknowledges a message when its work is done."""

    def on_message(channel, method, properties, body):
        try:
            work(channel, properties, json.loads(body))
        except (Wrong, KeyError, TypeError, ValueError, urllib.error.HTTPError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code not in (400, 404, 409, 422):
                return again(channel, method, error)
            log.error("a message is dropped (or goes to the queue's dead-letter exchange): %r", error)
            channel.basic_reject(method.delivery_tag, requeue=False)
        except OSError as error:  # no answer from the API
            again(channel, method, error)
        else:
            channel.basic_ack(method.delivery_tag)

    return on_message


def again(channel, method, error):
    log.warning("Bespin's API does not answer as it should, a message waits: %r", error)
    channel.connection.sleep(PAUSE_S)
    channel.basic_nack(method.delivery_tag, requeue=True)


def serve():
    channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)
    for queue, work in ((QUEUE, commanded), (ANSWERS, answered)):
        channel.queue_declare(queue, durable=True)
        channel.basic_consume(queue, settled(work))
    log.info("waits for messages in %s", QUEUE)
    channel.start_consuming()


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            serve()
        except (pika.exceptions.AMQPError, OSError) as error:
            log.warning("no broker, or it takes no command yet; again in %s s: %r", PAUSE_S, error)
            time.sleep(PAUSE_S)
