import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BalanceCoordinator } from './index.js';

export interface Token {
  /** For the browser library's `getToken`. */
  token: string;
  expires_at: string;
}

export interface MintOptions {
  /** The first of `auth.session_secrets`. */
  secret: string;
  user_id: number;
  /** One hour by default. */
  ttl_s?: number | undefined;
  /** `auth.session_user_claim`, `sub` by default. */
  user_claim?: string | undefined;
}

/** Makes a session token without asking the service. */
export function mintToken(options: MintOptions): Token;

export type TokenHandlerOptions<Request> = {
  /** The user that this request has signed in; null when it has none. */
  userId: (req: Request) => number | null | undefined | Promise<number | null | undefined>;
  ttl_s?: number | undefined;
} & (
  | { client: BalanceCoordinator<string>; secret?: undefined; user_claim?: undefined }
  | { secret: string; user_claim?: string | undefined; client?: undefined }
);

/**
 * A handler for Express and servers like it, or for `node:http`: 200 `{token, expires_at}`, 401 without a user, 503 while the
 * service can't make a token. Other errors go to `next`; without one they are 500.
 */
export function tokenHandler<Request extends IncomingMessage = IncomingMessage>(
  options: TokenHandlerOptions<Request>,
): (req: Request, res: ServerResponse, next?: (error?: unknown) => void) => Promise<void>;
