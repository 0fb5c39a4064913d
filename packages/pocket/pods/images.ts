/**
 * A registry's answer about an image. The pocket pulls no images: it runs the given command on this machine.
 *
 * The bug this prevents: a demo that cannot show a misspelt image. A registry under ".invalid" has no images, and a text that
 * is no image name is refused, both in a kubelet's words.
 */
export type ImageVerdict =
  | { readonly kind: "present" }
  | { readonly kind: "invalid"; readonly message: string }
  | { readonly kind: "absent"; readonly message: string };

const PART = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const DIGEST = /^[a-z0-9]+:[a-f0-9]{32,}$/;
const HOST = /^[A-Za-z0-9.-]+(:\d+)?$/;

export function judgeImage(image: string): ImageVerdict {
  const [named = "", digest, ...more] = image.split("@");
  const parts = named.split("/");
  const last = parts.at(-1) ?? "";
  const [repository = "", tag] = last.split(":");
  const first = parts[0] ?? "";
  const host = parts.length > 1 && (/[.:]/.test(first) || first === "localhost") ? first : undefined;
  const path = [...parts.slice(host === undefined ? 0 : 1, -1), repository];
  const sound =
    more.length === 0 &&
    (digest === undefined || DIGEST.test(digest)) &&
    (tag === undefined || TAG.test(tag)) &&
    (host === undefined || HOST.test(host)) &&
    path.every((it) => PART.test(it)) &&
    last.split(":").length <= 2;
  if (!sound) {
    const why = path.join("/") === path.join("/").toLowerCase() ? "" : `: repository name (${path.join("/")}) must be lowercase`;
    const message = `Failed to apply default image tag ${JSON.stringify(image)}: couldn't parse image name ${JSON.stringify(image)}: invalid reference format${why}`;
    return { kind: "invalid", message };
  }
  const domain = host?.split(":")[0];
  if (domain !== "invalid" && domain?.endsWith(".invalid") !== true) return { kind: "present" };
  const full = tag === undefined && digest === undefined ? `${image}:latest` : image;
  const cause = `failed to pull and unpack image "${full}": failed to resolve reference "${full}": ${full}: not found`;
  return { kind: "absent", message: `rpc error: code = NotFound desc = ${cause}` };
}
