// SPDX-License-Identifier: Apache-2.0
// Starts i18next with both languages. What a person chose in this browser comes first, then their account's
// language, then what was shown here last. Keys are typed from vi.ts.

import i18next from "i18next";
import { initReactI18next } from "react-i18next";

import { en } from "./en";
import { type Messages, vi } from "./vi";

export type Locale = "vi" | "en";
const SHOWN_KEY = "giaoban.locale";
const CHOSEN_KEY = "giaoban.locale.chosen";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: Messages };
  }
}

function lastLocale(): Locale {
  return localStorage.getItem(SHOWN_KEY) === "en" ? "en" : "vi";
}

/** True when whoever is here has chosen a language in this browser. */
export function localeChosen(): boolean {
  return localStorage.getItem(CHOSEN_KEY) !== null;
}

/** The person's own choice; it holds until they sign out. */
export async function chooseLocale(locale: Locale): Promise<void> {
  localStorage.setItem(CHOSEN_KEY, locale);
  await showLocale(locale);
}

export async function showLocale(locale: Locale): Promise<void> {
  localStorage.setItem(SHOWN_KEY, locale);
  document.documentElement.lang = locale;
  await i18next.changeLanguage(locale);
}

/** Whoever signs in next at this browser gets the language of their own account. */
export function forgetChoice(): void {
  localStorage.removeItem(CHOSEN_KEY);
}

export async function startI18n(): Promise<void> {
  document.documentElement.lang = lastLocale();
  await i18next.use(initReactI18next).init({
    lng: lastLocale(),
    fallbackLng: false,
    resources: { vi: { translation: vi }, en: { translation: en } },
    showSupportNotice: false,
    // React escapes what it renders.
    interpolation: { escapeValue: false },
  });
}
