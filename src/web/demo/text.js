// Every word of the page, in English and Russian. `data-text` and `data-label` in the page name the keys.

const TEXTS = {
  en: {
    title: 'Balance', language: 'Language', user: (id) => `User ${id}`, refresh: 'Refresh', history: 'History', more: 'Show more',
    noEntries: 'Nothing has happened yet.', asOf: (time) => `as of ${time}`, noBalance: 'No balance yet',
    connecting: 'Connecting', live: 'Live', checked: 'Being checked', offline: 'Offline', polled: 'Updated every minute',
    signedOut: 'Signed out', closed: 'Closed', notCurrent: 'Not up to date.', balanceAfter: (text) => `balance ${text}`,
    bench: 'Test bench', benchHint: 'Each button sends a signed webhook, as a back end would.',
    deposit: 'Deposit', farmingTick: 'Farming tick', withdrawal: 'Withdrawal', again: 'The same deposit', onceMore: 'once more',
    cut: 'Cut the connection', cutHint: 'then send something', mend: 'Restore the connection', mendHint: 'the page is cut off now',
    sent: 'Sent', noSent: 'Nothing was sent from this page yet.', userId: 'User id', signIn: 'Sign in', signOut: 'Sign out',
    sending: 'sending…', committed: (ms) => `committed ${ms}`, shown: (ms) => `on screen ${ms}`, counted: (ms) => `counted ${ms}`,
    waiting: 'waits for the page', duplicate: (version) => `known already as version ${version}: nothing moves`,
    refused: (code) => `refused: ${code}`, lost: 'no answer: the outcome is unknown', ms: 'ms', s: 's',
    sources: { deposit: 'deposit', reward: 'reward', farming: 'farming', withdrawal: 'withdrawal', adjustment: 'adjustment' },
    codes: { insufficient_funds: 'the balance is too low', ledger_unavailable: 'the ledger is away', overloaded: 'too busy' },
  },
  ru: {
    title: 'Баланс', language: 'Язык', user: (id) => `Пользователь ${id}`, refresh: 'Обновить', history: 'История', more: 'Показать ещё',
    noEntries: 'Пока ничего не произошло.', asOf: (time) => `на ${time}`, noBalance: 'Баланса пока нет',
    connecting: 'Соединение', live: 'На связи', checked: 'Проверяется', offline: 'Нет связи', polled: 'Раз в минуту',
    signedOut: 'Вход не выполнен', closed: 'Закрыто', notCurrent: 'Данные могли устареть.', balanceAfter: (text) => `баланс ${text}`,
    bench: 'Испытания', benchHint: 'Каждая кнопка отправляет подписанный вебхук, как это делает бэкенд.',
    deposit: 'Пополнение', farmingTick: 'Тик фарминга', withdrawal: 'Вывод', again: 'То же пополнение', onceMore: 'ещё раз',
    cut: 'Оборвать связь', cutHint: 'и что-нибудь отправить', mend: 'Восстановить связь', mendHint: 'страница сейчас отрезана',
    sent: 'Отправлено', noSent: 'С этой страницы ещё ничего не отправлено.', userId: 'Номер', signIn: 'Войти', signOut: 'Выйти',
    sending: 'отправляется…', committed: (ms) => `записано ${ms}`, shown: (ms) => `на экране ${ms}`, counted: (ms) => `досчитано ${ms}`,
    waiting: 'ждёт страницу', duplicate: (version) => `уже есть, версия ${version}: ничего не меняется`,
    refused: (code) => `отказ: ${code}`, lost: 'нет ответа: исход неизвестен', ms: 'мс', s: 'с',
    sources: { deposit: 'пополнение', reward: 'награда', farming: 'фарминг', withdrawal: 'вывод', adjustment: 'корректировка' },
    codes: { insufficient_funds: 'недостаточно средств', ledger_unavailable: 'журнал недоступен', overloaded: 'слишком много запросов' },
  },
};
const KEY = 'balance-demo language';

let language = stored() ?? (navigator.language.toLowerCase().startsWith('ru') ? 'ru' : 'en');

function stored() {
  try {
    const kept = localStorage.getItem(KEY);
    return kept in TEXTS ? kept : null;
  } catch {
    return null;
  }
}

export const locale = () => language;

/** A text by its key, with what its gaps are filled with. */
export function text(key, ...values) {
  const found = TEXTS[language][key];
  return typeof found === 'function' ? found(...values) : found;
}

/** The word for a source or a refusal; one that is not known stands as it is. */
export const word = (list, key) => TEXTS[language][list][key] ?? key;

export const capital = (words) => words.charAt(0).toLocaleUpperCase(language) + words.slice(1);

/** The time of day, with the day unless it is today. */
export function time(when) {
  const date = new Date(when);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString(language) : date.toLocaleString(language);
}

/** A number of milliseconds, as short as it is still right. */
export function duration(ms) {
  const [value, unit] = ms < 1_000 ? [ms, 'ms'] : [ms / 1_000, 's'];
  const digits = { maximumFractionDigits: value < 10 ? 1 : 0 };
  return `${new Intl.NumberFormat(language, digits).format(value)} ${text(unit)}`;
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
