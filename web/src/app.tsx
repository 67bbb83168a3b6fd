// SPDX-License-Identifier: Apache-2.0
// The app's frame: who is signed in, which page, the bar at the top.

import { QueryClientProvider, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Bell, LogOut } from "lucide-react";
import { lazy, Suspense, useEffect } from "react";
import { I18nProvider, RouterProvider as AriaRouter } from "react-aria-components";
import { useTranslation } from "react-i18next";
import {
  BrowserRouter,
  Link,
  Navigate,
  NavLink,
  Outlet,
  Route,
  Routes,
  useLocation,
  useNavigate,
} from "react-router";
import { useStore } from "zustand";

import { auth, signOut } from "./api/auth";
import { meQuery, notificationsQuery, queryClient } from "./api/queries";
import { may } from "./api/rights";
import { forgetChoice, localeChosen, showLocale } from "./i18n";
import { HomePage } from "./pages/home";
import { MeetingPage } from "./pages/meeting";
import { NodesPage } from "./pages/nodes";
import { NotificationsPage } from "./pages/notifications";
import { RecordingPage } from "./pages/recording";
import { RecordingsPage } from "./pages/recordings";
import { SignInPage } from "./pages/sign-in";
import { Button, Emblem, Loading, useTitle } from "./ui/basics";
import { LanguageSwitch } from "./ui/language";

const MeetingFormPage = lazy(() =>
  import("./pages/meeting-form").then((module) => ({ default: module.MeetingFormPage })),
);
const RoomPage = lazy(() => import("./room/page").then((module) => ({ default: module.RoomPage })));

export function App() {
  return (
    <QueryClientProvider client={queryClient}>
      <BrowserRouter>
        <Localised />
      </BrowserRouter>
    </QueryClientProvider>
  );
}

function Localised() {
  const { i18n } = useTranslation();
  const navigate = useNavigate();
  return (
    <I18nProvider locale={i18n.language === "en" ? "en-GB" : "vi-VN"}>
      <AriaRouter navigate={(path) => void navigate(path)}>
        <Pages />
      </AriaRouter>
    </I18nProvider>
  );
}

function Pages() {
  return (
    <Suspense fallback={<Loading />}>
      <Routes>
        <Route path="/sign-in" element={<SignInPage />} />
        <Route element={<SignedIn />}>
          <Route path="/meetings/:id/room" element={<RoomPage />} />
          <Route element={<Frame />}>
            <Route index element={<HomePage />} />
            <Route path="/meetings/new" element={<MeetingFormPage />} />
            <Route path="/meetings/:id" element={<MeetingPage />} />
            <Route path="/meetings/:id/edit" element={<MeetingFormPage />} />
            <Route path="/notifications" element={<NotificationsPage />} />
            <Route path="/recordings" element={<RecordingsPage />} />
            <Route path="/recordings/:id" element={<RecordingPage />} />
            <Route path="/nodes" element={<NodesPage />} />
            <Route path="*" element={<NotFoundPage />} />
          </Route>
        </Route>
      </Routes>
    </Suspense>
  );
}

function SignedIn() {
  const { phase } = useStore(auth);
  const location = useLocation();
  const me = useQuery({ ...meQuery, enabled: phase === "signed_in" });
  const locale = me.data?.user?.locale;
  useEffect(() => {
    if (phase === "signed_out" || phase === "expired") queryClient.clear();
  }, [phase]);
  useEffect(() => {
    if (locale && !localeChosen()) void showLocale(locale);
  }, [locale]);
  if (phase === "unknown") return <Loading />;
  if (phase !== "signed_in") {
    return <Navigate to="/sign-in" replace state={{ from: location.pathname + location.search }} />;
  }
  // Nothing is shown in a language that the account's would replace at once.
  if (me.isPending && !localeChosen()) return <Loading />;
  return <Outlet />;
}

function Frame() {
  const { t } = useTranslation();
  const { data: me } = useQuery(meQuery);
  const { data: notifications } = useInfiniteQuery(notificationsQuery(false));
  const unread = notifications?.pages[0]?.unread_count ?? 0;
  const leave = () => {
    forgetChoice();
    void signOut();
  };
  return (
    <div className="frame">
      <a href="#main" className="skip">
        {t("app.skip")}
      </a>
      <header className="bar">
        <Link to="/" className="brand">
          <Emblem />
          <span>
            <strong>{me?.organisation.name ?? t("app.name")}</strong>
            <small>{t("app.tagline")}</small>
          </span>
        </Link>
        <nav aria-label={t("app.menu")} className="menu">
          <NavLink to="/" end>
            {t("app.home")}
          </NavLink>
          <NavLink to="/recordings">{t("app.recordings")}</NavLink>
          {me && may(me, "operate") && <NavLink to="/nodes">{t("app.nodes")}</NavLink>}
          <NavLink to="/notifications" className="menu-bell">
            <Bell size={18} aria-hidden="true" />
            <span>{t("app.notifications")}</span>
            {unread > 0 && (
              <span className="count">
                <span aria-hidden="true">{unread}</span>
                <span className="visually-hidden">{t("app.unread", { count: unread })}</span>
              </span>
            )}
          </NavLink>
        </nav>
        <div className="bar-end">
          <LanguageSwitch />
          <span className="whoami" title={t("app.account")}>
            <strong>{me?.user?.display_name ?? me?.site?.name}</strong>
            {me?.user?.office && <small>{me.user.office}</small>}
          </span>
          <Button tone="plain" aria-label={t("app.sign_out")} onPress={leave}>
            <LogOut size={18} aria-hidden="true" />
            <span className="wide-only">{t("app.sign_out")}</span>
          </Button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}

function NotFoundPage() {
  const { t } = useTranslation();
  useTitle(t("app.not_found"));
  return (
    <section className="page narrow">
      <h1>{t("app.not_found")}</h1>
      <p>{t("app.not_found_detail")}</p>
      <Link to="/">{t("app.to_home")}</Link>
    </section>
  );
}
