// Elements, made without markup in strings.

export const find = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** A colour of the style sheet, as it is in this scheme. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * Makes `host` hold what is given, and touches only what differs: what a person has selected, focused or scrolled to stays,
 * though it is written every second. What is given must not listen to anything: it may be no more than copied from.
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
