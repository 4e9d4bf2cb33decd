// The evidence of the service's findings in Russian, by code and values. Where a value is missing, as from another version of
// the service, its English stands.

import { duration, number, plural, text, time } from '../shared/text.js';

const seconds = (value) => duration(value * 1_000);
/** The stretch of time that was looked at; null: all since the start. */
const when = (window_s) => (window_s === null ? 'с запуска' : `за последние ${seconds(window_s)}`);
const counts = (by, named = text) => Object.entries(by).map(([name, count]) => `${named(name)} ${number(count)}`).join(', ');
const p99 = [['p99_s', 'window_s'], ({ p99_s, window_s }) => `99 % не дольше ${seconds(p99_s)}, ${when(window_s)}`];
const counted = (forms) => [['count', 'window_s'], ({ count, window_s }) => `${plural(count, forms)} ${when(window_s)}`];

/** What is needed of the values, and the words. A part `{ english }` is the service's own. */
const WORDS = {
  ledger_away: [[], () => 'последнее чтение или последняя запись не удались: база данных недоступна'],
  queue_full: [['waiting', 'limit'], ({ waiting, limit }) => `в очереди ${plural(waiting, { one: 'запись', few: 'записи', many: 'записей', other: 'записи' })}, предел ${number(limit)}`],
  cluster_not_covered: [['connected', 'others'], ({ connected, others }) => `связь с шиной: ${connected ? 'есть' : 'нет'}; других процессов: ${number(others)}`],
  cluster_foreign_process: [['nodes'], ({ nodes }) => nodes.join(', ')],
  cluster_stale: [['seconds', 'limit'], ({ seconds: age, limit }) => `последняя сверка ${seconds(age)} назад, допустимо ${seconds(limit)}`],
  cluster_skew: [['seconds', 'limit'], ({ seconds: skew, limit }) => `расхождение ${seconds(skew)}, допустимо ${seconds(limit)}`],
  violations: [['count', 'at', 'violation'], ({ count, at, violation }) => [`нарушений найдено: ${number(count)}, последнее в ${time(at)}: `, { english: violation }]],
  audit_failed: [['at', 'reason'], ({ at, reason }) => [`${time(at)}: `, { english: reason }]],
  canary_failed: [['at', 'deviations'], ({ at, deviations }) => [`${time(at)}: `, { english: deviations.join('; ') }]],
  actors_stale: [['count'], ({ count }) => plural(count, { one: 'пользователь', few: 'пользователя', many: 'пользователей', other: 'пользователя' })],
  actors_rebuilt: counted({ one: 'актор', few: 'актора', many: 'акторов', other: 'актора' }),
  log_dropped: counted({ one: 'строка', few: 'строки', many: 'строк', other: 'строки' }),
  cache_evictions: counted({ one: 'баланс', few: 'баланса', many: 'балансов', other: 'баланса' }),
  webhooks_unsigned: counted({ one: 'вебхук', few: 'вебхука', many: 'вебхуков', other: 'вебхука' }),
  ledger_errors: [['by_kind', 'window_s'], ({ by_kind, window_s }) => `${counts(by_kind, String)} ${when(window_s)}`],
  requests_fail: [['failed', 'all', 'window_s'], ({ failed, all, window_s }) => `${number(failed)} из ${number(all)} ${when(window_s)}`],
  commits_slow: p99,
  pushes_late: p99,
  displays_late: p99,
  cache_misses: [['hits', 'misses', 'window_s'], ({ hits, misses, window_s }) => `из памяти ${number(hits)}, из журнала ${number(misses)} ${when(window_s)}`],
  entries_refused: [['refused', 'window_s'], ({ refused, window_s }) => `${when(window_s)}: ${refused.map(({ kind, code, count }) => `${text(kind)} ${code} ${number(count)}`).join(', ')}`],
  conflicts: [['count', 'by_kind', 'users', 'window_s'], ({ count, by_kind, users, window_s }) => {
    const of = users.length ? `, пользователь ${users.join(', ')}` : '';
    return `${plural(count, { one: 'отказ', few: 'отказа', many: 'отказов', other: 'отказа' })} ${when(window_s)} (${counts(by_kind)})${of}`;
  }],
  source_silent: [['kind', 'seconds'], ({ kind, seconds: age }) => `последняя запись вида «${text(kind)}» была ${seconds(age)} назад`],
  crowd: [['user_id', 'sessions'], ({ user_id: id, sessions }) => `у пользователя ${id} ${plural(sessions, { one: 'сессия', few: 'сессии', many: 'сессий', other: 'сессии' })}`],
  sessions_near_limit: [['open', 'limit'], ({ open, limit }) => `${number(open)} из ${number(limit)}`],
  files_too_few: [['files', 'limit'], ({ files, limit }) => `процесс может открыть ${plural(files, { one: 'файл', few: 'файла', many: 'файлов', other: 'файла' })}, а сессий допускается ${number(limit)}`],
};

/** The codes that have words. */
export const CODES = Object.keys(WORDS);

/** Which values a code's words need. */
export const needed = (code) => WORDS[code][0];

/** The evidence as parts, a text or `{ english }`; null where it can't be told. */
export function inRussian({ code, values }) {
  const [names, words] = WORDS[code] ?? [];
  if (!words || names.some((name) => values?.[name] === undefined)) return null;
  return [words(values)].flat();
}
