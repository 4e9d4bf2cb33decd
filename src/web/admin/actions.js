// Orders to an actor, each after a question.

import { post } from './api.js';
import { names } from './nodes.js';
import { find } from '../shared/dom.js';
import { explain, text } from '../shared/text.js';

const QUESTIONS = { refresh: 'askRefresh', push: 'askPush', retire: 'askRetire', disconnect: 'askDisconnect' };

let orders = 0;

/** Asks, and when the answer is yes gives the order to the actor of whom `userId` tells, and calls `given`. */
export function offer(userId, given) {
  for (const button of document.querySelectorAll('[data-order]')) {
    button.addEventListener('click', async () => {
      const order = button.dataset.order;
      const id = userId();
      if (id === null || !(await confirmed(text(QUESTIONS[order], id)))) return;
      // Nothing is known of this one yet.
      find('order-outcome').textContent = '';
      const number = ++orders;
      const said = await give(order, id, button.textContent);
      // Another user may stand there by now, or a later order be under way.
      if (id !== userId() || number !== orders) return;
      find('order-outcome').textContent = said;
      given();
    });
  }
  const dialog = find('confirm');
  find('confirm-yes').addEventListener('click', () => dialog.close('yes'));
  find('confirm-no').addEventListener('click', () => dialog.close(''));
}

async function give(order, id, name) {
  try {
    const answer = await post(`actors/${id}/${order}`);
    return text('done', name, answer.nodes ? everywhere(answer) : outcome(answer));
  } catch (error) {
    return text('done', name, error.name === 'TimeoutError' ? text('orderUnanswered') : explain(error));
  }
}

function outcome({ pushed, reason }) {
  if (pushed === false) return text('nothingToPush');
  return reason === 'ledger_unavailable' ? text('error_ledger_unavailable') : text(reason ?? 'ok');
}

/** What each node did, and which did not answer. */
function everywhere({ nodes, not_heard_of: missing }) {
  const did = (said) => ('sessions_closed' in said ? text('closedCount', said.sessions_closed) : outcome(said));
  const all = nodes.map((said) => `${said.node}: ${did(said)}`);
  return [...all, ...(missing.length ? [text('orderUnknown', names(missing))] : [])].join('; ');
}

function confirmed(question) {
  const dialog = find('confirm');
  find('confirm-text').textContent = question;
  dialog.returnValue = '';
  dialog.showModal();
  // Enter must not do what nobody has read.
  find('confirm-no').focus();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}
