// Every word of the page, in English and Russian. `data-text` and `data-label` in the page name the keys.

const TEXTS = {
  en: {
    title: 'Balance: operations', language: 'Language', views: 'Views', overview: 'Overview', user: 'User', conflicts: 'Conflicts', canary: 'Canary',
    token: "Administrator's token", tokenHint: "It stays in this page's memory and is gone when the page is.", signIn: 'Sign in', signOut: 'Sign out',
    wrongToken: 'No administrator has this token.', live: (time) => `live, ${time}`, away: (why) => `no live data: ${why}`, connecting: 'connecting…',
    entriesPerS: 'Entries per second', pushesPerS: 'Pushes per second', sessionsOpen: 'Sessions', ofLimit: (limit) => `of ${limit}`, actors: 'Resident actors',
    withSessions: (count) => `${count} with sessions`, hitRatio: 'Cache hit ratio', queues: 'Queues of the ledger', singleBulk: 'single / bulk', commitP99: 'Commit p99, 1 min',
    displayedP99: 'Displayed p99, 1 min', drift: 'Violations', uptime: 'Running for', commitTime: 'Commit, seconds', pushTime: 'Commit to push, seconds', displayedTime: 'Commit to displayed, seconds',
    heatCommit: 'Commit: how many took how long', heatDisplayed: 'Commit to displayed: how many took how long', queueDepth: 'Entries waiting for the ledger', presence: 'Sessions and actors',
    single: 'single', bulk: 'bulk', p50: 'p50', p99: 'p99', direct: 'direct', paced: 'paced', deposit: 'deposit', reward: 'reward', withdrawal: 'withdrawal', adjustment: 'adjustment', unknown: 'unknown',
    lastEntries: 'Last entry of each kind', kind: 'Kind', at: 'When', silentFor: 'Silent for', accepted: 'Accepted', rejected: 'Rejected', errors: 'Errors since the start',
    where: 'Where', code: 'Code', count: 'Count', webhook_rejected: 'webhook', ws_rejected: 'sign-in', ledger: 'ledger', sessions_closed: 'session closed',
    audit: 'Continuous audit', pace: 'Users per second', off: 'off', round: 'Round', roundUsers: 'Users of this round', usersTotal: 'Users checked', violationsTotal: 'Violations found', lastError: 'Last failure', violation: 'Violation',
    userId: 'User id', show: 'Show', activate: 'load it when it is not in memory', orders: 'Orders', refresh: 'Refresh', push: 'push', pushNow: 'Push now', retire: 'Retire', disconnect: 'Disconnect',
    inside: "The actor's inside", pending: 'Changes that wait', timeline: 'Commit → push → displayed', sessions: 'Sessions', happenings: 'The latest that happened', userEntries: 'The last entries', amount: 'Amount', balanceAfter: 'Balance after', source: 'Source', eventId: 'Event id', ledgerAway: 'The ledger does not answer.',
    balances: 'Balances', version: 'Version', stale: 'Seen from outside: it does not answer', isStale: 'Told a stale balance', verifiedAt: 'Read from the ledger', lastPush: 'Last push', inFlight: 'Postings under way', mailbox: 'Mailbox', entries: 'Entries', observedAt: 'Observed',
    nothingWaits: 'Nothing waits.', nextPush: 'Next push in', waitsFor: 'Waits for', heldBy: 'Held by', mode: 'Mode', first: 'First', last: 'Last', noTime: 'no time is set',
    session: 'Session', connectedAt: 'Since', sent: 'Sent', displayed: 'Displayed', address: 'Address', agent: 'Browser', lagging: 'Lagging', what: 'What', detail: 'Detail', none: 'None.', entry: 'commit',
    debounce: 'debounce: quiet for a moment', min_interval: 'the least interval between pushes', max_wait: 'the longest wait', direct_interval: 'the interval of direct pushes', snapshot: 'a session has not had its snapshot', known_to_sessions: 'every session knows it already',
    askRefresh: (id) => `Read the balance of user ${id} from the ledger again?`, askPush: (id) => `Send user ${id} what waits, whatever the pacing says?`, askRetire: (id) => `Take user ${id} out of memory?`, askDisconnect: (id) => `Close all sessions of user ${id}?`,
    doIt: 'Do it', cancel: 'Cancel', done: (order, answer) => `${order}: ${answer}`, ok: 'done', not_resident: 'not in memory', busy: 'busy', pushed_lately: 'pushed lately', nothingToPush: 'nothing waited',
    conflictsHint: 'Entries that were refused because their event id was known with other content.', field: 'Field', inLedger: 'In the ledger', refused: 'Refused', noConflicts: 'There was none.',
    schedule: (every) => (every ? `Runs every ${every} s.` : 'It is not scheduled (canary.every_s).'), allWell: 'all well', deviated: 'deviated', step: 'Step', ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd', seen: 'Seen', answerMs: 'answer, ms', frameMs: 'frame, ms', pushMs: 'push, ms', canaryTimes: 'Times of the runs', noRuns: 'It has not run yet.', latestCanary: 'Latest canary',
  },
  ru: {
    title: 'Баланс: эксплуатация', language: 'Язык', views: 'Разделы', overview: 'Обзор', user: 'Пользователь', conflicts: 'Конфликты', canary: 'Канарейка',
    token: 'Токен администратора', tokenHint: 'Он хранится только в памяти этой страницы и исчезает вместе с ней.', signIn: 'Войти', signOut: 'Выйти',
    wrongToken: 'Такого токена нет ни у одного администратора.', live: (time) => `на связи, ${time}`, away: (why) => `нет живых данных: ${why}`, connecting: 'соединение…',
    entriesPerS: 'Записей в секунду', pushesPerS: 'Отправок в секунду', sessionsOpen: 'Сессии', ofLimit: (limit) => `из ${limit}`, actors: 'Акторов в памяти',
    withSessions: (count) => `${count} с сессиями`, hitRatio: 'Попадания в кэш', queues: 'Очереди журнала', singleBulk: 'одиночные / пакеты', commitP99: 'Запись p99, 1 мин',
    displayedP99: 'Показ p99, 1 мин', drift: 'Нарушения', uptime: 'Работает', commitTime: 'Запись, секунды', pushTime: 'От записи до отправки, секунды', displayedTime: 'От записи до показа, секунды',
    heatCommit: 'Запись: сколько и как долго', heatDisplayed: 'От записи до показа: сколько и как долго', queueDepth: 'Записи в очереди журнала', presence: 'Сессии и акторы',
    single: 'одиночные', bulk: 'пакеты', p50: 'p50', p99: 'p99', direct: 'сразу', paced: 'размеренно', deposit: 'пополнение', reward: 'награда', withdrawal: 'вывод', adjustment: 'корректировка', unknown: 'неизвестно',
    lastEntries: 'Последняя запись каждого вида', kind: 'Вид', at: 'Когда', silentFor: 'Тишина', accepted: 'Принято', rejected: 'Отклонено', errors: 'Ошибки с момента запуска',
    where: 'Где', code: 'Код', count: 'Число', webhook_rejected: 'вебхук', ws_rejected: 'вход', ledger: 'журнал', sessions_closed: 'сессия закрыта',
    audit: 'Непрерывная проверка', pace: 'Пользователей в секунду', off: 'выключена', round: 'Круг', roundUsers: 'Пользователей в этом круге', usersTotal: 'Проверено пользователей', violationsTotal: 'Найдено нарушений', lastError: 'Последний сбой', violation: 'Нарушение',
    userId: 'Номер пользователя', show: 'Показать', activate: 'загрузить, если его нет в памяти', orders: 'Распоряжения', refresh: 'Обновить', push: 'отправка', pushNow: 'Отправить сейчас', retire: 'Выгрузить', disconnect: 'Отключить',
    inside: 'Актор изнутри', pending: 'Ожидающие изменения', timeline: 'Запись → отправка → показ', sessions: 'Сессии', happenings: 'Последние события', userEntries: 'Последние записи', amount: 'Сумма', balanceAfter: 'Баланс после', source: 'Источник', eventId: 'Ключ', ledgerAway: 'Журнал не отвечает.',
    balances: 'Балансы', version: 'Версия', stale: 'Вид снаружи: он не отвечает', isStale: 'Сообщил устаревший баланс', verifiedAt: 'Прочитан из журнала', lastPush: 'Последняя отправка', inFlight: 'Записи в пути', mailbox: 'Почтовый ящик', entries: 'Записи', observedAt: 'Наблюдение',
    nothingWaits: 'Ничего не ждёт.', nextPush: 'Следующая отправка через', waitsFor: 'Ждёт', heldBy: 'Удерживает', mode: 'Режим', first: 'Первое', last: 'Последнее', noTime: 'время не назначено',
    session: 'Сессия', connectedAt: 'С', sent: 'Отправлено', displayed: 'Показано', address: 'Адрес', agent: 'Браузер', lagging: 'Отстаёт', what: 'Что', detail: 'Подробности', none: 'Нет.', entry: 'запись',
    debounce: 'паузы после последнего изменения', min_interval: 'наименьшего интервала между отправками', max_wait: 'наибольшего ожидания', direct_interval: 'интервала отправок сразу', snapshot: 'у сессии ещё нет снимка', known_to_sessions: 'все сессии уже знают',
    askRefresh: (id) => `Прочитать баланс пользователя ${id} из журнала заново?`, askPush: (id) => `Отправить пользователю ${id} всё ожидающее, не соблюдая темп?`, askRetire: (id) => `Выгрузить пользователя ${id} из памяти?`, askDisconnect: (id) => `Закрыть все сессии пользователя ${id}?`,
    doIt: 'Выполнить', cancel: 'Отмена', done: (order, answer) => `${order}: ${answer}`, ok: 'сделано', not_resident: 'нет в памяти', busy: 'занят', pushed_lately: 'недавно отправлял', nothingToPush: 'ничего не ждало',
    conflictsHint: 'Записи, отклонённые потому, что их ключ уже известен с другим содержанием.', field: 'Поле', inLedger: 'В журнале', refused: 'Отклонено', noConflicts: 'Не было ни одного.',
    schedule: (every) => (every ? `Запускается каждые ${every} с.` : 'По расписанию не запускается (canary.every_s).'), allWell: 'всё хорошо', deviated: 'отклонения', step: 'Шаг', ms: 'мс', s: 'с', min: 'мин', h: 'ч', d: 'д', seen: 'Увидено', answerMs: 'ответ, мс', frameMs: 'кадр, мс', pushMs: 'отправка, мс', canaryTimes: 'Времена запусков', noRuns: 'Ещё не запускалась.', latestCanary: 'Последняя канарейка',
  },
};
const KEY = 'balance-admin language';

