// The language of a page: its words, and numbers and times in it. The demo page and the dashboard share this file; each has
// its words in a file of its own (`words.js`), and gives them to `learn` before anything else runs.

const LANGUAGES = ['en', 'ru'];
const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
const DAY = { year: 'numeric', month: 'short', day: 'numeric' };
const UNITS = [[1, 'ms'], [1_000, 's'], [60_000, 'min'], [3_600_000, 'h'], [86_400_000, 'd']];

let words;
let key; // of the stored choice
let language;

/** Takes the page's words by language, and the name under which its choice of a language is stored. */
export function learn(texts, name) {
  words = texts;
  key = `${name} language`;
  language = stored() ?? (navigator.language?.toLowerCase().startsWith('ru') ? 'ru' : 'en');
}

function stored() {
  try {
    const kept = localStorage.getItem(key);
    return LANGUAGES.includes(kept) ? kept : null;
  } catch {
    return null;
  }
}

export const locale = () => language;

/** A text by its key, with its gaps filled; a key that is not known stands as it is. */
export function text(key, ...values) {
  const found = known(words[language], key) ?? key;
  return typeof found === 'function' ? found(...values) : found;
}

/** The word for a key of a list, such as a source; one that is not known stands as it is. */
export const word = (list, key) => known(words[language][list], key) ?? key;

/** Not what every object has: a source may be called `constructor`. */
const known = (list, key) => (Object.hasOwn(list, key) ? list[key] : undefined);

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A browser without `Intl`, or with one that fails, shows plainer numbers and times. Nothing else depends on it. */
function tried(make, otherwise) {
  try {
    return make();
  } catch {
    return otherwise();
  }
}

// Making a format costs more than using it.
const formats = new Map();
function format(kind, options) {
  const key = `${language} ${kind} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl[kind](language, options));
  return formats.get(key);
}

export const number = (value, digits = 0) =>
  tried(() => format('NumberFormat', { maximumFractionDigits: digits }).format(value), () => String(Number(Number(value).toFixed(digits))));

/** A number with its noun, `{ one, few, many, other }` by the language's rules; a form that is missing is `other`. */
export function plural(count, forms) {
  const rule = tried(() => format('PluralRules').select(count), () => (count === 1 ? 'one' : 'other'));
  return `${number(count)}\u00a0${forms[rule] ?? forms.other}`;
}

/** The time of day, with the day unless it is today. */
export function time(when) {
  if (!when) return '–';
  const date = new Date(when);
  const isToday = date.toDateString() === new Date().toDateString();
  return tried(() => format('DateTimeFormat', isToday ? CLOCK : { ...DAY, ...CLOCK }).format(date), () => plainTime(date, isToday ? 11 : 0));
}

/** Without `Intl`: in UTC. */
const plainTime = (date, from, to = 19) => `${date.toISOString().slice(from, to).replace('T', ' ')}Z`;

/** The same as an element that has the exact time in it; null for none. */
export function moment(when) {
  if (!when) return null;
  const element = document.createElement('time');
  element.dateTime = element.title = when;
  element.textContent = time(when);
  return element;
}

/** Unix seconds as the time of day, with thousandths when they tell more. */
export const clock = (at_s, isFine = false) => {
  const date = new Date(at_s * 1_000);
  return tried(() => format('DateTimeFormat', isFine ? { ...CLOCK, fractionalSecondDigits: 3 } : CLOCK).format(date), () => plainTime(date, 11, isFine ? 23 : 19));
};

/** The time zone of the times that are shown. */
export const zone = () => tried(zoneByIntl, () => 'UTC');

function zoneByIntl() {
  const { timeZone } = format('DateTimeFormat', CLOCK).resolvedOptions();
  const parts = () => format('DateTimeFormat', { timeZoneName: 'longOffset' }).formatToParts();
  // Older browsers know no `longOffset`.
  const offset = tried(() => parts().find(({ type }) => type === 'timeZoneName').value, () => timeZone);
  return timeZone === offset || timeZone === 'UTC' ? timeZone : `${timeZone} (${offset})`;
}

/** A length of time, as short as it is still right. */
export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  const [size, unit] = UNITS.findLast(([least]) => ms >= least) ?? UNITS[0];
  const value = ms / size;
  return `${number(value, value < 10 ? (unit === 'ms' ? 2 : 1) : 0)}\u00a0${text(unit)}`;
}

/** What is left of a time, to be read while it runs out: tenths of the last minute, else minutes and seconds. */
export function countdown(ms) {
  if (ms < 60_000) return `${tenths(Math.ceil(ms / 100) / 10)}\u00a0${text('s')}`;
  const seconds = Math.ceil(ms / 1_000);
  const parts = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  return (parts[0] ? parts : parts.slice(1)).map((part, index) => (index ? String(part).padStart(2, '0') : part)).join(':');
}

const tenths = (value) =>
  tried(() => format('NumberFormat', { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value), () => value.toFixed(1));

/** Why something failed, in words: known codes by their text, others as the service tells them. */
export function explain(error) {
  const code = { TypeError: 'unreachable', TimeoutError: 'silent' }[error.name] ?? error.code;
  return words[language][`error_${code}`] ?? error.message;
}

/** Writes every fixed text of the page, and again when another language is chosen; then `changed` writes the rest. */
export function speak(changed) {
  for (const button of document.querySelectorAll('[data-language]')) {
    button.addEventListener('click', () => {
      language = button.dataset.language;
      try {
        localStorage.setItem(key, language);
      } catch {}
      writeAll();
      changed();
    });
  }
  writeAll();
}

function writeAll() {
  document.documentElement.lang = language;
  document.title = text('title');
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', text(element.dataset.label));
  for (const button of document.querySelectorAll('[data-language]')) {
    button.setAttribute('aria-pressed', String(button.dataset.language === language));
  }
}
