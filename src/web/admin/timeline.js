// What happened to a user: points for commits, pushes and displays, and which belong together. Knows no page.

const ROWS = ['entry', 'push', 'displayed'];
export const EVENTS_MAX = 200;

/** The latest events, newest first, with those that came since; none twice. */
export function joined(known, fresh) {
  const seqs = new Set(fresh.map(({ seq }) => seq));
  const all = [...fresh, ...known.filter(({ seq }) => !seqs.has(seq))];
  return all.sort((a, b) => b.seq - a.seq).slice(0, EVENTS_MAX);
}

/** Of events in any order: points `[seconds, row]`, and links from each commit to its push, and from it to its display. */
export function arrange(events) {
  const inOrder = events.toSorted((a, b) => a.seq - b.seq);
  const at = (event) => Date.parse(event.at) / 1_000;
  const place = (event) => [at(event), ROWS.indexOf(event.what)];
  const of = (what) => inOrder.filter((event) => event.what === what);
  const pushes = of('push');
  const links = [];
  for (const entry of of('entry')) {
    // What a snapshot told of already is in no push.
    const tells = (push) => push.version >= entry.version && entry.version > push.version - push.entries;
    const push = pushes.find((one) => tells(one) && one.seq > entry.seq);
    if (push) links.push([place(entry), place(push)]);
  }
  for (const display of of('displayed')) {
    const push = pushes.findLast((one) => one.version === display.version && one.seq < display.seq);
    if (push) links.push([place(push), place(display)]);
  }
  return { points: inOrder.map(place), links };
}
