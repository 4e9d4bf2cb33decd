// Answers with a balance come late to the old application: changes that were committed meanwhile come before them.

import { setTimeout as sleep } from 'node:timers/promises';

const { fetch } = globalThis;

globalThis.fetch = async (url, options) => {
  const answer = await fetch(url, options);
  if (new URL(url).pathname.endsWith('/balance')) await sleep(200);
  return answer;
};
