/** Prepared jobs of a shop, and what became of their runs: the story that pictures and browser tests show. */
import type { ConsoleStage } from "./stage.ts";

const job = (text: string): string => `${text.trim()}\nimage: busybox\ndeadline: 30m\n`;

export const DEFINITIONS: Readonly<Record<string, string>> = {
  newsletter: job(`
name: newsletter
title: Newsletter audience refresh
description: Brings the newsletter list up to date with this week's sign-ups and opt-outs.
owner: { name: Shop team, contact: "#shop" }
parameters:
  type: object
  additionalProperties: false
  properties:
    seconds: { type: integer, default: 0, minimum: 0, maximum: 900, title: Wait before the end, description: "In seconds." }
command: [sh, -c, 'for i in 1 2 3 4 5 6; do printf "list $i of 6 \\033[32mread\\033[0m\\n"; done; sleep $0 & wait', "\${{ parameters.seconds }}"]`),
  "price-list": `
name: price-list
title: Price list for resellers
description: Makes the PDF price lists and puts them in the resellers' shared folder.
owner: { name: Pricing team, contact: pricing@example.com }
parameters:
  type: object
  additionalProperties: false
  properties:
    month: { type: string, pattern: '^\\d{4}-\\d{2}$', default: 2026-11 }
    countries: { type: string, enum: [all, DE, FR, NL], default: all }
deadline: 30m
steps:
  - name: collect-prices
    image: busybox
    command: [sh, -c, 'echo "48,112 prices read"']
  - name: render-pdf
    needs: [collect-prices]
    image: busybox
    command:
      - sh
      - -c
      - |
        for page in 94 118 142 166 189 212 240; do echo "DE $page of 380 pages"; done
        if [ "$0" = all ]; then
          echo "picture 44-1093 is 61 megapixels, kept at full size"
          echo "cannot write /out/price-list-2026-11-all-countries-resellers-and-partners.pdf: no space left on device" >&2
          exit 74
        fi
      - "\${{ parameters.countries }}"
  - name: upload
    needs: [render-pdf]
    image: busybox
    command: [sh, -c, 'echo uploaded']
`,
  "customer-export": job(`
name: customer-export
title: Monthly customer export
description: All customers with an order in the month, as a file for the marketing team.
owner: { name: Data team, contact: data@example.com }
parameters:
  type: object
  additionalProperties: false
  required: [month, sendTo]
  properties:
    month: { type: string, pattern: '^\\d{4}-\\d{2}$', description: "Orders that were placed in this month, in Berlin time." }
    format: { type: string, enum: [csv, xlsx, parquet], default: csv }
    minOrder: { type: number, minimum: 0, default: 25, title: Smallest order, description: "In euros. Smaller orders are left out." }
    sendTo: { type: string, maxLength: 200, title: Send to, description: "A file link is sent to this address." }
    countries: { type: array, items: { type: string }, title: Countries, description: "All, if none is given." }
    test: { type: boolean, default: true, title: "Only count, send nothing" }
command: [sh, -c, 'echo "8,114 customers of $0"', "\${{ parameters.month }}"]`),
  "stock-count": job(`
name: stock-count
title: Weekly stock count
description: Compares the warehouse's figures with the shop's and lists what differs.
concurrency: { limit: 1 }
parameters:
  type: object
  additionalProperties: false
  properties:
    seconds: { type: integer, default: 0, maximum: 900 }
command: [sh, -c, 'echo "12 shelves differ"; sleep $0 & wait', "\${{ parameters.seconds }}"]`),
  vouchers: job(`
name: vouchers
title: Voucher codes
description: Makes single-use codes for a campaign and emails you the list.
parameters:
  type: object
  additionalProperties: false
  properties:
    seconds: { type: integer, default: 0, maximum: 900 }
command: [sh, -c, 'echo "400 codes made"; sleep $0 & wait', "\${{ parameters.seconds }}"]`),
  "opening-hours": job(`
name: opening-hours
title: Store opening hours
description: Publishes the opening hours sheet to the website and to the maps.
command: [sh, -c, 'echo published']`),
};

