import { openMetrics } from "@longshore/runtime/metrics.ts";
import t from "tap";
import { virtualClock } from "../testing/virtual-clock.ts";
import { tellTokens } from "./token-gauge.ts";

t.test(
  "the seconds that a token is still good are told, and nothing of a token without an end or a group that went",
  async (t) => {
    const clock = virtualClock({ startMs: 1_000_000 });
    const metrics = openMetrics("test", "0");
    const told = async () => (await metrics.text()).match(/^longshore_token_seconds_left\{.*$/gm) ?? [];
    const times = { issuedAtMs: undefined, expiresAtMs: 1_060_000 };
    tellTokens([{ name: "a", times }, { name: "opaque", times: undefined }], { metrics, clock }); // biome-ignore format: one line
    t.same(await told(), ['longshore_token_seconds_left{group="a"} 60']);
    await clock.sleep(90_000);
    tellTokens([{ name: "a", times }], { metrics, clock });
    t.same(await told(), ['longshore_token_seconds_left{group="a"} -30'], "it has expired");
    tellTokens([], { metrics, clock });
    t.same(await told(), []);
  },
);
