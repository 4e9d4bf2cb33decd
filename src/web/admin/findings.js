// What is wrong, above everything else: the service's findings, red before yellow, each with its evidence and the next step;
// without one it says that all is well, and what was looked at.

import { inRussian } from './findings-evidence.js';
import { RUSSIAN } from './findings-words.js';
import { find, make, put } from '../shared/dom.js';
import { locale, moment, number, text } from '../shared/text.js';

const ORDER = ['high', 'medium', 'low'];

/** In the page's language; the service's English, marked as such, where there are no words. */
function told(english) {
  const russian = locale() === 'ru' ? RUSSIAN[english] : undefined;
  return russian ?? inEnglish(english);
}

function inEnglish(words) {
  const host = make('span', '', words);
  host.lang = 'en';
  return host;
}

function evidence(finding) {
  const russian = locale() === 'ru' ? inRussian(finding) : null;
  if (russian === null) return [inEnglish(finding.evidence)];
  return russian.map((part) => (part.english === undefined ? part : inEnglish(part.english)));
}

export function writeFindings({ findings, audit, canary }) {
  const host = find('findings');
  // A service before 0.2 tells of none, which is not the same as none.
  host.hidden = !Array.isArray(findings);
  if (host.hidden) return;
  const inOrder = findings.toSorted((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
  put(host, ...(inOrder.length ? inOrder.map(panel) : [allWell(audit, canary)]));
}

function panel(finding) {
  const host = make('section', `panel finding is-${finding.severity}`);
  host.dataset.code = finding.code;
  const heading = make('h2');
  heading.append(make('span', 'severity', text(`severity_${finding.severity}`)), ' ', told(finding.title));
  const proof = make('p', 'evidence');
  proof.append(...evidence(finding));
  const since = moment(finding.since);
  if (since) proof.append(` (${text('since')} `, since, ')');
  const step = make('p', 'next-step');
  step.append(make('strong', '', text('nextStep')), ' ', told(finding.next_step));
  host.append(heading, proof, step);
  return host;
}

function allWell(audit, canary) {
  const host = make('section', 'panel finding is-well');
  const checks = [text('checkedService'), audit?.users_per_s > 0 ? text('checkedAudit', number(audit.users_total)) : text('uncheckedAudit')];
  if (canary?.latest?.ok) checks.push(text('checkedCanary'));
  host.append(make('h2', '', text('allIsWell')), make('p', 'evidence', text('checked', checks.join('; '))));
  return host;
}
