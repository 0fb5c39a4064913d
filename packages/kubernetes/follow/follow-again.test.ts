/** A follower must list again if versions have expired, an answer is no list, or the store was set back. */
import t from "tap";
import { added, list, store, type Story, tells } from "../testing/followed.ts";
import { status } from "../testing/scripted.ts";

const stories: readonly Story[] = [
  {
    name: "begins the listing anew, and says so, when the next page's token has expired",
    plays: [
      list(["a"], "10", "t1"),
      { answer: 410, body: status(410, "Expired") },
      list(["a", "b"], "20"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "listed a", "listing pageExpired", "listed a", "listed b", "synced 20"],
    watchedFrom: ["20"],
  },
  {
    name: "lists again when the watch is refused with 410",
    plays: [list([], "10"), { refuses: 410, body: status(410, "Expired") }, list(["a"], "30"), { lines: [], then: "silent" }],
    want: ["listing start", "synced 10", "broken expired", "listing expired", "listed a", "synced 30"],
    watchedFrom: ["10", "30"],
  },
  {
    name: "lists again when 410 comes within the watch",
    plays: [
      list([], "10"),
      { lines: [added("a", "11"), { type: "ERROR", object: status(410, "Expired") }, added("never", "12")], then: "silent" },
      list(["a"], "40"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "seen a", "broken expired", "listing expired", "listed a", "synced 40"],
    watchedFrom: ["10", "40"],
  },
  {
    name: "lists again when the watch reports an error that is not 410",
    plays: [
      list([], "10"),
      { lines: [{ type: "ERROR", object: status(500, "InternalError") }], then: "silent" },
      list([], "41"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "broken serverError", "listing serverError", "synced 41"],
  },
  {
    name: "lists again after a line that is no JSON, and believes nothing behind it",
    plays: [
      list([], "10"),
      { lines: [added("a", "11"), "<html>proxy</html>", added("never", "12")], then: "silent" },
      list(["a"], "50"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "seen a", "broken garbage", "listing garbage", "listed a", "synced 50"],
  },
  {
    name: "lists again after JSON that is no event",
    plays: [
      list([], "10"),
      { lines: [{ type: "ADDED", object: { metadata: {} } }], then: "silent" },
      list([], "51"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 10", "broken garbage", "listing garbage", "synced 51"],
  },
  {
    name: "lists again when the server that came back is behind what it told us (an etcd restored from a snapshot)",
    plays: [
      list(["a", "b"], "900"),
      { lines: [added("c", "1001")], then: "breaks" },
      { fails: "unsent" },
      store("999"),
      list(["a"], "999"),
      { lines: [], then: "silent" },
    ],
    want: [
      "listing start",
      "listed a",
      "listed b",
      "synced 900",
      "seen c",
      "broken cut",
      "broken unreachable",
      "broken ahead",
      "listing ahead",
      "listed a",
      "synced 999",
    ],
    watchedFrom: ["900", "999"],
  },
  {
    name: "lists again when the server is older than what it told us before (a restored etcd)",
    plays: [
      list([], "900"),
      {
        refuses: 504,
        body: status(504, "Timeout", {
          details: { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }] },
        }),
      },
      list(["a"], "100"),
      { lines: [], then: "silent" },
    ],
    want: ["listing start", "synced 900", "broken ahead", "listing ahead", "listed a", "synced 100"],
    watchedFrom: ["900", "100"],
  },
];

for (const story of stories) t.test(story.name, (t) => tells(t, story));
