// Every word of the page, in English and Russian. `data-text` and `data-label` in the page name the keys.

import { learn } from '../shared/text.js';

export const TEXTS = {
  en: {
    title: 'Balance', language: 'Language', user: (id) => `User ${id}`, refresh: 'Refresh', history: 'History', more: 'Show more',
    noEntries: 'Nothing has happened yet.', asOf: (time) => `as of ${time}`, noBalance: 'No balance yet',
    connecting: 'Connecting', live: 'Live', checked: 'Being checked', offline: 'Offline', polled: 'Updated every minute',
    signedOut: 'Signed out', misconfigured: 'Set up wrongly', closed: 'Closed', notCurrent: 'Not up to date.', balanceAfter: (text) => `balance ${text}`,
    bench: 'Test bench', benchHint: 'The buttons send signed webhooks, as a back end would. The wallet pays on an imitated TON chain: the watcher finds the deposit there, and sends the webhook.',
    deposit: 'Deposit', farmingTick: 'Farming tick', withdrawal: 'Withdrawal', again: 'The same deposit', onceMore: 'once more',
    wallet: 'Pay from a wallet', withComment: (change, id) => `${change}, comment “${id}”`, fromWallet: (change) => `${change} from a wallet`,
    final: (ms) => `final on chain ${ms}`, watched: (ms) => `found by the watcher ${ms}`,
    waitsForChain: 'waits for the chain', waitsForWatcher: 'waits for the watcher', waitsForLedger: 'waits for the ledger',
    cut: 'Cut the connection', cutHint: 'then send something', mend: 'Restore the connection', mendHint: 'the page is cut off now',
    sent: 'Sent', noSent: 'Nothing was sent from this page yet.', userId: 'User id', signIn: 'Sign in', signOut: 'Sign out',
    sending: 'sending…', committed: (ms) => `committed ${ms}`, shown: (ms) => `on screen ${ms}`, counted: (ms) => `counted ${ms}`,
    waiting: 'waits for the page', duplicate: (version) => `known already as version ${version}: nothing moves`,
    refused: (code) => `refused: ${code}`, lost: 'no answer: the outcome is unknown', ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd',
    sources: { deposit: 'deposit', reward: 'reward', farming: 'farming', withdrawal: 'withdrawal', adjustment: 'adjustment', reversal: 'reversal', ton: 'TON chain' },
    codes: { insufficient_funds: 'the balance is too low', ledger_unavailable: 'the ledger is away', overloaded: 'too busy' },
  },
  ru: {
    title: 'Баланс', language: 'Язык', user: (id) => `Пользователь ${id}`, refresh: 'Обновить', history: 'История', more: 'Показать ещё',
    noEntries: 'Пока ничего не произошло.', asOf: (time) => `на ${time}`, noBalance: 'Баланса пока нет',
    connecting: 'Соединение', live: 'На связи', checked: 'Проверяется', offline: 'Нет связи', polled: 'Раз в минуту',
    signedOut: 'Вход не выполнен', misconfigured: 'Ошибка настройки', closed: 'Закрыто', notCurrent: 'Данные могли устареть.', balanceAfter: (text) => `баланс ${text}`,
    bench: 'Испытания', benchHint: 'Кнопки отправляют подписанные вебхуки, как это делает бэкенд. Кошелёк платит в имитации сети TON: наблюдатель находит там пополнение и отправляет вебхук.',
    deposit: 'Пополнение', farmingTick: 'Тик фарминга', withdrawal: 'Вывод', again: 'То же пополнение', onceMore: 'ещё раз',
    wallet: 'Заплатить из кошелька', withComment: (change, id) => `${change}, комментарий «${id}»`, fromWallet: (change) => `${change} из кошелька`,
    final: (ms) => `окончательно в сети ${ms}`, watched: (ms) => `найдено наблюдателем ${ms}`,
    waitsForChain: 'ждёт сеть', waitsForWatcher: 'ждёт наблюдателя', waitsForLedger: 'ждёт журнал',
    cut: 'Оборвать связь', cutHint: 'и что-нибудь отправить', mend: 'Восстановить связь', mendHint: 'страница сейчас отрезана',
    sent: 'Отправлено', noSent: 'С этой страницы ещё ничего не отправлено.', userId: 'Номер', signIn: 'Войти', signOut: 'Выйти',
    sending: 'отправляется…', committed: (ms) => `записано ${ms}`, shown: (ms) => `на экране ${ms}`, counted: (ms) => `досчитано ${ms}`,
    waiting: 'ждёт страницу', duplicate: (version) => `уже есть, версия ${version}: ничего не меняется`,
    refused: (code) => `отказ: ${code}`, lost: 'нет ответа: исход неизвестен', ms: 'мс', s: 'с', min: 'мин', h: 'ч', d: 'д',
    sources: { deposit: 'пополнение', reward: 'награда', farming: 'фарминг', withdrawal: 'вывод', adjustment: 'корректировка', reversal: 'возврат', ton: 'сеть TON' },
    codes: { insufficient_funds: 'недостаточно средств', ledger_unavailable: 'журнал недоступен', overloaded: 'слишком много запросов' },
  },
};

learn(TEXTS, 'balance-demo');
