// The words. Short enough for one text each, in English and French.

import type { Template } from './facts.js';

export interface Details {
  name: string;
  orderId: string;
  total?: Money | undefined;
  tracking?: string | undefined;
  amount?: Money | undefined;
}

export interface Money {
  amount_minor: number;
  currency: string;
}

type Words = Record<Template, (d: Shown) => string>;

interface Shown {
  hello: string;
  order: string;
  total: string;
  tracking: string;
  amount: string;
}

const EN: Words = {
  received: (d) => `${d.hello}we have your order ${d.order}${d.total && ` (${d.total})`}. We will write when it leaves.`,
  confirmed: (d) => `${d.hello}your order ${d.order} is confirmed. We are packing it now.`,
  action_authenticate: (d) => `${d.hello}your bank asks you to confirm the payment of order ${d.order}. Please open your order page.`,
  action_new_card: (d) => `${d.hello}the payment of order ${d.order} did not go through. Please choose another card on your order page.`,
  dispatched: (d) => `${d.hello}your order ${d.order} is on its way${d.tracking && `, parcel ${d.tracking}`}.`,
  delivered: (d) => `${d.hello}your order ${d.order} has been delivered. Enjoy it!`,
  cancelled: (d) => `${d.hello}your order ${d.order} was cancelled. You pay nothing.`,
  refunded: (d) => `${d.hello}we have refunded ${d.amount || 'your payment'} for order ${d.order}.`,
};

const FR: Words = {
  received: (d) => `${d.hello}nous avons bien reçu la commande ${d.order}${d.total && ` (${d.total})`}. Nous écrirons à son départ.`,
  confirmed: (d) => `${d.hello}la commande ${d.order} est confirmée. Nous la préparons.`,
  action_authenticate: (d) => `${d.hello}la banque demande de valider le paiement de la commande ${d.order}, sur la page de la commande.`,
  action_new_card: (d) => `${d.hello}le paiement de la commande ${d.order} a échoué. Une autre carte ? C’est sur la page de la commande.`,
  dispatched: (d) => `${d.hello}la commande ${d.order} est en route${d.tracking && `, colis ${d.tracking}`}.`,
  delivered: (d) => `${d.hello}la commande ${d.order} est livrée. Bonne découverte !`,
  cancelled: (d) => `${d.hello}la commande ${d.order} est annulée. Rien ne sera débité.`,
  refunded: (d) => `${d.hello}nous avons remboursé ${d.amount || 'le paiement'} pour la commande ${d.order}.`,
};

export function render(template: Template, locale: string, details: Details): string {
  const french = locale.toLowerCase().startsWith('fr');
  const name = firstName(details.name);
  const shown: Shown = {
    hello: name ? `${name}, ` : '',
    order: shortOrder(details.orderId),
    total: money(details.total, french),
    amount: money(details.amount, french),
    tracking: clean(details.tracking ?? '').slice(0, 32),
  };
  const said = (french ? FR : EN)[template](shown);
  return name ? said : said.charAt(0).toUpperCase() + said.slice(1);
}

/** What people read out on the telephone: the last six digits, which are the random ones. */
export function shortOrder(orderId: string): string {
  return '#' + orderId.slice(-6).toUpperCase();
}

function firstName(name: string): string {
  return clean(name).split(' ')[0]?.slice(0, 24) ?? '';
}

/** One line, nothing invisible: a name is written by a stranger. */
function clean(text: string): string {
  return text.replace(/[\p{C}\p{Z}\s]+/gu, ' ').trim();
}

function money(value: Money | undefined, french: boolean): string {
  if (!value) return '';
  const sign = value.amount_minor < 0 ? '-' : '';
  const minor = String(Math.abs(value.amount_minor)).padStart(3, '0');
  const number = `${sign}${minor.slice(0, -2)}${french ? ',' : '.'}${minor.slice(-2)}`;
  const currency = value.currency === 'EUR' ? '€' : value.currency;
  return french ? `${number} ${currency}` : currency === '€' ? `€${number}` : `${number} ${currency}`;
}
