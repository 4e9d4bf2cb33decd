// The nodes of a cluster: which of them hear everything, how old what they show may be, and which are gone. Without a cluster
// nothing of it is shown.

import { find, make, put } from '../shared/dom.js';
import { field, table } from './tables.js';
import { duration, moment, number, text } from '../shared/text.js';

/** A node that is gone is named for so long, unless it comes back. */
const GONE_MS = 15 * 60_000;
const GONE_MAX = 20;
/** A node that was not heard for so long is silent, whatever it said before. */
const SILENT_MS = 2_000;
/** From there on clocks are a finding. */
const SKEW_MS = 250;

/** Whether a process is one of several, or waits for others. */
export const isCluster = (cluster) => Boolean(cluster) && (cluster.nodes.length > 0 || cluster.connected || !cluster.covered);

export class Nodes {
  /** When each was last seen by this node or in its history, Unix ms, by its name. */
  #seen = new Map();

  /** Takes snapshots in, the service's history or the latest. */
  remember(snapshots) {
    for (const { at, cluster } of snapshots) {
      for (const { node } of cluster?.nodes ?? []) this.#seen.set(node, Math.max(this.#seen.get(node) ?? 0, Date.parse(at)));
    }
  }

  write(snapshot) {
    const { at, cluster, registry } = snapshot;
    find('nodes').hidden = !isCluster(cluster);
    if (find('nodes').hidden) return;
    const now = Date.parse(at);
    // A node that hears everything has heard each of the others.
    const isHeard = ({ has_bus: hasBus, heard_at: at }) => hasBus && at !== null && (cluster.covered || now - Date.parse(at) < SILENT_MS);
    const others = cluster.nodes.map((node, index) => other(node, `cluster.nodes.${index}`, { now, isHeard: isHeard(node) }));
    const all = [own(cluster, registry), ...others];
    const gone = this.#gone(cluster, now);
    const heard = all.filter(({ isCovered }) => isCovered).length;
    const summary = make('p', 'hint');
    summary.append(told(heard < all.length ? 'is-bad' : '', text('nodesSummary', all.length, heard)), ' ');
    if (gone.length) summary.append(told('is-bad', text('goneLately', gone.length)), ' ');
    summary.append(text(cluster.first ? 'auditHere' : 'auditElsewhere'));
    put(find('nodes-summary'), summary);
    table(find('node-list'), HEADS, [...all.map(({ row }) => row), ...gone]);
  }

  #gone(cluster, now) {
    const here = new Set([cluster.node, ...cluster.nodes.map(({ node }) => node)]);
    for (const [node, at] of this.#seen) if (now - at > GONE_MS) this.#seen.delete(node);
    const gone = [...this.#seen].filter(([node]) => !here.has(node)).slice(-GONE_MAX);
    return gone.map(([node, at]) => [node, told('is-bad', text('goneSince'), ' ', moment(new Date(at).toISOString()))]);
  }
}

const HEADS = ['node', 'hearsAll', 'shownBalances', 'sessions', 'missed', 'clockSkew', 'heard', 'build'];

const told = (className, ...parts) => {
  const whole = make('span', className);
  whole.append(...parts);
  return whole;
};

function own(cluster, registry) {
  const { node, covered, connected } = cluster;
  const name = told('', field('cluster.node', node), ` (${text('thisNode')})`);
  const hears = covered ? told('is-good', text('yes')) : told('is-bad', text(connected ? 'no' : 'noBus'));
  const row = [name, hears, balances(cluster, registry.sessions), number(registry.sessions), null, skew(cluster), null, null];
  return { isCovered: covered, row };
}

function other(node, path, { now, isHeard }) {
  const { condition, heard_at: heardAt, gaps, build } = node;
  const isCovered = isHeard && (condition?.covered ?? true);
  const row = [
    field(`${path}.node`, node.node),
    hears(node, isHeard),
    isHeard && condition ? balances(condition, node.sessions) : null,
    field(`${path}.sessions`, number(node.sessions)),
    field(`${path}.gaps`, number(gaps)),
    isHeard ? skew(condition) : null,
    heardAt === null ? null : text('ago', duration(Math.max(now - Date.parse(heardAt), 0))),
    build,
  ];
  return { isCovered, row };
}

function hears({ has_bus: hasBus, heard_at: heardAt, condition }, isHeard) {
  if (!hasBus) return told('is-bad', text('withoutBus'));
  if (!isHeard) return heardAt === null ? told('is-bad', text('notHeard')) : told('is-bad', text('silentSince'), ' ', moment(heardAt));
  // An older version does not tell.
  if (!condition) return null;
  return condition.covered ? told('is-good', text('yes')) : told('is-bad', text('no'));
}

/** How old a balance may be that a page of this node shows. */
function balances({ covered, verified_age_ms: age_ms }, sessions) {
  if (sessions === 0) return text('noPages');
  return covered ? text('current', duration(age_ms)) : told('is-bad', text('upToOld', duration(age_ms)));
}

function skew(condition) {
  if (!condition) return null;
  const { clock_skew_ms: ms } = condition;
  const words = `${ms > 0 ? '+' : ms < 0 ? '\u2212' : ''}${duration(Math.abs(ms))}`;
  return told(Math.abs(ms) > SKEW_MS ? 'is-bad' : '', words);
}

/** The nodes that were not heard of, with a comma between. */
export const names = (nodes) => nodes.map(({ node }) => node).join(', ');

/** What each node has of one user, the asked one first; and those that did not answer. */
export function writeUserNodes({ nodes, not_heard_of: missing }) {
  const rows = nodes.map((one) => [
    one.node,
    one.resident ? text(one.stale ? 'stale' : 'yes') : text('no'),
    text('sessionCount', one.sessions_attached),
    one.version,
    one.pending ? text('changeCount', one.pending.entries) : null,
    moment(one.verified_at),
    one.covered ? text('yes') : told('is-bad', text('no')),
  ]);
  const silent = missing.map(({ node }) => [node, told('is-bad', text('didNotAnswer'))]);
  table(find('user-nodes'), ['node', 'inMemory', 'sessions', 'version', 'waiting', 'verifiedAt', 'hearsAll'], [...rows, ...silent], 'noNodeHasIt');
}
