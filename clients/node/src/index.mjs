// The same objects for `import`: one copy of the code, so that `instanceof` holds between modules of both kinds.

import node from './index.js';

export const {
  amount,
  BalanceCoordinator,
  mintToken,
  tokenHandler,
  AbortError,
  BalanceCoordinatorError,
  ConnectionError,
  ExceedsOriginalError,
  IdempotencyConflictError,
  InsufficientFundsError,
  InvalidRequestError,
  NotFoundError,
  PostAllError,
  SignatureError,
  TimeoutError,
  UnavailableError,
  UnexpectedAnswerError,
} = node;
