/** The address of a cluster's API server and our identity there, as the exchange needs them. Made by connect.ts. */

/** TLS settings. Read again from their files from time to time, so that a rotated CA or certificate is picked up. */
export interface Trust {
  /** PEM; undefined: the machine's own trust store. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly serverName: string | undefined;
  /** False only if the config says `insecureSkipVerify` in so many words. */
  readonly verify: boolean;
}

export interface Connection {
  /** "https://10.2.0.1:6443", with a path if the API lives behind one; no slash at the end. */
  readonly server: string;
  /** For a person: "https://10.2.0.1:6443 with the token of /etc/longshore/prod-a.token". Never the token. */
  readonly description: string;
  /** The namespace that a kubeconfig's context names. A group names its own. */
  readonly contextNamespace?: string | undefined;
  trust(): Promise<Trust>;
  /** The Authorization header; undefined if a client certificate speaks for us, or nothing does. */
  authorization(): Promise<string | undefined>;
  /**
   * The server answered 401, or showed a certificate that we do not trust: the next request reads the files again, however
   * young they are.
   */
  rejected(): void;
  /** The token's expiry, if the token says one. */
  expiresAtMs(): number | undefined;
  /** Both ends of the token's life: a machine rotates a token of an hour, a person one of a year. */
  tokenTimes(): { readonly issuedAtMs: number | undefined; readonly expiresAtMs: number } | undefined;
}
