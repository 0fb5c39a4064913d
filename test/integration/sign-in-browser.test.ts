/**
 * Signing in as a person meets it, in a real browser at a real issuer: the way there and back, a session that ends while a form is
 * filled in, and signing out.
 *
 * The failures this prevents: a form that is filled in twice, or run twice, because a session ended; and what one person typed,
 * shown to the next one at the same screen.
 */
// needs browser
// runs at most 6 min
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import t from "tap";
import { chromium } from "../harness/browser/chromium.ts";
import { wrongWith } from "../harness/browser/judge.ts";
import { consoleStage } from "../harness/browser/stage.ts";
import { open, seenIn, visit } from "../harness/browser/visit.ts";
import { CLIENT, testIssuer } from "../harness/issuer.ts";
import { sqlAt } from "../harness/servers/sql.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const folder = await mkdtemp(path.join(tmpdir(), "longshore-sign-in-"));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const clientSecretFile = path.join(folder, "client-secret");
await writeFile(clientSecretFile, CLIENT.secret);
const listen = `127.0.0.1:${await freePort()}`;
await using issuer = await testIssuer(`http://${listen}/sign-in/back`, {
  ada: { sub: "ada", name: "Ada Lovelace", groups: ["admin"] },
  rosa: { sub: "rosa", name: "Rosa", groups: ["runner"] },
});
await using chrome = await chromium();
await using stage = await consoleStage({
  signIn: { oidc: { issuer: issuer.url, clientId: CLIENT.id, clientSecretFile, scopes: ["openid", "profile", "groups"] } },
  http: { listen, health: "127.0.0.1:0" },
});
await using person = await visit(chrome.browser);
const { page } = person;

/** Who agrees at the issuer from now on; the issuer forgets whoever did before. */
async function be(who: "ada" | "rosa" | "nobody"): Promise<void> {
  await person.context.clearCookies({ name: /^_/ });
  await page.setExtraHTTPHeaders(who === "nobody" ? {} : { "x-as": who });
}
const endSessions = () => sqlAt(stage.system.postgres.url, "delete from longshore.sign_in where kind = 'session'");
const heading = (name: string) => page.getByRole("heading", { name, exact: true }).waitFor();
const signIn = () => page.getByRole("link", { name: "Sign in", exact: true }).click();
const form = "/start?definition=vouchers";
const runs = async () => (await stage.system.ledger.list({ most: 50 })).map(({ id }) => id);

await t.test("somebody who opens a page signs in and is shown that page", async (t) => {
  await be("ada");
  await open(page, stage.url + form);
  await heading("Signed out");
  for (const width of [1280, 320] as const) {
    await seenIn(page, { width });
    t.same(await wrongWith(page, "everything"), [], `${width} wide`);
  }
  await signIn();
  await heading("Voucher codes");
  t.equal(new URL(page.url()).pathname + new URL(page.url()).search, form);
  await page.getByText("Ada Lovelace").waitFor();
});

await t.test("what was typed as the session ended is there after signing in again, and is one run", async (t) => {
  await page.getByLabel("Seconds").fill("3");
  const run = await page.evaluate<string>("history.state.run");
  await endSessions();
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await heading("Signed out");
  t.equal(new URL(page.url()).pathname, "/start", "told in place");
  await signIn();
  await heading("Voucher codes");
  t.equal(await page.getByLabel("Seconds").inputValue(), "3");
  t.same(await runs(), []);
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL(/\/run\?/);
  t.equal(new URL(page.url()).searchParams.get("id"), run, "the run of the form that was opened first");
  t.same(await runs(), [run]);
});

await t.test("a page goes on by itself once its person has signed in in another window", async (t) => {
  await open(page, stage.url + form);
  await page.getByLabel("Seconds").fill("4");
  await endSessions();
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await heading("Signed out");
  const other = await person.context.newPage();
  await open(other, await stage.link("Ada Lovelace"));
  await other.close();
  await page.evaluate("dispatchEvent(new Event('focus'))");
  await heading("Voucher codes");
  t.equal(await page.getByLabel("Seconds").inputValue(), "4");
});

await t.test("nobody else who signs in at the same screen sees what was typed", async (t) => {
  await endSessions();
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await heading("Signed out");
  await be("rosa");
  await signIn();
  await heading("Voucher codes");
  await page.getByText("Rosa").waitFor();
  t.equal(await page.getByLabel("Seconds").inputValue(), "0");
});

await t.test("who signs out is out, and whose sign-in is refused is told so and may try again", async (t) => {
  await page.getByRole("button", { name: "Sign out" }).click();
  await heading("Signed out");
  await be("nobody");
  await signIn();
  await heading("You were not signed in");
  t.same(await wrongWith(page, "everything"), []);
  await be("ada");
  await signIn();
  await heading("Catalogue");
});

t.same(person.complaints(), [], "the browser had nothing to complain of in any test");
