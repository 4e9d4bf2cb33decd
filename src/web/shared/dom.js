// Elements, made without markup in strings. The demo page and the dashboard share this file.

export const find = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** One of the pictures in the page. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** Resolves with the time when what is in the document now has been painted. */
export const painted = () =>
  new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => resolve(performance.now()), 0)));

/** A colour of the style sheet, in the current scheme. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Writes a text where another one stands. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Replaces the children of `host` by the nodes that are given, and touches only what differs: selection, focus and scroll
 * position survive, though it is called every second. The given nodes must have no listeners: they may only be copied from.
 */
export function put(host, ...fresh) {
  const old = [...host.childNodes];
  for (const [index, node] of fresh.entries()) {
    const known = old[index];
    if (!known) host.append(node);
    else if (known.isEqualNode(node)) continue;
    else if (known.nodeName === node.nodeName) rewrite(known, node);
    else known.replaceWith(node);
  }
  old.slice(fresh.length).forEach((node) => node.remove());
}

function rewrite(known, node) {
  if (known.nodeType === Node.TEXT_NODE) {
    known.data = node.data;
    return;
  }
  for (const name of known.getAttributeNames()) {
    if (!node.hasAttribute(name)) known.removeAttribute(name);
  }
  for (const name of node.getAttributeNames()) known.setAttribute(name, node.getAttribute(name));
  put(known, ...node.childNodes);
}
