// SPDX-License-Identifier: Apache-2.0
// Starts i18next with both languages; the choice is kept in this browser. Keys are typed from vi.ts.

import i18next from "i18next";
import { initReactI18next } from "react-i18next";

import { en } from "./en";
import { type Messages, vi } from "./vi";

export type Locale = "vi" | "en";
const STORAGE_KEY = "giaoban.locale";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: Messages };
  }
}

export function savedLocale(): Locale {
  return localStorage.getItem(STORAGE_KEY) === "en" ? "en" : "vi";
}

export async function setLocale(locale: Locale): Promise<void> {
  localStorage.setItem(STORAGE_KEY, locale);
  document.documentElement.lang = locale;
  await i18next.changeLanguage(locale);
}

export async function startI18n(): Promise<void> {
  document.documentElement.lang = savedLocale();
  await i18next.use(initReactI18next).init({
    lng: savedLocale(),
    fallbackLng: false,
    resources: { vi: { translation: vi }, en: { translation: en } },
    showSupportNotice: false,
    // React escapes what it renders.
    interpolation: { escapeValue: false },
  });
}
