// Every word of the page, in English and Russian. `data-text` and `data-label` in the page name the keys.

export const TEXTS = {
  en: {
    title: 'Balance: operations', language: 'Language', views: 'Views', overview: 'Overview', user: 'User', conflicts: 'Conflicts', canary: 'Canary',
    token: "Administrator's token", tokenHint: "It stays in this page's memory and is gone when the page is.", signIn: 'Sign in', signOut: 'Sign out',
    live: 'live', away: (why) => `no live data: ${why}`, connecting: 'connecting…', zone: (name) => `Times are those of ${name}; point at one for the exact time in UTC.`,
    error_unauthorized: 'No administrator has this token.', error_rate_limited: 'Too many failed sign-ins from this address: wait a moment.', error_unreachable: 'the service can not be reached', error_silent: 'the stream has fallen silent',
    error_overloaded: 'too many are watching already', error_ledger_unavailable: 'the ledger does not answer', error_shutting_down: 'the service is stopping',
    entriesPerS: 'Entries per second', pushesPerS: 'Pushes per second', sessionsOpen: 'Sessions', ofLimit: (limit) => `of ${limit}`, actors: 'Resident actors',
    withSessions: (count) => `${count} with sessions`, hitRatio: 'Cache hit ratio', hitsLately: (ratio) => `last minute: ${ratio}`, rebuilt: (count) => `rebuilt: ${count}`, queues: 'Queues of the ledger', singleBulk: 'single / bulk', commitP99: 'Commit p99, 1 min',
    displayedP99: 'Displayed p99, 1 min', drift: 'Violations', uptime: 'Running for', errorsLately: 'Errors, 1 min', errorsPerS: 'Errors per second', commitTime: 'Commit: time', pushTime: 'Commit to push: time', displayedTime: 'Commit to displayed: time',
    heatCommit: 'Commit: how many took how long', heatDisplayed: 'Commit to displayed: how many took how long', pointAt: 'Point at a cell for its count.', cell: (time, bound, count) => `${time}: ${bound}: ${count}`,
    nothingYet: 'Nothing to show yet.', nothingCommitted: 'Nothing was committed lately.', nothingPushed: 'Nothing was pushed lately.', nothingDisplayed: 'No page has told lately what it shows.', windowHint: 'Charts begin when this page is opened and go back 10 minutes; drag to enlarge, double-click to return. For what was before there is Prometheus: /metrics.', queueDepth: 'Entries waiting for the ledger', presence: 'Sessions and actors',
    single: 'single', bulk: 'bulk', p50: 'p50', p99: 'p99', direct: 'direct', paced: 'paced', deposit: 'deposit', reward: 'reward', withdrawal: 'withdrawal', adjustment: 'adjustment', unknown: 'unknown',
    lastEntries: 'Last entry of each kind', kind: 'Kind', at: 'When', silentFor: 'Silent for', accepted: 'Accepted', duplicate: 'Repeated', rejected: 'Rejected', errors: 'Errors and closed sessions', sinceStart: 'Since the start', lately: 'Last minute', noErrors: 'Nothing was refused, nothing has failed, no session has ended.',
    where: 'Where', code: 'Code', webhook_rejected: 'webhook', ws_rejected: 'sign-in', ledger: 'ledger', sessions_closed: 'session closed',
    audit: 'Continuous audit', pace: 'Users per second', off: 'off (audit.users_per_s is 0)', round: 'Round', roundUsers: 'Users of this round', usersTotal: 'Users checked', violationsTotal: 'Violations found', lastError: 'Last failure', violation: 'Violation',
    userId: 'User id', show: 'Show', activate: 'Load into memory', orders: 'Orders', notInMemory: 'Not in memory: no page of this user is open, and nothing has come in lately. The past stands below.', residents: 'In memory now', residentsHint: 'Actors in memory, at most 20. Choose one, or enter an id above.', noResidents: 'No actor is in memory.', sortBy: 'Sorted by', idle: 'Idle for', user_id: 'user id', by_sessions: 'sessions', by_entries: 'entries', by_idle_ms: 'idle time', lastOrders: 'Orders given lately', noOrders: 'No administrator has given an order yet.', admin: 'Administrator', order: 'Order', refresh: 'Refresh', push: 'push', pushNow: 'Push now', retire: 'Retire', disconnect: 'Disconnect',
    inside: 'The actor from inside', pending: 'Changes that wait', timeline: 'Commit → push → displayed', sessions: 'Sessions', happenings: 'The latest that happened', userEntries: 'The last entries', amount: 'Amount', balanceAfter: 'Balance after', source: 'Source', eventId: 'Event id', ledgerAway: 'The ledger does not answer.',
    version: 'Version', stale: 'It does not answer. This is what can be seen from outside.', isStale: 'A session was told a stale balance; a fresh one is owed.', verifiedAt: 'Known to be the ledger\'s', ago: (length) => `${length} ago`, lastPush: 'Last push', inFlight: 'Postings and reads under way', mailbox: 'Mailbox', mailboxOf: (capacity) => `of ${capacity}`, waiters: 'Readers that wait for a version', sessionsAttached: 'Sessions', entries: 'Entries', entriesThrough: 'Entries since it is in memory', observedAt: 'Observed',
    nothingWaits: 'Nothing waits to be pushed.', nextPush: 'Next push in', nextPushAt: 'Push due at', waitsFor: 'Waits for', heldBy: 'Held by', mode: 'Mode', first: 'First', last: 'Last', noTime: 'no time is set',
    session: 'Session', connectedAt: 'Since', sent: 'Sent', displayed: 'Displayed', address: 'Address', agent: 'Browser', lagging: 'Lagging', yes: 'yes', no: 'no', noSessions: 'No page of this user is open.', noEntries: 'This user has no entries.', noHappenings: 'Nothing has happened to this user since the service was started.', what: 'What', detail: 'Detail', none: 'None.', entry: 'commit', shown: 'displayed',
    entryDetail: (kind, amount, source) => `${kind} ${amount}, source ${source}`, pushDetail: (mode, took, entries, sessions) => `${mode}, ${took} after the commit; entries ${entries}, sessions ${sessions}`, shownDetail: (mode, took, session) => `${mode}, ${took} after the commit; session ${session}`,
    debounce: 'debounce: quiet for a moment', min_interval: 'the least interval between pushes', max_wait: 'the longest wait', direct_interval: 'the interval of direct pushes', snapshot: 'a session has not had its snapshot', known_to_sessions: 'every session knows it already',
    askRefresh: (id) => `Read the balance of user ${id} from the ledger again?`, askPush: (id) => `Send user ${id} what waits, whatever the pacing says?`, askRetire: (id) => `Take user ${id} out of memory?`, askDisconnect: (id) => `Close all sessions of user ${id}?`,
    doIt: 'Do it', cancel: 'Cancel', done: (order, answer) => `${order}: ${answer}`, ok: 'done', not_resident: 'not in memory', busy: 'busy', pushed_lately: 'pushed lately', nothingToPush: 'nothing waited',
    conflictsHint: 'Entries that were refused because their event id was known with other content.', field: 'Field', inLedger: 'In the ledger', refused: 'Refused', noConflicts: 'There was none.',
    schedule: (every) => (every ? `Runs every ${every} s.` : 'It is not scheduled (canary.every_s).'), allWell: 'all well', deviated: 'deviated', step: 'Step', steps: 'Steps', ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd', seen: 'Seen', answerMs: 'answer', frameMs: 'frame', pushMs: 'push', canaryTimes: 'Times of the runs', noRuns: 'It has not run yet.', latestCanary: 'Latest canary', notScheduled: 'not scheduled', notYet: 'not yet',
  },
  ru: {
    title: 'Баланс: эксплуатация', language: 'Язык', views: 'Разделы', overview: 'Обзор', user: 'Пользователь', conflicts: 'Конфликты', canary: 'Канарейка',
    token: 'Токен администратора', tokenHint: 'Он хранится только в памяти этой страницы и исчезает вместе с ней.', signIn: 'Войти', signOut: 'Выйти',
    live: 'на связи', away: (why) => `нет живых данных: ${why}`, connecting: 'соединение…', zone: (name) => `Время: ${name}; наведите указатель, чтобы увидеть точное время в UTC.`,
    error_unauthorized: 'Такого токена нет ни у одного администратора.', error_rate_limited: 'Слишком много неудачных входов с этого адреса: подождите немного.', error_unreachable: 'сервис недоступен', error_silent: 'поток замолчал',
    error_overloaded: 'наблюдающих уже слишком много', error_ledger_unavailable: 'журнал не отвечает', error_shutting_down: 'сервис останавливается',
    entriesPerS: 'Записей в секунду', pushesPerS: 'Отправок в секунду', sessionsOpen: 'Сессии', ofLimit: (limit) => `из ${limit}`, actors: 'Акторов в памяти',
    withSessions: (count) => `${count} с сессиями`, hitRatio: 'Попадания в кэш', hitsLately: (ratio) => `за минуту: ${ratio}`, rebuilt: (count) => `восстановлено: ${count}`, queues: 'Очереди журнала', singleBulk: 'одиночные / пакеты', commitP99: 'Запись p99, 1 мин',
    displayedP99: 'Показ p99, 1 мин', drift: 'Нарушения', uptime: 'Работает', errorsLately: 'Ошибки, 1 мин', errorsPerS: 'Ошибок в секунду', commitTime: 'Запись: время', pushTime: 'От записи до отправки: время', displayedTime: 'От записи до показа: время',
    heatCommit: 'Запись: сколько и как долго', heatDisplayed: 'От записи до показа: сколько и как долго', pointAt: 'Наведите указатель на клетку, чтобы увидеть число.', cell: (time, bound, count) => `${time}: ${bound}: ${count}`,
    nothingYet: 'Показывать пока нечего.', nothingCommitted: 'В последнее время ничего не записывалось.', nothingPushed: 'В последнее время ничего не отправлялось.', nothingDisplayed: 'В последнее время ни одна страница не сообщала о показе.', windowHint: 'Графики начинаются с открытия страницы и охватывают 10 минут; выделите участок, чтобы увеличить, двойной щелчок вернёт всё. О более раннем знает Prometheus: /metrics.', queueDepth: 'Записи в очереди журнала', presence: 'Сессии и акторы',
    single: 'одиночные', bulk: 'пакеты', p50: 'p50', p99: 'p99', direct: 'сразу', paced: 'размеренно', deposit: 'пополнение', reward: 'награда', withdrawal: 'вывод', adjustment: 'корректировка', unknown: 'неизвестно',
    lastEntries: 'Последняя запись каждого вида', kind: 'Вид', at: 'Когда', silentFor: 'Тишина', accepted: 'Принято', duplicate: 'Повторы', rejected: 'Отклонено', errors: 'Ошибки и закрытые сессии', sinceStart: 'С запуска', lately: 'За минуту', noErrors: 'Ничего не отклонено, сбоев не было, ни одна сессия не закрылась.',
    where: 'Где', code: 'Код', webhook_rejected: 'вебхук', ws_rejected: 'вход', ledger: 'журнал', sessions_closed: 'сессия закрыта',
    audit: 'Непрерывная проверка', pace: 'Пользователей в секунду', off: 'выключена (audit.users_per_s равно 0)', round: 'Круг', roundUsers: 'Пользователей в этом круге', usersTotal: 'Проверено пользователей', violationsTotal: 'Найдено нарушений', lastError: 'Последний сбой', violation: 'Нарушение',
    userId: 'Номер пользователя', show: 'Показать', activate: 'Загрузить в память', orders: 'Распоряжения', notInMemory: 'Нет в памяти: ни одна страница пользователя не открыта, и давно ничего не приходило. Прошлое показано ниже.', residents: 'Сейчас в памяти', residentsHint: 'Акторы в памяти, не больше 20. Выберите одного или введите номер выше.', noResidents: 'В памяти нет ни одного актора.', sortBy: 'Порядок', idle: 'Покой', user_id: 'по номеру', by_sessions: 'по сессиям', by_entries: 'по записям', by_idle_ms: 'по времени покоя', lastOrders: 'Последние распоряжения', noOrders: 'Администраторы ещё не отдавали распоряжений.', admin: 'Администратор', order: 'Распоряжение', refresh: 'Обновить', push: 'отправка', pushNow: 'Отправить сейчас', retire: 'Выгрузить', disconnect: 'Отключить',
    inside: 'Актор изнутри', pending: 'Ожидающие изменения', timeline: 'Запись → отправка → показ', sessions: 'Сессии', happenings: 'Последние события', userEntries: 'Последние записи', amount: 'Сумма', balanceAfter: 'Баланс после', source: 'Источник', eventId: 'Ключ', ledgerAway: 'Журнал не отвечает.',
    version: 'Версия', stale: 'Он не отвечает. Это то, что видно снаружи.', isStale: 'Сессии сообщён устаревший баланс; свежий ещё предстоит.', verifiedAt: 'Сверен с журналом', ago: (length) => `${length} назад`, lastPush: 'Последняя отправка', inFlight: 'Записи и чтения в пути', mailbox: 'Почтовый ящик', mailboxOf: (capacity) => `из ${capacity}`, waiters: 'Ждут версию', sessionsAttached: 'Сессии', entries: 'Записи', entriesThrough: 'Записей за время в памяти', observedAt: 'Наблюдение',
    nothingWaits: 'Ничто не ждёт отправки.', nextPush: 'Следующая отправка через', nextPushAt: 'Срок отправки', waitsFor: 'Ждёт', heldBy: 'Удерживает', mode: 'Режим', first: 'Первое', last: 'Последнее', noTime: 'время не назначено',
    session: 'Сессия', connectedAt: 'С', sent: 'Отправлено', displayed: 'Показано', address: 'Адрес', agent: 'Браузер', lagging: 'Отстаёт', yes: 'да', no: 'нет', noSessions: 'Ни одна страница этого пользователя не открыта.', noEntries: 'У этого пользователя нет записей.', noHappenings: 'С этим пользователем ничего не происходило с запуска сервиса.', what: 'Что', detail: 'Подробности', none: 'Нет.', entry: 'запись', shown: 'показ',
    entryDetail: (kind, amount, source) => `${kind} ${amount}, источник ${source}`, pushDetail: (mode, took, entries, sessions) => `${mode}, через ${took} после записи; записей ${entries}, сессий ${sessions}`, shownDetail: (mode, took, session) => `${mode}, через ${took} после записи; сессия ${session}`,
    debounce: 'паузы после последнего изменения', min_interval: 'наименьшего интервала между отправками', max_wait: 'наибольшего ожидания', direct_interval: 'интервала отправок сразу', snapshot: 'у сессии ещё нет снимка', known_to_sessions: 'все сессии уже знают',
    askRefresh: (id) => `Прочитать баланс пользователя ${id} из журнала заново?`, askPush: (id) => `Отправить пользователю ${id} всё ожидающее, не соблюдая темп?`, askRetire: (id) => `Выгрузить пользователя ${id} из памяти?`, askDisconnect: (id) => `Закрыть все сессии пользователя ${id}?`,
    doIt: 'Выполнить', cancel: 'Отмена', done: (order, answer) => `${order}: ${answer}`, ok: 'сделано', not_resident: 'нет в памяти', busy: 'занят', pushed_lately: 'недавно отправлял', nothingToPush: 'ничего не ждало',
    conflictsHint: 'Записи, отклонённые потому, что их ключ уже известен с другим содержанием.', field: 'Поле', inLedger: 'В журнале', refused: 'Отклонено', noConflicts: 'Не было ни одного.',
    schedule: (every) => (every ? `Запускается каждые ${every} с.` : 'По расписанию не запускается (canary.every_s).'), allWell: 'всё хорошо', deviated: 'отклонения', step: 'Шаг', steps: 'Шаги', ms: 'мс', s: 'с', min: 'мин', h: 'ч', d: 'д', seen: 'Увидено', answerMs: 'ответ', frameMs: 'кадр', pushMs: 'отправка', canaryTimes: 'Времена запусков', noRuns: 'Ещё не запускалась.', latestCanary: 'Последняя канарейка', notScheduled: 'не по расписанию', notYet: 'ещё нет',
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

// Making a format costs more than using it.
const formats = new Map();
function format(kind, options) {
  const key = `${language} ${kind} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl[kind](language, options));
  return formats.get(key);
}

export const number = (value, digits = 0) => format('NumberFormat', { maximumFractionDigits: digits }).format(value);

const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
const DAY = { year: 'numeric', month: 'short', day: 'numeric' };

/** The time of day, with the day unless it is today. */
export function time(when) {
  if (!when) return '–';
  const date = new Date(when);
  const isToday = date.toDateString() === new Date().toDateString();
  return format('DateTimeFormat', isToday ? CLOCK : { ...DAY, ...CLOCK }).format(date);
}

/** The same as an element that has the exact time in it; null for none. */
export function moment(when) {
  if (!when) return null;
  const element = document.createElement('time');
  element.dateTime = element.title = when;
  element.textContent = time(when);
  return element;
}

/** Unix seconds as the time of day, with thousandths when they tell more. */
export const clock = (at_s, isFine = false) =>
  format('DateTimeFormat', isFine ? { ...CLOCK, fractionalSecondDigits: 3 } : CLOCK).format(new Date(at_s * 1_000));

/** Whose time it is. */
export function zone() {
  const { timeZone } = format('DateTimeFormat', CLOCK).resolvedOptions();
  const offset = format('DateTimeFormat', { timeZoneName: 'longOffset' }).formatToParts().find(({ type }) => type === 'timeZoneName').value;
  return timeZone === offset || timeZone === 'UTC' ? timeZone : `${timeZone} (${offset})`;
}

/** A length of time, as short as it is still right. */
export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  const units = [[1, 'ms'], [1_000, 's'], [60_000, 'min'], [3_600_000, 'h'], [86_400_000, 'd']];
  const [size, unit] = units.findLast(([least]) => ms >= least) ?? units[0];
  const value = ms / size;
  return `${number(value, value < 10 ? (unit === 'ms' ? 2 : 1) : 0)}\u00a0${text(unit)}`;
}

/** What is left of a time, to be read while it runs out: tenths of the last minute, else minutes and seconds. */
export function countdown(ms) {
  if (ms < 60_000) return `${format('NumberFormat', { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(Math.ceil(ms / 100) / 10)}\u00a0${text('s')}`;
  const seconds = Math.ceil(ms / 1_000);
  const parts = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  return (parts[0] ? parts : parts.slice(1)).map((part, index) => (index ? String(part).padStart(2, '0') : part)).join(':');
}

/** Why something failed, plainly. */
export function explain(error) {
  const code = error instanceof TypeError ? 'unreachable' : error.code;
  return TEXTS[language][`error_${code}`] ?? error.message;
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
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', text(element.dataset.label));
  for (const button of document.querySelectorAll('[data-language]')) {
    button.setAttribute('aria-pressed', String(button.dataset.language === language));
  }
}
