// From the service's timestamps to milliseconds in the page.

/** Milliseconds of a timestamp with microseconds, which `Date` cuts off. */
export function fine(timestamp = '') {
  return Date.parse(timestamp) + Number(timestamp.slice(23, 26)) / 1_000;
}

/** From the click to the commit. The way to the service and back is halved, since its clock need not be the page's. */
export function committed({ sent_at, took_us, answer }, roundTripMs) {
  const tookMs = took_us / 1_000;
  const [sentMs, committedMs] = [sent_at, answer.committed_at].map(fine);
  const toCommitMs = Math.min(tookMs, Math.max(0, committedMs - sentMs));
  return Math.max(0, roundTripMs - tookMs) / 2 + (answer.duplicate ? tookMs : toCommitMs);
}
