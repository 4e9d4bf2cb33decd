'use strict';

// Standard Webhooks: HMAC-SHA256 over `{id}.{timestamp}.{body}` with the decoded secret.

const { createHmac } = require('node:crypto');

const PREFIX = 'whsec_';
const KEY_BYTES_MIN = 16;

/** The key of a secret, `whsec_<base64>`. The errors do not hold the secret. */
function keyOf(secret) {
  if (typeof secret !== 'string' || !secret) throw new TypeError('secret is missing: one of auth.webhook_secrets, whsec_…');
  if (!secret.startsWith(PREFIX)) throw new TypeError(`secret does not begin with ${PREFIX}: is it one of auth.webhook_secrets?`);
  const text = secret.slice(PREFIX.length);
  const key = Buffer.from(text, 'base64');
  // Buffer skips what is no base64, and would sign with another key.
  if (key.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, '')) {
    throw new TypeError(`secret is not base64 after ${PREFIX}: was it cut, or is there a blank or a line break in it?`);
  }
  if (key.length < KEY_BYTES_MIN) throw new TypeError(`secret has fewer than ${KEY_BYTES_MIN} bytes`);
  return key;
}

/** The three headers that sign a body now. */
function signed(key, id, body) {
  const timestamp = `${Math.floor(Date.now() / 1000)}`;
  const mac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${mac}` };
}

module.exports = { keyOf, signed };
