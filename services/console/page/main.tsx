/** The page: which part of it an address shows, and who is signed in. */
import { render, type ComponentType } from "preact";
import type { JSX } from "preact";
import { effect } from "@preact/signals";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask, post, type Problem, Refusal, signedOut } from "./api.ts";
import { Audit } from "./audit.tsx";
import { Catalogue } from "./catalogue.tsx";
import type { Me } from "../answers.ts";
import { who } from "./who.ts";
import { Empty, Frame, Trouble } from "./frame.tsx";
import { go, here, onLink, watchAddress } from "./go.ts";
import { Groups } from "./groups.tsx";
import { Health } from "./health.tsx";
import { cameBack, keepForm, keepWhileAway } from "./kept-form.ts";
import { Numbers } from "./numbers.tsx";
import { Refused } from "./refused.tsx";
import { Run } from "./run.tsx";
import { Runs } from "./runs.tsx";
import { failureHere, SignedOut } from "./signed-out.tsx";
import { Start } from "./start.tsx";

const PAGES: Readonly<Record<string, { readonly title: string; readonly page: ComponentType }>> = {
  "/": { title: "Catalogue", page: Catalogue },
  "/start": { title: "Run a job", page: Start },
  "/run": { title: "Run", page: Run },
  "/runs": { title: "Runs", page: Runs },
  "/groups": { title: "Groups", page: Groups },
  "/health": { title: "Health", page: Health },
  "/numbers": { title: "Numbers", page: Numbers },
  "/refused": { title: "Refused requests", page: Refused },
  "/audit": { title: "Who did what", page: Audit },
};

/** Shows the page again on which this person was when their session ended, as they left it. */
function goOn(name: string): void {
  const away = cameBack(name);
  if (away !== undefined) {
    if (away.href !== location.href) go(away.href);
    if (away.form !== undefined) keepForm(away.form);
  } else if (location.pathname === "/signed-out") go("/");
}

function Page(): JSX.Element {
  const [me, setMe] = useState<Me>();
  const [problem, setProblem] = useState<Problem>();
  const at = here.value;
  const enter = useCallback((asking: Promise<Me>) => {
    asking.then(
      (found) => {
        goOn(found.name);
        setMe(found);
        who.value = found;
        signedOut.value = undefined;
      },
      (error: unknown) => {
        if (error instanceof Refusal && error.problem.status !== 401) setProblem(error.problem);
      },
    );
  }, []);
  const look = useCallback(() => enter(ask<Me>("/v1/me")), []);
  useEffect(() => {
    const failure = failureHere();
    if (failure !== undefined) return void (signedOut.value = failure);
    if (location.pathname !== "/enter") return look();
    const token = location.hash.slice(1);
    // The token has been used with this: it must not stay in the history, where the next person at the screen finds it.
    history.replaceState(null, "", "/");
    here.value = new URL(location.href);
    enter(post<Me>("/v1/enter", { token }));
  }, []);
  // At once, while what was typed still stands in the form.
  useEffect(() => effect(() => { if (signedOut.value !== undefined && me !== undefined) keepWhileAway(me.name); }), [me]); // biome-ignore format: one line
  const { title, page: Shown } = PAGES[at.pathname] ?? { title: "Not here", page: NotHere };
  useEffect(() => void (document.title = `${title} – Longshore`), [at.href]);
  const shown = at.pathname + (at.searchParams.get("id") ?? "") + (at.searchParams.get("definition") ?? "");
  const before = useRef(shown);
  useEffect(() => {
    // The link that was followed is gone: without this the keyboard would start over at the top of the page.
    if (before.current !== shown) document.getElementById("content")?.focus();
    before.current = shown;
  }, [shown]);
  if (signedOut.value !== undefined) return <SignedOut problem={signedOut.value} look={look} />;
  if (problem !== undefined) return <main class="enter"><Trouble problem={problem} /></main>; // biome-ignore format: one line
  if (me === undefined) return <></>;
  return <Frame me={me}><Shown key={shown} /></Frame>; // biome-ignore format: one line
}

const NotHere = (): JSX.Element => <Empty mark="gone" title="Nothing is at this address"><p><a href="/">To the catalogue</a></p></Empty>; // biome-ignore format: one line

watchAddress();
document.addEventListener("click", onLink);
const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
