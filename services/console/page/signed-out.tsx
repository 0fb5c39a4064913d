/** The page of somebody whom the console does not know, or does not know any more, and what they can do about it. */
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { FAILURES, isFailure } from "../sign-in/failures.ts";
import type { Problem } from "./api.ts";
import { Empty, Wordmark } from "./frame.tsx";
import { here } from "./go.ts";
import { Told } from "./told.tsx";

/** Why a sign-in failed, as the address says that it leads to. */
export function failureHere(): Problem | undefined {
  const { pathname, searchParams } = here.value;
  const why = searchParams.get("why") ?? "";
  return pathname === "/signed-out" && isFailure(why) ? { status: 401, signIn: "/sign-in", ...FAILURES[why] } : undefined;
}

/** `look`: asks whether the person has signed in meanwhile, in another window. */
export function SignedOut({ problem, look }: { readonly problem: Problem; readonly look: () => void }): JSX.Element {
  const { title, detail, signIn } = problem;
  useEffect(() => {
    addEventListener("focus", look);
    return () => removeEventListener("focus", look);
  }, [look]);
  const { pathname, search, searchParams } = here.value;
  const to = pathname === "/signed-out" ? (searchParams.get("to") ?? "/") : pathname + search;
  return (
    <>
      <header><Wordmark /></header>
      <main class="enter">
        <Empty mark="padlock" title={title}>
          <p><Told>{detail}</Told></p>
          {signIn !== undefined && <div class="acts"><a class="button primary" href={`${signIn}?${new URLSearchParams({ to }).toString()}`}>Sign in</a></div>}
          <p class="aside"><small>If you sign in elsewhere in this browser, this page goes on by itself.</small></p>
        </Empty>
      </main>
    </>
  ); // biome-ignore format: as it stands on the page
}
