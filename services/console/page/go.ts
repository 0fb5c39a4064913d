/** Going from page to page without loading: links are plain links, so that a new tab and a copied address work. */
import { signal } from "@preact/signals";

export const here = signal(new URL(location.href));

/** Back and Forward change the address, too. */
export const watchAddress = (): void => addEventListener("popstate", () => void (here.value = new URL(location.href)));

export function go(to: string): void {
  history.pushState(null, "", to);
  here.value = new URL(location.href);
  scrollTo(0, 0);
}

/** Takes a click on a link of ours, unless it asks for a new tab or a download. */
export function onLink(event: MouseEvent): void {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (
    link === null ||
    !isPlain ||
    event.defaultPrevented ||
    link.origin !== location.origin ||
    link.target !== "" ||
    link.hasAttribute("download")
  )
    return;
  if (link.pathname === "/sign-in") return; // leads to another server
  event.preventDefault();
  go(link.href);
}

export const runUrl = (id: string): string => `/run?${new URLSearchParams({ id }).toString()}`;