let language = stored() ?? (navigator.language.toLowerCase().startsWith('ru') ? 'ru' : 'en');

function stored() {
  try {
    const kept = localStorage.getItem(KEY);
    return kept in TEXTS ? kept : null;
  } catch {
    return null;
  }
}

/** A text by its key, with what its gaps are filled with; a key that is not known stands as it is. */
export function text(key, ...values) {
  const found = TEXTS[language][key] ?? key;
  return typeof found === 'function' ? found(...values) : found;
}

export const number = (value, digits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

/** The time of day, with the day unless it is today. */
export function time(when) {
  if (!when) return '–';
  const date = new Date(when);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString(language) : date.toLocaleString(language);
}

/** Unix seconds as the time of day. */
export const clock = (at_s) => new Date(at_s * 1_000).toLocaleTimeString(language);

/** A length of time, as short as it is still right. */
export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  const units = [[1, 'ms'], [1_000, 's'], [60_000, 'min'], [3_600_000, 'h'], [86_400_000, 'd']];
  const [size, unit] = units.findLast(([least]) => ms >= least) ?? units[0];
  const value = ms / size;
  return `${number(value, value < 10 ? 1 : 0)} ${text(unit)}`;
}

/** Writes every fixed text of the page, and again when another language is chosen; then `changed` writes the rest. */
export function speak(changed) {
  for (const button of document.querySelectorAll('[data-language]')) {
    button.addEventListener('click', () => {
      language = button.dataset.language;
      try {
        localStorage.setItem(KEY, language);
      } catch {}
      write();
      changed();
    });
  }
  write();
}

function write() {
  document.documentElement.lang = language;
  document.title = text('title');
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', text(element.dataset.label));
  for (const button of document.querySelectorAll('[data-language]')) {
    button.setAttribute('aria-pressed', String(button.dataset.language === language));
  }
}
