/** Where a cluster's API server is and how we prove who we are there, as the exchange needs it. Made by connect.ts. */

/** What TLS needs. Read again from its files from time to time, so that a rotated CA or certificate is picked up. */
export interface Trust {
  /** PEM; undefined: the machine's own trust store. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly serverName: string | undefined;
  /** False only where the config says `insecureSkipVerify` in so many words. */
  readonly verify: boolean;
}

export interface Connection {
  /** "https://10.2.0.1:6443", with a path where the API lives behind one; no slash at the end. */
  readonly server: string;
  /** For a person: "https://10.2.0.1:6443 with the token of /etc/longshore/prod-a.token". Never the token. */
  readonly description: string;
  trust(): Promise<Trust>;
  /** The Authorization header, or undefined where a client certificate or nothing speaks for us. */
  authorization(): Promise<string | undefined>;
  /** It answered 401, or showed a certificate that we do not trust: what comes next reads the files again, however young they are. */
  rejected(): void;
  /** When the token says that it expires, as far as it says so. */
  expiresAtMs(): number | undefined;
  /** Both ends of its life: a token of an hour is rotated by a machine, one of a year by a person. */
  tokenTimes(): { readonly issuedAtMs: number | undefined; readonly expiresAtMs: number } | undefined;
}
