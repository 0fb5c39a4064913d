/**
 * The time that one create may take, from its claim to its answer in the ledger, and where it is spent.
 *
 *   claimed ──▶ its turn ──▶ the API server works ──▶ answered ──▶ a look if the name was taken, recorded ──▶ the claim runs out
 *               │ turnMs     │ serverMs            │
 *               └──────────── postMs ──────────────┘
 *   └───────────────────────────────────────── claimMs ───────────────────────────────────────────────────────┘
 *
 * The bug this prevents: a POST that outlives its claim because somebody gave one part more time. Another launcher would then create
 * the same Job beside it, and each answer that comes late leaves a name occupied until its fence has passed.
 */
export const CLAIM_BUDGET = {
  /** Others notice a launcher's death only after this time, so it is short. The setting `pace.claim` changes it. */
  claimMs: 20_000,
  /** Leaves 8 s of the claim: for two reads if the name was taken, and for a ledger that is slow. */
  postMs: 12_000,
  /** A create that waited longer would have too little time left: its caller is told that nothing was sent, and comes again. */
  turnMs: 5_000,
  /**
   * The API server's own time limit (`?timeout=`), which is its default for one admission webhook. If the turn took more than 2
   * s, our `postMs` ends first, and the create counts as unanswered.
   */
  serverMs: 10_000,
} as const;
