// Orders to an actor, each after a question.

import { post } from './api.js';
import { find } from '../shared/dom.js';
import { explain, text } from '../shared/text.js';

const QUESTIONS = { refresh: 'askRefresh', push: 'askPush', retire: 'askRetire', disconnect: 'askDisconnect' };

/** Asks, and when the answer is yes gives the order to the actor of whom `userId` tells. */
export function offer(userId) {
  for (const button of document.querySelectorAll('[data-order]')) {
    button.addEventListener('click', async () => {
      const order = button.dataset.order;
      const id = userId();
      if (id === null || !(await confirmed(text(QUESTIONS[order], id)))) return;
      const said = await give(order, id, button.textContent);
      // Another user may stand there by now.
      if (id === userId()) find('order-outcome').textContent = said;
    });
  }
  const dialog = find('confirm');
  find('confirm-yes').addEventListener('click', () => dialog.close('yes'));
  find('confirm-no').addEventListener('click', () => dialog.close(''));
}

async function give(order, id, name) {
  try {
    return text('done', name, outcome(await post(`actors/${id}/${order}`)));
  } catch (error) {
    return text('done', name, explain(error));
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
  dialog.showModal();
  // Enter must not do what nobody has read.
  find('confirm-no').focus();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}
