/**
 * Where a person goes on after signing in.
 *
 * The failure this prevents: an open redirect. A link of ours that signs a person in and then shows them somebody else's page looks
 * like ours to the end, and that page asks for their password.
 */

/** A cookie holds it while the person is away. */
const CHARACTERS_MOST = 2_000;

/** Returns the path, if it is the address of one of these pages on this console; else "/". */
export function localPath(text: string | undefined, pages: readonly string[]): string {
  const here = "http://here.invalid";
  if (text === undefined || text.length > CHARACTERS_MOST || !URL.canParse(text, here)) return "/";
  const { origin, pathname, search, hash } = new URL(text, here);
  return origin === here && pages.includes(pathname) ? pathname + search + hash : "/";
}
