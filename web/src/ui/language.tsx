// SPDX-License-Identifier: Apache-2.0
import { useTranslation } from "react-i18next";
import { useStore } from "zustand";

import { auth } from "../api/auth";
import { saveLocale } from "../api/queries";
import { chooseLocale, type Locale } from "../i18n";

export function LanguageSwitch() {
  const { t, i18n } = useTranslation();
  const { phase } = useStore(auth);
  const choose = (locale: Locale) => {
    void chooseLocale(locale);
    // The account keeps the choice, for mails and other browsers; a failure leaves those in the former language.
    if (phase === "signed_in") saveLocale(locale).catch(() => undefined);
  };
  return (
    <div className="languages" role="group" aria-label={t("app.language")}>
      {(["vi", "en"] as const).map((locale) => (
        <button
          key={locale}
          type="button"
          lang={locale}
          aria-pressed={i18n.language === locale}
          aria-label={`${locale.toUpperCase()} – ${t(`app.${locale}`)}`}
          onClick={() => choose(locale)}
        >
          {locale.toUpperCase()}
        </button>
      ))}
    </div>
  );
}
