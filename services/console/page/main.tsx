/** The page: which part of it an address shows, and who is signed in. */
import { render, type ComponentType } from "preact";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, post, type Problem, Refusal } from "./api.ts";
import { Audit } from "./audit.tsx";
import { Catalogue } from "./catalogue.tsx";
import { Empty, Frame, type Me, Trouble } from "./frame.tsx";
import { go, here, onLink, watchAddress } from "./go.ts";
import { Groups } from "./groups.tsx";
import { Health } from "./health.tsx";
import { Run } from "./run.tsx";
import { Runs } from "./runs.tsx";
import { Start } from "./start.tsx";

const PAGES: Readonly<Record<string, { readonly title: string; readonly page: ComponentType }>> = {
  "/": { title: "Catalogue", page: Catalogue },
  "/start": { title: "Run a job", page: Start },
  "/run": { title: "Run", page: Run },
  "/runs": { title: "Runs", page: Runs },
  "/groups": { title: "Groups", page: Groups },
  "/health": { title: "Health", page: Health },
  "/audit": { title: "Who did what", page: Audit },
};

function Page(): JSX.Element {
  const [me, setMe] = useState<Me>();
  const [problem, setProblem] = useState<Problem>();
  const at = here.value;
  useEffect(() => {
    const token = location.hash.slice(1);
    const entering = location.pathname === "/enter";
    // The token has been used with this: it must not stay in the history, where the next person at the screen finds it.
    if (entering) history.replaceState(null, "", "/");
    (entering ? post<Me>("/v1/enter", { token }) : ask<Me>("/v1/me")).then(
      (found) => {
        setMe(found);
        if (entering) go("/");
      },
      (error: unknown) => {
        if (error instanceof Refusal) setProblem(error.problem);
      },
    );
  }, []);
  const { title, page: Shown } = PAGES[at.pathname] ?? { title: "Not here", page: NotHere };
  useEffect(() => void (document.title = `${title} – Longshore`), [at.href]);
  const shown = at.pathname + (at.searchParams.get("id") ?? "") + (at.searchParams.get("definition") ?? "");
  const before = useRef(shown);
  useEffect(() => {
    // The link that was followed is gone: without this the keyboard would start over at the top of the page.
    if (before.current !== shown) document.getElementById("content")?.focus();
    before.current = shown;
  }, [shown]);
  if (problem !== undefined) return <main class="enter"><Trouble problem={problem} /></main>; // biome-ignore format: one line
  if (me === undefined) return <></>;
  return <Frame me={me}><Shown key={shown} /></Frame>; // biome-ignore format: one line
}

const NotHere = (): JSX.Element => <Empty mark="gone" title="Nothing is at this address"><p><a href="/">To the catalogue</a></p></Empty>; // biome-ignore format: one line

watchAddress();
document.addEventListener("click", onLink);
const root = document.getElementById("page");
if (root !== null) render(<Page />, root);
