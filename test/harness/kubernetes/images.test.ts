/** Other programs can read the formats that we write by hand: an image's digests, its archive, a client certificate. */
import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { gunzipSync } from "node:zlib";
import t from "tap";
import { archive, busyboxImage, pauseImage } from "./images.ts";
import { clientCertificate } from "./node-certificate.ts";

const sha256 = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const image = await busyboxImage(import.meta.filename); // any file may be the program here

t.test("an image's manifest, configuration and layer name each other by their content", async (t) => {
  const manifest = JSON.parse(image.manifest.bytes.toString()) as { config: object; layers: object[] };
  t.match(manifest.config, { digest: sha256(image.config.bytes), size: image.config.bytes.length });
  t.match(manifest.layers, [{ digest: sha256(image.layer.bytes), size: image.layer.bytes.length }]);
  const config = JSON.parse(image.config.bytes.toString()) as object;
  t.match(config, { rootfs: { diff_ids: [sha256(gunzipSync(image.layer.bytes))] } });
});

t.test("the same program makes the same image, and another command another one", async (t) => {
  t.equal((await busyboxImage(import.meta.filename)).manifest.digest, image.manifest.digest);
  t.not((await pauseImage(import.meta.filename)).manifest.digest, image.manifest.digest);
});

t.test("tar reads the archive and the layer", async (t) => {
  const list = (input: Buffer): string => execFileSync("tar", ["-tvf", "-"], { input, encoding: "utf8" });
  t.match(list(archive(image)), new RegExp(`oci-layout\n[^]*index.json\n[^]*blobs/sha256/${image.layer.digest.slice(7)}\n`));
  const layer = list(gunzipSync(image.layer.bytes));
  t.match(layer, /-rwxr-xr-x .* bin\/busybox\n/);
  t.match(layer, /bin\/sh link to bin\/busybox/);
});

t.test("a client certificate is signed by its own key, for clients, from before now", async (t) => {
  const now = new Date("2026-01-31T12:00:00Z");
  const { certificate, key } = clientCertificate("kube-apiserver", now);
  const read = new X509Certificate(certificate);
  t.equal(read.subject, "CN=kube-apiserver");
  t.ok(read.verify(read.publicKey), "signed by itself");
  t.ok(read.checkPrivateKey(createPrivateKey(key)), "the key is its own");
  t.same(read.keyUsage, ["1.3.6.1.5.5.7.3.2"]);
  t.same([read.validFromDate, read.validToDate], [new Date("2026-01-31T11:00:00Z"), new Date("2026-03-02T12:00:00Z")]);
});
