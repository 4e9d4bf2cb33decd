'use strict';

// Session tokens for pages: made here with the session secret, and handed out by a handler for Express-like servers.

const { createHmac } = require('node:crypto');
const { BalanceCoordinatorError } = require('./errors.js');

const SECRET_BYTES_MIN = 32;
const TTL_S = 3_600;
const RETRY_AFTER_S = 1;

/** A session token, as `POST /internal/v1/tokens` would make it. */
function mintToken({ secret, user_id, ttl_s = TTL_S, user_claim = 'sub' } = {}) {
  if (typeof secret !== 'string' || Buffer.byteLength(secret) < SECRET_BYTES_MIN) {
    throw new TypeError(`secret must be the first of auth.session_secrets, of at least ${SECRET_BYTES_MIN} bytes`);
  }
  if (!Number.isSafeInteger(user_id) || user_id < 1)
    throw new TypeError(`user_id must be an integer from 1 to 2^53 - 1; got ${String(user_id)}`);
  if (!Number.isSafeInteger(ttl_s) || ttl_s < 1) throw new TypeError(`ttl_s must be a number of seconds; got ${String(ttl_s)}`);
  if (typeof user_claim !== 'string' || ['', 'exp', 'iat'].includes(user_claim))
    throw new TypeError('user_claim must be auth.session_user_claim');
  const iat = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ typ: 'JWT', alg: 'HS256' })}.${part({ [user_claim]: `${user_id}`, exp: iat + ttl_s, iat })}`;
  const token = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  return { token, expires_at: new Date((iat + ttl_s) * 1000).toISOString() };
}

/**
 * A handler `(req, res, next)` that answers with a token for the user that `userId(req)` names: 200 `{token, expires_at}`, 401
 * without a user, 503 while the service can't make one. What else goes wrong goes to `next`.
 */
function tokenHandler({ userId, client, secret, user_claim, ttl_s } = {}) {
  if (typeof userId !== 'function') throw new TypeError('tokenHandler needs userId: (req) => the id of the signed-in user, or null');
  if (!client === !secret) throw new TypeError('tokenHandler needs one of client (a BalanceCoordinator) and secret (the session secret)');
  const issue = (user_id) => (client ? client.tokens.create({ user_id, ttl_s }) : mintToken({ secret, user_id, ttl_s, user_claim }));
  if (secret) issue(1); // refuses wrong options now

  return async function balanceToken(req, res, next) {
    try {
      const user = await userId(req);
      if (user === null || user === undefined) return send(res, 401, { code: 'unauthorized' });
      return send(res, 200, await issue(user));
    } catch (error) {
      if (error instanceof BalanceCoordinatorError && error.isTransient) {
        res.setHeader('retry-after', `${RETRY_AFTER_S}`);
        return send(res, 503, { code: error.code });
      }
      if (next) return next(error);
      return send(res, 500, { code: 'internal_error' });
    }
  };
}

function send(res, status, body) {
  res.statusCode = status;
  res.setHeader('content-type', 'application/json');
  res.setHeader('cache-control', 'no-store'); // a token is one user's, and ends
  res.end(JSON.stringify(body));
}

module.exports = { mintToken, tokenHandler };
