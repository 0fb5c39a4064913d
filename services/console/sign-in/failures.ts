/**
 * Why somebody was not signed in, in words for a page. A code stands in the page's address, and never a text that somebody could
 * put there.
 */
interface Told {
  readonly title: string;
  readonly detail: string;
}

export const FAILURES = {
  away: {
    title: "Signing in does not work just now",
    detail: "The service that signs people in cannot be reached from here. Try again in a moment.",
  },
  secret: {
    title: "Signing in does not work",
    detail:
      "The service that signs people in does not accept this console: the client or its secret is not the right one. Whoever runs the console can mend that: its settings `signIn.oidc`.",
  },
  refused: {
    title: "You were not signed in",
    detail: "You, or the service that signs people in, refused it. If that was not meant, try again.",
  },
  stale: {
    title: "You were not signed in",
    detail: "It was begun in another window, or more than 10 minutes ago. Try again.",
  },
  nobody: {
    title: "You were not signed in",
    detail:
      "The service that signs people in did not say for sure who you are. Whoever runs the console can say where to look: its settings `signIn.oidc.idClaim` and `scopes`.",
  },
  failed: {
    title: "You were not signed in",
    detail: "The answer of the service that signs people in could not be believed. Try again; the console's log says why.",
  },
} as const satisfies Readonly<Record<string, Told>>;

export type SignInFailure = keyof typeof FAILURES;

export const isFailure = (text: string): text is SignInFailure => Object.hasOwn(FAILURES, text);
