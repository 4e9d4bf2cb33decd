'use strict';

const { amount } = require('./amount.js');
const { BalanceCoordinator } = require('./client.js');
const errors = require('./errors.js');
const { mintToken, tokenHandler } = require('./tokens.js');

module.exports = {
  amount,
  BalanceCoordinator,
  mintToken,
  tokenHandler,
  AbortError: errors.AbortError,
  BalanceCoordinatorError: errors.BalanceCoordinatorError,
  ConnectionError: errors.ConnectionError,
  ExceedsOriginalError: errors.ExceedsOriginalError,
  IdempotencyConflictError: errors.IdempotencyConflictError,
  InsufficientFundsError: errors.InsufficientFundsError,
  InvalidRequestError: errors.InvalidRequestError,
  NotFoundError: errors.NotFoundError,
  PostAllError: errors.PostAllError,
  SignatureError: errors.SignatureError,
  TimeoutError: errors.TimeoutError,
  UnavailableError: errors.UnavailableError,
  UnexpectedAnswerError: errors.UnexpectedAnswerError,
};