/** The runs that pictures and tests name. */
export const RUNS = {
  running: "newsletter/7f3k2qmd",
  failed: "price-list/9d2hs8wk",
  succeeded: "customer-export/4kq7x2ma",
  waiting: "stock-count/8m3tz5rb",
  stopped: "vouchers/2vj6c9np",
} as const;

/** Jobs that are prepared in the cluster itself: one that can be run, and one that its group does not allow. */
async function prepareInCluster({ system }: ConsoleStage): Promise<void> {
  const prepared: Readonly<Record<string, { readonly words: object; readonly container?: object }>> = {
    "refund-report": {
      words: {
        "longshore.dev/title": "Refund report",
        "longshore.dev/description": "Lists the refunds of a month and who approved them.",
        "longshore.dev/owner": "Accounting, accounting@example.com",
        "longshore.dev/parameters": JSON.stringify({
          type: "object",
          properties: { MONTH: { type: "string", pattern: "^\\d{4}-\\d{2}$" } },
        }),
      },
      container: { env: [{ name: "MONTH", value: "2026-11" }] },
    },
    "disk-check": { words: { "longshore.dev/title": "Disk check" }, container: { securityContext: { privileged: true } } },
  };
  for (const [name, { words, container }] of Object.entries(prepared)) {
    const work = { name: "work", image: "busybox", command: ["sh", "-c", 'echo "refunds of $MONTH: 41"'], ...container };
    await system.site.ask("POST", "jobs", {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name, annotations: { "job-assistant": "enable", ...words } },
      spec: { suspend: true, template: { spec: { restartPolicy: "Never", containers: [work] } } },
    });
  }
  const isKnown = async () => (await system.ledger.definitions()).filter(({ prepared }) => prepared !== undefined).length === 2;
  await system.until("the prepared Jobs' definitions", isKnown);
}

/** Plays the story: a history for each card, then one run that goes on, one that waits, and one of each end. */
export async function playStory(stage: ConsoleStage): Promise<void> {
  const { ask, stop, deny, system } = stage;
  const asked: string[] = [];
  await prepareInCluster(stage);
  const go = async (definition: string, run: string, parameters: object, by?: string): Promise<void> => {
    asked.push(run);
    await ask(definition, run, parameters, by);
  };
  for (const n of Array(6).keys()) {
    await go("customer-export", `customer-export/h${n}`, { month: "2026-10", sendTo: "ada@example.com" }, "Maren Holt");
    await go("newsletter", `newsletter/h${n}`, {});
    await go("price-list", `price-list/h${n}`, { countries: n === 2 ? "all" : "DE" }, "Priya Nair");
  }
  await go("pocket/refund-report", "refund-report/h0", { MONTH: "2026-10" }, "Priya Nair");
  for (const n of Array(3).keys()) await go("stock-count", `stock-count/h${n}`, {});
  await system.ended(asked);
  await go("customer-export", RUNS.succeeded, { month: "2026-11", sendTo: "maren@example.com" }, "Maren Holt");
  await go("price-list", RUNS.failed, { month: "2026-11", countries: "all" }, "Priya Nair");
  await ask("vouchers", RUNS.stopped, { seconds: 600 }, "Maren Holt");
  await ask("newsletter", RUNS.running, { seconds: 900 });
  await ask("stock-count", "stock-count/1f8sk4dw", { seconds: 900 }, "Sofie Lund");
  await system.heard("run.started", RUNS.stopped);
  await stop(RUNS.stopped, "Maren Holt");
  await system.heard("run.started", "stock-count/1f8sk4dw");
  await ask("stock-count", RUNS.waiting, {}, "Maren Holt");
  await system.heard("run.started", RUNS.running);
  await system.heard("run.waiting", RUNS.waiting);
  await system.ended([RUNS.succeeded, RUNS.failed, RUNS.stopped]);
  await deny(RUNS.running, "Sofie Lund");
  await ask("customer-export", "customer-export/h-refused", { month: "November", minOrder: -5 }, "Priya Nair");
  await system.until("the refusal", () => system.received.some(({ type }) => type.endsWith("command.refused")));
}
