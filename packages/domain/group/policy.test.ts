import { stepsOf, forms } from "@longshore/contract/request/request.ts";
import t from "tap";
import { notAllowed, type Policy, type Uses, usesOf, usesWith } from "./policy.ts";

const cases: readonly { readonly name: string; readonly policy?: Policy; readonly uses: Uses; readonly refused?: string }[] = [
  { name: "any image without a policy", uses: { image: "a" } },
  { name: "an image of another registry", policy: { images: ["own/*"] }, uses: { image: "else/a" }, refused: "the image else/a" },
  { name: "the images of init containers", policy: { images: ["own/*"] }, uses: { image: "own/a", initImages: ["own/b", "else/b"] }, refused: "the image else/b" },
  { name: "no Secret without a policy", uses: { secrets: ["db"] }, refused: "the Secret db" },
  { name: "a Secret that is named", policy: { secrets: ["app-*"] }, uses: { secrets: ["app-db"] } },
  { name: "one Secret of two", policy: { secrets: ["app-*"] }, uses: { secrets: ["app-db", "root"] }, refused: "the Secret root" },
  { name: "no account without a policy", uses: { serviceAccount: "workflow" }, refused: "the service account workflow" },
  { name: "an account without its token", policy: { serviceAccounts: ["workflow"] }, uses: { serviceAccount: "workflow" } },
  {
    name: "an account's token that is not allowed",
    policy: { serviceAccounts: ["workflow"] },
    uses: { serviceAccount: "workflow", token: true },
    refused: "a service account's token",
  },
  {
    name: "a token of the default account, which is an account like others",
    policy: { tokens: true },
    uses: { serviceAccount: "default", token: true },
    refused: "the service account default",
  },
  {
    name: "a token that is allowed",
    policy: { serviceAccounts: ["*"], tokens: true },
    uses: { serviceAccount: "default", token: true },
  },
  { name: "no secret values without a policy", uses: { secretValues: true }, refused: "secret values of a run's own" },
  { name: "secret values that are allowed", policy: { secretValues: true }, uses: { secretValues: true } },
  { name: "large files without a policy", uses: { anchor: true } },
  {
    name: "large files where neither volumes nor secret values are allowed",
    policy: { storageClasses: [] },
    uses: { anchor: true },
    refused: "large files, as neither volumes nor secret values",
  },
  { name: "large files where secret values are allowed", policy: { storageClasses: [], secretValues: true }, uses: { anchor: true } },
  { name: "no claim of others without a policy", uses: { claims: ["shared"] }, refused: "the claim shared" },
  { name: "a claim that is named", policy: { claims: ["shared"] }, uses: { claims: ["shared"] } },
  { name: "any storage class without a policy", uses: { storageClasses: ["", "fast"] } },
  {
    name: "a storage class that is not named",
    policy: { storageClasses: ["slow"] },
    uses: { storageClasses: ["fast"] },
    refused: "volumes of the class fast",
  },
  {
    name: "the default class where only others are named",
    policy: { storageClasses: ["slow"] },
    uses: { storageClasses: [""] },
    refused: "volumes of the cluster's default class",
  },
  {
    name: "no volumes at all",
    policy: { storageClasses: [] },
    uses: { storageClasses: ["fast"] },
    refused: "volumes of the class fast",
  },
]; // biome-ignore format: a table is read down its columns

for (const { name, policy = {}, uses, refused } of cases)
  t.test(`a policy judges ${name}`, async (t) => t.equal(notAllowed(policy, uses), refused));

t.test("a step uses the Secrets of its variables and its folders, and the default account if it wants a token", async (t) => {
  const request = forms.Simple.parse({
    image: "a",
    env: { PLAIN: "x", NODE: { field: "spec.nodeName" }, PASSWORD: { secret: "db", key: "password" } },
    secrets: [
      { name: "certificates", mount: "/etc/certificates" },
      { name: "db", mount: "/etc/db" },
    ],
    serviceAccount: { token: true },
  });
  const [step] = stepsOf(request);
  t.same(step && usesOf(step), { image: "a", secrets: ["db", "certificates"], serviceAccount: "default", token: true });
});

t.test("a step uses the images and the Secrets of its init containers", async (t) => {
  const init = [{ name: "first", image: "b", env: { TOKEN: { secret: "git", key: "token" } } }];
  const [step] = stepsOf(forms.Simple.parse({ image: "a", init, env: "${{ parameters.env }}" }));
  t.same(step && usesOf(step), { image: "a", initImages: ["b"], secrets: ["git"] });
});

t.test("a correction's Secret is judged, too, and the others stay", async (t) => {
  const correction = usesOf({ image: "b", env: { PASSWORD: { secret: "root", key: "password" } } });
  t.same(usesWith({ image: "a", secrets: ["db"] }, correction), { image: "b", secrets: ["db", "root"] });
});
