// Orders to an actor, each after a question.

import { post } from './api.js';
import { find } from './dom.js';
import { text } from './text.js';

const QUESTIONS = { refresh: 'askRefresh', push: 'askPush', retire: 'askRetire', disconnect: 'askDisconnect' };

/** Asks, and when the answer is yes gives the order; `done` is called with nothing. */
export function offer(userId, done) {
  for (const button of document.querySelectorAll('[data-order]')) {
    button.addEventListener('click', async () => {
      const order = button.dataset.order;
      const id = userId();
      if (id === null || !(await confirmed(text(QUESTIONS[order], id)))) return;
      find('order-outcome').textContent = await give(order, id, button.textContent);
      done();
    });
  }
}

async function give(order, id, name) {
  try {
    return text('done', name, outcome(await post(`actors/${id}/${order}`)));
  } catch (error) {
    return text('done', name, error.message);
  }
}

function outcome(answer) {
  if (answer.pushed === false) return text('nothingToPush');
  return text(answer.reason ?? 'ok');
}

function confirmed(question) {
  const dialog = find('confirm');
  find('confirm-text').textContent = question;
  dialog.returnValue = '';
  find('confirm-yes').onclick = () => dialog.close('yes');
  find('confirm-no').onclick = () => dialog.close('');
  dialog.showModal();
  // Enter must not do what nobody has read.
  find('confirm-no').focus();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}
